package muxtun_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

// place is a listener and how to dial it.
type place struct {
	ca *pkitest.CA
	ln *muxtun.Listener
}

func listen(t *testing.T, cfg muxtun.Config, protos ...string) *place {
	t.Helper()
	p := &place{ca: pkitest.New(t, td)}
	cfg.TLS = p.ca.Credentials(identity.Relay(td, "r1")).ServerConfig(nil, append([]string{tunnel.ALPN}, protos...)...)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if p.ln, err = muxtun.Listen(tcp, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.ln.Close() })
	return p
}

func (p *place) clientTLS(protos ...string) *tls.Config {
	return p.ca.Credentials(identity.Device(td, tunneltest.Serial)).ClientConfig("localhost", nil, protos...)
}

func (p *place) dialer() *muxtun.Dialer {
	return &muxtun.Dialer{Config: muxtun.Config{TLS: p.clientTLS(tunnel.ALPN)}}
}

// works checks that a session can be made.
func (p *place) works(t *testing.T, d tunnel.Dialer) {
	t.Helper()
	client, server := tunneltest.Connect(t, d, p.ln, p.ln.Addr().String())
	if server.Peer().Name != string(tunneltest.Serial) || client.Peer() != identity.Relay(td, "r1") {
		t.Errorf("peers %s and %s", client.Peer(), server.Peer())
	}
	tunneltest.Streams(t, client, server)
	_ = client.CloseWithError(tunnel.CodeShutdown, "")
	_ = server.CloseWithError(tunnel.CodeShutdown, "")
}

func TestSilentConnectionsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	p := listen(t, muxtun.Config{MaxHandshakes: 4, HandshakeTimeout: time.Hour})
	for range 16 {
		c, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	d := p.dialer()
	d.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext
	p.works(t, d)
}

