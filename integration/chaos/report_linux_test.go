package chaos

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/figure"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/chaos/link"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// grid is what TestLink measures.
type grid struct {
	dir         string
	contestants []contestant
	rtts        []time.Duration
	losses      []float64 // percent, each way
	rounds      int
	warm        time.Duration
	cell, lossy time.Duration // with loss the rate goes up and down, which takes longer
}

// whole is the grid that LINK_RESULTS asks for; sample tests the measurement.
func whole(t *testing.T, dir string) grid {
	t.Helper()
	g := grid{
		dir: dir, contestants: contestants(), rounds: 3,
		rtts: []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}, losses: []float64{0, 1, 5},
		warm: 3 * time.Second, cell: 4 * time.Second, lossy: 10 * time.Second,
	}
	if rounds := os.Getenv("LINK_ROUNDS"); rounds != "" {
		var err error
		if g.rounds, err = strconv.Atoi(rounds); err != nil {
			t.Fatalf("LINK_ROUNDS: %v", err)
		}
	}
	return g
}

func sample(t *testing.T) grid {
	t.Helper()
	const moment = 200 * time.Millisecond
	return grid{
		dir: t.TempDir(), rounds: 2, rtts: []time.Duration{2 * time.Millisecond}, losses: []float64{0, 1}, warm: moment, cell: moment, lossy: moment,
		contestants: slices.DeleteFunc(contestants(), func(c contestant) bool { return c.name != "direct" && c.name != "quic" && c.name != "bulk" }),
	}
}

// TestLink measures every contestant over lines with delay and loss, in rounds, and
// writes a report. Lines without loss are measured one by one; those with loss carry
// so little that all contestants have one at the same time (-parallel), in namespaces
// of their own. Without LINK_RESULTS it measures a little, for a moment.
//
//	LINK_RESULTS=dir LINK_ROUNDS=3 FRPS=… FRPC=… CHISEL=… go test -run TestLink$ -parallel 10 -timeout 1h ./integration/chaos
//	… -run 'TestLink$/50ms_1%'       # one line
//	… -run 'TestLink$/50ms_1%/.*/frp-mux'
//
// What the directory has already is kept, so that a run can be made in parts.
func TestLink(t *testing.T) { //nolint:paralleltest // it measures
	g := sample
	dir := os.Getenv("LINK_RESULTS")
	if dir != "" {
		g = func(t *testing.T) grid { t.Helper(); return whole(t, dir) }
	}
	r := g(t).measure(t)
	if dir != "" {
		return // a contestant that fails is a result
	}
	if want := 2 * 2 * 3; len(r.Cells) != want {
		t.Errorf("%d cells, want %d", len(r.Cells), want)
	}
	// A machine that is busy may be too slow for the link now and then.
	ok, first := make(map[string]bool), ""
	for _, c := range r.Cells {
		ok[c.Contestant] = ok[c.Contestant] || c.Errors == 0
		first = cmp.Or(first, c.First)
	}
	for _, c := range r.Contestants {
		if !ok[c.Name] {
			t.Errorf("%s never worked: %s", c.Name, first)
		}
	}
}

// measure measures the grid and writes its report.
func (g grid) measure(t *testing.T) *score.Report {
	t.Helper()
	r := newReport(g.contestants, g.cell)
	if err := takeUp(r, g.dir); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards r.Cells
	order := slices.DeleteFunc(slices.Clone(g.contestants), func(c contestant) bool { return c.missing() != "" })
	for round := range g.rounds {
		// Nobody always follows the same one.
		if round%2 == 1 {
			slices.Reverse(order)
		} else if round > 0 {
			order = append(order[3:], order[:3]...)
		}
		for _, rtt := range g.rtts {
			for _, percent := range g.losses {
				name := fmt.Sprintf("%dms %g%%", rtt.Milliseconds(), percent)
				if round == 0 {
					r.Works = append(r.Works, name)
				}
				t.Run(fmt.Sprintf("%s/round %d", name, round+1), func(t *testing.T) {
					line := link.Config{Delay: rtt / 2, Loss: percent / 100, Rate: benchRate, Seed: uint64(round + 1)} //nolint:gosec // not negative
					for _, c := range order {
						t.Run(c.name, func(t *testing.T) {
							if percent > 0 {
								t.Parallel()
							}
							cell := g.measureCell(t, c, line)
							cell.Round, cell.Work = round+1, name
							mu.Lock()
							defer mu.Unlock()
							r.Cells = append(slices.DeleteFunc(r.Cells, func(o score.Cell) bool {
								return o.Round == cell.Round && o.Work == cell.Work && o.Contestant == cell.Contestant
							}), cell)
						})
					}
				})
			}
		}
	}
	if err := write(r, g.dir); err != nil {
		t.Fatal(err)
	}
	return r
}

