package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/peer"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/work"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// runner is a run under way.
type runner struct {
	options
	env      *peer.Env
	progress *load.Progress
	report   *score.Report
	lanes    []*lane
}

// lane is a contestant that runs, with a target of its own: ports that the
// connections to it leave behind are not in the way of others.
type lane struct {
	peer.Contestant
	way    *peer.Way
	target *work.Target
}

// measure starts the contestants, measures round after round, and stops them.
func measure(ctx context.Context, o options, progress *load.Progress) (report *score.Report, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &runner{options: o, progress: progress, report: &score.Report{
		Version: configs.Version(), Started: time.Now(), Duration: o.duration, Command: strings.Join(os.Args, " "),
		Machine: load.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
	}}
	for _, w := range o.works {
		r.report.Works = append(r.report.Works, w.String())
	}
	if r.env, err = peer.NewEnv(dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	targets := make(chan error, len(o.contestants)+1)
	defer func() {
		for _, l := range r.lanes {
			l.way.Stop()
		}
		cancel()
		for range cap(targets) - 1 {
			err = errors.Join(err, <-targets)
		}
	}()
	for _, c := range o.contestants {
		if serr := r.start(ctx, c, targets); serr != nil {
			err = errors.Join(err, serr)
		}
	}
	if err != nil {
		return nil, err
	}
	err = r.rounds(ctx)
	return r.report, err
}

// start starts a contestant with a target, whose end comes on ended in any case.
func (r *runner) start(ctx context.Context, c peer.Contestant, ended chan<- error) error {
	row := score.Contestant{Name: c.Name, Class: string(c.Class), About: c.About, Missing: c.Missing(r.env)}
	if row.Missing != "" {
		r.report.Contestants = append(r.report.Contestants, row)
		ended <- nil
		return nil
	}
	row.Version = c.Version(ctx, r.env)
	r.report.Contestants = append(r.report.Contestants, row)
	t, err := work.NewTarget()
	if err != nil {
		ended <- nil
		return err
	}
	go func() { ended <- t.Run(ctx) }()
	r.progress.Say("starting %s %s", c.Name, row.Version)
	w, err := c.Start(ctx, r.env, t.Addr())
	if err != nil {
		if c.Ours() || ctx.Err() != nil {
			return err
		}
		// A peer that cannot run here, as nginx without its stream module, is a row.
		r.progress.Say("%v", err)
		r.report.Contestants[len(r.report.Contestants)-1].Missing = "does not start: " + err.Error()
		return nil
	}
	l := &lane{c, w, t}
	r.lanes = append(r.lanes, l)
	// The memory of idle connections is that of a process that has done nothing yet.
	for _, wk := range r.works {
		if wk.Kind == work.Idle {
			if err := r.cell(ctx, 1, l, wk); err != nil {
				return err
			}
		}
	}
	return nil
}

// rounds measures every work of every contestant once a round. The order turns
// with each: nobody always follows the same one.
func (r *runner) rounds(ctx context.Context) error {
	order := slices.Clone(r.lanes)
	for round := range r.options.rounds {
		if round%2 == 1 {
			slices.Reverse(order)
		} else if round > 0 {
			order = append(order[1:], order[0])
		}
		q, err := r.round(ctx, round+1, order)
		if err != nil {
			return err
		}
		r.report.Quiet = append(r.report.Quiet, q)
	}
	return nil
}

// round measures one round, and the machine around it.
func (r *runner) round(ctx context.Context, round int, order []*lane) (score.Quiet, error) {
	spin, ping, err := r.machine(ctx)
	if err != nil {
		return score.Quiet{}, err
	}
	busy, ours, err := r.spent()
	if err != nil {
		return score.Quiet{}, err
	}
	began := time.Now()
	var now atomic.Value // string
	now.Store("begins")
	err = r.progress.While(ctx, func() string { return fmt.Sprintf("round %d of %d: %s", round, r.options.rounds, now.Load()) },
		func(ctx context.Context) error {
			for _, w := range r.works {
				if w.Kind == work.Idle {
					continue
				}
				for _, l := range order {
					now.Store(w.String() + " of " + l.Name)
					if err := r.cell(ctx, round, l, w); err != nil {
						return err
					}
				}
			}
			return nil
		})
	if err != nil {
		return score.Quiet{}, err
	}
	over := time.Since(began)
	busyAfter, oursAfter, err := r.spent()
	if err != nil {
		return score.Quiet{}, err
	}
	spinAfter, pingAfter, err := r.machine(ctx)
	return score.Quiet{
		Spin: max(spin, spinAfter), Ping: min(ping, pingAfter),
		Others: score.Others(busyAfter-busy, oursAfter-ours, over, runtime.NumCPU()),
	}, err
}

// cell measures one work of one contestant.
func (r *runner) cell(ctx context.Context, round int, l *lane, w work.Work) error {
	meter := l.way.Meter()
	result, err := work.Run(ctx, work.Plan{Work: w, Entry: l.way.Entry, Target: l.target, Duration: r.duration, Meter: meter})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		// A contestant that fails is a result, and no reason to stop the others.
		result.Errors, result.First = result.Errors+1, err.Error()
	}
	r.report.Cells = append(r.report.Cells, score.NewCell(round, l.Name, w, result, meter != nil))
	return nil
}

// pingTime is how long the bare loopback is measured around each round.
const pingTime = 200 * time.Millisecond

// machine measures what the machine can do without any contestant.
func (r *runner) machine(ctx context.Context) (spin time.Duration, ping float64, err error) {
	spin = min(score.Spin(), score.Spin())
	t, err := work.NewTarget()
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- t.Run(ctx) }()
	result, err := work.Run(ctx, work.Plan{Work: work.Work{Kind: work.Request, Conns: 1}, Entry: t.Addr(), Target: t, Duration: pingTime})
	cancel()
	if err = errors.Join(err, <-ended); err != nil {
		return 0, 0, err
	}
	return spin, float64(result.Ops) / max(result.Elapsed.Seconds(), 1e-9), nil
}

// spent is the CPU time of the machine so far, and that of our processes.
func (r *runner) spent() (busy, ours time.Duration, err error) {
	self, err := load.ReadUsage(os.Getpid())
	if err != nil {
		return 0, 0, err
	}
	ours = self.CPU
	for _, l := range r.lanes {
		cpu, err := l.way.CPU()
		if err != nil {
			return 0, 0, err
		}
		ours += cpu
	}
	busy, err = score.Busy()
	return busy, ours, err
}
