package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/procfs"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/work"
)

// watched does a part of the run, and measures how quiet the machine was meanwhile.
func (r *runner) watched(ctx context.Context, when string, f func(context.Context) error) error {
	q := score.Quiet{When: when}
	spin, ping, err := r.machine(ctx)
	if err != nil {
		return err
	}
	before, err := r.spent()
	if err != nil {
		return err
	}
	if err := r.takeTurns(); err != nil {
		return err
	}
	began := time.Now()
	if err := f(ctx); err != nil {
		return err
	}
	over := time.Since(began)
	after, err := r.spent()
	if err != nil {
		return err
	}
	waiting, busiest, err := r.waited()
	if err != nil {
		return err
	}
	spinAfter, pingAfter, err := r.machine(ctx)
	if err != nil {
		return err
	}
	spent := after.Since(before)
	q.Spin, q.Ping = max(spin, spinAfter), min(ping, pingAfter)
	q.Others = score.Share(spent.Machine-spent.Ours, over, runtime.NumCPU())
	q.Waiting, q.Busiest = score.Share(waiting, over, runtime.NumCPU()), busiest
	r.report.Quiet = append(r.report.Quiet, q)
	return nil
}

func (r *runner) spent() (score.Spent, error) {
	return score.ReadSpent(procfs.DefaultMountPoint, append(r.others, os.Getpid())...)
}

// pingTime is how long the bare loopback is measured around each part.
const pingTime = 200 * time.Millisecond

// machine measures what the machine can do without any contestant.
func (r *runner) machine(ctx context.Context) (spin time.Duration, ping float64, err error) {
	spin = min(score.Spin(), score.Spin())
	t, err := work.NewTarget(r.env.Host())
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

// takeTurns begins to tell what contestants spend in their turns from the rest.
func (r *runner) takeTurns() error {
	for _, l := range r.lanes {
		cpu, err := l.way.CPU()
		if err != nil {
			return err
		}
		l.mark, l.turn = cpu, 0
	}
	return nil
}

// waited is what all contestants spent since takeTurns when it was not their turn,
// and the name of the one that spent most of it.
func (r *runner) waited() (sum time.Duration, busiest string, err error) {
	var most time.Duration
	for _, l := range r.lanes {
		cpu, err := l.way.CPU()
		if err != nil {
			return 0, "", err
		}
		spent := cpu - l.mark - l.turn
		if sum += spent; spent > most {
			most, busiest = spent, l.Name
		}
	}
	return sum, busiest, nil
}

// settle waits until a contestant has done what its work left it to do, as closing
// connections and collecting garbage: not more than a tick of CPU time in a while.
// What it did later would count as that of one that waits.
func (r *runner) settle(ctx context.Context, l *lane) error {
	const while, tick, patience = 100 * time.Millisecond, 10 * time.Millisecond, 3 * time.Second
	before, err := l.way.CPU()
	for end := time.Now().Add(patience); err == nil && time.Now().Before(end); {
		t := time.NewTimer(while)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		var now time.Duration
		if now, err = l.way.CPU(); now-before <= tick {
			break
		}
		before = now
	}
	return err
}
