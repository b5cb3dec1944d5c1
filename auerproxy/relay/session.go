package relay

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/registry"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// sessionKey is what only one session may hold at a time: a slot of an endpoint.
// A device numbers its slots; each instance of a service has its own.
type sessionKey = registry.Key

// session is one welcomed session.
type session struct {
	relay   *Relay
	ts      tunnel.Session
	control *tunnel.Control
	peer    identity.ID
	key     sessionKey
	id      []byte
	name    registry.SessionID // the id in hex
	epoch   uint64
	hello   *tunnel.Hello
	since   time.Time
	opens   *rate.Limiter // paces the streams that the peer opens

	toPeer   atomic.Int64                  // streams open to the peer
	fromPeer atomic.Int64                  // streams that the peer has open
	sent     atomic.Int64                  // bytes to the peer
	received atomic.Int64                  // bytes from the peer
	rtt      atomic.Int64                  // last round trip that the peer reported, ns
	shown    shownRTT                      // the one that watchers of presence are told
	path     atomic.Pointer[tunnelpb.Path] // what the peer measures; nil before it tells
	leaving  atomic.Bool                   // a GOAWAY was sent

	limit streamLimit // bytes per second, for devices

	probeMu sync.Mutex
	probes  map[uint64]chan struct{} // guarded by probeMu; closed by the probe's ack

	endOnce sync.Once
	cause   *tunnel.Error // set by endOnce
}

// end closes the session for a reason of the relay's own. Later reasons are
// ignored.
func (s *session) end(err *tunnel.Error) {
	s.endOnce.Do(func() { s.cause = err })
	_ = s.ts.CloseWithError(err.Code, err.Message)
}

// serveSession takes a session from the transport handshake to its welcome. The
// rest of its life is another goroutine's: a welcome takes a stack that would stay
// as large while the session waits.
func (r *Relay) serveSession(ctx context.Context, ts tunnel.Session) {
	s, err := r.welcome(ctx, ts)
	r.noteResult(ts.RemoteAddr(), err)
	if err != nil {
		r.metrics.refused.WithLabelValues(label(tunnel.CodeOf(err))).Inc()
		r.log.Debug("session refused", "peer", ts.Peer().Path(), "error", err)
		return
	}
	r.metrics.accepted.WithLabelValues(s.peer.Kind.String(), string(ts.Transport())).Inc()
	r.metrics.sessions.WithLabelValues(s.peer.Kind.String(), string(ts.Transport())).Inc()
	if c := tunnel.ChoiceName(s.hello.GetChoice()); c != "" {
		r.metrics.choices.WithLabelValues(string(ts.Transport()), c).Inc()
	}
	r.log.Debug("session up", "peer", s.peer.Path(), "transport", ts.Transport(), "epoch", s.epoch)
	if r.blocked(s.peer) {
		// Blocked between the handshake and the registration.
		s.end(&tunnel.Error{Code: tunnel.CodeBlocked})
	}
	s.serve(ctx)
}

// ended accounts for a session after its end.
func (s *session) ended() {
	r, ts := s.relay, s.ts
	s.endOnce.Do(func() {})
	cause := s.cause
	if cause == nil {
		cause = sessionCause(ts.Err())
	}
	r.unregister(s, cause)
	r.metrics.sessions.WithLabelValues(s.peer.Kind.String(), string(ts.Transport())).Dec()
	r.metrics.ended.WithLabelValues(label(cause.Code)).Inc()
	r.log.Debug("session ended", "peer", s.peer.Path(), "cause", cause)
	r.records.add(record{
		Kind: "tunnel", Target: s.peer.Path(), Start: s.since, Code: cause.Code,
		ToTarget: s.sent.Load(), ToCaller: s.received.Load(), Session: string(s.name),
	})
}

func sessionCause(err error) *tunnel.Error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e
	}
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Cause: err}
}

// welcome runs the handshake of one session and registers it. On error the
// session is closed.
func (r *Relay) welcome(ctx context.Context, ts tunnel.Session) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Limits.HandshakeTimeout)
	defer cancel()
	if k := ts.Peer().Kind; k != identity.KindDevice && k != identity.KindService {
		err := tunnel.Errorf(tunnel.CodeRoleRefused, "a %s holds no session", k)
		_ = ts.CloseWithError(err.Code, err.Message)
		return nil, err
	}
	release, full := r.reserve()
	if full != nil {
		control, _, err := tunnel.AcceptHello(ctx, ts)
		if err != nil {
			return nil, err
		}
		control.Refuse(ts, full)
		return nil, full
	}
	defer release()
	control, hello, err := tunnel.AcceptHello(ctx, ts)
	if err != nil {
		return nil, err
	}
	s := r.newSession(ts, control, hello)
	if err := r.register(ctx, s); err != nil {
		control.Refuse(ts, err)
		return nil, err
	}
	err = control.Welcome(&tunnel.Welcome{
		Session: s.id, Epoch: s.epoch, Relay: r.self.Path(),
		HeartbeatMs: uint32(r.cfg.Heartbeat.Milliseconds()), //nolint:gosec // at most 5 min
		MaxStreams:  uint32(r.streamsFrom(s.peer)),          //nolint:gosec // validated
	})
	if err != nil {
		r.unregister(s, &tunnel.Error{Code: tunnel.CodeSessionLost})
		_ = ts.CloseWithError(tunnel.CodeSessionLost, "welcome not delivered")
		return nil, err
	}
	return s, nil
}

