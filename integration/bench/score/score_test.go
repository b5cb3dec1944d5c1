package score

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/peer"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/work"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   []float64
		want Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3, 1}},
		{[]float64{9, 1, 5}, Spread{5, 1, 9, 3}},
		{[]float64{4, 1, 2, 3}, Spread{2.5, 1, 4, 4}},
	} {
		if got := NewSpread(tt.in); got != tt.want {
			t.Errorf("NewSpread(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func cell(round int, contestant string, rate float64) Cell {
	return Cell{Round: round, Contestant: contestant, Work: "req1", Figures: map[Metric]float64{Rate: rate}}
}

// The ratio of medians would be 1; within each round a is twice b, but for one.
func TestPairedWithinRounds(t *testing.T) {
	t.Parallel()
	cells := []Cell{
		cell(1, "a", 2), cell(1, "b", 1),
		cell(2, "a", 20), cell(2, "b", 10),
		cell(3, "a", 10), cell(3, "b", 40),
		cell(4, "a", 7), // b is missing
	}
	if got := Paired(cells, "a", "b", "req1", Rate); got != (Spread{2, 0.25, 2, 3}) {
		t.Errorf("got %v", got)
	}
	// A round with errors is no figure.
	cells[0].Errors = 1
	if got := Paired(cells, "a", "b", "req1", Rate); got.N != 2 {
		t.Errorf("with an error: %v", got)
	}
}

// Every target parses, names contestants that exist, aims at least as high as it
// requires, and each verdict can come of it.
func TestTargets(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, target := range Targets() {
		if seen[target.Name()] {
			t.Errorf("%s is there twice", target.Name())
		}
		seen[target.Name()] = true
		if target.AtMost == (target.Aim > target.Required) && target.Aim != target.Required {
			t.Errorf("%s: aim %v, required %v", target.Name(), target.Aim, target.Required)
		}
		if target.Work == "" {
			if j := target.Judge(nil); j.Verdict != NotMeasured || j.Reason == "" {
				t.Errorf("%s: %+v", target.Name(), j)
			}
			continue
		}
		fleet := []string{FleetTCP, FleetQUIC, CryptoFloor}
		if _, err := work.Parse(target.Work); err != nil && target.Work != Fleet {
			t.Error(err)
		}
		for _, name := range []string{target.Ours, target.Versus} {
			if _, ok := peer.Find(name); !ok && name != "" && (target.Work != Fleet || !slices.Contains(fleet, name)) {
				t.Errorf("%s: no contestant %s", target.Name(), name)
			}
		}
		if j := target.Judge(nil); j.Verdict != NotMeasured {
			t.Errorf("%s without cells: %s", target.Name(), j.Verdict)
		}
		better, worse := 1.01, 0.99
		if target.AtMost {
			better, worse = worse, better
		}
		for factor, want := range map[float64]Verdict{better: OK, worse: Short} {
			cells := []Cell{{Round: 1, Contestant: target.Ours, Work: target.Work, Figures: map[Metric]float64{target.Metric: factor * target.Required}}}
			if target.Versus != "" {
				cells = append(cells, Cell{Round: 1, Contestant: target.Versus, Work: target.Work, Figures: map[Metric]float64{target.Metric: 1}})
			}
			j := target.Judge(cells)
			if j.Verdict != want {
				t.Errorf("%s with %v times what is required: %s", target.Name(), factor, j.Verdict)
			}
			if (Enough([]Judgement{j}) != nil) != (want == Short) {
				t.Errorf("%s, %s: Enough gives %v", target.Name(), want, Enough([]Judgement{j}))
			}
			cells[0].Errors = 1
			if j := target.Judge(cells); j.Verdict != Short {
				t.Errorf("%s with errors: %s", target.Name(), j.Verdict)
			}
		}
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	quiet := Quiet{Spin: 100 * time.Millisecond, Ping: 20_000, Others: 0.02, Waiting: 0.001}
	busy, slow, far, awake := quiet, quiet, quiet, quiet
	busy.Others, slow.Spin, far.Ping, awake.Waiting = 0.3, 150*time.Millisecond, 5_000, 0.03
	slow.When = "round 3"
	for name, tt := range map[string]struct {
		rounds []Quiet
		noisy  string
	}{
		"none":         {nil, ""},
		"quiet":        {[]Quiet{quiet, quiet, quiet}, ""},
		"one in three": {[]Quiet{quiet, busy, quiet}, ""},
		"busy":         {[]Quiet{quiet, busy, busy}, "other processes"},
		"slow":         {[]Quiet{quiet, slow, slow}, "computation"},
		"awake":        {[]Quiet{quiet, awake, awake}, "contestants that waited"},
		"far":          {[]Quiet{quiet, far, far}, "loopback"},
		"mixed":        {[]Quiet{quiet, far, slow}, "round 3"},
	} {
		err := Gate(tt.rounds)
		if (tt.noisy != "") != errors.Is(err, ErrNoisy) || (err != nil && !strings.Contains(err.Error(), tt.noisy)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewCell(t *testing.T) {
	t.Parallel()
	r := work.Result{
		Elapsed: 2 * time.Second, Bytes: 1e9, Ops: 400, CPU: time.Second, Memory: 1 << 20,
		Latency: load.Latency{P50: time.Millisecond},
	}
	for kind, want := range map[work.Kind]map[Metric]float64{
		work.Down:    {Bits: 4, CPUByte: 1},
		work.Request: {Rate: 200, CPUOp: 2500, P50: 1000},
		work.Idle:    {IdleConn: 2.56},
	} {
		c := NewCell(1, "x", work.Work{Kind: kind, Conns: 1}, r, true)
		for m, v := range want {
			if c.Figures[m] != v {
				t.Errorf("%s: %s is %v, want %v", kind, m, c.Figures[m], v)
			}
		}
		bare := NewCell(1, "x", work.Work{Kind: kind, Conns: 1}, r, false)
		for _, m := range []Metric{CPUByte, CPUOp, IdleConn} {
			if v, ok := bare.Figures[m]; ok {
				t.Errorf("%s without a relay: %s is %v", kind, m, v)
			}
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	r := &Report{
		Works: []string{"req1"}, Quiet: make([]Quiet, 2), Noisy: "too loud", Cells: []Cell{cell(1, "a", 30), cell(1, "b", 20), cell(2, "b", 20)},
		Contestants: []Contestant{{Name: "a"}, {Name: "b"}, {Name: "c", Missing: "not installed: c"}},
	}
	r.Cells[2].Errors, r.Cells[2].First = 7, "reset"
	var table, text strings.Builder
	if err := errors.Join(r.Write(&table, "b"), r.WriteBench(&text)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOISY", "too loud", "not installed: c", "1.50 [1.50-1.50]", "7: reset"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	if got := strings.Count(text.String(), "\nBenchmarkTunnel/contestant="); got != 2 {
		t.Errorf("%d lines in\n%s", got, &text)
	}
}

// A fleet smaller than what the targets are for is judged, and said to be.
func TestJudgeFleet(t *testing.T) {
	t.Parallel()
	r := &Report{Devices: 1000, Cells: []Cell{
		{Round: 1, Contestant: FleetTCP, Work: Fleet, Figures: map[Metric]float64{Storm: 12, Accepts: 500}},
		{Round: 1, Contestant: CryptoFloor, Work: Fleet, Figures: map[Metric]float64{Accepts: 1000}},
	}}
	told := 0
	for _, j := range r.Judge() {
		if j.Verdict == OK && j.Aimed && strings.Contains(j.Reason, "1000 tunnels") {
			told++
		} else if j.Verdict != NotMeasured {
			t.Errorf("%s: %+v", j.Name(), j)
		}
	}
	if told != 2 {
		t.Errorf("%d verdicts, want storm and accepts", told)
	}
}

func TestJudged(t *testing.T) {
	t.Parallel()
	names := Judged()
	for _, name := range names {
		if _, ok := peer.Find(name); !ok {
			t.Errorf("no contestant %s", name)
		}
	}
	if !slices.Contains(names, "frp-stcp") || slices.Contains(names, FleetTCP) {
		t.Errorf("got %v", names)
	}
	for _, name := range names {
		if !slices.ContainsFunc([]string{"down1", "down8", "req1", "open32"}, func(w string) bool { return Needed(name, w) }) {
			t.Errorf("nothing of %s is needed", name)
		}
	}
	for _, tt := range []struct {
		name, work string
		want       bool
	}{
		{"same-tcp", "idle300", true},
		{"frp-mux", "req256", true},
		{"frp-mux", "idle300", false},
		{"sdk-bulk", "req1", false},
		{"direct", "open32", true},
		{"direct", "idle300", false},
		{"nobody", "down1", false},
	} {
		if got := Needed(tt.name, tt.work); got != tt.want {
			t.Errorf("%s of %s needed: %t", tt.work, tt.name, got)
		}
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	r := &Report{Version: "1a2b3c4-dirty", Started: time.Unix(0, 0), Machine: load.Machine{CPUs: 2}, Host: Host{CPU: "AMD EPYC (virtual)"}}
	if got := r.Name(); got != "1970-01-01T0000-1a2b3c4-dirty-2x-AMD-EPYC-virtual" {
		t.Errorf("got %q", got)
	}
	r.Subject = "CA"
	if got := r.Name(); got != "ca-1970-01-01T0000-1a2b3c4-dirty-2x-AMD-EPYC-virtual" {
		t.Errorf("of another subject: %q", got)
	}
}
