package load

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// pause is a call that takes a time.
func pause(ctx context.Context, d time.Duration) error {
	if !sleep(ctx, d) {
		return ctx.Err()
	}
	return nil
}

func TestOpenModelStartsOnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		starts := map[uint64]time.Duration{}
		res := Run(t.Context(), Plan{Model: Model{Kind: Open, Rate: 10, Arrivals: Constant}, Duration: 2 * time.Second},
			func(ctx context.Context, n uint64) (string, error) {
				mu.Lock()
				starts[n] = time.Since(begin)
				mu.Unlock()
				return "slow", pause(ctx, time.Second) // longer than the distance of two calls
			})
		if res.Calls != 20 || res.Failed != 0 || len(starts) != 20 {
			t.Fatalf("%d calls, %d failed, %d started, want 20", res.Calls, res.Failed, len(starts))
		}
		for n, at := range starts {
			if want := time.Duration(n) * 100 * time.Millisecond; at != want {
				t.Errorf("call %d started at %s, want %s", n, at, want)
			}
		}
		if res.Elapsed != 2900*time.Millisecond {
			t.Errorf("elapsed %s, want 2.9s: the last call is waited for", res.Elapsed)
		}
		near(t, "latency", res.Latency["slow"].P99, time.Second)
		near(t, "latency of all", res.Latency[All].P50, time.Second)
	})
}

// A stall of the system is seen by every call that should have started in it.
func TestNoCoordinatedOmission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stall := func(ctx context.Context, n uint64) (string, error) {
			if n == 0 {
				return "x", pause(ctx, time.Second)
			}
			return "x", nil
		}
		plan := Plan{Model: Model{Kind: Open, Rate: 10, Arrivals: Constant}, Duration: 2 * time.Second, InFlight: 1}
		res := Run(t.Context(), plan, stall)
		// Calls 1 to 9 wait 900 ms to 100 ms for the first one, 10 to 19 not at all.
		near(t, "longest", res.Latency["x"].Max, time.Second)
		near(t, "latest", res.Late.Max, 900*time.Millisecond)
		near(t, "p90", res.Latency["x"].P90, 800*time.Millisecond)
		if got := res.Latency["x"].Count; got != 20 {
			t.Errorf("%d calls, want 20", got)
		}

		// The positive control: a closed model with one user sees one slow call only.
		plan.Model = Model{Kind: Closed, Users: 1, Think: 100 * time.Millisecond}
		res = Run(t.Context(), plan, stall)
		near(t, "closed, p90", res.Latency["x"].P90, time.Microsecond)
	})
}

// A run that is stopped starts no more calls, and waits for those that run.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, m := range []Model{{Kind: Open, Rate: 10, Arrivals: Constant}, {Kind: Closed, Users: 1}} {
		synctest.Test(t, func(t *testing.T) {
			stop := make(chan struct{})
			time.AfterFunc(950*time.Millisecond, func() { close(stop) })
			res := Run(t.Context(), Plan{Model: m, Duration: time.Hour, Stop: stop}, func(ctx context.Context, _ uint64) (string, error) {
				return "x", pause(ctx, 100*time.Millisecond)
			})
			if res.Calls != 10 || res.Failed != 0 || res.Elapsed != time.Second {
				t.Errorf("%s: %d calls, %d failed, in %s; want 10 in 1s", m, res.Calls, res.Failed, res.Elapsed)
			}
		})
	}
}

func TestClosedModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[uint64]bool{}
		running, most := 0, 0
		res := Run(t.Context(), Plan{Model: Model{Kind: Closed, Users: 4, Think: 50 * time.Millisecond}, Duration: time.Second},
			func(ctx context.Context, n uint64) (string, error) {
				mu.Lock()
				if seen[n] {
					t.Errorf("call %d came twice", n)
				}
				seen[n] = true
				running++
				most = max(most, running)
				mu.Unlock()
				err := pause(ctx, 50*time.Millisecond)
				mu.Lock()
				running--
				mu.Unlock()
				return "x", err
			})
		if most != 4 || res.Calls != 40 {
			t.Errorf("%d calls, at most %d at once, want 40 and 4", res.Calls, most)
		}
		if res.Late.Count != 0 {
			t.Error("a closed model cannot be late")
		}
	})
}

func TestErrorsByNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var live Live
		res := Run(t.Context(), Plan{
			Model: Model{Kind: Open, Rate: 4, Arrivals: Constant}, Duration: time.Second, CallTimeout: 100 * time.Millisecond, Live: &live,
		}, func(ctx context.Context, n uint64) (string, error) {
			switch n {
			case 0:
				return "x", tunnel.Errorf(tunnel.CodeNotReachable, "offline")
			case 1:
				return "x", errors.New("something else")
			case 2:
				return "x", pause(ctx, time.Hour)
			default:
				return "x", nil
			}
		})
		for code, n := range map[string]int{"AUER-1301": 1, "AUER-1005": 1, "AUER-1308": 1} {
			if res.Errors[code] != n {
				t.Errorf("%s: %d, want %d", code, res.Errors[code], n)
			}
		}
		if res.Calls != 4 || res.Failed != 3 || res.Latency["x"].Count != 1 || res.FirstError == "" {
			t.Errorf("%+v", res)
		}
		if live.Started.Load() != 4 || live.Done.Load() != 4 || live.Failed.Load() != 3 {
			t.Errorf("live: %d %d %d, want 4 4 3", live.Started.Load(), live.Done.Load(), live.Failed.Load())
		}
	})
}

// What is given up is not a failure of the system.
func TestRunCancelled(t *testing.T) {
	t.Parallel()
	for _, m := range []Model{{Kind: Open, Rate: 10, Arrivals: Poisson}, {Kind: Closed, Users: 3}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			res := Run(ctx, Plan{Model: m, Duration: time.Hour, CallTimeout: time.Hour}, func(ctx context.Context, _ uint64) (string, error) {
				<-ctx.Done()
				return "x", ctx.Err()
			})
			if res.Elapsed != time.Second || res.Calls != 0 {
				t.Errorf("%s: %d calls in %s, want none in 1s", m, res.Calls, res.Elapsed)
			}
		})
	}
}

// near compares within the precision of a histogram.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := got - want; d < -want/500 || d > want/500 {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	h := NewHistogram()
	if got := h.Summary(); got != (Latency{}) {
		t.Errorf("empty: %+v", got)
	}
	for i := range 1000 {
		h.Add(time.Duration(i+1) * time.Millisecond)
	}
	got := h.Summary()
	near(t, "mean", got.Mean, 500500*time.Microsecond)
	near(t, "p50", got.P50, 500*time.Millisecond)
	near(t, "p90", got.P90, 900*time.Millisecond)
	near(t, "p99", got.P99, 990*time.Millisecond)
	near(t, "p99.9", got.P999, 999*time.Millisecond)
	near(t, "max", got.Max, time.Second)
	// Out of range on both sides.
	h.Add(-time.Second)
	h.Add(time.Hour)
	if got := h.Summary(); got.Count != 1002 || got.Max < histogramMax || got.Max > histogramMax+time.Second {
		t.Errorf("with values out of range: %+v", got)
	}
}