func (r *Relay) newSession(ts tunnel.Session, control *tunnel.Control, hello *tunnel.Hello) *session {
	peer := ts.Peer()
	slot := hex.EncodeToString([]byte{byte(hello.GetSlot())}) //nolint:gosec // the low byte is the slot
	factor, id := 1, tunnel.NewID()
	if peer.Kind == identity.KindService {
		slot = hex.EncodeToString(hello.GetInstanceId())
		factor = 100
	}
	s := &session{
		relay: r, ts: ts, control: control, peer: peer, hello: hello,
		key:   sessionKey{Endpoint: peer, Slot: slot},
		id:    id,
		name:  registry.SessionID(hex.EncodeToString(id)),
		since: time.Now(),
		opens: rate.NewLimiter(rate.Limit(r.cfg.Limits.OpensPerSecond*float64(factor)), r.cfg.Limits.OpenBurst*factor),
	}
	if peer.Kind == identity.KindDevice {
		s.limit = r.deviceLimit(peer.Serial())
	}
	return s
}

func (r *Relay) streamsFrom(peer identity.ID) int {
	if peer.Kind == identity.KindService {
		return r.cfg.Limits.StreamsFromService
	}
	return r.cfg.Limits.StreamsFromDevice
}

// reserve takes a place among the relay's sessions, or says why there is none.
func (r *Relay) reserve() (release func(), refusal *tunnel.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.draining:
		refusal = &tunnel.Error{Code: tunnel.CodeDraining, RetryAfterMin: time.Second, RetryAfterMax: 10 * time.Second}
	case len(r.sessions)+r.pending >= r.cfg.Limits.Tunnels:
		refusal = &tunnel.Error{Code: tunnel.CodeTryLater, Message: "the relay holds as many sessions as it may", RetryAfterMin: 30 * time.Second, RetryAfterMax: 2 * time.Minute}
	case r.overMemory():
		r.metrics.drops.WithLabelValues("memory").Inc()
		refusal = &tunnel.Error{Code: tunnel.CodeTryLater, Message: "the relay is short of memory", RetryAfterMin: 30 * time.Second, RetryAfterMax: 2 * time.Minute}
	}
	if refusal != nil {
		return nil, refusal
	}
	r.pending++
	return func() {
		r.mu.Lock()
		r.pending--
		r.mu.Unlock()
	}, nil
}

// register makes s the session of its slot. The session that it replaces, if
// any, is closed.
func (r *Relay) register(ctx context.Context, s *session) *tunnel.Error {
	r.mu.RLock()
	incumbent := r.sessions[s.key]
	r.mu.RUnlock()
	if incumbent != nil {
		if err := r.mayReplace(ctx, incumbent, s); err != nil {
			return err
		}
	}
	epoch, _, err := r.cfg.Registry.Claim(ctx, s.key, registry.Route{
		Relay: r.self.Name, Incarnation: r.incarnation, Session: s.name,
		Since: s.since,
	})
	if err != nil {
		// The registry is a hint: without it local calls still work.
		r.log.Warn("route not published", "endpoint", s.peer.Path(), "error", err)
		r.metrics.drops.WithLabelValues("registry_claim").Inc()
		epoch = uint64(max(s.since.UnixMilli(), 0)) //nolint:gosec // not negative
	}
	s.epoch = epoch

	r.mu.Lock()
	incumbent = r.sessions[s.key]
	if incumbent != nil && incumbent.epoch > s.epoch {
		// A newer session overtook this one while it was being registered.
		r.mu.Unlock()
		return &tunnel.Error{Code: tunnel.CodeReplaced}
	}
	r.sessions[s.key] = s
	r.byPeer[s.peer] = append(slices.Clone(r.byPeer[s.peer]), s)
	r.appeared(s)
	r.mu.Unlock()
	if incumbent != nil {
		incumbent.replaced(s)
	}
	return nil
}

// Bounds of the sessions that the program that made their successor may keep.
const (
	// replacedTime is how long one with streams goes on. Programs close theirs before.
	replacedTime = 25 * time.Hour
	// maxReplaced is how many there are in a slot; of more the oldest end.
	maxReplaced = 2
)

