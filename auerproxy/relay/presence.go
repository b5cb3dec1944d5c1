package relay

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// A service that a rule lets watch the relay opens a stream to it and is told which
// devices hold a session, and then each change. A device costs nothing for that, and
// a watcher two goroutines and the changes that wait for it.

// watches are the streams that watch the relay. Locks are taken in this order:
// Relay.mu, watches.mu, watch.mu.
type watches struct {
	mu  sync.Mutex
	all map[*watch]struct{} // guarded by mu
}

// watch is one of them.
type watch struct {
	relay *Relay
	see   []patterns // of the rules that let it in: devices of any of them are told
	limit int        // of changes that wait
	wake  chan struct{}
	cut   func() // ends the stream of a watcher that is too slow

	mu        sync.Mutex
	queue     []presence.Session         // guarded by mu; each session once, as it is now
	at        map[presence.SessionID]int // guarded by mu; where in queue
	slow      bool                       // guarded by mu; it was cut
	dismissed bool                       // guarded by mu; there is nothing more to tell
}

// shownRTT is the round trip of a session that watchers are told. It follows the measured
// one only where that has changed by something.
type shownRTT struct {
	value atomic.Int64 // ns
	at    atomic.Int64 // when it changed, in ns since the session began
}

// measured takes a new round trip of a session that began at since.
func (r *shownRTT) measured(since time.Time, d time.Duration) {
	old := time.Duration(r.value.Load())
	if (d-old).Abs() > max(old/8, time.Millisecond) || old == 0 {
		r.value.Store(int64(d))
		r.at.Store(int64(time.Since(since)))
	}
}

// presence is what watchers are told of a session of a device.
func (s *session) presence() presence.Session {
	p := presence.Session{
		Device: s.peer.Serial(), Session: presence.SessionID(s.name), Epoch: s.epoch, Online: true, Since: s.since,
		Transport: s.ts.Transport(), RTT: time.Duration(s.shown.value.Load()),
		Instance: presence.Tag(s.hello.GetInstanceId()), Boot: presence.Tag(s.hello.GetBootId()),
	}
	if c, ok := s.ts.(tunnel.Certified); ok {
		p.Expires = c.Expires()
	}
	return p
}

// appeared tells of a new session. Callers hold r.mu.
func (r *Relay) appeared(s *session) {
	if s.peer.Kind == identity.KindDevice {
		r.devices++
		r.watches.tell(s.presence())
	}
}

// vanished tells of a session that has ended. Callers hold r.mu.
func (r *Relay) vanished(s *session, cause *tunnel.Error) {
	if s.peer.Kind != identity.KindDevice {
		return
	}
	r.devices--
	p := s.presence()
	p.Online, p.Since, p.Reason, p.ByDevice = false, time.Now(), cause.Code, cause.Remote
	if cause.Code == tunnel.CodeIdle && s.leaving.Load() {
		// It has gone to where it was sent, and says only that it is done.
		if p.Reason = tunnel.CodeReplaced; r.draining {
			p.Reason = tunnel.CodeDraining
		}
	}
	r.watches.tell(p)
	r.dismissWatchers()
}

// dismissWatchers ends the watches of a relay that was emptied: it gets no device any
// more, and its services wait only for their streams. Callers hold r.mu.
func (r *Relay) dismissWatchers() {
	if r.draining && r.devices == 0 {
		r.watches.each((*watch).dismiss)
	}
}

func (ws *watches) tell(p presence.Session) {
	ws.each(func(w *watch) { w.add(p) })
}

func (ws *watches) each(f func(*watch)) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		f(w)
	}
}

func (w *watch) sees(s identity.Serial) bool {
	return slices.ContainsFunc(w.see, func(p patterns) bool { return p.match(s) })
}

// add has a change told. A change that still waits for its session is replaced.
func (w *watch) add(p presence.Session) {
	if !w.sees(p.Device) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	i, waits := w.at[p.Session]
	switch {
	case w.slow:
		return
	case waits:
		w.queue[i] = p
	case len(w.queue) >= w.limit:
		w.slow, w.queue, w.at = true, nil, nil
		go w.cut() // not under the relay's lock
		return
	default:
		w.at[p.Session] = len(w.queue)
		w.queue = append(w.queue, p)
	}
	w.rouse()
}

