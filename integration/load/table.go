package load

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	p := &printer{w: w}
	m := r.Machine
	p.line("fleet simulation, %s, %s/%s, %d CPUs, %s", r.Version, m.OS, m.Arch, m.CPUs, m.Go)
	var settings []string
	for _, s := range r.Settings {
		settings = append(settings, s.Name+"="+s.Value)
	}
	p.line("%s", strings.Join(settings, " "))
	if c := r.Connect; c != nil {
		p.line("\nCONNECT  %d of %d devices in %s, %.0f tunnels/s%s", c.Online, c.Devices, short(c.Elapsed), c.PerSecond, each(", relay CPU %s per tunnel", c.CPUPerTunnel))
		p.latencies([]row{{"to welcome", c.Latency}})
		p.errors("failed attempts", c.Failed)
	}
	if len(r.Memory) > 0 {
		p.line("\nMEMORY of the relay")
		p.memory(r.Memory)
	}
	if i := r.Idle; i != nil {
		p.line("\nIDLE     %d tunnels%s, over %s: relay CPU %.2f %% of a core, %s per tunnel and second",
			i.Tunnels, each(", heartbeat %s", i.Heartbeat), short(i.Window), 100*i.Core, short(i.PerTunnel))
	}
	if l := r.Load; l != nil {
		p.line("\nLOAD     %s: %d calls in %s, %.1f/s, %d failed%s", l.Model, l.Calls, short(l.Elapsed), l.PerSecond, l.Failed, each(", relay CPU %s per call", l.CPUPerCall))
		var rows []row
		for _, kind := range slices.SortedFunc(maps.Keys(l.Latency), allLast) {
			rows = append(rows, row{kind, l.Latency[kind]})
		}
		if l.Model.Kind == Open {
			rows = append(rows, row{"started late by", l.Late})
		}
		p.latencies(rows)
		p.errors("failed calls", l.Errors)
		if l.FirstError != "" {
			p.line("first error: %s", l.FirstError)
		}
	}
	if len(r.Attacks) > 0 {
		p.line("\nATTACKS  on the relay, and the calls of everybody else")
		p.attacks(r.Attacks)
	}
	if s := r.Storm; s != nil {
		p.line("\nSTORM    %d devices restarted at once, %d back after %s; calls of %d others: %d, %d failed, p99 %.2f times as long",
			s.Devices, s.Back, short(median(slices.Clone(s.Times))), s.Bystanders, s.Calls, s.Failed, s.Ratio)
		p.latencies(slices.Concat(rows("before", s.Quiet), rows("during", s.Stormy)))
		if s.FirstError != "" {
			p.line("first error: %s", s.FirstError)
		}
	}
	if k := r.Kill; k != nil {
		p.line("\nKILL -9  %d of %d devices back %s after the kill; the relay was away for %s", k.Back, k.Devices, short(k.Elapsed), short(k.Outage))
		p.latencies([]row{{"back since the kill", k.SinceMark}, {"back since noticed", k.SinceLoss}})
		p.errors("sessions lost", k.Lost)
		p.errors("failed attempts", k.Failed)
	}
	p.line("\nSIMULATOR %s, %s for each device", size(r.Simulator.RSS), size(r.Simulator.PerTunnel))
	for _, f := range r.Failures {
		p.line("FAILED   %s", f)
	}
	return p.err
}

func allLast(a, b string) int {
	return cmp.Or(boolInt(a == All)-boolInt(b == All), strings.Compare(a, b))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// printer prints until the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) table(t *cli.Table) {
	if p.err == nil {
		p.err = t.Write(p.w)
	}
}

type row struct {
	name string
	Latency
}

// rows are the latencies of the rounds.
func rows(what string, list []Latency) []row {
	rows := make([]row, len(list))
	for i, l := range list {
		rows[i] = row{fmt.Sprintf("%s %d", what, i+1), l}
	}
	return rows
}

func (p *printer) latencies(rows []row) {
	t := &cli.Table{Header: []string{"  TIME", "COUNT", "MEAN", "P50", "P90", "P99", "P99.9", "MAX"}}
	for _, r := range rows {
		if r.Count > 0 {
			t.Add("  "+r.name, r.Count, short(r.Mean), short(r.P50), short(r.P90), short(r.P99), short(r.P999), short(r.Max))
		}
	}
	p.table(t)
}

func (p *printer) memory(points []MemoryPoint) {
	t := &cli.Table{Header: []string{"  WHEN", "RSS", "TUNNELS", "PER TUNNEL"}}
	for _, m := range points {
		per := ""
		if m.PerTunnel > 0 {
			per = size(m.PerTunnel)
		}
		t.Add("  "+m.When, size(m.RSS), m.Tunnels, per)
	}
	p.table(t)
}

func (p *printer) attacks(list []AttackReport) {
	t := &cli.Table{Header: []string{"  ATTACK", "DONE", "CALLS", "FAILED", "P99 BEFORE", "P99 DURING", "RATIO", "GOROUTINES", "FILES", "HEAP", "SETTLED IN"}}
	change := func(before, after int64) string { return fmt.Sprintf("%d > %d", before, after) }
	p99 := func(l []Latency) string {
		list := make([]time.Duration, len(l))
		for i := range l {
			list[i] = l[i].P99
		}
		return short(median(list))
	}
	for _, a := range list {
		t.Add("  "+a.Attack, a.Done, a.Calls, a.Failed, p99(a.Quiet), p99(a.Attacked), fmt.Sprintf("%.2f", a.Ratio),
			change(a.Before.Goroutines, a.After.Goroutines), change(a.Before.Files, a.After.Files),
			size(uint64(a.Before.Heap))+" > "+size(uint64(a.After.Heap)), short(a.Settled)) //nolint:gosec // not negative
	}
	p.table(t)
}

// errors prints counts by error number.
func (p *printer) errors(what string, counts map[string]int) {
	parts := make([]string, 0, len(counts))
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
	}
	if len(parts) > 0 {
		p.line("  %s: %s", what, strings.Join(parts, ", "))
	}
}

// each formats a cost that may be unknown.
func each(format string, d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(format, short(d))
}

// short rounds a time to three digits or so.
func short(d time.Duration) string {
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

func size(n uint64) string {
	const kib = 1 << 10
	if n >= kib*kib {
		return fmt.Sprintf("%.1f MiB", float64(n)/(kib*kib))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/kib)
}
