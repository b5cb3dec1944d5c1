package agent

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// link is one welcomed session to a relay, from its welcome to its end.
type link struct {
	agent   *Agent
	addr    string
	session tunnel.Session
	control *tunnel.Control
	welcome *tunnel.Welcome
	since   time.Time

	choice tunnelpb.Choice // why it runs over its transport

	goaway chan *tunnelpb.GoAway // holds the first one
	views  chan view             // holds the newest one that the slot has not seen
	doubt  chan struct{}         // holds an element when a heartbeat has no answer
	pulse  *pulse
	data   *bulk.Dialer  // nil where there is no TCP to the relay
	rtt    atomic.Int64  // ns; 0 before the first heartbeat
	drain  chan struct{} // closed when the session may end after its last call
	done   chan struct{} // closed when everything about the session has ended

	mu    sync.Mutex                // guards what follows
	seen  *view                     // the newest; nil before the first
	inner map[*e2e.Session]struct{} // end-to-end sessions inside, of both directions
	leave bool                      // retire was called
}

// serve starts to serve a session.
func (a *Agent) serve(ctx context.Context, s *slot, addr string, session tunnel.Session, control *tunnel.Control, welcome *tunnel.Welcome, choice tunnelpb.Choice) *link {
	l := &link{
		agent: a, addr: addr, session: session, control: control, welcome: welcome, since: time.Now(), choice: choice,
		views: make(chan view, 1), doubt: make(chan struct{}, 1),
		goaway: make(chan *tunnelpb.GoAway, 1), drain: make(chan struct{}), done: make(chan struct{}),
		pulse: newPulse(welcome), data: a.dataDialer(addr), inner: make(map[*e2e.Session]struct{}),
	}
	a.log.Info("tunnel up", "slot", s.index, "relay", welcome.GetRelay(), "address", addr, "transport", session.Transport(), "choice", tunnel.ChoiceName(choice), "epoch", welcome.GetEpoch())
	a.wg.Go(func() {
		defer close(l.done)
		var wg sync.WaitGroup
		wg.Go(l.beat)
		wg.Go(l.listen)
		_ = e2e.Serve(ctx, session, e2e.ServeConfig{ // its error is session.Err
			Start: l.handle, MaxStreams: a.cfg.Limits.Streams, PreambleTimeout: a.cfg.Limits.PreambleTimeout,
			IdleTimeout: -1, Drain: l.drain,
		})
		wg.Wait()
	})
	return l
}

// err says why the session ended.
func (l *link) err() error { return l.session.Err() }

// retire lets the session end: new calls go to its successor, those that run go
// on, at most until the deadline. It returns at once.
func (l *link) retire(deadline time.Time) {
	l.mu.Lock()
	l.leave = true
	inner := make([]*e2e.Session, 0, len(l.inner))
	for s := range l.inner {
		inner = append(inner, s)
	}
	l.mu.Unlock()
	l.agent.wg.Go(func() {
		limit := time.NewTimer(time.Until(deadline))
		defer limit.Stop()
		for _, s := range inner {
			_ = s.GoAway(tunnel.CodeReplaced, "the device has a new session", time.Until(deadline)) // fails if it has ended
		}
		// Only calls to services still need the link; what comes from the relay is
		// watched by Serve.
		for _, s := range inner {
			select {
			case <-s.Done():
			case <-l.done:
				return
			case <-limit.C:
				_ = l.session.CloseWithError(tunnel.CodeReplaced, "replaced by a newer session")
				return
			}
		}
		close(l.drain)
		select {
		case <-l.done:
		case <-limit.C:
			_ = l.session.CloseWithError(tunnel.CodeReplaced, "replaced by a newer session")
		}
	})
}

// add notes an end-to-end session, so that retire can end it; remove forgets it.
func (l *link) add(s *e2e.Session) {
	l.mu.Lock()
	l.inner[s] = struct{}{}
	leave := l.leave
	l.mu.Unlock()
	if leave {
		_ = s.GoAway(tunnel.CodeReplaced, "the device has a new session", 0) // fails if it has ended
	}
}

func (l *link) remove(s *e2e.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inner, s)
}