func (w *watch) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dismissed = true
	w.rouse()
}

func (w *watch) rouse() {
	select {
	case w.wake <- struct{}{}:
	default: // it has not looked yet
	}
}

// take gives what waits, and takes the place of that over for what comes.
func (w *watch) take(place []presence.Session) (changes []presence.Session, dismissed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes, w.queue = w.queue, place[:0]
	clear(w.at)
	return changes, w.dismissed
}

// asksRelay reports whether a stream is for a relay itself.
func asksRelay(p *tunnel.Preamble) bool {
	return strings.HasPrefix(p.GetTarget(), identity.KindRelay.String()+"/")
}

// serveWatch serves a stream that asks for presence, to its end.
func (s *session) serveWatch(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
	r, start := s.relay, time.Now()
	w, all, err := r.newWatch(s.peer, p, func() { st.Reset(tunnel.CodeSlowReader) })
	if err != nil {
		tunnel.Refuse(st, r.refuse(s.peer, p, start, err))
		return
	}
	defer r.removeWatch(w)
	if err := tunnel.WriteAck(st, &tunnel.Hop{At: r.self.Path()}); err != nil {
		st.Reset(tunnel.CodeTunnelGone)
		return
	}
	r.metrics.opens.WithLabelValues(label(tunnel.CodeOK)).Inc()
	r.log.Info("presence is watched", "caller", s.peer.Path())
	out := &watchStream{Stream: st, patience: r.cfg.Limits.SlowReader}
	code := tunnel.CodeOf(w.serve(ctx, out, all))
	if code == tunnel.CodeOK {
		_ = st.Close()
	} else {
		st.Reset(code)
	}
	r.log.Info("presence is no longer watched", "caller", s.peer.Path(), "cause", code.Info().Name)
	r.metrics.streamEnds.WithLabelValues(label(code)).Inc()
	if code == tunnel.CodeSlowReader {
		r.metrics.drops.WithLabelValues("presence_slow").Inc()
	}
	r.records.add(record{
		Kind: "stream", Target: p.GetTarget(), Service: p.GetService(), Caller: s.peer.Path(),
		Request: hex.EncodeToString(p.GetRequestId()), Start: start, Code: code, ToCaller: out.sent,
	})
}

// watchStream bounds each write and counts its bytes.
type watchStream struct {
	tunnel.Stream
	patience time.Duration
	sent     int64
}

func (s *watchStream) Write(p []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return 0, err
	}
	n, err := s.Stream.Write(p)
	s.sent += int64(n)
	return n, err
}

// newWatch lets a caller watch, and gives the sessions that there are. What changes
// from then on waits in the watch.
func (r *Relay) newWatch(caller identity.ID, p *tunnel.Preamble, cut func()) (*watch, []*session, error) {
	target, err := identity.ParsePath(r.self.TrustDomain, p.GetTarget())
	if err != nil {
		return nil, nil, tunnel.Errorf(tunnel.CodeProtocol, "preamble.target: %w", err)
	}
	if err := allow(r.cfg.Policy, caller, target, p.GetService(), p.GetInner()); err != nil {
		return nil, nil, err
	}
	switch {
	case target != r.self:
		return nil, nil, errNotReachable
	case p.GetService() != presence.Service:
		return nil, nil, tunnel.Errorf(tunnel.CodeServiceUnknown, "a relay has no %q", p.GetService())
	case p.GetInner() != tunnelpb.Inner_INNER_PLAIN:
		return nil, nil, tunnel.Errorf(tunnel.CodeProtocol, "a stream to a relay has nothing inside")
	}
	w := &watch{
		relay: r, limit: r.cfg.Presence.Queue, cut: cut,
		wake: make(chan struct{}, 1), at: make(map[presence.SessionID]int),
	}
	for _, rule := range r.cfg.Policy {
		if rule.admits(caller, target, p.GetService()) {
			w.see = append(w.see, patterns(rule.Serials))
		}
	}
	// Nothing appears or vanishes meanwhile.
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.watches.mu.Lock()
	if len(r.watches.all) >= r.cfg.Presence.Watchers {
		r.watches.mu.Unlock()
		return nil, nil, &tunnel.Error{
			Code: tunnel.CodeTooManyStreams, Message: "the relay is watched by as many as may",
			RetryAfterMin: 10 * time.Second, RetryAfterMax: 30 * time.Second,
		}
	}
	if r.watches.all == nil {
		r.watches.all = make(map[*watch]struct{})
	}
	r.watches.all[w] = struct{}{}
	r.watches.mu.Unlock()
	r.metrics.watchers.Inc()
	if r.draining && r.devices == 0 {
		w.dismiss()
	}
	all := make([]*session, 0, r.devices)
	for id, list := range r.byPeer {
		if id.Kind == identity.KindDevice && w.sees(id.Serial()) {
			all = append(all, list...)
		}
	}
	return w, all, nil
}

