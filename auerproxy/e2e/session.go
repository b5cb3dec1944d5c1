package e2e

import (
	"context"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// DefaultMaxStreams is how many calls one session carries at once.
const DefaultMaxStreams = 256

// Session is an end-to-end session after its welcome. The embedded session
// carries calls; its control stream is answered by a goroutine that ends with the
// session.
type Session struct {
	tunnel.Session

	hello   *tunnel.Hello
	welcome *tunnel.Welcome
	control *tunnel.Control

	drainOnce sync.Once
	draining  chan struct{} // closed when either side has said GOAWAY
	ended     chan struct{} // closed when the control loop has returned
}

// Client runs the dialling side of an end-to-end session on an open stream with
// INNER_MUX: TLS that verifies the other side to be want, then hello and welcome.
// hello needs InstanceId and BootId. The stream belongs to the session from now
// on, and is reset on error. The error is a *tunnel.Error.
func Client(ctx context.Context, st tunnel.Stream, creds *enrol.Credentials, want identity.ID, hello *tunnel.Hello) (*Session, error) {
	cfg := sessionConfig(0)
	cfg.TLS = creds.ClientConfig(want.DNSName(), identity.Exactly(want), tunnel.ALPNInner)
	ts, err := muxtun.Client(ctx, st, cfg)
	if err != nil {
		err = clientError(ctx, err)
		st.Reset(tunnel.CodeOf(err))
		return nil, err
	}
	control, welcome, err := tunnel.Connect(ctx, ts, hello)
	if err != nil {
		return nil, err
	}
	return start(ts, control, hello, welcome), nil
}

// Server is the other side of [Client]: it passes the client's verified identity
// to check, and welcomes it. maxStreams bounds the calls that the client may have
// open at once; 0 is [DefaultMaxStreams].
func Server(ctx context.Context, st tunnel.Stream, creds *enrol.Credentials, check func(identity.ID) error, maxStreams int) (*Session, error) {
	cfg := sessionConfig(maxStreams)
	cfg.TLS = creds.ServerConfig(check, tunnel.ALPNInner)
	cfg.TLS.SessionTicketsDisabled = true
	ts, err := muxtun.Server(ctx, st, cfg)
	if err != nil {
		err = serverError(ctx, err)
		st.Reset(tunnel.CodeOf(err))
		return nil, err
	}
	control, hello, err := tunnel.AcceptHello(ctx, ts)
	if err != nil {
		return nil, err
	}
	welcome := &tunnel.Welcome{Session: tunnel.NewID(), Epoch: 1, MaxStreams: uint32(cfg.MaxIncomingStreams)} //nolint:gosec // a small positive number
	if err := control.Welcome(welcome); err != nil {
		_ = ts.CloseWithError(tunnel.CodeOf(err), "welcome failed")
		return nil, err
	}
	return start(ts, control, hello, welcome), nil
}

func start(ts tunnel.Session, control *tunnel.Control, hello *tunnel.Hello, welcome *tunnel.Welcome) *Session {
	s := &Session{
		Session: ts, hello: hello, welcome: welcome, control: control,
		draining: make(chan struct{}), ended: make(chan struct{}),
	}
	go s.answer()
	return s
}

// Hello is what the dialling side said.
func (s *Session) Hello() *tunnel.Hello { return s.hello }

// Welcome is what the accepting side said.
func (s *Session) Welcome() *tunnel.Welcome { return s.welcome }

// Draining is closed when either side has said that new calls belong elsewhere.
// Calls that run go on.
func (s *Session) Draining() <-chan struct{} { return s.draining }

// GoAway asks the peer to open its calls in another session. The error, if any,
// is that the session has ended.
func (s *Session) GoAway(code tunnel.Code, reason string, deadline time.Duration) error {
	s.drain()
	return s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_GoAway{GoAway: &tunnelpb.GoAway{
		Code: uint32(code), Reason: reason, DeadlineMs: uint32(min(max(deadline.Milliseconds(), 0), 1<<32-1)), //nolint:gosec // bounded in the same line
	}}})
}

func (s *Session) drain() { s.drainOnce.Do(func() { close(s.draining) }) }

// CloseWithError ends the session and everything that it started.
func (s *Session) CloseWithError(code tunnel.Code, reason string) error {
	err := s.Session.CloseWithError(code, reason)
	<-s.ended
	return err
}

// answer reads the control stream until the session ends. A peer that ends its
// control stream ends the session.
func (s *Session) answer() {
	defer close(s.ended)
	for {
		f, err := s.control.Receive()
		if err == nil {
			err = s.handle(f)
		}
		if err != nil {
			code := tunnel.CodeOf(err)
			if code == tunnel.CodeInternal {
				code = tunnel.CodeProtocol
			}
			_ = s.Session.CloseWithError(code, "control stream ended")
			return
		}
	}
}

func (s *Session) handle(f *tunnel.Frame) error {
	switch f := f.GetFrame().(type) {
	case *tunnelpb.Control_GoAway:
		s.drain()
	case *tunnelpb.Control_Probe:
		return s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_ProbeAck{ProbeAck: &tunnelpb.ProbeAck{Nonce: f.Probe.GetNonce()}}})
	case *tunnelpb.Control_Heartbeat:
		return s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_HeartbeatAck{HeartbeatAck: &tunnelpb.HeartbeatAck{
			Seq: f.Heartbeat.GetSeq(), SentUnixNs: f.Heartbeat.GetSentUnixNs(),
		}}})
	}
	return nil
}

func sessionConfig(maxStreams int) muxtun.Config {
	if maxStreams <= 0 {
		maxStreams = DefaultMaxStreams
	}
	return muxtun.Config{Transport: tunnel.InnerMux, MaxIncomingStreams: maxStreams}
}
