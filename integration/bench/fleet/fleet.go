// Package fleet measures what many tunnels cost a relay, with program sim, and what
// a handshake costs at least.
//
//	path, err := fleet.FindSim()
//	figures, failures, err := fleet.Measure(ctx, path, fleet.Options{Devices: 1000, Transport: "quic", …})
//	var floors fleet.Floors
//	err = floors.Add(ctx) // between fleets
//	floor := floors.Mean()
//
// One run of sim connects the fleet, leaves it idle, restarts all devices at once
// while other devices are called, kills the relay (SIGKILL) and waits until every
// device is back.
package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// ErrNoSim: program sim is not there, and so nothing can be said about fleets.
var ErrNoSim = errors.New("not installed: sim (set SIM, or build it beside bench)")

// FindSim looks for program sim: where SIM points, beside this program, and in
// PATH.
func FindSim() (string, error) {
	path, err := process.Find("SIM", "sim")
	if err == nil && path == "" {
		err = ErrNoSim
	}
	return path, err
}

// Options say what is simulated; those without a default are needed.
type Options struct {
	Devices int
	// Transport is quic or tcp.
	Transport string
	// Heartbeat is the time between two of a device, and Idle how long the idle fleet
	// is measured; a whole number of heartbeats gives each device the same weight.
	Heartbeat time.Duration
	Idle      time.Duration
	// Bystanders is how many other devices are called while the fleet comes back; 0:
	// that is not measured.
	Bystanders int
	// Patience is how long the fleet may take to connect, and to come back. 0: sim's
	// default.
	Patience time.Duration
}

// How the calls of bystanders are measured without a storm, and how many storms.
const (
	quietTime = 5 * time.Second
	storms    = 3
)

// Measure runs sim. failures are what sim found not to be as it should.
func Measure(ctx context.Context, sim string, o Options) (figures map[score.Metric]float64, failures []string, err error) {
	dir, err := os.MkdirTemp("", "bench-sim")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "report.json")
	var says strings.Builder
	cmd := exec.CommandContext(ctx, sim, "run", "--devices", strconv.Itoa(o.Devices), "--transport", o.Transport, //nolint:gosec // found by FindSim
		"--heartbeat", o.Heartbeat.String(), "--idle", o.Idle.String(), "--bystanders", strconv.Itoa(o.Bystanders), "--duration", quietTime.String(), "--rounds", strconv.Itoa(storms), "--kill", "--out", out)
	if o.Patience > 0 {
		cmd.Args = slices.Insert(cmd.Args, len(cmd.Args)-2, "--patience", o.Patience.String())
	}
	cmd.Stderr = &says
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it stops its relay then
	cmd.WaitDelay = 10 * time.Second
	runErr := cmd.Run()
	text, err := os.ReadFile(out) //nolint:gosec // our own directory
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %s", sim, cmp.Or(runErr, err), says.String())
	}
	var r load.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", sim, err)
	}
	// sim's exit code tells of the failures, which are in the report.
	if runErr != nil && len(r.Failures) == 0 {
		return nil, nil, fmt.Errorf("%s: %w: %s", sim, runErr, says.String())
	}
	return Figures(&r), r.Failures, nil
}

// Figures takes out of sim's report what the comparison needs.
func Figures(r *load.Report) map[score.Metric]float64 {
	figures := make(map[score.Metric]float64)
	if c := r.Connect; c != nil {
		figures[score.Connects] = c.PerSecond
		if c.CPUPerTunnel > 0 {
			figures[score.Accepts] = float64(time.Second) / float64(c.CPUPerTunnel)
		}
	}
	// The last reading before the kill without a forced collection: what the system
	// has to provide.
	for _, m := range r.Memory {
		if strings.HasPrefix(m.When, "idle") {
			figures[score.TunnelMemory] = float64(m.PerTunnel) / (1 << 10)
		}
	}
	if i := r.Idle; i != nil {
		figures[score.IdleCPU] = float64(i.PerTunnel) / float64(time.Microsecond)
	}
	if s := r.Storm; s != nil && s.Back == s.Devices {
		figures[score.StormP99] = s.Ratio
	}
	if k := r.Kill; k != nil && k.Back == k.Devices {
		figures[score.Storm] = k.Elapsed.Seconds()
	}
	return figures
}
