package audit

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// CSV writes entries for a spreadsheet. It is for reading: what is verified is the other
// form.
type CSV struct{ to *csv.Writer }

// NewCSV begins with the names of the columns.
func NewCSV(to io.Writer) (*CSV, error) {
	w := csv.NewWriter(to)
	return &CSV{w}, w.Write([]string{
		"seq", "at", "tenant", "actor", "user", "home", "right", "operation", "resource", "serial", "outcome", "fields", "access", "prev", "hash", "repeats",
	})
}

// Add writes a line. Texts that a spreadsheet would take for a formula have an apostrophe
// in front, and no text has room for a separator.
func (w *CSV) Add(e Entry, hash Hash) error {
	cells := []string{
		strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(timeLayout), e.Tenant, e.Actor, e.User, e.Home, e.Right, e.Operation, e.Resource,
		e.Serial, e.Outcome, strings.Join(e.Fields, " "), e.Access, e.Prev.String(), hash.String(),
		strconv.FormatInt(e.Repeats, 10),
	}
	for i, c := range cells {
		if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
			cells[i] = "'" + c
		}
	}
	return w.to.Write(cells)
}

// End writes what is left.
func (w *CSV) End() error {
	w.to.Flush()
	return w.to.Error()
}
