package dial

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// LinkState is what the dialer's association with one relay does.
//
//	          ┌──────── wait is over, or a call asks ────────┐
//	          ▼                                              │
//	idle ► connecting ────────── failed ───────────────► waiting
//	          │                                              ▲
//	       welcome                                           │
//	          ▼                                              │
//	          up ─────────────── session ended ──────────────┤
//	          │                                              │
//	       GOAWAY                                            │
//	          ▼                                              │
//	       draining (the old session serves while the next is tried)
type LinkState string

// The states. A draining link that is connecting or waiting for its next session
// shows as draining as long as the old one lives.
const (
	LinkIdle       LinkState = "idle"
	LinkConnecting LinkState = "connecting"
	LinkUp         LinkState = "up"
	LinkDraining   LinkState = "draining"
	LinkWaiting    LinkState = "waiting"
)

// LinkStatus is a snapshot of the association with one relay.
type LinkStatus struct {
	// Relay is the address that is dialled.
	Relay string    `json:"relay"`
	State LinkState `json:"state"`
	// RelayID, Transport and Since tell about the session, where there is one.
	RelayID   string           `json:"relay_id,omitempty"`
	Transport tunnel.Transport `json:"transport,omitempty"`
	Since     time.Time        `json:"since,omitzero"`
	// LastError is why the last attempt failed or the last session ended.
	LastError string `json:"last_error,omitempty"`
}

// Relays gives the state of each relay, in the order of the configuration.
func (d *Dialer) Relays() []LinkStatus {
	out := make([]LinkStatus, len(d.links))
	for i, l := range d.links {
		out[i] = l.status()
	}
	return out
}

// Classes of links, best first; 0 is kept for where a target was last found.
const (
	classUp = 1 + iota
	classDraining
	classDown
)

// link is the association with one relay. It outlives its sessions.
type link struct {
	dialer *Dialer
	addr   string
	poke   chan struct{} // a call wants an attempt now
	data   *bulk.Dialer  // nil where there is no TCP to the relay

	mu       sync.Mutex // guards what follows
	state    LinkState  // never LinkDraining, see status
	current  *uplink    // up or draining; nil without a session
	err      error      // why there is none
	changed  chan struct{}
	patience time.Time // no attempt before: the relay's wish, or one base after the last
}

func newLink(d *Dialer, addr string) *link {
	l := &link{dialer: d, addr: addr, state: LinkIdle, poke: make(chan struct{}, 1), changed: make(chan struct{})}
	for _, leg := range d.legs() {
		if leg.transport == tunnel.TCP {
			l.data = bulk.NewDialer(leg.dialer, addr)
		}
	}
	return l
}

// set changes the link and wakes those who wait for a change.
func (l *link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

// usable gives the session if it takes calls. Callers hold l.mu.
func (l *link) usable() *uplink {
	if l.current != nil && l.current.session.Err() == nil {
		return l.current
	}
	return nil
}

// get gives a session with the relay: the present one, or that of an attempt
// which runs or may be made now. It waits for that attempt only.
func (l *link) get(ctx context.Context) (*uplink, error) {
	asked := false
	for {
		l.mu.Lock()
		u, state, err, changed := l.usable(), l.state, l.err, l.changed
		if u == nil && state == LinkWaiting && (asked || time.Now().Before(l.patience)) {
			l.mu.Unlock()
			return nil, err
		}
		if u == nil && state == LinkWaiting {
			asked = true
			select {
			case l.poke <- struct{}{}:
			default:
			}
		}
		l.mu.Unlock()
		if u != nil {
			return u, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, tunnel.Errorf(tunnel.CodeUnreachable, "relay %s: no session in time: %w", l.addr, ctx.Err())
		case <-l.dialer.ctx.Done():
			return nil, tunnel.Errorf(tunnel.CodeShutdown, "the dialer is closed")
		}
	}
}

func (l *link) class() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch u := l.usable(); {
	case u == nil:
		return classDown
	case u.isDraining():
		return classDraining
	default:
		return classUp
	}
}

