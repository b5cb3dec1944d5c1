package dial

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// uplink is one welcomed session with a relay.
type uplink struct {
	dialer   *Dialer
	session  tunnel.Session
	control  *tunnel.Control
	data     *bulk.Dialer // the link's; nil where there is no TCP to the relay
	welcome  *tunnel.Welcome
	since    time.Time
	draining chan struct{} // closed by the relay's GOAWAY
	rtt      atomic.Int64  // last round trip of a heartbeat, ns

	mu      sync.Mutex // guards what follows
	goAway  *tunnelpb.GoAway
	inner   []*e2e.Session // end-to-end sessions through this one; ended ones are swept
	sweepAt int
	streams int       // relay streams that this side opened
	quiet   time.Time // since when there is none
	// watches are those of the relay's presence; unwatched is closed when there is none
	// any more, and nil while there is none.
	watches   int
	unwatched chan struct{}
}

func newUplink(d *Dialer, s tunnel.Session, c *tunnel.Control, w *tunnel.Welcome) *uplink {
	return &uplink{
		dialer: d, session: s, control: c, welcome: w, since: time.Now(),
		draining: make(chan struct{}), sweepAt: 16, quiet: time.Now(),
	}
}

// run serves the session until it ends, closes it when ctx ends, and returns when
// everything that it started has ended.
func (u *uplink) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { u.receive() })
	wg.Go(func() { u.heartbeat(ctx) })
	wg.Go(func() { u.retire(ctx) })
	_ = e2e.Serve(ctx, u.session, e2e.ServeConfig{
		Handle:      u.handle,
		MaxStreams:  u.dialer.cfg.Limits.Incoming,
		IdleTimeout: -1,
	}) // its error is that of the session, which the link reports
	cancel()
	wg.Wait()
}

// silence is how long the relay may say nothing; 0: as long as it likes.
func (u *uplink) silence() time.Duration { return u.interval() * 9 / 4 }

func (u *uplink) interval() time.Duration {
	return time.Duration(u.welcome.GetHeartbeatMs()) * time.Millisecond
}

// receive reads the control stream until the session ends, and ends it when the
// relay is silent.
func (u *uplink) receive() {
	for {
		if s := u.silence(); s > 0 {
			_ = u.control.SetReadDeadline(time.Now().Add(s)) // the read fails too
		}
		f, err := u.control.Receive()
		if err != nil {
			code := tunnel.CodeOf(err)
			switch code {
			case tunnel.CodeOpenTimeout:
				code = tunnel.CodeHeartbeatLost
			case tunnel.CodeInternal:
				code = tunnel.CodeSessionLost
			}
			_ = u.session.CloseWithError(code, "control stream ended")
			return
		}
		switch f := f.GetFrame().(type) {
		case *tunnelpb.Control_GoAway:
			u.drain(f.GoAway)
		case *tunnelpb.Control_HeartbeatAck:
			u.rtt.Store(time.Now().UnixNano() - f.HeartbeatAck.GetSentUnixNs())
		case *tunnelpb.Control_Probe:
			ack := &tunnel.Frame{Frame: &tunnelpb.Control_ProbeAck{ProbeAck: &tunnelpb.ProbeAck{Nonce: f.Probe.GetNonce()}}}
			if u.control.Send(ack) != nil {
				_ = u.session.CloseWithError(tunnel.CodeHeartbeatLost, "control stream stuck")
				return
			}
		}
	}
}

// heartbeatPadding makes a heartbeat long enough to be answered with a stateless
// reset (RFC 9000 §10.3) by a relay that was restarted.
var heartbeatPadding = make([]byte, 40)

// heartbeat sends heartbeats until ctx ends.
func (u *uplink) heartbeat(ctx context.Context) {
	every := u.interval()
	if every == 0 {
		return
	}
	for seq := uint64(1); pause(ctx, every*9/10+rand.N(every/10+1)); seq++ {
		hb := &tunnelpb.Heartbeat{
			Seq: seq, SentUnixNs: time.Now().UnixNano(), Padding: heartbeatPadding,
			RttUs: uint32(min(u.rtt.Load()/1000, 1<<32-1)), //nolint:gosec // bounded in the same line
		}
		if err := u.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_Heartbeat{Heartbeat: hb}}); err != nil {
			_ = u.session.CloseWithError(tunnel.CodeHeartbeatLost, "heartbeat not sent")
			return
		}
	}
}

func (u *uplink) isDraining() bool {
	select {
	case <-u.draining:
		return true
	default:
		return false
	}
}

