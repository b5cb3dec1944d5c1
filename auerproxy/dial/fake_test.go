package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const td = identity.DefaultTrustDomain

var (
	ccc    = identity.Service(td, "ccc")
	device = identity.Device(td, "0123456789")
)

// fakeStream is one end of a stream in memory: one net.Pipe per direction, so
// that deadlines and half-close work, also within synctest.
type fakeStream struct {
	in, out net.Conn
	broken  *atomic.Pointer[tunnel.Error] // shared by both ends: the reset
	peer    *fakeStream
}

func streamPair() (*fakeStream, *fakeStream) {
	r1, w1 := net.Pipe()
	r2, w2 := net.Pipe()
	broken := new(atomic.Pointer[tunnel.Error])
	a, b := &fakeStream{in: r1, out: w2, broken: broken}, &fakeStream{in: r2, out: w1, broken: broken}
	a.peer, b.peer = b, a
	return a, b
}

func (s *fakeStream) err(err error) error {
	if e := s.broken.Load(); err != nil && e != nil {
		return e
	}
	return err
}

func (s *fakeStream) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	return n, s.err(err)
}

func (s *fakeStream) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	return n, s.err(err)
}

func (s *fakeStream) CloseWrite() error { return s.out.Close() }

func (s *fakeStream) LocalAddr() net.Addr                { return s.in.LocalAddr() }
func (s *fakeStream) RemoteAddr() net.Addr               { return s.in.RemoteAddr() }
func (s *fakeStream) SetReadDeadline(t time.Time) error  { return s.in.SetReadDeadline(t) }
func (s *fakeStream) SetWriteDeadline(t time.Time) error { return s.out.SetWriteDeadline(t) }
func (s *fakeStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *fakeStream) Close() error {
	_ = s.out.Close()
	return s.in.Close()
}

func (s *fakeStream) Reset(code tunnel.Code) {
	s.broken.CompareAndSwap(nil, &tunnel.Error{Code: code, Remote: true})
	_ = s.Close()
	_ = s.peer.Close()
}

// fakeSession is one end of a session in memory.
type fakeSession struct {
	tunnel.Session // nil: addresses are not asked for
	peer           identity.ID
	transport      tunnel.Transport
	accept         chan *fakeStream
	other          *fakeSession
	shared         *fakeShared
}

type fakeShared struct {
	done chan struct{}

	mu      sync.Mutex
	err     *tunnel.Error
	closer  *fakeSession
	streams []*fakeStream
}

func sessionPair(client, server identity.ID, t tunnel.Transport) (c, s *fakeSession) {
	shared := &fakeShared{done: make(chan struct{})}
	c = &fakeSession{peer: server, transport: t, accept: make(chan *fakeStream, 1024), shared: shared}
	s = &fakeSession{peer: client, transport: t, accept: make(chan *fakeStream, 1024), shared: shared}
	c.other, s.other = s, c
	return c, s
}

func (s *fakeSession) Open(context.Context) (tunnel.Stream, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	a, b := streamPair()
	s.shared.mu.Lock()
	s.shared.streams = append(s.shared.streams, a)
	s.shared.mu.Unlock()
	s.other.accept <- b
	return a, nil
}

func (s *fakeSession) Accept(ctx context.Context) (tunnel.Stream, error) {
	select {
	case st := <-s.accept:
		return st, nil
	case <-s.shared.done:
		return nil, s.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *fakeSession) CloseWithError(code tunnel.Code, reason string) error {
	sh := s.shared
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.err != nil {
		return nil
	}
	sh.err, sh.closer = &tunnel.Error{Code: code, Message: reason}, s
	close(sh.done)
	for _, st := range sh.streams {
		st.Reset(tunnel.CodeSessionLost)
	}
	return nil
}

func (s *fakeSession) Done() <-chan struct{} { return s.shared.done }

func (s *fakeSession) Err() error {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	if s.shared.err == nil {
		return nil
	}
	e := *s.shared.err
	e.Remote = s.shared.closer != s
	return &e
}

func (s *fakeSession) Peer() identity.ID           { return s.peer }
func (s *fakeSession) Transport() tunnel.Transport { return s.transport }

// fakeNet is a network of fake relays by address.
type fakeNet struct {
	transport tunnel.Transport
	mu        sync.Mutex
	relays    map[string]*fakeRelay
}

// Dial implements tunnel.Dialer for the service ccc.
func (n *fakeNet) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	n.mu.Lock()
	r := n.relays[addr]
	n.mu.Unlock()
	if r == nil {
		return nil, errors.New("connection refused")
	}
	r.dials.Add(1)
	if r.blackhole.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, s := sessionPair(ccc, identity.Relay(td, r.name), n.transport)
	r.wg.Go(func() { r.serve(s) })
	return c, nil
}

