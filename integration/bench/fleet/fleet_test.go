package fleet_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/fleet"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	r := &load.Report{
		Connect: &load.ConnectReport{PerSecond: 700, CPUPerTunnel: 2 * time.Millisecond},
		Memory:  []load.MemoryPoint{{When: "connected", PerTunnel: 1}, {When: "idle for 20s", PerTunnel: 64 << 10}, {When: "after the comeback", PerTunnel: 2}},
		Idle:    &load.IdleReport{PerTunnel: 5 * time.Microsecond},
		Kill:    &load.KillReport{Devices: 10, Comeback: load.Comeback{Back: 10, Elapsed: 3 * time.Second}},
		Storm:   &load.StormReport{Devices: 10, Back: 10, Ratio: 1.5},
	}
	got := fleet.Figures(r)
	for m, want := range map[score.Metric]float64{
		score.Connects: 700, score.Accepts: 500, score.TunnelMemory: 64, score.IdleCPU: 5, score.Storm: 3, score.StormP99: 1.5,
	} {
		if got[m] != want {
			t.Errorf("%s is %v, want %v", m, got[m], want)
		}
	}
	// A storm that not everybody came back from has no time, and no ratio.
	r.Kill.Back, r.Storm.Back = 9, 9
	if v, ok := fleet.Figures(r)[score.Storm]; ok {
		t.Errorf("one device is away, and the storm took %v s", v)
	}
	if v, ok := fleet.Figures(r)[score.StormP99]; ok {
		t.Errorf("one device is away, and the others' calls took %v times as long", v)
	}
}

// sims are programs that stand for sim, by the name under which this one is called:
// what each writes as its report, and its exit code.
func sims() map[string]struct {
	report string
	code   int
} {
	return map[string]struct {
		report string
		code   int
	}{
		"good":          {`{"connect":{"per_second":5}}`, 0},
		"with-failures": {`{"connect":{"per_second":5},"failures":["one"]}`, 1},
		"no-report":     {"", 1},
		"no-json":       {"x", 0},
		"died-late":     {"{}", 1},
	}
}

func TestMain(m *testing.M) {
	sim, ok := sims()[filepath.Base(os.Args[0])]
	if !ok {
		os.Exit(m.Run())
	}
	// The last argument of sim is where the report goes.
	if sim.report != "" && os.WriteFile(os.Args[len(os.Args)-1], []byte(sim.report), 0o600) != nil {
		sim.code = 99
	}
	os.Exit(sim.code)
}

// program gives this program under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	o := fleet.Options{Devices: 10, Transport: "tcp", Heartbeat: time.Second, Idle: time.Second, Bystanders: 1, Patience: time.Minute}
	for name, tt := range map[string]struct {
		figures, failures int
		ok                bool
	}{
		"good": {1, 0, true}, "with-failures": {1, 1, true},
		"no-report": {}, "no-json": {}, "died-late": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			figures, failures, err := fleet.Measure(t.Context(), program(t, name), o)
			if (err == nil) != tt.ok || len(figures) != tt.figures || len(failures) != tt.failures {
				t.Errorf("got %v, %v, %v", figures, failures, err)
			}
		})
	}
}

func TestFindSim(t *testing.T) {
	t.Setenv("SIM", "")
	t.Setenv("PATH", t.TempDir())
	if path, err := fleet.FindSim(); !errors.Is(err, fleet.ErrNoSim) {
		t.Errorf("found %q, %v", path, err)
	}
	want := program(t, "sim")
	t.Setenv("PATH", filepath.Dir(want))
	if path, err := fleet.FindSim(); err != nil || path != want {
		t.Errorf("in PATH: %q, %v", path, err)
	}
	t.Setenv("PATH", "")
	t.Setenv("SIM", want)
	if path, err := fleet.FindSim(); err != nil || path != want {
		t.Errorf("in SIM: %q, %v", path, err)
	}
	t.Setenv("SIM", filepath.Join(filepath.Dir(want), "other"))
	if path, err := fleet.FindSim(); err == nil {
		t.Errorf("SIM names nothing, and %q is found", path)
	}
}

// crypto/tls does at least what the floor counts.
func TestFloor(t *testing.T) {
	t.Parallel()
	var floors fleet.Floors
	if got := floors.Mean(); got != (fleet.Rates{}) {
		t.Errorf("the mean of none is %+v", got)
	}
	if err := floors.Add(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := floors.Mean()
	if r.Crypto <= 0 || r.TLS <= 0 {
		t.Errorf("got %+v", r)
	}
	floors = append(floors, fleet.Rates{Crypto: 2 * r.Crypto, TLS: 3 * r.TLS})
	if got := floors.Mean(); math.Abs(got.Crypto/r.Crypto-1.5) > 1e-9 || math.Abs(got.TLS/r.TLS-2) > 1e-9 {
		t.Errorf("the mean of %+v is %+v", floors, got)
	}
	t.Logf("%+v", r)
}
