package quictun_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

// place is a listener and how to dial it.
type place struct {
	ca *pkitest.CA
	ln *quictun.Listener
}

func listen(t *testing.T, cfg quictun.Config) *place {
	t.Helper()
	p := &place{ca: pkitest.New(t, td)}
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p.serve(t, pc, cfg)
	return p
}

func (p *place) serve(t *testing.T, pc net.PacketConn, cfg quictun.Config) {
	t.Helper()
	cfg.TLS = p.ca.Credentials(identity.Relay(td, "r1")).ServerConfig(nil, tunnel.ALPN)
	ln, err := quictun.Listen(pc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Shutdown() })
	p.ln = ln
}

func (p *place) dialer(cfg quictun.Config) *quictun.Dialer {
	cfg.TLS = p.ca.Credentials(identity.Device(td, tunneltest.Serial)).ClientConfig("localhost", nil, tunnel.ALPN)
	return &quictun.Dialer{Config: cfg}
}

// works checks that a session can be made.
func (p *place) works(t *testing.T) {
	t.Helper()
	client, server := tunneltest.Connect(t, p.dialer(quictun.Config{}), p.ln, p.ln.Addr().String())
	if server.Peer().Name != string(tunneltest.Serial) || client.Peer() != identity.Relay(td, "r1") {
		t.Errorf("peers %s and %s", client.Peer(), server.Peer())
	}
	tunneltest.Streams(t, client, server)
	_ = client.CloseWithError(tunnel.CodeShutdown, "")
	wantEnd(t, server, tunnel.CodeShutdown)
}

// refused dials with a certificate and gives the client's error.
func (p *place) refused(t *testing.T, cert tls.Certificate) error {
	t.Helper()
	d := p.dialer(quictun.Config{})
	d.Config.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	s, err := d.Dial(t.Context(), p.ln.Addr().String())
	if err != nil {
		return err
	}
	defer func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") }()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the session goes on")
	}
	return s.Err()
}

func TestRefusedCertificates(t *testing.T) {
	t.Parallel()
	// One place: each refusal has to free it.
	p := listen(t, quictun.Config{MaxHandshakes: 1})
	device := identity.Device(td, tunneltest.Serial)
	for _, tt := range []struct {
		name string
		cert tls.Certificate
		want tunnel.Code
	}{
		{"none", tls.Certificate{}, tunnel.CodeCertificateMissing},
		{"expired", p.ca.Issue(device, pkitest.Options{NotAfter: time.Now().Add(-time.Hour)}), tunnel.CodeCertificateExpired},
		{"foreign", pkitest.New(t, td).Issue(device, pkitest.Options{}), tunnel.CodeUnknownAuthority},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for {
				err := p.refused(t, tt.cert)
				if tunnel.CodeOf(err) == tunnel.CodeTryLater {
					continue // the last one is not yet gone
				}
				if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tt.want || !e.Remote {
					t.Errorf("the client sees %v, want %s", err, tt.want)
				}
				return
			}
		})
	}
	for {
		s, err := p.dialer(quictun.Config{}).Dial(t.Context(), p.ln.Addr().String())
		if tunnel.CodeOf(err) == tunnel.CodeTryLater {
			continue
		}
		if err != nil {
			t.Errorf("a good one (positive control): %v", err)
			return
		}
		_ = s.CloseWithError(tunnel.CodeShutdown, "")
		return
	}
}

func TestForeignServer(t *testing.T) {
	t.Parallel()
	p := listen(t, quictun.Config{})
	other := &place{ca: pkitest.New(t, td)}
	if _, err := other.dialer(quictun.Config{}).Dial(t.Context(), p.ln.Addr().String()); tunnel.CodeOf(err) != tunnel.CodeUnknownAuthority {
		t.Errorf("a server of another authority: %v", err)
	}
	d := p.dialer(quictun.Config{})
	d.Config.TLS.VerifyConnection = identity.VerifyPeer(identity.Exactly(identity.Relay(td, "r2")))
	if _, err := d.Dial(t.Context(), p.ln.Addr().String()); tunnel.CodeOf(err) != tunnel.CodeRelayUntrusted {
		t.Errorf("another relay: %v", err)
	}
	d = p.dialer(quictun.Config{})
	d.Config.TLS.NextProtos = []string{"auerproxy/99"}
	if _, err := d.Dial(t.Context(), p.ln.Addr().String()); tunnel.CodeOf(err) != tunnel.CodeProtocol {
		t.Errorf("another protocol: %v", err)
	}
}