// fakeRelay answers sessions, and the streams in them with what is in targets.
type fakeRelay struct {
	name      string
	heartbeat uint32 // ms
	wg        sync.WaitGroup
	dials     atomic.Int64
	opens     atomic.Int64
	blackhole atomic.Bool
	mute      atomic.Bool // says hello, then nothing

	mu       sync.Mutex
	refusal  *tunnel.Error // answer to every hello
	targets  map[string]func(context.Context, tunnel.Stream, *tunnel.Preamble)
	sessions []*relaySession
	hellos   []*tunnel.Hello
}

type relaySession struct {
	*fakeSession
	control *tunnel.Control
}

func newRelay(name string) *fakeRelay {
	return &fakeRelay{name: name, targets: map[string]func(context.Context, tunnel.Stream, *tunnel.Preamble){}}
}

func (r *fakeRelay) serve(s *fakeSession) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	control, hello, err := tunnel.AcceptHello(ctx, s)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.hellos = append(r.hellos, hello)
	refusal := r.refusal
	if refusal == nil {
		r.sessions = append(r.sessions, &relaySession{s, control})
	}
	r.mu.Unlock()
	if refusal != nil {
		control.Refuse(s, refusal)
		return
	}
	if err := control.Welcome(&tunnel.Welcome{Session: tunnel.NewID(), Relay: "relay/" + r.name, HeartbeatMs: r.heartbeat}); err != nil {
		return
	}
	r.wg.Go(func() {
		for {
			f, err := control.Receive()
			if err != nil {
				return
			}
			if hb := f.GetHeartbeat(); hb != nil && !r.mute.Load() {
				ack := &tunnelpb.HeartbeatAck{Seq: hb.GetSeq(), SentUnixNs: hb.GetSentUnixNs()}
				if control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_HeartbeatAck{HeartbeatAck: ack}}) != nil {
					return
				}
			}
		}
	})
	_ = e2e.Serve(ctx, s, e2e.ServeConfig{IdleTimeout: -1, Handle: func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
		r.opens.Add(1)
		p.Caller = s.Peer().Path()
		r.mu.Lock()
		answer := r.targets[p.GetTarget()]
		r.mu.Unlock()
		if answer == nil {
			tunnel.Refuse(st, &tunnel.Error{Code: tunnel.CodeNotReachable})
			return
		}
		answer(ctx, st, p)
	}})
}

// set changes the relay's answers.
func (r *fakeRelay) set(target identity.ID, answer func(context.Context, tunnel.Stream, *tunnel.Preamble)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets[target.Path()] = answer
}

// each calls f for every session that was ever welcomed.
func (r *fakeRelay) each(f func(*relaySession)) {
	r.mu.Lock()
	list := append([]*relaySession(nil), r.sessions...)
	r.mu.Unlock()
	for _, s := range list {
		f(s)
	}
}

func (r *fakeRelay) goAway(deadlineMs uint32) {
	r.each(func(s *relaySession) {
		if s.Err() == nil {
			_ = s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_GoAway{GoAway: &tunnelpb.GoAway{
				Code: uint32(tunnel.CodeDraining), DeadlineMs: deadlineMs,
			}}})
		}
	})
}

func (r *fakeRelay) stop() {
	r.each(func(s *relaySession) { _ = s.CloseWithError(tunnel.CodeShutdown, "relay stopped") })
	r.wg.Wait()
}

