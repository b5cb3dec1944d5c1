package dial

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// PresenceSession is one session of a device with a relay. It never has an address.
type PresenceSession = presence.Session

// PresenceUpdate is what [Dialer.WatchPresence] tells of one relay.
type PresenceUpdate struct {
	// Address is the relay's as in Config.Relays; what is known is known per address.
	Address string
	// Relay is the path of its identity, e.g. "relay/fra-1"; empty where it was never
	// reached.
	Relay string
	// Snapshot says that Sessions are all sessions that the relay holds, in place of
	// everything that was told before. Otherwise they are what has changed.
	Snapshot bool
	// Sessions, with Online false for one that has ended. One that was not told before
	// may end.
	Sessions []PresenceSession
	// Lost says that the relay tells nothing any more, or does not at the start: of its
	// sessions nothing is known until the next snapshot.
	Lost bool
	// Err is why the relay is lost: a *tunnel.Error.
	Err error
}

// WatchPresence tells f which devices are connected to the relays, as each relay sees
// it: at the start a snapshot of each relay, or that it is lost, and then what
// changes, until ctx ends or the dialer is closed; the error says which. Every relay's
// policy must let the service open "presence" on target "relay"; one that does not, or
// is too old, is lost with [ErrPolicy] and asked again from time to time. A lost relay
// begins anew with a snapshot.
//
// f is called by one goroutine at a time and owns what it is given. While it does not
// return, changes wait in the relays, which cut a watcher that is too slow: it is lost
// and begins anew.
//
// A device may have several sessions, with one relay and with several: it is online
// while one of them is. When it moves, the new one begins, as a rule, before the old
// one ends. Package fleet of the CCC merges them.
func (d *Dialer) WatchPresence(ctx context.Context, f func(PresenceUpdate)) error {
	if err := d.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(d.ctx, cancel)
	defer stop()
	var mu sync.Mutex
	tell := func(u PresenceUpdate) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil {
			f(u)
		}
	}
	var wg sync.WaitGroup
	for _, l := range d.links {
		wg.Go(func() { (&presenceWatch{link: l, tell: tell}).run(ctx) })
	}
	wg.Wait()
	if d.ctx.Err() != nil {
		return tunnel.Errorf(tunnel.CodeShutdown, "the dialer is closed")
	}
	return ctx.Err()
}

// presenceWatch watches one relay. It is owned by run.
type presenceWatch struct {
	link *link
	tell func(PresenceUpdate)

	relay string      // path of the identity that was reached last
	lost  bool        // that it is lost was told last
	code  tunnel.Code // of the error that was logged last
}

// run watches until ctx ends.
func (w *presenceWatch) run(ctx context.Context) {
	t := w.link.dialer.cfg.Timing
	var last *uplink
	for failures := 0; ; {
		u := w.session(ctx, last)
		if u == nil {
			return
		}
		w.relay = u.welcome.GetRelay()
		begin := time.Now()
		err := w.watch(ctx, u)
		if ctx.Err() != nil {
			return
		}
		last = nil
		switch ended := u.session.Err(); {
		case ended != nil:
			w.lose(ended)
			continue // the link makes the next session, at its own pace
		case errors.Is(err, io.EOF) && u.isDraining():
			w.lose(&tunnel.Error{Code: tunnel.CodeDraining})
			last = u // it was emptied; the next session will tell
			continue
		}
		if _, ok := errors.AsType[*tunnel.Error](err); !ok {
			err = tunnel.Errorf(tunnel.CodeSessionLost, "the watch ended: %w", err)
		}
		w.lose(err)
		if time.Since(begin) >= stable {
			failures = 0
		}
		failures++
		if !pause(ctx, w.delay(err, t, failures)) {
			return
		}
	}
}