func TestBusyListener(t *testing.T) {
	t.Parallel()
	refused := make(chan string, 100)
	p := listen(t, quictun.Config{MaxHandshakes: 1, Refused: func(_ net.Addr, why string) { refused <- why }})
	// A session that nobody accepts keeps its place.
	first, err := p.dialer(quictun.Config{}).Dial(t.Context(), p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.dialer(quictun.Config{}).Dial(t.Context(), p.ln.Addr().String())
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.CodeTryLater || !e.Remote || !tunnel.Retryable(err) {
		t.Errorf("the second client sees %v", err)
	}
	if why := <-refused; why != "busy" {
		t.Errorf("refused for %q", why)
	}
	s, err := p.ln.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.works(t)
	_ = first.CloseWithError(tunnel.CodeShutdown, "")
	wantEnd(t, s, tunnel.CodeShutdown)
}

func TestAdmitAsksForTheAddress(t *testing.T) {
	t.Parallel()
	asked := make(chan net.Addr, 16)
	p := listen(t, quictun.Config{Admit: func(a net.Addr) bool {
		asked <- a
		return false
	}})
	p.works(t) // after a Retry
	if len(asked) == 0 {
		t.Error("Admit was not asked")
	}
}

func TestListenerCloseAndShutdown(t *testing.T) {
	t.Parallel()
	p := listen(t, quictun.Config{})
	client, server := tunneltest.Connect(t, p.dialer(quictun.Config{}), p.ln, p.ln.Addr().String())
	accepted := make(chan error, 1)
	go func() {
		_, err := p.ln.Accept(context.Background())
		accepted <- err
	}()
	for range 2 {
		if err := p.ln.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	tunneltest.Streams(t, client, server) // lives on
	for range 2 {
		if err := p.ln.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	wantEnd(t, server, tunnel.CodeSessionLost)
	_ = client.CloseWithError(tunnel.CodeShutdown, "")
}

func TestAcceptCancel(t *testing.T) {
	t.Parallel()
	p := listen(t, quictun.Config{})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := p.ln.Accept(ctx); !errors.Is(err, cause) {
		t.Errorf("accept: %v", err)
	}
	p.works(t)
}

func TestReceiveBuffer(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the size is known on Linux only")
	}
	small := listen(t, quictun.Config{ReceiveBuffer: 1 << 10}).ln.ReceiveBuffer()
	large := listen(t, quictun.Config{}).ln.ReceiveBuffer()
	if small <= 0 || large < small {
		t.Errorf("%d bytes, and %d where more is asked for", small, large)
	}
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	if _, err := quictun.Listen(nil, quictun.Config{}); err == nil {
		t.Error("no error without TLS")
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	p := listen(t, quictun.Config{})
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = p.dialer(quictun.Config{}).Dial(ctx, silent.LocalAddr().String())
	if tunnel.CodeOf(err) != tunnel.CodeUnreachable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
	_, err = p.dialer(quictun.Config{HandshakeIdleTimeout: 100 * time.Millisecond}).Dial(t.Context(), silent.LocalAddr().String())
	if tunnel.CodeOf(err) != tunnel.CodeUnreachable {
		t.Errorf("nobody answers in time: %v", err)
	}
	for _, addr := range []string{"localhost", "localhost:nothing", "[::1", "127.0.0.1:70000"} {
		if _, err := p.dialer(quictun.Config{}).Dial(t.Context(), addr); tunnel.CodeOf(err) != tunnel.CodeUnreachable {
			t.Errorf("%s: %v", addr, err)
		}
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := p.dialer(quictun.Config{}).Dial(cancelled, p.ln.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled dial: %v", err)
	}
}
