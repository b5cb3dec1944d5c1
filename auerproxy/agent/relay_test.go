package agent

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// way is how packets of one transport fare on the way to a relay.
type way int

const (
	pathOpen    way = iota
	pathBlocked     // nothing comes back
	pathRefused     // an error comes back at once
	pathMute        // the handshake succeeds, and nothing after it
)

// fakeNet is relays in memory, and the network before them.
type fakeNet struct {
	t     *testing.T
	start time.Time

	mu sync.Mutex // guards what follows
	// behaviour, may be changed at any time
	quic, tcp way
	down      map[string]bool // relays at which both transports are refused
	refuse    *tunnel.Error   // instead of a welcome
	dropAfter time.Duration   // after the welcome; 0: never
	dropCode  tunnel.Code
	awayAfter time.Duration // GOAWAY so long after the welcome; 0: never
	deaf      bool          // heartbeats get no answer
	deafQUIC  bool          // those over QUIC get none
	// What the sessions measure; the device, and the relay.
	lines, downLines map[tunnel.Transport]line
	// what happened
	dials    []event
	hellos   []event
	sessions []*relaySession
	beats    []*tunnelpb.Heartbeat
}

type event struct {
	at        time.Duration // since the start
	relay     string
	transport tunnel.Transport
}

// relaySession is a welcomed session, seen from the relay.
type relaySession struct {
	*memSession
	relay   string
	hello   *tunnel.Hello
	control *tunnel.Control
	at      time.Duration
}

func newNet(t *testing.T) *fakeNet {
	return &fakeNet{t: t, start: time.Now(), down: make(map[string]bool), dropCode: tunnel.CodeShutdown}
}

func (n *fakeNet) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// welcomed gives the sessions that were welcomed so far.
func (n *fakeNet) welcomed() []*relaySession {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*relaySession(nil), n.sessions...)
}

func (n *fakeNet) dialled(t tunnel.Transport) []event { return n.events(&n.dials, t) }
func (n *fakeNet) greeted(t tunnel.Transport) []event { return n.events(&n.hellos, t) }

// events gives what was noted of one transport; of all if t is empty.
func (n *fakeNet) events(list *[]event, t tunnel.Transport) []event {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []event
	for _, e := range *list {
		if t == "" || e.transport == t {
			out = append(out, e)
		}
	}
	return out
}

// dialer is one transport to all relays.
type dialer struct {
	net       *fakeNet
	transport tunnel.Transport
}

// line is what the sessions of a transport measure.
type line struct {
	packets float64 // per second
	loss    float64
	rate    uint64
}

// meter measures a session that starts now.
func (n *fakeNet) meter(t tunnel.Transport, lines func() map[tunnel.Transport]line) func() (tunnel.Path, bool) {
	last := time.Now()
	var sent, lost float64 // guarded by n.mu
	return func() (tunnel.Path, bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		l, ok := lines()[t]
		more := l.packets * time.Since(last).Seconds()
		last = time.Now()
		sent += more
		lost += l.loss * more
		return tunnel.Path{RTT: time.Millisecond, MinRTT: time.Millisecond, Sent: uint64(sent), Lost: uint64(lost), Rate: l.rate}, ok
	}
}

const handshakeTime = 10 * time.Millisecond

func (d dialer) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	n := d.net
	n.mu.Lock()
	n.dials = append(n.dials, event{time.Since(n.start), addr, d.transport})
	p := n.tcp
	if d.transport == tunnel.QUIC {
		p = n.quic
	}
	if n.down[addr] {
		p = pathRefused
	}
	n.mu.Unlock()
	switch p {
	case pathBlocked:
		<-ctx.Done()
		return nil, ctx.Err()
	case pathRefused:
		return nil, errors.New("connection refused")
	}
	pause(ctx, handshakeTime, nil)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	c, s := memPair(self, identity.Relay(td, "r"), d.transport)
	c.path = n.meter(d.transport, func() map[tunnel.Transport]line { return n.lines })
	s.path = n.meter(d.transport, func() map[tunnel.Transport]line { return n.downLines })
	if p == pathOpen {
		go n.serve(s, addr)
	} else {
		go swallow(s)
	}
	return c, nil
}

// swallow reads what a session carries and answers nothing.
func swallow(s *memSession) {
	for {
		st, err := s.Accept(context.Background())
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, st)
	}
}

// serve is the relay's side of one session.
func (n *fakeNet) serve(s *memSession, addr string) {
	control, hello, err := tunnel.AcceptHello(context.Background(), s)
	if err != nil {
		return
	}
	n.mu.Lock()
	n.hellos = append(n.hellos, event{time.Since(n.start), addr, s.transport})
	refuse, drop, code, away := n.refuse, n.dropAfter, n.dropCode, n.awayAfter
	n.mu.Unlock()
	if refuse != nil {
		control.Refuse(s, refuse)
		return
	}
	err = control.Welcome(&tunnel.Welcome{Session: tunnel.NewID(), Epoch: 1, Relay: "relay/r", HeartbeatMs: 20_000})
	if err != nil {
		return
	}
	rs := &relaySession{s, addr, hello, control, time.Since(n.start)}
	n.change(func() { n.sessions = append(n.sessions, rs) })
	if drop > 0 {
		time.AfterFunc(drop, func() { _ = s.CloseWithError(code, "test") })
	}
	if away > 0 {
		time.AfterFunc(away, func() { rs.goAway(0, 0) })
	}
	for {
		f, err := control.Receive()
		if err != nil {
			return
		}
		hb := f.GetHeartbeat()
		if hb == nil {
			continue
		}
		n.mu.Lock()
		n.beats = append(n.beats, hb)
		deaf := n.deaf || n.deafQUIC && s.transport == tunnel.QUIC
		n.mu.Unlock()
		if !deaf && control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_HeartbeatAck{HeartbeatAck: &tunnelpb.HeartbeatAck{Seq: hb.GetSeq(), Path: tunnel.PathOf(s)}}}) != nil {
			return
		}
	}
}

// goAway tells the device to leave. It fails only if the session has ended.
func (s *relaySession) goAway(deadline, spread time.Duration) {
	_ = s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_GoAway{GoAway: &tunnelpb.GoAway{
		Code: uint32(tunnel.CodeDraining), Reason: "test", DeadlineMs: uint32(deadline.Milliseconds()), SpreadMs: uint32(spread.Milliseconds()),
	}}})
}

func (s *relaySession) ended() bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// device is a running agent of a test.
type device struct {
	*Agent
	ca    *pkitest.CA
	creds *enrol.Credentials
	stop  func() // ends Run and waits for it
}

// run starts an agent on the network until the end of the test.
func (n *fakeNet) run(change func(*Config)) *device {
	n.t.Helper()
	ca := pkitest.New(n.t, td)
	d := &device{ca: ca, creds: ca.Credentials(self)}
	cfg := Config{
		Relays: []string{"a:1"}, Credentials: d.creds,
		QUIC: dialer{n, tunnel.QUIC}, TCP: dialer{n, tunnel.TCP},
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	d.Agent = a
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("Run: %v", err)
		}
	})
	n.t.Cleanup(d.stop)
	return d
}

// slotStatus is the state of the first slot.
func (d *device) slotStatus() SlotStatus { return d.Status().Slots[0] }
