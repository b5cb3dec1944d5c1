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

	"github.com/prometheus/procfs"

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
	// others are processes that work for the run besides the descendants of this
	// one.
	others []int
}

// lane is a contestant that runs, with a target and a loopback address of its own.
// All stay up for the whole run, so that a round takes them close to each other;
// what those cost that wait is measured, and bounded by the noise gate.
type lane struct {
	peer.Contestant
	way    *peer.Way
	target *work.Target
	// turn is the CPU time in the lane's own cells of this round, mark that of all
	// time at its begin.
	turn, mark time.Duration
}

// newReport describes this program and this machine.
func newReport() *score.Report {
	return &score.Report{
		Version: configs.Version(), Started: time.Now(), Command: strings.Join(os.Args, " "),
		Machine: load.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
		Host:    score.ReadHost(procfs.DefaultMountPoint),
	}
}

// measure starts the contestants, measures round after round, and stops them.
func measure(ctx context.Context, o options, progress *load.Progress) (report *score.Report, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &runner{options: o, progress: progress, report: newReport()}
	r.report.Duration = o.duration
	for _, w := range o.works {
		r.report.Works = append(r.report.Works, w.String())
	}
	if r.env, err = peer.NewEnv(dir); err != nil {
		return nil, err
	}
	// The fleet goes first, while nothing else is there.
	if o.devices > 0 {
		if err := r.fleet(ctx); err != nil {
			return nil, err
		}
	}
	if len(o.works) == 0 {
		return r.report, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	targets := make(chan error, len(o.contestants))
	started := 0
	defer func() {
		for _, l := range r.lanes {
			l.way.Stop()
		}
		cancel()
		for range started {
			err = errors.Join(err, <-targets)
		}
	}()
	for _, c := range o.contestants {
		row := score.Contestant{Name: c.Name, Class: string(c.Class), About: c.About, Missing: c.Missing(r.env)}
		if row.Missing == "" {
			row.Version = c.Version(ctx, r.env)
			t, terr := work.NewTarget(r.env.Host())
			if terr != nil {
				return nil, terr
			}
			started++
			go func() { targets <- t.Run(ctx) }()
			if row.Missing, err = r.start(ctx, c, t); err != nil {
				return nil, err
			}
		}
		r.report.Contestants = append(r.report.Contestants, row)
	}
	err = r.rounds(ctx)
	return r.report, err
}

// start starts a contestant. missing says why one of others cannot run here, as
// nginx without its stream module; that ours cannot is an error.
func (r *runner) start(ctx context.Context, c peer.Contestant, t *work.Target) (missing string, err error) {
	r.progress.Say("starting %s", c.Name)
	w, err := c.Start(ctx, r.env, t.Addr())
	if err != nil {
		if c.Ours() || ctx.Err() != nil {
			return "", err
		}
		r.progress.Say("%v", err)
		return "does not start: " + err.Error(), nil
	}
	l := &lane{Contestant: c, way: w, target: t}
	r.lanes = append(r.lanes, l)
	// The memory of idle connections is that of a process that has done nothing yet.
	for _, wk := range r.works {
		if wk.Kind == work.Idle && r.wants(l, wk) {
			if err := r.cell(ctx, 1, l, wk); err != nil {
				return "", err
			}
		}
	}
	return "", nil
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
		var now atomic.Value // string
		now.Store("begins")
		line := func() string { return fmt.Sprintf("round %d of %d: %s", round+1, r.options.rounds, now.Load()) }
		err := r.watched(ctx, fmt.Sprintf("round %d", round+1), func(ctx context.Context) error {
			return r.progress.While(ctx, line, func(ctx context.Context) error {
				for _, w := range r.works {
					if w.Kind == work.Idle {
						continue
					}
					for _, l := range order {
						if !r.wants(l, w) {
							continue
						}
						now.Store(w.String() + " of " + l.Name)
						if err := r.cell(ctx, round+1, l, w); err != nil {
							return err
						}
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether a work of a contestant is to be measured.
func (r *runner) wants(l *lane, w work.Work) bool {
	return !r.judged || score.Needed(l.Name, w.String())
}

// cell measures one work of one contestant.
func (r *runner) cell(ctx context.Context, round int, l *lane, w work.Work) error {
	before, err := l.way.CPU()
	if err != nil {
		return err
	}
	meter := l.way.Meter()
	result, err := work.Run(ctx, work.Plan{Work: w, Entry: l.way.Entry, Dial: l.way.Dial, Target: l.target, Duration: r.duration, Meter: meter})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		// A contestant that fails is a result, and no reason to stop the others.
		result.Errors, result.First = result.Errors+1, err.Error()
	}
	r.report.Cells = append(r.report.Cells, score.NewCell(round, l.Name, w, result, meter != nil))
	if err := r.settle(ctx, l); err != nil {
		return err
	}
	after, err := l.way.CPU()
	l.turn += after - before
	return err
}