func newReport(all []contestant, cell time.Duration) *score.Report {
	r := &score.Report{
		Version: configs.Version(), Started: time.Now(), Duration: cell,
		Command: "make bench-link",
		Machine: load.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
		Host:    score.ReadHost(procfs.DefaultMountPoint),
	}
	r.Host.Congestion = congestion()
	for _, c := range all {
		row := score.Contestant{Name: c.name, About: c.about, Missing: c.missing()}
		if len(c.programs) > 0 && row.Missing == "" {
			row.Version = version(os.Getenv(c.programs[0]))
		}
		r.Contestants = append(r.Contestants, row)
	}
	return r
}

// takeUp adds the cells that were measured before.
func takeUp(r *score.Report, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "report.json")) //nolint:gosec // named by whoever runs the test
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var old score.Report
	if err := json.Unmarshal(text, &old); err != nil {
		return err
	}
	r.Cells, r.Started = old.Cells, old.Started
	return nil
}

// version asks a peer's program.
func version(program string) string {
	out, err := exec.Command(program, "--version").Output() //nolint:gosec // named by whoever runs the test
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// measureCell starts a contestant on a line that has no loss yet, and measures it on
// the line.
func (g grid) measureCell(t *testing.T, c contestant, line link.Config) score.Cell {
	t.Helper()
	cell := score.Cell{Contestant: c.name, Figures: make(map[score.Metric]float64)}
	calm := line
	calm.Loss = 0
	w := c.start(t, calm)
	if err := w.link.Set(link.Both, line); err != nil {
		t.Fatal(err)
	}
	during := g.cell
	if line.Loss > 0 {
		during = g.lossy
	}
	f, err := measure(w, g.warm, during)
	if err != nil {
		// That a contestant fails is a result.
		cell.Errors, cell.First = 1, err.Error()
		t.Log(err)
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	cell.Figures[score.Mbits] = f.bits / 1e6
	cell.Figures[score.P50Loaded], cell.Figures[score.P99Loaded] = ms(f.loaded.P50), ms(f.loaded.P99)
	cell.Figures[score.P50Alone], cell.Figures[score.P99Alone] = ms(f.alone.P50), ms(f.alone.P99)
	t.Logf("%.1f Mbit/s, p99 %s loaded, %s alone", f.bits/1e6, f.loaded.P99, f.alone.P99)
	return cell
}

// write makes the files of a report, with figures for each loss.
func write(r *score.Report, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // results are for everybody
		return err
	}
	for name, print := range map[string]func(*bytes.Buffer) error{
		"report.txt": func(b *bytes.Buffer) error { return r.Write(b, "frp-mux") },
		"report.json": func(b *bytes.Buffer) error {
			e := json.NewEncoder(b)
			e.SetIndent("", "\t")
			return e.Encode(r)
		},
		"bench.txt": func(b *bytes.Buffer) error { return r.WriteBench(b) },
	} {
		var b bytes.Buffer
		if err := print(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil { //nolint:gosec // results are for everybody
			return err
		}
	}
	for _, loss := range []string{"0", "1", "5"} {
		part := *r
		part.Works = slices.DeleteFunc(slices.Clone(r.Works), func(w string) bool { return !strings.HasSuffix(w, " "+loss+"%") })
		if len(part.Works) == 0 {
			continue
		}
		for file, m := range map[string]score.Metric{"throughput": score.Mbits, "latency": score.P99Loaded} {
			title := map[score.Metric]string{score.Mbits: "Throughput", score.P99Loaded: "99th percentile of requests beside a download"}[m]
			err := figure.Write(filepath.Join(dir, file+"-loss-"+loss+".svg"), &part, m, title+", "+loss+" % loss")
			if err != nil {
				return err
			}
		}
	}
	return nil
}
