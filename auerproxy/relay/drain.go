package relay

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// Drained says how a drain went.
type Drained struct {
	// Told is how many sessions got a GOAWAY, Left how many went by themselves
	// before the deadline, and Cut how many were closed at it.
	Told int `json:"told"`
	Left int `json:"left"`
	Cut  int `json:"cut"`
	// Took is the time from start to the last session's end.
	Took time.Duration `json:"took_ns"`
}

// Drain empties the relay without a failed call: no session is welcomed any more,
// every session is told to leave at the configured pace, and the sessions that
// are still here at the deadline are closed with AUER-1202. A session that leaves
// makes its new one elsewhere first; until then its streams and its opens are
// served as before. When ctx ends earlier, that is the deadline.
//
// A drained relay stays up and refuses sessions until Run's context ends.
func (r *Relay) Drain(ctx context.Context) Drained {
	start := time.Now()
	deadline := start.Add(r.cfg.Drain.Deadline)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	r.metrics.draining.Set(1)

	r.mu.Lock()
	r.draining = true
	r.dismissWatchers()
	r.mu.Unlock()
	var d Drained
	all := r.all()
	r.log.Info("draining", "sessions", len(all), "per_second", r.cfg.Drain.PerSecond, "deadline", r.cfg.Drain.Deadline)

	pace := rate.NewLimiter(rate.Limit(r.cfg.Drain.PerSecond), 1)
	for _, s := range all {
		if pace.Wait(ctx) != nil {
			break
		}
		s.leaving.Store(true)
		goAway := &tunnelpb.GoAway{
			Code: uint32(tunnel.CodeDraining), Reason: "the relay is being emptied",
			DeadlineMs: uint32(max(time.Until(deadline).Milliseconds(), 0)), //nolint:gosec // bounded by the deadline
		}
		// A peer whose control stream does not take it is closed at the deadline.
		if s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_GoAway{GoAway: goAway}}) == nil {
			d.Told++
		}
	}
	for _, s := range all {
		select {
		case <-s.ts.Done():
			d.Left++
		case <-ctx.Done():
			s.end(&tunnel.Error{Code: tunnel.CodeDraining, Message: "the deadline of the drain has passed"})
			d.Cut++
		}
	}
	r.cutConnects(ctx)
	d.Took = time.Since(start)
	r.log.Info("drained", "told", d.Told, "left", d.Left, "cut", d.Cut, "took", d.Took)
	return d
}

// cutConnects waits for the CONNECT calls that run, and ends them at the deadline.
func (r *Relay) cutConnects(ctx context.Context) {
	r.mu.RLock()
	calls := make([]*connectCall, 0, len(r.connects))
	for c := range r.connects {
		calls = append(calls, c)
	}
	r.mu.RUnlock()
	for _, c := range calls {
		select {
		case <-c.done:
		case <-ctx.Done():
			c.cancel(&tunnel.Error{Code: tunnel.CodeDraining})
		}
	}
}