func TestSourceLimit(t *testing.T) {
	t.Parallel()
	refused := make(chan string, 64)
	p := listen(t, muxtun.Config{MaxHandshakes: 1, HandshakeTimeout: time.Hour, Refused: func(_ net.Addr, why string) { refused <- why }})
	for {
		c, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		select {
		case why := <-refused:
			if why != "source_limit" {
				t.Errorf("refused for %q", why)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestHandshakeTimeoutFreesThePlace(t *testing.T) {
	t.Parallel()
	refused := make(chan string, 64)
	p := listen(t, muxtun.Config{MaxHandshakes: 1, HandshakeTimeout: time.Second, Refused: func(_ net.Addr, why string) { refused <- why }})
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if why := <-refused; why != "handshake" {
		t.Errorf("refused for %q", why)
	}
	p.works(t, p.dialer())
}

func TestHandoff(t *testing.T) {
	t.Parallel()
	got := make(chan *tls.Conn, 1)
	p := listen(t, muxtun.Config{Handoff: func(c *tls.Conn) { got <- c }}, "h2")
	c, err := tls.Dial("tcp", p.ln.Addr().String(), p.clientTLS("h2"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	other := <-got
	defer func() { _ = other.Close() }()
	if other.ConnectionState().NegotiatedProtocol != "h2" {
		t.Error("another protocol")
	}
	go func() { _, _ = io.WriteString(c, "hello") }()
	b := make([]byte, 5)
	if _, err := io.ReadFull(other, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	p.works(t, p.dialer())
}

func TestAnotherProtocol(t *testing.T) {
	t.Parallel()
	for name, protos := range map[string][]string{"not served": {"h2"}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := listen(t, muxtun.Config{}, "h2")
			d := &muxtun.Dialer{Config: muxtun.Config{TLS: p.clientTLS(protos...)}}
			s, err := d.Dial(t.Context(), p.ln.Addr().String())
			if err == nil {
				<-s.Done() // without ALPN of its own the client finds out by the close
				_ = s.CloseWithError(tunnel.CodeShutdown, "")
			}
			p.works(t, p.dialer())
		})
	}
	t.Run("server without ALPN", func(t *testing.T) {
		t.Parallel()
		ca := pkitest.New(t, td)
		a, b := net.Pipe()
		go func() {
			_ = tls.Server(b, ca.Credentials(identity.Relay(td, "r1")).ServerConfig(nil)).HandshakeContext(context.Background())
			_ = b.Close()
		}()
		cfg := ca.Credentials(identity.Device(td, tunneltest.Serial)).ClientConfig("localhost", nil, tunnel.ALPN)
		_, err := muxtun.Client(t.Context(), a, muxtun.Config{TLS: cfg})
		if tunnel.CodeOf(err) != tunnel.CodeProtocol {
			t.Errorf("client: %v", err)
		}
	})
}

func TestRefusedCertificate(t *testing.T) {
	t.Parallel()
	p := listen(t, muxtun.Config{})
	expired := p.ca.Issue(identity.Device(td, tunneltest.Serial), pkitest.Options{NotAfter: time.Now().Add(-time.Hour)})
	cfg := p.clientTLS(tunnel.ALPN)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &expired, nil }
	d := &muxtun.Dialer{Config: muxtun.Config{TLS: cfg}}
	s, err := d.Dial(t.Context(), p.ln.Addr().String())
	if err == nil {
		<-s.Done()
		err = s.Err()
		_ = s.CloseWithError(tunnel.CodeShutdown, "")
	}
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.CodeCertificateExpired || !e.Remote {
		t.Errorf("the client sees %v", err)
	}
}

func TestAdmitPaces(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	asked := make(chan struct{}, 1)
	p := listen(t, muxtun.Config{Admit: func(net.Addr) bool {
		select {
		case asked <- struct{}{}:
		default:
		}
		return open.Load()
	}})
	done := make(chan error, 1)
	go func() {
		s, err := p.dialer().Dial(context.Background(), p.ln.Addr().String())
		if err == nil {
			_ = s.CloseWithError(tunnel.CodeShutdown, "")
		}
		done <- err
	}()
	<-asked
	<-asked
	select {
	case err := <-done:
		t.Errorf("the dial ended before it was admitted: %v", err)
	default:
	}
	open.Store(true)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestListenerClose(t *testing.T) {
	t.Parallel()
	p := listen(t, muxtun.Config{})
	client, server := tunneltest.Connect(t, p.dialer(), p.ln, p.ln.Addr().String())
	silent, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for range 2 {
		if err := p.ln.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.ln.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	tunneltest.Streams(t, client, server) // lives on
	_ = client.CloseWithError(tunnel.CodeShutdown, "")
	_ = server.CloseWithError(tunnel.CodeShutdown, "")
	if _, err := p.dialer().Dial(t.Context(), p.ln.Addr().String()); tunnel.CodeOf(err) != tunnel.CodeUnreachable {
		t.Errorf("dial: %v", err)
	}
}

func TestListenNeedsALPN(t *testing.T) {
	t.Parallel()
	if _, err := muxtun.Listen(nil, muxtun.Config{}); err == nil {
		t.Error("no error")
	}
}

// TestOther: connections that do not begin as TLS go elsewhere, with the bytes
// that they began with; those that do not begin at all are closed.
func TestOther(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	refused := make(chan string, 1)
	p := listen(t, muxtun.Config{
		HandshakeTimeout: 2 * time.Second,
		Refused:          func(_ net.Addr, reason string) { refused <- reason },
		Other: func(_ context.Context, conn net.Conn, first byte) {
			defer func() { _ = conn.Close() }()
			rest, _ := io.ReadAll(conn)
			got <- string(first) + string(rest)
		},
	})
	p.works(t, p.dialer())
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "AUD1 and more")
	_ = c.(*net.TCPConn).CloseWrite()
	if s := <-got; s != "AUD1 and more" {
		t.Errorf("got %q", s)
	}
	_ = c.Close()
	c, err = net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a byte for a silent client")
	}
	if r := <-refused; r != "handshake" {
		t.Errorf("refused as %q", r)
	}
}

// TestOtherIsBounded: connections that begin otherwise and then say nothing are no
// way around the limit on connections without a handshake.
func TestOtherIsBounded(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 64)
	refused := make(chan string, 64)
	p := listen(t, muxtun.Config{
		MaxHandshakes: 1, MaxHandshakesPerSource: 1, HandshakeTimeout: 5 * time.Second,
		Refused: func(_ net.Addr, reason string) { refused <- reason },
		Other: func(ctx context.Context, conn net.Conn, _ byte) {
			began <- struct{}{}
			<-ctx.Done()
			_ = conn.Close()
		},
	})
	for range 4 { // as many as one source may have on the way
		c, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte("A")); err != nil {
			t.Fatal(err)
		}
		<-began
	}
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if r := <-refused; r != "source_limit" {
		t.Errorf("the next one is refused as %q", r)
	}
}
