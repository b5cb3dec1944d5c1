package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// simulation is one run: its phases in order, each of which adds its part to the
// report.
type simulation struct {
	o        options
	progress *load.Progress
	report   *load.Report

	certs load.Certificates
	relay *process // nil: the relay is not ours
	addr  string
	pid   int // of the relay; 0: not known
	empty load.Usage
	fleet *load.Fleet

	attacker string // directory of the attacker's certificate
	others   string // directory of the bystanders' certificates; empty: there are none
}

// simulate runs a simulation. The report is there, with what was measured so far,
// on an error too.
func simulate(ctx context.Context, o options, progress *load.Progress) (*load.Report, error) {
	s := newSimulation(o, progress)
	return s.report, s.inDir(ctx, s.phases)
}

func newSimulation(o options, progress *load.Progress) *simulation {
	return &simulation{o: o, progress: progress, report: &load.Report{
		Version: configs.Version(), Started: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(),
	}}
}

func thisMachine() load.Machine {
	return load.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
}

// phasesFunc is what is done with a fleet that has just been started; own is the
// simulator's usage before that.
type phasesFunc func(ctx context.Context, own load.Usage) error

// inDir runs the phases with a directory of their own, and stops the relay.
func (s *simulation) inDir(ctx context.Context, phases phasesFunc) error {
	dir, err := os.MkdirTemp("", "sim")
	if err != nil {
		return err
	}
	err = s.run(ctx, dir, phases)
	if s.relay != nil && s.relay.cmd != nil {
		s.relay.kill()
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func (s *simulation) run(ctx context.Context, dir string, phases phasesFunc) error {
	if err := s.prepare(ctx, dir); err != nil {
		return err
	}
	own, err := load.ReadUsage(os.Getpid())
	if err != nil && s.pid != 0 {
		return err // not Linux: without a relay to measure that does not matter
	}
	if err := checkFiles(s.o.devices, s.o.transport); err != nil {
		return err
	}
	s.progress.Say("making %d devices", s.o.devices)
	s.fleet, err = load.NewFleet(load.FleetConfig{
		Devices: s.o.devices, Relays: []string{s.addr}, Transport: s.o.transport, Certificates: s.certs,
		Seed: s.o.seed, ConnectRate: s.o.connectRate, Connecting: s.o.connecting, Dialing: s.o.dialing,
	})
	if err != nil {
		return err
	}
	// The fleet ends after the phases, or with the first error of its own.
	g, ctx := errgroup.WithContext(ctx)
	fleetCtx, stop := context.WithCancel(ctx)
	g.Go(func() error { return s.fleet.Run(fleetCtx) })
	g.Go(func() error {
		defer stop()
		return phases(ctx, own)
	})
	return g.Wait()
}

// prepare makes or reads the certificates, and starts the relay if it is ours.
func (s *simulation) prepare(ctx context.Context, dir string) error {
	td, err := identity.ParseTrustDomain(s.o.domain)
	if err != nil {
		return err
	}
	if s.o.relay != "" {
		s.certs, s.addr, s.pid = load.FromDir(s.o.ca, td), s.o.relay, s.o.relayPID
	} else {
		ca, err := pkitest.NewCA(td)
		if err != nil {
			return err
		}
		s.certs = load.FromCA(ca, s.o.seed)
		home := filepath.Join(dir, relayID)
		if err := ca.Write(home, identity.Relay(td, relayID)); err != nil {
			return err
		}
		s.attacker = filepath.Join(dir, "attacker")
		if err := ca.Write(s.attacker, identity.Device(td, load.AttackerSerial)); err != nil {
			return err
		}
		if s.o.bystanders > 0 {
			s.others = filepath.Join(dir, "others")
			// The seed keeps their serials apart from those of the fleet.
			err := load.WriteDir(s.others, load.FromCA(ca, ^s.o.seed), s.o.bystanders, identity.Service(td, load.CallerName))
			if err != nil {
				return err
			}
		}
		s.relay = &process{args: []string{
			"relay", "--dir", home, "--heartbeat", s.o.heartbeat.String(), "--handshake-rate", fmt.Sprint(s.o.handshakes),
		}}
		if err := s.relay.start(ctx); err != nil {
			return err
		}
		s.addr, s.pid = s.relay.Relay, s.relay.pid()
	}
	s.empty, err = s.sample(ctx, "without tunnels", true)
	return err
}

func (s *simulation) phases(ctx context.Context, own load.Usage) error {
	if err := s.connect(ctx, own); err != nil {
		return err
	}
	if s.o.idle > 0 {
		if err := s.idle(ctx); err != nil {
			return err
		}
	}
	if s.o.load != "" {
		if err := s.load(ctx); err != nil {
			return err
		}
	}
	for _, name := range s.o.attacks {
		if err := s.attack(ctx, name); err != nil {
			return err
		}
	}
	s.steady()
	if s.o.bystanders > 0 {
		if err := s.storm(ctx); err != nil {
			return err
		}
	}
	if s.o.kill {
		if err := s.kill(ctx); err != nil {
			return err
		}
	}
	s.report.Fleet = s.fleet.Counts()
	return nil
}

// steady notes the sessions that ended although nobody ended them.
func (s *simulation) steady() {
	if s.o.churn > 0 {
		return
	}
	for code, n := range s.fleet.Counts().Lost {
		s.failed("%d sessions of devices ended by themselves: %s", n, code)
	}
}

// spareFiles is what each process needs beside the devices' connections.
const spareFiles = 512

// checkFiles finds out beforehand that there will be too few file descriptors.
func checkFiles(devices int, transport string) error {
	need := devices + spareFiles
	limit, known := openFiles()
	if transport == agent.TransportQUIC || !known || uint64(need) <= limit { //nolint:gosec // not negative
		return nil
	}
	return &cli.Hint{
		Err:  fmt.Errorf("%d devices over TCP need about %d open files, the limit is %d", devices, need, limit),
		Hint: "raise it with ulimit -n, or use --transport quic",
	}
}

// failed notes something that was not as it should be.
func (s *simulation) failed(format string, args ...any) {
	s.report.Failures = append(s.report.Failures, fmt.Sprintf(format, args...))
}

// sample measures the relay, and notes its memory under a name. Where it is ours,
// it can be made to collect garbage first.
func (s *simulation) sample(ctx context.Context, when string, collect bool) (load.Usage, error) {
	if s.pid == 0 {
		return load.Usage{At: time.Now()}, nil
	}
	if collect && s.relay == nil {
		collect = false
	}
	if collect {
		if err := s.relay.collect(ctx); err != nil {
			return load.Usage{}, err
		}
	}
	u, err := load.ReadUsage(s.pid)
	if err != nil || when == "" {
		return u, err
	}
	point := load.MemoryPoint{When: when, RSS: u.RSS}
	if s.fleet != nil {
		point.Tunnels = s.fleet.Counts().Online
	}
	s.report.Memory = append(s.report.Memory, point.Per(s.empty.RSS))
	return u, nil
}
