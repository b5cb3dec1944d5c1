package chaos

import (
	"bytes"
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

// How long a cell takes.
const (
	warmUp = 3 * time.Second
	// Without loss the rate is reached, and kept, in seconds; with loss it goes up and
	// down.
	cellTime      = 4 * time.Second
	lossyCellTime = 10 * time.Second
)

// TestLink measures every contestant over lines with delay and loss, in rounds, and
// writes a report. Lines without loss are measured one by one; those with loss carry
// so little that all contestants have one at the same time (-parallel), in namespaces
// of their own.
//
//	LINK_RESULTS=dir LINK_ROUNDS=3 FRPS=… FRPC=… CHISEL=… go test -run TestLink$ -parallel 10 -timeout 1h ./integration/chaos
//	… -run 'TestLink$/50ms_1%'       # one line
//	… -run 'TestLink$/50ms_1%/.*/frp-mux'
//
// What the directory has already is kept, so that a run can be made in parts.
func TestLink(t *testing.T) {
	dir := os.Getenv("LINK_RESULTS")
	if dir == "" {
		t.Skip("LINK_RESULTS names no directory")
	}
	rounds, err := strconv.Atoi(os.Getenv("LINK_ROUNDS"))
	if err != nil {
		rounds = 3
	}
	r := newReport(contestants())
	if err := takeUp(r, dir); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards r.Cells
	order := contestants()
	for round := range rounds {
		// Nobody always follows the same one.
		if round%2 == 1 {
			slices.Reverse(order)
		} else if round > 0 {
			order = append(order[3:], order[:3]...)
		}
		for _, rtt := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
			for _, percent := range []float64{0, 1, 5} {
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
							cell := measureCell(t, c, line)
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
	if err := write(r, dir); err != nil {
		t.Fatal(err)
	}
}

func newReport(all []contestant) *score.Report {
	r := &score.Report{
		Version: configs.Version(), Started: time.Now(), Duration: cellTime,
		Command: "make bench-link",
		Machine: load.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
		Host:    score.ReadHost(procfs.DefaultMountPoint),
	}
	r.Host.Congestion = congestion()
	for _, c := range all {
		row := score.Contestant{Name: c.name, About: c.about}
		if c.program != "" {
			row.Version = version(os.Getenv(c.program))
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
	if program == "" {
		return ""
	}
	out, err := exec.Command(program, "--version").Output() //nolint:gosec // named by whoever runs the test
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// measureCell starts a contestant on a line that has no loss yet, and measures it on
// the line.
func measureCell(t *testing.T, c contestant, line link.Config) score.Cell {
	t.Helper()
	cell := score.Cell{Contestant: c.name, Figures: make(map[score.Metric]float64)}
	calm := line
	calm.Loss = 0
	w := c.start(t, calm)
	if err := w.link.Set(link.Both, line); err != nil {
		t.Fatal(err)
	}
	during := cellTime
	if line.Loss > 0 {
		during = lossyCellTime
	}
	f, err := measure(w, warmUp, during)
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
