package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

var (
	pbx = identity.Device(td, "0123456789")
	ccc = identity.Service(td, "ccc")
	ara = identity.Service(td, "ara")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps the bytes that pass a connection, as a relay would see them.
type recorder struct {
	net.Conn
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.buf.Write(p)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

func (r *recorder) saw(s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.buf.Bytes(), []byte(s))
}

// world is a caller and a device with a session between them that stands for the
// two that a relay joins.
type world struct {
	t           *testing.T
	ca          *pkitest.CA
	near, far   tunnel.Session // of the caller, of the device
	ctx         context.Context
	callerCreds *enrol.Credentials
	pbxCreds    *enrol.Credentials
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ca: pkitest.New(t, td)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	w.ctx, w.callerCreds, w.pbxCreds = ctx, w.ca.Credentials(ccc), w.ca.Credentials(pbx)
	relay := w.ca.Credentials(identity.Relay(td, "r"))
	a, b := net.Pipe()
	accepted := make(chan tunnel.Session, 1)
	go func() {
		s, err := muxtun.Server(ctx, b, muxtun.Config{TLS: relay.ServerConfig(nil, tunnel.ALPN)})
		if err != nil {
			t.Error(err)
		}
		accepted <- s
	}()
	var err error
	w.near, err = muxtun.Client(ctx, a, muxtun.Config{TLS: w.callerCreds.ClientConfig("r.relay.comtrexx.test", nil, tunnel.ALPN)})
	if err != nil {
		t.Fatal(err)
	}
	w.far = <-accepted
	t.Cleanup(func() {
		_ = w.near.CloseWithError(tunnel.CodeOK, "")
		_ = w.far.CloseWithError(tunnel.CodeOK, "")
	})
	return w
}

// streams gives the two ends of one stream.
func (w *world) streams() (near, far tunnel.Stream) {
	w.t.Helper()
	near, err := w.near.Open(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	// A stream may reach the other side with its first byte.
	if _, err := near.Write([]byte{0}); err != nil {
		w.t.Fatal(err)
	}
	if far, err = w.far.Accept(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		w.t.Fatal(err)
	}
	return near, far
}

// sessions runs both sides of one end-to-end session.
func (w *world) sessions(want identity.ID, check func(identity.ID) error) (c, s *Session, cerr, serr error) {
	w.t.Helper()
	near, far := w.streams()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, serr = Server(w.ctx, far, w.pbxCreds, check, 0)
	}()
	c, cerr = Client(w.ctx, near, w.callerCreds, want, hello())
	<-done
	w.t.Cleanup(func() {
		if c != nil {
			_ = c.CloseWithError(tunnel.CodeOK, "")
		}
		if s != nil {
			_ = s.CloseWithError(tunnel.CodeOK, "")
		}
	})
	return c, s, cerr, serr
}

func hello() *tunnel.Hello {
	return &tunnel.Hello{InstanceId: tunnel.NewID(), BootId: tunnel.NewID()}
}

func TestSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s, cerr, serr := w.sessions(pbx, identity.Exactly(ccc))
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	if c.Peer() != pbx || s.Peer() != ccc || c.Transport() != tunnel.InnerMux {
		t.Errorf("peers %s, %s, transport %s", c.Peer(), s.Peer(), c.Transport())
	}
	if !bytes.Equal(c.Hello().GetBootId(), s.Hello().GetBootId()) || !bytes.Equal(c.Welcome().GetSession(), s.Welcome().GetSession()) {
		t.Error("the two sides remember another handshake")
	}

	served := make(chan error, 1)
	go func() {
		served <- Serve(w.ctx, s, ServeConfig{Handle: func(_ context.Context, st tunnel.Stream, p *tunnel.Preamble) {
			if p.GetService() != "echo" {
				tunnel.Refuse(st, tunnel.Errorf(tunnel.CodeServiceUnknown, "no"))
				return
			}
			if err := tunnel.WriteAck(st); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(st, st)
			_ = st.Close()
		}})
	}()
	for range 3 {
		st, _, err := tunnel.Open(w.ctx, c, &tunnel.Preamble{Target: pbx.Path(), Service: "echo"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if err := st.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(st); string(got) != "ping" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		_ = st.Close()
	}
	if _, _, err := tunnel.Open(w.ctx, c, &tunnel.Preamble{Target: pbx.Path(), Service: "x"}); tunnel.CodeOf(err) != tunnel.CodeServiceUnknown {
		t.Errorf("unknown service: %v", err)
	}

	if err := s.GoAway(tunnel.CodeDraining, "test", time.Minute); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Draining():
	case <-w.ctx.Done():
		t.Fatal("the GOAWAY did not arrive")
	}
	_ = c.CloseWithError(tunnel.CodeIdle, "test over")
	if err := <-served; tunnel.CodeOf(err) != tunnel.CodeIdle {
		t.Errorf("Serve ended with %v", err)
	}
}

func TestSessionVerifiesBothSides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tt := range map[string]struct {
		want  identity.ID
		check func(identity.ID) error
		code  tunnel.Code // on the side that refuses
	}{
		"the device is another one":   {identity.Device(td, "0000000001"), nil, tunnel.CodeRelayUntrusted},
		"the device is a service":     {ara, nil, tunnel.CodeRelayUntrusted},
		"the caller is not welcome":   {pbx, identity.Exactly(ara), tunnel.CodeRefusedByDevice},
		"the caller is of wrong kind": {pbx, identity.OfKind(td, identity.KindDevice), tunnel.CodeRefusedByDevice},
	} {
		c, s, cerr, serr := w.sessions(tt.want, tt.check)
		if c != nil || s != nil || cerr == nil || serr == nil {
			t.Errorf("%s: %v, %v", name, cerr, serr)
		}
		refuser := cerr
		if tt.check != nil {
			refuser = serr
		}
		if e, ok := errors.AsType[*tunnel.Error](refuser); !ok || e.Code != tt.code {
			t.Errorf("%s: %v", name, refuser)
		}
	}
}

func TestHandshakeDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	short, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
	defer cancel()
	for name, f := range map[string]func(tunnel.Stream) error{
		"Client":    func(st tunnel.Stream) error { _, err := Client(short, st, w.callerCreds, pbx, hello()); return err },
		"Server":    func(st tunnel.Stream) error { _, err := Server(short, st, w.pbxCreds, nil, 0); return err },
		"ClientTLS": func(st tunnel.Stream) error { _, err := ClientTLS(short, st, w.callerCreds, pbx); return err },
		"ServerTLS": func(st tunnel.Stream) error {
			_, err := ServerTLS(short, st, w.pbxCreds, tls.RequireAndVerifyClientCert, nil)
			return err
		},
	} {
		near, _ := w.streams()
		if err := f(near); tunnel.CodeOf(err) != tunnel.CodeHandshakeTimeout {
			t.Errorf("%s with a silent peer: %v", name, err)
		}
	}
}

// flows runs both sides of one TLS flow.
func (w *world) flows(auth tls.ClientAuthType, creds *enrol.Credentials, client func(tunnel.Stream) (net.Conn, error)) (c net.Conn, s *Flow, cerr, serr error) {
	w.t.Helper()
	near, far := w.streams()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, serr = ServerTLS(w.ctx, far, creds, auth, identity.Exactly(ccc))
	}()
	c, cerr = client(near)
	<-done
	return c, s, cerr, serr
}

func TestFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asCCC := func(st tunnel.Stream) (net.Conn, error) { return ClientTLS(w.ctx, st, w.callerCreds, pbx) }
	c, s, cerr, serr := w.flows(tls.RequireAndVerifyClientCert, w.pbxCreds, asCCC)
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	if s.Peer() != ccc || c.(*Flow).Peer() != pbx {
		t.Errorf("peers %s, %s", s.Peer(), c.(*Flow).Peer())
	}
	// Half-close both ways.
	go func() {
		_, _ = c.Write([]byte("question"))
		_ = c.(*Flow).CloseWrite()
	}()
	if got, err := io.ReadAll(s); string(got) != "question" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	go func() {
		_, _ = s.Write([]byte("answer"))
		_ = s.Close()
	}()
	if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_ = c.Close()
}

func TestFlowResetTellsTheCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s, cerr, serr := w.flows(tls.RequireAndVerifyClientCert, w.pbxCreds, func(st tunnel.Stream) (net.Conn, error) {
		return ClientTLS(w.ctx, st, w.callerCreds, pbx)
	})
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	s.Reset(tunnel.CodeTargetUnreachable)
	_, err := c.Read(make([]byte, 1))
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.CodeTargetUnreachable || !e.Remote {
		t.Errorf("got %v", err)
	}
	_ = c.Close()
}

func TestFlowClientCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anonymous := func(st tunnel.Stream) (net.Conn, error) {
		conn := tls.Client(st, &tls.Config{RootCAs: w.ca.Roots(), ServerName: pbx.DNSName(), MinVersion: tls.VersionTLS13})
		return conn, conn.HandshakeContext(w.ctx)
	}
	foreign := pkitest.New(t, td).Credentials(ccc)
	stranger := func(st tunnel.Stream) (net.Conn, error) {
		cfg := foreign.ClientConfig(pbx.DNSName(), nil)
		cfg.RootCAs = w.ca.Roots()
		conn := tls.Client(st, cfg)
		return conn, conn.HandshakeContext(w.ctx)
	}
	other := func(st tunnel.Stream) (net.Conn, error) {
		return ClientTLS(w.ctx, st, w.ca.Credentials(ara), pbx)
	}
	for _, tt := range []struct {
		name   string
		auth   tls.ClientAuthType
		client func(tunnel.Stream) (net.Conn, error)
		good   bool
	}{
		{"none, one is needed", tls.RequireAndVerifyClientCert, anonymous, false},
		{"none, none is needed", tls.VerifyClientCertIfGiven, anonymous, true},
		{"foreign CA, one is needed", tls.RequireAndVerifyClientCert, stranger, false},
		{"foreign CA, none is needed", tls.VerifyClientCertIfGiven, stranger, false},
		{"another's, one is needed", tls.RequireAndVerifyClientCert, other, false},
		{"another's, none is needed", tls.VerifyClientCertIfGiven, other, false},
	} {
		c, s, _, serr := w.flows(tt.auth, w.pbxCreds, tt.client)
		if (serr == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, serr)
		}
		if serr == nil && !s.Peer().IsZero() {
			t.Errorf("%s: the peer is said to be %s", tt.name, s.Peer())
		}
		if s != nil {
			_ = s.Close()
		}
		if c != nil {
			_ = c.Close()
		}
	}
}

// What runs inside is not seen outside; the positive control is what is.
func TestRelaySeesCiphertext(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a9c"
	ca := pkitest.New(t, td)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, b := net.Pipe()
	rec := &recorder{Conn: a}
	near := pipeStream{rec}
	far := pipeStream{b}
	got := make(chan string, 1)
	go func() {
		f, err := ServerTLS(ctx, far, ca.Credentials(pbx), tls.RequireAndVerifyClientCert, nil)
		if err != nil {
			t.Error(err)
			got <- ""
			return
		}
		line := make([]byte, len(canary))
		_, _ = io.ReadFull(f, line)
		got <- string(line)
		_, _ = io.ReadFull(b, line) // plain
		got <- string(line)
	}()
	f, err := ClientTLS(ctx, near, ca.Credentials(ccc), pbx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(canary)); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != canary {
		t.Fatalf("the device read %q", s)
	}
	if rec.saw(canary) {
		t.Error("the canary passed in the clear")
	}
	if _, err := rec.Write([]byte(canary)); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != canary || !rec.saw(canary) {
		t.Error("the recorder does not record")
	}
	_ = b.Close()
	_ = a.Close()
}

// pipeStream is a connection as a stream, for the handshakes alone.
type pipeStream struct{ net.Conn }

func (p pipeStream) CloseWrite() error { return p.Close() }
func (p pipeStream) Reset(tunnel.Code) { _ = p.Close() }

func TestServeRefusesTooMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	served := make(chan error, 1)
	go func() {
		served <- Serve(w.ctx, w.far, ServeConfig{MaxStreams: 2, IdleTimeout: -1, Handle: func(ctx context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
			_ = tunnel.WriteAck(st)
			<-ctx.Done()
		}})
	}()
	for range 2 {
		if _, _, err := tunnel.Open(w.ctx, w.near, &tunnel.Preamble{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := tunnel.Open(w.ctx, w.near, &tunnel.Preamble{}); tunnel.CodeOf(err) != tunnel.CodeTooManyStreams {
		t.Errorf("third stream: %v", err)
	}
	_ = w.near.CloseWithError(tunnel.CodeShutdown, "over")
	if err := <-served; tunnel.CodeOf(err) != tunnel.CodeShutdown {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(w.ctx)
	handled := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, w.far, ServeConfig{Handle: func(ctx context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
			close(handled)
			_, _ = io.Copy(io.Discard, st)
		}})
	}()
	go func() { _, _, _ = tunnel.Open(w.ctx, w.near, &tunnel.Preamble{}) }()
	<-handled
	cancel()
	if err := <-served; tunnel.CodeOf(err) != tunnel.CodeShutdown {
		t.Errorf("Serve: %v", err)
	}
	<-w.near.Done()
	if e := w.near.Err(); tunnel.CodeOf(e) != tunnel.CodeShutdown || !strings.Contains(e.Error(), "stopped") {
		t.Errorf("the peer was told %v", e)
	}
}
