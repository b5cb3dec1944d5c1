// Package score judges what was measured: medians, ranges, ratios that are paired
// within a round, the targets, and whether the machine was quiet enough for any of
// it.
//
//	r := &score.Report{Cells: cells, Quiet: quiet}
//	if err := score.Gate(r.Quiet); err != nil { … }       // too noisy to report
//	err = r.Write(os.Stdout, "frp-mux")                   // tables, ratios to a peer
//	err = r.WriteBench(f)                                 // for benchstat
//	for _, t := range score.Targets() { j := t.Judge(r.Cells) … }
package score

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// Contestant is a row of the report.
type Contestant struct {
	Name    string `json:"name"`
	Class   string `json:"class"`
	About   string `json:"about"`
	Version string `json:"version,omitempty"`
	// Missing says why it did not run.
	Missing string `json:"missing,omitempty"`
}

// Report is one run.
type Report struct {
	Version  string        `json:"version"`
	Started  time.Time     `json:"started"`
	Machine  load.Machine  `json:"machine"`
	Host     Host          `json:"host"`
	Command  string        `json:"command"`
	Duration time.Duration `json:"cell_ns"`
	// Devices is the size of the fleet; 0: there was none.
	Devices     int          `json:"devices,omitempty"`
	Contestants []Contestant `json:"contestants"`
	Works       []string     `json:"works"`
	Quiet       []Quiet      `json:"quiet"`
	Cells       []Cell       `json:"cells"`
	// Subject is what the benchmark is called in the text format; empty: Tunnel.
	Subject string `json:"subject,omitempty"`
	// Noisy says why the run should not be trusted; it was forced.
	Noisy string `json:"noisy,omitempty"`
}

// metrics in the order of columns.
var metrics = []Metric{
	Bits, Mbits, P50Loaded, P99Loaded, P50Alone, P99Alone, Rate, Certs, P50, P99, P999, CPUByte, CPUOp, IdleConn, Accepts, Connects, TunnelMemory,
	IdleCPU, Storm, StormP99, CPUCert, StartUp, FirstCert, Anon, Resident, StoreSize, StoreCert, CRLTime, CRLSize, CRLPeak,
	ProxyByte, ProxyOp, ProxyConn,
}

// Write prints the tables for people; ratios are to the contestant peer.
func (r *Report) Write(w io.Writer, peer string) error {
	if err := r.head(w); err != nil {
		return err
	}
	for _, work := range r.Works {
		if _, err := fmt.Fprintf(w, "\n%s\n", strings.ToUpper(work)); err != nil {
			return err
		}
		if err := r.table(work, peer).Write(w); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) head(w io.Writer) error {
	if r.Noisy != "" {
		if _, err := fmt.Fprintf(w, "NOISY, not to be quoted: %s\n", r.Noisy); err != nil {
			return err
		}
	}
	m := r.Machine
	cells := ""
	if r.Duration > 0 {
		cells = fmt.Sprintf("cells of %s, ", r.Duration)
	}
	_, err := fmt.Fprintf(w, "%s\n%s, %s/%s, %d CPUs (%s), Linux %s, %s, %s, %s, %smedians [range]\n",
		r.Command, r.Version, m.OS, m.Arch, m.CPUs, r.Host.CPU, r.Host.Kernel, r.Host.Congestion, m.Go,
		r.Started.UTC().Format(time.DateOnly), cells)
	if err != nil {
		return err
	}
	for _, q := range r.Quiet {
		most := ""
		if q.Busiest != "" {
			most = " (most: " + q.Busiest + ")"
		}
		_, err := fmt.Fprintf(w, "%s: others had %.1f %% of the machine, waiting contestants %.2f %%%s\n",
			q.When, 100*q.Others, 100*q.Waiting, most)
		if err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := &cli.Table{Header: []string{"CONTESTANT", "CLASS", "VERSION", "ABOUT"}}
	for _, c := range r.Contestants {
		about := c.About
		if c.Missing != "" {
			about = c.Missing
		}
		t.Add(c.Name, c.Class, c.Version, about)
	}
	return t.Write(w)
}

// table has a column for each metric that some contestant has for the work.
func (r *Report) table(work, peer string) *cli.Table {
	var columns []Metric
	for _, m := range metrics {
		for _, c := range r.Contestants {
			if Of(r.Cells, c.Name, work, m).N > 0 {
				columns = append(columns, m)
				break
			}
		}
	}
	t := &cli.Table{Header: []string{"  CONTESTANT"}}
	for i, m := range columns {
		t.Header = append(t.Header, string(m))
		if i == 0 {
			t.Header = append(t.Header, "TO "+peer)
		}
	}
	t.Header = append(t.Header, "ERRORS")
	for _, c := range r.Contestants {
		row := []any{"  " + c.Name}
		if !slices.ContainsFunc(r.Cells, func(cell Cell) bool { return cell.Contestant == c.Name && cell.Work == work }) {
			continue // it does other work, or is missing, which the head says
		}
		for i, m := range columns {
			row = append(row, show(Of(r.Cells, c.Name, work, m)))
			if i == 0 {
				row = append(row, show(Paired(r.Cells, c.Name, peer, work, m)))
			}
		}
		n, first := failed(r.Cells, c.Name, work)
		if n > 0 {
			row = append(row, fmt.Sprintf("%d: %s", n, first))
		}
		t.Add(row...)
	}
	return t
}

// show gives a median with its range; three digits are more than it is worth.
func show(s Spread) string {
	if s.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%s [%s-%s]", digits(s.Median), digits(s.Min), digits(s.Max))
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// WriteTargets prints one line per target.
func WriteTargets(w io.Writer, list []Judgement) error {
	t := &cli.Table{Header: []string{"CLASS", "TARGET", "FIGURE", "REQUIRED", "AIM", "VERDICT"}}
	for _, j := range list {
		verdict := string(j.Verdict)
		if j.Aimed {
			verdict += ", aim reached"
		}
		if j.Reason != "" {
			verdict += ": " + j.Reason
		}
		t.Add(j.Class, j.Name(), show(j.Figure), j.Bound(j.Required), j.Bound(j.Aim), verdict)
	}
	return t.Write(w)
}

// WriteBench prints the cells in the text format of Go benchmarks (golang.org/
// design/14313), which benchstat reads: one line for each round of a work of a
// contestant.
func (r *Report) WriteBench(w io.Writer) error {
	_, err := fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: integration/bench\ncpu: %s\ncommit: %s\ngo: %s\nkernel: %s\ndate: %s\n",
		r.Machine.OS, r.Machine.Arch, r.Host.CPU, r.Version, r.Machine.Go, r.Host.Kernel, r.Started.UTC().Format(time.RFC3339))
	if err != nil {
		return err
	}
	for _, c := range r.Cells {
		if c.Errors > 0 {
			continue
		}
		line := []string{fmt.Sprintf("Benchmark%s/contestant=%s/work=%s 1", cmp.Or(r.Subject, "Tunnel"), c.Contestant, c.Work)}
		for _, m := range metrics {
			if v, ok := c.Figures[m]; ok {
				line = append(line, fmt.Sprintf("%.6g %s", v, m))
			}
		}
		if _, err := fmt.Fprintln(w, strings.Join(line, " ")); err != nil {
			return err
		}
	}
	return nil
}