// replaced ends a session that has a successor. Where the same program made both
// it moves by itself, e.g. from TCP to QUIC: it may finish its calls on the old
// session and then closes it.
func (s *session) replaced(by *session) {
	s.leaving.Store(true)
	err := &tunnel.Error{Code: tunnel.CodeReplaced}
	if string(s.hello.GetBootId()) != string(by.hello.GetBootId()) {
		go s.end(err)
		return
	}
	for i, old := range s.relay.predecessors(by) {
		if i >= maxReplaced {
			go old.end(err)
		}
	}
	s.relay.work.Go(func() {
		t := time.NewTicker(s.relay.cfg.Drain.Deadline)
		defer t.Stop()
		for begin := time.Now(); ; {
			select {
			case <-t.C:
				if s.toPeer.Load()+s.fromPeer.Load() == 0 || time.Since(begin) > replacedTime {
					s.end(err)
					return
				}
			case <-s.ts.Done():
				return
			}
		}
	})
}

// predecessors lists the other sessions of s' slot, newest first.
func (r *Relay) predecessors(s *session) []*session {
	r.mu.RLock()
	list := slices.Clone(r.byPeer[s.peer])
	r.mu.RUnlock()
	list = slices.DeleteFunc(list, func(o *session) bool { return o == s || o.key != s.key })
	slices.SortFunc(list, func(a, b *session) int { return cmp.Compare(b.epoch, a.epoch) })
	return list
}

// unregister removes s and only s, which has ended for the cause: where a newer
// session has taken the slot, nothing happens to it.
func (r *Relay) unregister(s *session, cause *tunnel.Error) {
	r.mu.Lock()
	if r.sessions[s.key] == s {
		delete(r.sessions, s.key)
	}
	list := slices.DeleteFunc(slices.Clone(r.byPeer[s.peer]), func(o *session) bool { return o == s })
	if len(list) == 0 {
		delete(r.byPeer, s.peer)
	} else {
		r.byPeer[s.peer] = list
	}
	r.vanished(s, cause)
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := r.cfg.Registry.Release(ctx, s.key, s.epoch); err != nil {
		r.log.Warn("route not removed; it points nowhere until it is replaced", "endpoint", s.peer.Path(), "error", err)
		r.metrics.drops.WithLabelValues("registry_release").Inc()
	}
}

// all lists every session, those with a successor too.
func (r *Relay) all() []*session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*session, 0, len(r.sessions))
	for _, list := range r.byPeer {
		all = append(all, list...)
	}
	return all
}

// route lists the sessions of an endpoint, best first: not leaving before
// leaving, newer before older; for a service the one with the fewest streams
// first, so that its instances share the load.
func (r *Relay) route(id identity.ID) []*session {
	r.mu.RLock()
	list := slices.Clone(r.byPeer[id])
	r.mu.RUnlock()
	slices.SortStableFunc(list, func(a, b *session) int {
		if la, lb := a.leaving.Load(), b.leaving.Load(); la != lb {
			if la {
				return 1
			}
			return -1
		}
		if id.Kind == identity.KindService {
			return int(a.toPeer.Load() - b.toPeer.Load())
		}
		return b.since.Compare(a.since)
	})
	return list
}

// controlError says why a session ends whose control stream gave err.
func controlError(err error) *tunnel.Error {
	err = tunnel.UnderStream(err)
	if e, ok := errors.AsType[*tunnel.Error](err); ok && !e.Timeout() {
		return e
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return &tunnel.Error{Code: tunnel.CodeHeartbeatLost, Cause: err}
	}
	return &tunnel.Error{Code: tunnel.CodeProtocol, Message: "the control stream ended", Cause: err}
}

func (s *session) handle(f *tunnel.Frame) error {
	switch f := f.GetFrame().(type) {
	case *tunnelpb.Control_Heartbeat:
		if us := f.Heartbeat.GetRttUs(); us > 0 {
			rtt := time.Duration(us) * time.Microsecond
			s.rtt.Store(int64(rtt))
			s.shown.measured(s.since, rtt)
			s.relay.metrics.heartbeat.Observe(rtt.Seconds())
		}
		ack := &tunnelpb.HeartbeatAck{Seq: f.Heartbeat.GetSeq(), SentUnixNs: f.Heartbeat.GetSentUnixNs()}
		if p := f.Heartbeat.GetPath(); p != nil {
			s.path.Store(p)
			ack.Path = tunnel.PathOf(s.ts)
		}
		return s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_HeartbeatAck{HeartbeatAck: ack}})
	case *tunnelpb.Control_ProbeAck:
		s.probeMu.Lock()
		if ch := s.probes[f.ProbeAck.GetNonce()]; ch != nil {
			delete(s.probes, f.ProbeAck.GetNonce())
			close(ch)
		}
		s.probeMu.Unlock()
	}
	return nil
}