// drain moves the end-to-end sessions elsewhere: new calls get a new session, and
// those that run may finish.
func (u *uplink) drain(g *tunnelpb.GoAway) {
	u.mu.Lock()
	if u.goAway != nil {
		u.mu.Unlock()
		return
	}
	u.goAway, u.quiet = g, time.Now()
	inner := slices.Clone(u.inner)
	u.mu.Unlock()
	close(u.draining)
	for _, s := range inner {
		_ = s.GoAway(tunnel.CodeDraining, "the relay is being emptied", u.deadline()) // fails if s has ended
	}
}

// deadline is how long the calls of a draining session may go on.
func (u *uplink) deadline() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ms := u.goAway.GetDeadlineMs(); ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return u.dialer.cfg.Timing.Retire
}

// linger waits as long as the relay asked, so that not everybody moves at once.
func (u *uplink) linger(ctx context.Context) {
	u.mu.Lock()
	spread := time.Duration(u.goAway.GetSpreadMs()) * time.Millisecond
	u.mu.Unlock()
	t := time.NewTimer(rand.N(spread + 1))
	defer t.Stop()
	select {
	case <-t.C:
	case <-u.session.Done():
	case <-ctx.Done():
	}
}

// retire ends a draining session at its deadline, or sooner when it has been
// without a stream for a while. Not at once: a device that has not moved yet is
// still reached through it. A watch of presence is told when the last one has.
func (u *uplink) retire(ctx context.Context) {
	select {
	case <-u.draining:
	case <-ctx.Done():
		return
	}
	whole := u.deadline()
	end := time.Now().Add(whole)
	enough := min(whole/4, 15*time.Second)
	for {
		left, more := time.Until(end), enough-u.quietFor()
		watch := u.watch()
		if left <= 0 || more <= 0 && watch == nil {
			break
		}
		if more > 0 {
			left, watch = min(left, more), nil
		}
		if !pauseUntil(ctx, left, watch) {
			return
		}
	}
	_ = u.session.CloseWithError(tunnel.CodeDraining, "moved")
}

// watching counts a watch of presence until done.
func (u *uplink) watching() (done func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.watches++; u.unwatched == nil {
		u.unwatched = make(chan struct{})
	}
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.watches--; u.watches == 0 {
			close(u.unwatched)
			u.unwatched = nil
		}
	})
}

// watch is closed when nobody watches presence any more; nil: nobody does.
func (u *uplink) watch() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unwatched
}

// quietFor is how long there has been no stream since the drain began.
func (u *uplink) quietFor() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.streams > 0 {
		return 0
	}
	return time.Since(u.quiet)
}

// track remembers an end-to-end session that runs through u.
func (u *uplink) track(s *e2e.Session) {
	u.mu.Lock()
	if len(u.inner) >= u.sweepAt {
		u.inner = slices.DeleteFunc(u.inner, func(s *e2e.Session) bool { return s.Err() != nil })
		u.sweepAt = max(16, 2*len(u.inner))
	}
	u.inner = append(u.inner, s)
	leaving := u.goAway != nil
	u.mu.Unlock()
	if leaving {
		_ = s.GoAway(tunnel.CodeDraining, "the relay is being emptied", u.deadline()) // fails if s has ended
	}
}

// open opens a stream through the relay.
func (u *uplink) open(ctx context.Context, p *tunnel.Preamble) (tunnel.Stream, *tunnel.OpenAck, error) {
	u.add(1)
	st, ack, err := tunnel.Open(ctx, u.session, p)
	if err != nil {
		u.add(-1)
		return nil, nil, err
	}
	return &countedStream{Stream: st, done: sync.OnceFunc(func() { u.add(-1) })}, ack, nil
}

// openData gives the stream on which the call's TLS runs: that of a data
// connection, where the open-ack tells of one and it can be made.
func (u *uplink) openData(ctx context.Context, st tunnel.Stream, ack *tunnel.OpenAck) (_ tunnel.Stream, onData bool, err error) {
	if !ack.GetData() {
		return st, false, nil
	}
	var data net.Conn
	if ticket, terr := bulk.ParseTicket(ack.GetDataTicket()); terr == nil && u.data != nil {
		if data, terr = u.data.Dial(ctx, ticket); terr != nil {
			u.dialer.log.Debug("no data connection", "relay", u.welcome.GetRelay(), "error", terr)
			data = nil
		}
	}
	if err := bulk.Choose(st, data != nil); err != nil {
		if data != nil {
			bulk.Abort(data)
		}
		st.Reset(tunnel.CodeOf(err))
		return nil, false, err
	}
	if data == nil {
		return st, false, nil
	}
	return bulk.NewStream(st, data), true, nil
}

func (u *uplink) add(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.streams += n
	u.quiet = time.Now()
}

// countedStream tells its session when it is over.
type countedStream struct {
	tunnel.Stream
	done func()
}

func (s *countedStream) Close() error {
	defer s.done()
	return s.Stream.Close()
}

func (s *countedStream) Reset(code tunnel.Code) {
	defer s.done()
	s.Stream.Reset(code)
}
