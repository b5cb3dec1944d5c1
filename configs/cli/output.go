package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// Table is rows for people. Cells may come from peers: what could control a
// terminal is replaced.
type Table struct {
	// Header names the columns, in capitals by custom. Empty: none is printed.
	Header []string
	rows   [][]string
}

// Add appends a row; each cell is printed as fmt.Print does.
func (t *Table) Add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = printable(fmt.Sprint(c))
	}
	t.rows = append(t.rows, row)
}

// Write prints the table with aligned columns.
func (t *Table) Write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows := t.rows
	if len(t.Header) > 0 {
		rows = append([][]string{t.Header}, rows...)
	}
	for _, row := range rows {
		if _, err := fmt.Fprintln(tw, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// Print writes v as indented JSON where --json is given, else the table, to the
// command's output.
func (a *App) Print(cmd *cobra.Command, v any, t *Table) error {
	if a.JSON {
		return WriteJSON(cmd.OutOrStdout(), v)
	}
	return t.Write(cmd.OutOrStdout())
}

// WriteJSON writes v as indented JSON and a newline. Characters of HTML are not
// escaped.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// printable replaces what is not a graphic character or a space.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