func (l *link) status() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := LinkStatus{Relay: l.addr, State: l.state}
	if l.err != nil {
		st.LastError = l.err.Error()
	}
	if u := l.usable(); u != nil {
		st.RelayID, st.Transport, st.Since = u.welcome.GetRelay(), u.session.Transport(), u.since
		if u.isDraining() {
			st.State = LinkDraining
		}
	}
	return st
}

// run holds a session with the relay until ctx ends.
func (l *link) run(ctx context.Context) {
	defer l.set(func() { l.state, l.err = LinkWaiting, tunnel.Errorf(tunnel.CodeShutdown, "the dialer is closed") })
	var sessions sync.WaitGroup
	defer sessions.Wait()
	// A relay knows a service's parallel sessions by their instance ids; the newest
	// with one id wins. So a draining session must not share its id with the next.
	instance := tunnel.NewID()
	failures := 0
	for ctx.Err() == nil {
		l.set(func() { l.state = LinkConnecting })
		u, err := l.dialer.connect(ctx, l.addr, instance)
		up := err == nil
		if up {
			u.data = l.data
			l.dialer.log.Info("connected to relay", "relay", u.welcome.GetRelay(), "address", l.addr, "transport", u.session.Transport())
			l.set(func() { l.state, l.current, l.err = LinkUp, u, nil })
			sessions.Go(func() { u.run(ctx) })
			select {
			case <-u.session.Done():
				err = u.session.Err()
			case <-u.draining:
				instance = tunnel.NewID()
				err = tunnel.Errorf(tunnel.CodeDraining, "%s is being emptied", u.welcome.GetRelay())
				u.linger(ctx)
			}
			if time.Since(u.since) >= stable {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		l.wait(ctx, err, failures, up)
	}
}

// stable is how long a session must live before the back-off starts anew.
const stable = 10 * time.Second

// wait is the back-off after n failures in a row, the last of which may be the end
// of a session that was up. A call ends it.
func (l *link) wait(ctx context.Context, err error, n int, up bool) {
	t := l.dialer.cfg.Timing
	delay := fullJitter(t.BackoffBase, t.BackoffCap, n)
	patience := time.Now().Add(t.BackoffBase)
	if e, ok := errors.AsType[*tunnel.Error](err); ok && e.RetryAfterMax > 0 {
		delay = e.RetryAfter()
		if e.Code != tunnel.CodeDraining {
			// A drained relay may be back at any moment; from one that is full every
			// attempt costs it.
			patience = time.Now().Add(delay)
		}
	}
	if n == 1 && up {
		// The session that just ended is replaced at once.
		delay, patience = 0, time.Time{}
	}
	l.dialer.log.Warn("no session with relay", "address", l.addr, "error", err, "retry_in", delay)
	select {
	case <-l.poke: // of an earlier wait
	default:
	}
	l.set(func() { l.state, l.err, l.patience = LinkWaiting, down(err), patience })
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.poke:
	case <-ctx.Done():
	}
}

// down says to a caller why there is no session: what the relay says about itself
// or about this service as it is, everything else as "no relay".
func down(err error) error {
	switch c := tunnel.CodeOf(err); {
	case c >= tunnel.CodeCertificateMissing && c <= tunnel.CodeRelayUntrusted,
		c == tunnel.CodeVersion, c == tunnel.CodeDraining, c == tunnel.CodeTryLater:
		return err
	default:
		return tunnel.Errorf(tunnel.CodeUnreachable, "%w", err)
	}
}

// fullJitter draws the wait before the attempt after n failures in a row: uniform
// between 0 and min(most, base * 2^(n-1)).
func fullJitter(base, most time.Duration, n int) time.Duration {
	d := base
	for range n - 1 {
		if d >= most/2 {
			d = most
			break
		}
		d *= 2
	}
	return rand.N(min(d, most) + 1)
}
