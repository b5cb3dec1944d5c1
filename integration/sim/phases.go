package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// connect waits until the fleet is connected.
func (s *simulation) connect(ctx context.Context, own load.Usage) error {
	before, err := s.sample(ctx, "", false)
	if err != nil {
		return err
	}
	err = s.within(ctx, "connecting", func(ctx context.Context) error { return s.fleet.WaitOnline(ctx, s.o.devices) })
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	after, err := s.sample(ctx, "connected", false)
	if err != nil {
		return err
	}
	c := s.fleet.Counts()
	if c.Online < c.Devices {
		s.failed("%d of %d devices did not connect within %s", c.Devices-c.Online, c.Devices, s.o.patience)
	}
	r := &load.ConnectReport{
		Devices: c.Devices, Online: c.Online, Elapsed: s.fleet.ConnectTime(), Latency: s.fleet.Connected(), Failed: c.Failed,
	}
	if r.Elapsed > 0 {
		r.PerSecond = float64(c.Welcomes) / r.Elapsed.Seconds()
	}
	if c.Welcomes > 0 {
		r.CPUPerTunnel = (after.CPU - before.CPU) / time.Duration(c.Welcomes)
	}
	s.report.Connect = r
	if mine, err := load.ReadUsage(os.Getpid()); err == nil { // nothing to report elsewhere than on Linux
		s.report.Simulator = load.MemoryPoint{When: "connected", RSS: mine.RSS, Tunnels: c.Online}.Per(own.RSS)
	}
	if err := s.heapProfiles(ctx, "connected"); err != nil {
		return err
	}
	_, err = s.sample(ctx, "connected, garbage collected", true)
	return err
}

// idle measures heartbeats alone.
func (s *simulation) idle(ctx context.Context) error {
	before, err := s.sample(ctx, "", false)
	if err != nil {
		return err
	}
	err = s.progress.While(ctx, s.line("idle"), func(ctx context.Context) error { return wait(ctx, s.o.idle) })
	if err != nil {
		return err
	}
	after, err := s.sample(ctx, "idle for "+s.o.idle.String(), false)
	if err != nil {
		return err
	}
	if s.pid != 0 {
		s.report.Idle = load.NewIdleReport(before, after, s.fleet.Counts().Online)
		if s.relay != nil {
			s.report.Idle.Heartbeat = s.o.heartbeat
		}
	}
	return nil
}

// wait waits for a time.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// caller makes the caller of the called devices.
func (s *simulation) caller() (*load.Caller, error) {
	serials := s.fleet.Serials()
	if s.o.targets > 0 {
		serials = serials[:s.o.targets]
	}
	return load.NewCaller(load.CallerConfig{
		Relays: []string{s.addr}, Certificates: s.certs, Serials: serials, Services: s.o.services, Seed: s.o.seed,
	})
}

// load makes calls.
func (s *simulation) load(ctx context.Context) error {
	caller, err := s.caller()
	if err != nil {
		return err
	}
	before, err := s.sample(ctx, "", false)
	if err != nil {
		return errors.Join(err, caller.Close())
	}
	var live load.Live
	online := s.line("load")
	line := func() string {
		return fmt.Sprintf("%s, calls: %d started, %d done, %d failed", online(), live.Started.Load(), live.Done.Load(), live.Failed.Load())
	}
	var result load.Result
	err = s.progress.While(ctx, line, func(ctx context.Context) error {
		var g errgroup.Group
		churn, stop := context.WithCancel(ctx)
		if s.o.churn > 0 {
			g.Go(func() error { s.fleet.Churn(churn, s.o.churn); return nil })
		}
		g.Go(func() error { return s.cpuProfiles(ctx, "load", s.o.duration) })
		result = load.Run(ctx, load.Plan{Model: s.o.model, Duration: s.o.duration, Seed: s.o.seed, Live: &live}, caller.Call)
		stop()
		return errors.Join(g.Wait(), ctx.Err())
	})
	if err != nil {
		return errors.Join(err, caller.Close())
	}
	after, err := s.sample(ctx, "after the calls", false)
	if err != nil {
		return errors.Join(err, caller.Close())
	}
	r := &load.LoadReport{Result: result}
	if result.Calls > 0 {
		r.CPUPerCall = (after.CPU - before.CPU) / time.Duration(result.Calls)
	}
	s.report.Load = r
	if result.Failed > 0 && s.o.churn == 0 {
		s.failed("%d of %d calls failed", result.Failed, result.Calls)
	}
	if err := errors.Join(s.heapProfiles(ctx, "load"), caller.Close()); err != nil {
		return err
	}
	_, err = s.sample(ctx, "after the calls, garbage collected", true)
	return err
}