func (r *Relay) removeWatch(w *watch) {
	r.watches.mu.Lock()
	defer r.watches.mu.Unlock()
	delete(r.watches.all, w)
	r.metrics.watchers.Dec()
}

// errWatcherLeft: the watcher ended its stream, which is no error.
var errWatcherLeft = &tunnel.Error{Code: tunnel.CodeOK}

// serve tells of all sessions and then of changes. Nil: everything is told.
func (w *watch) serve(ctx context.Context, st *watchStream, all []*session) error {
	r := w.relay
	ctx, gone := context.WithCancelCause(ctx)
	var reader sync.WaitGroup
	reader.Go(func() { gone(ended(st)) })
	defer reader.Wait()
	defer func() { _ = st.SetReadDeadline(time.Unix(1, 0)) }()

	out := presence.NewWriter(st)
	err := w.tellSessions(out, all, true)
	refresh := time.NewTicker(r.cfg.Presence.Refresh)
	defer refresh.Stop()
	refreshed := time.Now()
	var place []presence.Session
	for err == nil {
		select {
		case <-w.wake:
			if !rest(ctx, r.cfg.Presence.Batch) {
				continue
			}
			changes, dismissed := w.take(place)
			err = out.Write(changes, false)
			r.metrics.changes.Add(float64(len(changes)))
			if err == nil && dismissed {
				return nil
			}
			if place = changes; cap(place) > presence.PerMessage {
				place = nil
			}
		case <-refresh.C:
			now := time.Now()
			err = w.tellSessions(out, w.changedSince(refreshed), false)
			refreshed = now
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return w.verdict(ctx, err)
}

// tellSessions tells of sessions, of which snapshot says that they are all.
func (w *watch) tellSessions(out *presence.Writer, sessions []*session, snapshot bool) error {
	buf := make([]presence.Session, 0, min(len(sessions), presence.PerMessage))
	for part := range slices.Chunk(sessions, presence.PerMessage) {
		buf = buf[:0]
		for _, s := range part {
			buf = append(buf, s.presence())
		}
		w.relay.metrics.changes.Add(float64(len(buf)))
		if err := out.Write(buf, false); err != nil {
			return err
		}
	}
	return out.Write(nil, snapshot)
}

// changedSince lists the sessions whose round trip has changed since t.
func (w *watch) changedSince(t time.Time) []*session {
	return slices.DeleteFunc(w.relay.all(), func(s *session) bool {
		return s.peer.Kind != identity.KindDevice || !w.sees(s.peer.Serial()) ||
			s.shown.at.Load() == 0 || time.Duration(s.shown.at.Load()) < t.Sub(s.since)
	})
}

// verdict is why a watch ended with err.
func (w *watch) verdict(ctx context.Context, err error) error {
	w.mu.Lock()
	slow := w.slow
	w.mu.Unlock()
	cause := context.Cause(ctx)
	switch {
	case slow, errors.Is(err, os.ErrDeadlineExceeded):
		return &tunnel.Error{Code: tunnel.CodeSlowReader}
	case cause == nil:
		return err
	case errors.Is(cause, context.Canceled):
		return &tunnel.Error{Code: tunnel.CodeShutdown, Message: "the relay is stopping"}
	default:
		return cause
	}
}

// ended waits for the end of the watcher's side, which never says anything.
func ended(st tunnel.Stream) error {
	n, err := st.Read(make([]byte, 1))
	switch {
	case n > 0:
		return tunnel.Errorf(tunnel.CodeProtocol, "a watcher says nothing")
	case errors.Is(err, io.EOF):
		return errWatcherLeft
	default:
		return err
	}
}

// rest waits for d; false where ctx has ended before.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