// refuse answers every stream with an error.
func refuse(c tunnel.Code) func(context.Context, tunnel.Stream, *tunnel.Preamble) {
	return func(_ context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
		tunnel.Refuse(st, &tunnel.Error{Code: c})
	}
}

// fakeDevice serves end-to-end sessions and flows under its certificate; every
// call echoes.
type fakeDevice struct {
	creds *enrol.Credentials

	sessions atomic.Int64
	calls    atomic.Int64
	refusal  atomic.Pointer[tunnel.Error]

	mu   sync.Mutex
	last *tunnel.Preamble // of a call
	live []*e2e.Session
}

func newDevice(ca *pkitest.CA, id identity.ID) *fakeDevice {
	return &fakeDevice{creds: ca.Credentials(id)}
}

func (f *fakeDevice) answer(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
	if err := tunnel.WriteAck(st, &tunnel.Hop{At: "relay/fake", TookUs: 7}); err != nil {
		return
	}
	check := identity.Exactly(ccc)
	switch p.GetInner() {
	case tunnelpb.Inner_INNER_RAW:
		f.echo(st, p)
	case tunnelpb.Inner_INNER_TLS:
		if flow, err := e2e.ServerTLS(ctx, st, f.creds, tls.RequireAndVerifyClientCert, check); err == nil {
			f.echo(flow, p)
		}
	default:
		s, err := e2e.Server(ctx, st, f.creds, check, 0)
		if err != nil {
			return
		}
		f.sessions.Add(1)
		f.mu.Lock()
		f.live = append(f.live, s)
		f.mu.Unlock()
		_ = e2e.Serve(ctx, s, e2e.ServeConfig{Handle: func(_ context.Context, st tunnel.Stream, p *tunnel.Preamble) {
			if e := f.refusal.Load(); e != nil {
				tunnel.Refuse(st, e)
				return
			}
			if tunnel.WriteAck(st, &tunnel.Hop{At: "target", TookUs: 42}) == nil {
				f.echo(st, p)
			}
		}})
	}
}

func (f *fakeDevice) echo(c net.Conn, p *tunnel.Preamble) {
	f.calls.Add(1)
	f.mu.Lock()
	f.last = p
	f.mu.Unlock()
	_, _ = io.Copy(c, c)
	_ = c.Close()
}

// kill ends every end-to-end session without a word.
func (f *fakeDevice) kill() {
	f.mu.Lock()
	live := f.live
	f.live = nil
	f.mu.Unlock()
	for _, s := range live {
		_ = s.CloseWithError(tunnel.CodeShutdown, "device stopped")
	}
}

// newDialer makes a dialer of the service ccc over fake relays at the addresses
// "a:1", "b:1" and so on, TCP only unless cfg says otherwise.
func newDialer(t testing.TB, ca *pkitest.CA, cfg Config, relays ...*fakeRelay) (*Dialer, *fakeNet) {
	t.Helper()
	n := &fakeNet{transport: tunnel.TCP, relays: map[string]*fakeRelay{}}
	for i, r := range relays {
		addr := string(rune('a'+i)) + ":1"
		n.relays[addr] = r
		cfg.Relays = append(cfg.Relays, addr)
	}
	if cfg.TCP == nil {
		cfg.TCP = n
	}
	if cfg.Transport == "" {
		cfg.Transport = TransportTCP
	}
	cfg.Credentials = ca.Credentials(ccc)
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.Close()
		for _, r := range relays {
			r.stop()
		}
	})
	return d, n
}

func echo(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("write: %v", err)
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("echo gives %q, %v", buf, err)
	}
}

// handed is a call that is handed to a server which knows connections only.
type handed struct {
	tunnel.Stream
	once sync.Once
	over chan struct{}
}

func (c *handed) Close() error {
	c.once.Do(func() { close(c.over) })
	return c.Stream.Close()
}

// handedListener is where that server gets them from.
type handedListener struct {
	calls chan *handed
	once  sync.Once
	done  chan struct{}
}

func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.calls:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *handedListener) Addr() net.Addr { return Addr{ID: device} }

func (l *handedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}