// kill kills the relay, starts it again, and waits for the fleet.
func (s *simulation) kill(ctx context.Context) error {
	before := s.fleet.Counts()
	s.progress.Say("kill -9 and restart of the relay")
	s.fleet.Mark()
	begin := time.Now()
	s.relay.kill()
	if err := s.relay.start(ctx); err != nil {
		return err
	}
	outage := time.Since(begin)
	s.pid = s.relay.pid()
	err := s.within(ctx, "coming back", s.fleet.WaitBack)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	now := s.fleet.Counts()
	r := &load.KillReport{
		Devices: now.Devices, Outage: outage, Comeback: s.fleet.Comeback(),
		Lost: load.Since(now.Lost, before.Lost), Failed: load.Since(now.Failed, before.Failed),
	}
	s.report.Kill = r
	if now.Back < now.Devices {
		s.failed("%d of %d devices did not come back within %s", now.Devices-now.Back, now.Devices, s.o.patience)
	}
	if _, err := s.sample(ctx, "after the comeback", false); err != nil {
		return err
	}
	_, err = s.sample(ctx, "after the comeback, garbage collected", true)
	return err
}

// within runs a wait for the fleet with progress, at most for the patience. CPU
// profiles cover its beginning.
func (s *simulation) within(ctx context.Context, what string, wait func(context.Context) error) error {
	return s.progress.While(ctx, s.line(what), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, s.o.patience)
		defer cancel()
		var g errgroup.Group
		g.Go(func() error { return s.cpuProfiles(ctx, what, cpuWindow) })
		err := wait(ctx)
		return errors.Join(err, g.Wait())
	})
}

// line is the progress of the fleet.
func (s *simulation) line(what string) func() string {
	begin := time.Now()
	return func() string {
		c := s.fleet.Counts()
		text := fmt.Sprintf("%s, %s: %d of %d online", what, time.Since(begin).Round(100*time.Millisecond), c.Online, c.Devices)
		if what == "coming back" {
			text += fmt.Sprintf(", %d back", c.Back)
		}
		return text
	}
}

// cpuWindow is how much of a wait is profiled.
const cpuWindow = 5 * time.Second

// cpuProfiles profiles the relay and the simulator, where --profiles is given.
func (s *simulation) cpuProfiles(ctx context.Context, what string, window time.Duration) error {
	if s.o.profiles == "" {
		return nil
	}
	f, err := s.create("sim-cpu-" + what + ".pb.gz")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	seconds := max(1, int(window.Seconds()))
	err = s.relay.download(ctx, fmt.Sprintf("debug/pprof/profile?seconds=%d", seconds), s.file("relay-cpu-"+what+".pb.gz"))
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

// heapProfiles writes what is in use after a collection, and the relay's metrics.
func (s *simulation) heapProfiles(ctx context.Context, what string) error {
	if s.o.profiles == "" {
		return nil
	}
	f, err := s.create("sim-heap-" + what + ".pb.gz")
	if err != nil {
		return err
	}
	err = pprof.Lookup("heap").WriteTo(f, 0)
	for _, part := range []struct{ path, file string }{
		{"debug/pprof/heap?gc=1", "relay-heap-" + what + ".pb.gz"},
		{"debug/pprof/goroutine?debug=1", "relay-goroutines-" + what + ".txt"},
		{"metrics", "relay-metrics-" + what + ".txt"},
	} {
		err = errors.Join(err, s.relay.download(ctx, part.path, s.file(part.file)))
	}
	return errors.Join(err, f.Close())
}

func (s *simulation) create(name string) (*os.File, error) {
	if err := os.MkdirAll(s.o.profiles, 0o750); err != nil {
		return nil, err
	}
	return os.Create(s.file(name)) //nolint:gosec // in the directory that the user named
}

func (s *simulation) file(name string) string {
	return filepath.Join(s.o.profiles, strings.ReplaceAll(name, " ", "-"))
}
