package load

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

var update = flag.Bool("update", false, "write the golden files")

func sampleReport() *Report {
	lat := func(n int64, base time.Duration) Latency {
		return Latency{Count: n, Mean: base, P50: base, P90: 2 * base, P99: 5 * base, P999: 9 * base, Max: 12 * base}
	}
	const mib = 1 << 20
	return &Report{
		Version: "v1.2.3", Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Machine:  Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"},
		Settings: []Setting{{"devices", "10000"}, {"transport", "quic"}},
		Connect: &ConnectReport{
			Devices: 10000, Online: 9999, Elapsed: 12345 * time.Millisecond, PerSecond: 810.04, Latency: lat(9999, 70*time.Millisecond),
			Failed: map[string]int{"AUER-1208": 3, "AUER-1004": 1}, CPUPerTunnel: 912 * time.Microsecond,
		},
		Memory: []MemoryPoint{
			{When: "without tunnels", RSS: 17 * mib},
			MemoryPoint{When: "connected", RSS: 700 * mib, Tunnels: 9999}.Per(17 * mib),
		},
		Idle: NewIdleReport(Usage{At: time.Unix(100, 0), CPU: time.Second}, Usage{At: time.Unix(130, 0), CPU: 4 * time.Second}, 9999),
		Load: &LoadReport{Result: Result{
			Model: Model{Kind: Open, Rate: 200, Arrivals: Poisson}, Elapsed: 30 * time.Second, Calls: 6000, Failed: 2, PerSecond: 199.9,
			Latency: map[string]Latency{All: lat(5998, 4*time.Millisecond), "web": lat(5000, 3*time.Millisecond), "web, first": lat(998, 20*time.Millisecond)},
			Late:    lat(6000, 80*time.Microsecond), Errors: map[string]int{"AUER-1301": 2}, FirstError: "AUER-1301 offline",
		}, CPUPerCall: 300 * time.Microsecond},
		Attacks: []AttackReport{sampleAttack(lat)},
		Storm:   sampleStorm(lat),
		Kill: &KillReport{
			Devices: 10000, Outage: 90 * time.Millisecond,
			Comeback: Comeback{Back: 10000, Elapsed: 27 * time.Second, SinceMark: lat(10000, 2*time.Second), SinceLoss: lat(9999, time.Second)},
			Lost:     map[string]int{"AUER-1404": 10000}, Failed: map[string]int{"AUER-1208": 17},
		},
		Fleet:     Counts{Devices: 10000, Online: 10000, Welcomes: 19999, Failed: map[string]int{"AUER-1208": 20, "AUER-1004": 1}, Lost: map[string]int{"AUER-1404": 10000}, Back: 10000},
		Simulator: MemoryPoint{When: "connected", RSS: 900 * mib, Tunnels: 9999}.Per(20 * mib),
		Failures:  []string{"2 of 6000 calls failed"},
	}
}

func sampleAttack(lat func(int64, time.Duration) Latency) AttackReport {
	r := AttackReport{
		Attack: "crash", About: "a device starts and crashes 10 times per second", Done: 240, Settled: 40 * time.Millisecond,
		Before: RelayState{Goroutines: 150, Files: 26, Heap: 34 << 20, Dropped: map[string]int64{}},
		After:  RelayState{Goroutines: 151, Files: 26, Heap: 35 << 20, Dropped: map[string]int64{"handshake": 2}},
	}
	for _, attacked := range []time.Duration{time.Millisecond, 8 * time.Millisecond, 3 * time.Millisecond} {
		r.Add(Result{Calls: 800, Latency: map[string]Latency{All: lat(800, 2*time.Millisecond)}},
			Result{Calls: 801, Failed: 1, Latency: map[string]Latency{All: lat(800, attacked)}})
	}
	return r
}

func sampleStorm(lat func(int64, time.Duration) Latency) *StormReport {
	r := &StormReport{Devices: 10000, Bystanders: 50, Model: Model{Kind: Open, Rate: 200, Arrivals: Poisson}}
	for i, stormy := range []time.Duration{3 * time.Millisecond, 16 * time.Millisecond, time.Millisecond} {
		r.Add(Result{Calls: 1000, Latency: map[string]Latency{All: lat(1000, 2*time.Millisecond)}},
			Result{Calls: 2001, Failed: 1, FirstError: "AUER-1404 gone", Latency: map[string]Latency{All: lat(2000, stormy)}},
			Comeback{Back: 10000 - i%2, Elapsed: time.Duration(10+i*i) * time.Second})
	}
	return r
}

func TestStormReport(t *testing.T) {
	t.Parallel()
	r := sampleReport().Storm
	if r.Ratio != 1.5 || len(r.Times) != 3 || r.Back != 9999 || r.Calls != 9003 || r.Failed != 3 || r.FirstError == "" {
		t.Errorf("got %+v", r)
	}
}

func TestAttackRatioIsTheMedian(t *testing.T) {
	t.Parallel()
	r := sampleReport().Attacks[0]
	if r.Ratio != 1.5 || r.Calls != 4803 || r.Failed != 3 {
		t.Errorf("got ratio %v, %d calls, %d failed; want 1.5, 4803, 3", r.Ratio, r.Calls, r.Failed)
	}
	one := Result{Latency: map[string]Latency{All: {P99: 10}}}
	r.Add(one, one)
	if r.Ratio != 1.25 {
		t.Errorf("of four rounds: got %v, want 1.25", r.Ratio)
	}
}

func TestReportGolden(t *testing.T) {
	t.Parallel()
	r := sampleReport()
	var text, js bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	if err := cli.WriteJSON(&js, r); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"report.txt": text.Bytes(), "report.json": js.Bytes()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path) //nolint:gosec // below testdata
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
		}
	}
	var back Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&back, r) {
		t.Errorf("read back as %+v", back)
	}
}

// A report of a run that ended early prints what there is.
func TestReportParts(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := (&Report{}).Write(&text); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text.Bytes(), []byte("CONNECT")) || bytes.Contains(text.Bytes(), []byte("KILL")) {
		t.Errorf("an empty report prints\n%s", text.Bytes())
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	got := Since(map[string]int{"a": 3, "b": 1, "c": 2}, map[string]int{"a": 1, "b": 1})
	if !reflect.DeepEqual(got, map[string]int{"a": 2, "c": 2}) {
		t.Errorf("got %v", got)
	}
}

func TestReadUsage(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	u, err := ReadUsage(os.Getpid())
	if err != nil || u.RSS < 1<<20 || u.At.IsZero() {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := ReadUsage(1 << 30); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}
