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
	p := NewPrinter(w)
	m := r.Machine
	p.Line("fleet simulation, %s, %s/%s, %d CPUs, %s", r.Version, m.OS, m.Arch, m.CPUs, m.Go)
	var settings []string
	for _, s := range r.Settings {
		settings = append(settings, s.Name+"="+s.Value)
	}
	p.Line("%s", strings.Join(settings, " "))
	if c := r.Connect; c != nil {
		p.Line("\nCONNECT  %d of %d devices in %s, %.0f tunnels/s%s", c.Online, c.Devices, Short(c.Elapsed), c.PerSecond, each(", relay CPU %s per tunnel", c.CPUPerTunnel))
		p.Latencies([]Row{{"to welcome", c.Latency}})
		p.Errors("failed attempts", c.Failed)
	}
	if len(r.Memory) > 0 {
		p.Line("\nMEMORY of the relay")
		p.memory(r.Memory)
	}
	if i := r.Idle; i != nil {
		p.Line("\nIDLE     %d tunnels%s, over %s: relay CPU %.2f %% of a core, %s per tunnel and second",
			i.Tunnels, each(", heartbeat %s", i.Heartbeat), Short(i.Window), 100*i.Core, Short(i.PerTunnel))
	}
	if l := r.Load; l != nil {
		p.Line("\nLOAD     %s: %d calls in %s, %.1f/s, %d failed%s", l.Model, l.Calls, Short(l.Elapsed), l.PerSecond, l.Failed, each(", relay CPU %s per call", l.CPUPerCall))
		var rows []Row
		for _, kind := range slices.SortedFunc(maps.Keys(l.Latency), allLast) {
			rows = append(rows, Row{kind, l.Latency[kind]})
		}
		if l.Model.Kind == Open {
			rows = append(rows, Row{"started late by", l.Late})
		}
		p.Latencies(rows)
		p.Errors("failed calls", l.Errors)
		if l.FirstError != "" {
			p.Line("first error: %s", l.FirstError)
		}
	}
	if len(r.Attacks) > 0 {
		p.Line("\nATTACKS  on the relay, and the calls of everybody else")
		p.attacks(r.Attacks)
	}
	if s := r.Storm; s != nil {
		p.Line("\nSTORM    %d devices restarted at once, %d back after %s; calls of %d others: %d, %d failed, p99 %.2f times as long",
			s.Devices, s.Back, Short(median(slices.Clone(s.Times))), s.Bystanders, s.Calls, s.Failed, s.Ratio)
		p.Latencies(slices.Concat(rows("before", s.Quiet), rows("during", s.Stormy)))
		if s.FirstError != "" {
			p.Line("first error: %s", s.FirstError)
		}
	}
	if k := r.Kill; k != nil {
		p.Line("\nKILL -9  %d of %d devices back %s after the kill; the relay was away for %s", k.Back, k.Devices, Short(k.Elapsed), Short(k.Outage))
		p.Latencies([]Row{{"back since the kill", k.SinceMark}, {"back since noticed", k.SinceLoss}})
		p.Errors("sessions lost", k.Lost)
		p.Errors("failed attempts", k.Failed)
	}
	p.Line("\nSIMULATOR %s, %s for each device", Size(r.Simulator.RSS), Size(r.Simulator.PerTunnel))
	for _, f := range r.Failures {
		p.Line("FAILED   %s", f)
	}
	return p.Err()
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

func (p *Printer) memory(points []MemoryPoint) {
	t := &cli.Table{Header: []string{"  WHEN", "RSS", "TUNNELS", "PER TUNNEL"}}
	for _, m := range points {
		per := ""
		if m.PerTunnel > 0 {
			per = Size(m.PerTunnel)
		}
		t.Add("  "+m.When, Size(m.RSS), m.Tunnels, per)
	}
	p.Table(t)
}

func (p *Printer) attacks(list []AttackReport) {
	t := &cli.Table{Header: []string{"  ATTACK", "DONE", "CALLS", "FAILED", "P99 BEFORE", "P99 DURING", "RATIO", "GOROUTINES", "FILES", "HEAP", "SETTLED IN"}}
	change := func(before, after int64) string { return fmt.Sprintf("%d > %d", before, after) }
	p99 := func(l []Latency) string {
		list := make([]time.Duration, len(l))
		for i := range l {
			list[i] = l[i].P99
		}
		return Short(median(list))
	}
	for _, a := range list {
		t.Add("  "+a.Attack, a.Done, a.Calls, a.Failed, p99(a.Quiet), p99(a.Attacked), fmt.Sprintf("%.2f", a.Ratio),
			change(a.Before.Goroutines, a.After.Goroutines), change(a.Before.Files, a.After.Files),
			Size(uint64(a.Before.Heap))+" > "+Size(uint64(a.After.Heap)), Short(a.Settled)) //nolint:gosec // not negative
	}
	p.Table(t)
}

// each formats a cost that may be unknown.
func each(format string, d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(format, Short(d))
}

// rows are the latencies of the rounds.
func rows(what string, list []Latency) []Row {
	rows := make([]Row, len(list))
	for i, l := range list {
		rows[i] = Row{fmt.Sprintf("%s %d", what, i+1), l}
	}
	return rows
}