// session waits for a session with the relay other than last, and tells when there is
// none for now. Nil: ctx has ended.
func (w *presenceWatch) session(ctx context.Context, last *uplink) *uplink {
	for {
		l := w.link
		l.mu.Lock()
		u, state, err, changed := l.usable(), l.state, l.err, l.changed
		l.mu.Unlock()
		if u != nil && u != last {
			return u
		}
		if u == nil && state == LinkWaiting {
			w.lose(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// lose tells that the relay is lost, once.
func (w *presenceWatch) lose(err error) {
	if w.lost {
		return
	}
	w.lost = true
	w.tell(PresenceUpdate{Address: w.link.addr, Relay: w.relay, Lost: true, Err: err})
}

// delay is the wait before the next attempt on a session that lives, after n failures.
func (w *presenceWatch) delay(err error, t Timing, n int) time.Duration {
	log := w.link.dialer.log.Debug
	code := tunnel.CodeOf(err)
	if code != w.code {
		log = w.link.dialer.log.Warn // once for each trouble
	}
	w.code = code
	wait, why := fullJitter(t.BackoffBase, t.BackoffCap, n), "it ended the watch"
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		wait = max(wait, e.RetryAfter())
	}
	switch code {
	case tunnel.CodePolicyDenied, tunnel.CodeServiceUnknown, tunnel.CodeRoleRefused:
		wait = t.PresenceRetry*3/4 + rand.N(t.PresenceRetry/2+1)
		why = "its policy does not let this service watch (target relay, service presence), or it is too old"
	}
	log("relay does not tell who is connected", "relay", w.relay, "address", w.link.addr, "why", why, "error", err, "retry_in", wait)
	return wait
}

// watch opens the stream on u and tells what comes, until it ends: io.EOF where the
// relay was emptied.
func (w *presenceWatch) watch(ctx context.Context, u *uplink) error {
	d := w.link.dialer
	octx, cancel := context.WithTimeout(ctx, d.cfg.Timing.OpenTimeout)
	defer cancel()
	done := u.watching()
	defer done()
	st, _, err := tunnel.Open(octx, u.session, &tunnel.Preamble{
		Target: w.relay, Service: presence.Service, Purpose: "presence", Inner: tunnelpb.Inner_INNER_PLAIN,
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { st.Reset(tunnel.CodeCancelled) })
	err = w.read(st)
	stop()
	if errors.Is(err, io.EOF) {
		_ = st.Close()
	} else {
		st.Reset(tunnel.CodeOf(err))
	}
	return err
}

// read tells what comes from the stream.
func (w *presenceWatch) read(st tunnel.Stream) error {
	r := presence.NewReader(st)
	if err := w.snapshot(st, r); err != nil {
		return err
	}
	for {
		part, _, err := r.Read()
		if err != nil {
			return err
		}
		if len(part) > 0 {
			w.tell(PresenceUpdate{Address: w.link.addr, Relay: w.relay, Sessions: part})
		}
	}
}

// snapshot tells the snapshot, with which the stream begins. It comes in one go, and a
// relay that stops within it has told nothing.
func (w *presenceWatch) snapshot(st tunnel.Stream, r *presence.Reader) error {
	d := w.link.dialer
	most := d.cfg.Limits.PresenceSessions
	var all []PresenceSession
	for complete := false; !complete; {
		_ = st.SetReadDeadline(time.Now().Add(d.cfg.Timing.OpenTimeout)) // the read fails too
		var part []PresenceSession
		var err error
		if part, complete, err = r.Read(); err != nil {
			return unexpected(err)
		}
		if all = append(all, part...); len(all) > most {
			return tunnel.Errorf(tunnel.CodeMessageTooLarge, "%s tells of more than %d sessions (limits.presence_sessions)", w.relay, most)
		}
	}
	_ = st.SetReadDeadline(time.Time{}) // as above
	d.log.Info("relay tells who is connected", "relay", w.relay, "sessions", len(all))
	w.lost, w.code = false, tunnel.CodeOK
	w.tell(PresenceUpdate{Address: w.link.addr, Relay: w.relay, Snapshot: true, Sessions: all})
	return nil
}

// unexpected gives an end within the snapshot its number.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return tunnel.Errorf(tunnel.CodeProtocol, "the snapshot has no end: %w", io.ErrUnexpectedEOF)
	}
	return err
}
