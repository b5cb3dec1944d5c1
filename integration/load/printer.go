package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// Printer prints a report for people, until the first error.
type Printer struct {
	w   io.Writer
	err error
}

// NewPrinter makes a printer to w.
func NewPrinter(w io.Writer) *Printer { return &Printer{w: w} }

// Err is the first error of writing.
func (p *Printer) Err() error { return p.err }

// Line prints a line.
func (p *Printer) Line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// Table prints a table.
func (p *Printer) Table(t *cli.Table) {
	if p.err == nil {
		p.err = t.Write(p.w)
	}
}

// Row is a line of [Printer.Latencies].
type Row struct {
	Name string
	Latency
}

// Latencies prints a table of those rows that have any.
func (p *Printer) Latencies(rows []Row) {
	t := &cli.Table{Header: []string{"  TIME", "COUNT", "MEAN", "P50", "P90", "P99", "P99.9", "MAX"}}
	for _, r := range rows {
		if r.Count > 0 {
			t.Add("  "+r.Name, r.Count, Short(r.Mean), Short(r.P50), Short(r.P90), Short(r.P99), Short(r.P999), Short(r.Max))
		}
	}
	p.Table(t)
}

// Errors prints counts by error number, where there are any.
func (p *Printer) Errors(what string, counts map[string]int) {
	parts := make([]string, 0, len(counts))
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
	}
	if len(parts) > 0 {
		p.Line("  %s: %s", what, strings.Join(parts, ", "))
	}
}

// Short rounds a time to three digits or so.
func Short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Nanosecond).String()
	}
}

// Size prints a number of bytes.
func Size(n uint64) string {
	const kib = 1 << 10
	if n >= kib*kib {
		return fmt.Sprintf("%.1f MiB", float64(n)/(kib*kib))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/kib)
}
