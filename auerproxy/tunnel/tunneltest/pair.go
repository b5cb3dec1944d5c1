package tunneltest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Serial is the device's serial in pairs.
const Serial identity.Serial = "0123456789"

// Options of [Pair]. Zero values stand for the defaults.
type Options struct {
	// Transport: tunnel.QUIC, tunnel.TCP, or tunnel.InnerMux for a session in a
	// stream of another one. Default tunnel.TCP.
	Transport tunnel.Transport
	// Client and Server are the identities of the two ends. Default: the device
	// [Serial] and the relay "r1".
	Client, Server identity.ID
	// QUIC and Mux configure both ends; the TLS field is filled in. The default of
	// Mux.StreamWindow stands for both bounds here: a busy machine has slow handshakes,
	// and shall not have larger windows.
	QUIC quictun.Config
	Mux  muxtun.Config
	// Via, where set, gets the listener's address and gives the one to dial, that
	// of a proxy for example.
	Via func(addr string) string
}

// shared is the authority of all pairs: making one takes milliseconds, and a
// suite makes hundreds of pairs.
var shared = sync.OnceValue(func() *pkitest.CA {
	ca, err := pkitest.NewCA(identity.DefaultTrustDomain)
	if err != nil {
		panic(err)
	}
	return ca
})

func (o Options) withDefaults() Options {
	if o.Transport == "" {
		o.Transport = tunnel.TCP
	}
	if o.Client == (identity.ID{}) {
		o.Client = identity.Device(identity.DefaultTrustDomain, Serial)
	}
	if o.Server == (identity.ID{}) {
		o.Server = identity.Relay(identity.DefaultTrustDomain, "r1")
	}
	if o.Via == nil {
		o.Via = func(addr string) string { return addr }
	}
	if o.Mux.StreamWindow == 0 && o.Mux.MaxStreamWindow == 0 {
		o.Mux.StreamWindow = muxtun.DefaultStreamWindow
	}
	return o
}

// handshakeTime bounds the making of a pair.
const handshakeTime = 20 * time.Second

// Pair makes two connected sessions over loopback, with certificates. They end
// with the test.
func Pair(t testing.TB, o Options) (client, server tunnel.Session) {
	t.Helper()
	client, server, stop := NewPair(t, o)
	t.Cleanup(stop)
	return client, server
}

// NewPair is [Pair] with the end in the caller's hands.
func NewPair(t testing.TB, o Options) (client, server tunnel.Session, stop func()) {
	t.Helper()
	o = o.withDefaults()
	if o.Transport == tunnel.InnerMux {
		return innerPair(t, o)
	}
	ln, dialer, closeAll := listen(t, o)
	client, server = Connect(t, dialer, ln, o.Via(ln.Addr().String()))
	return client, server, func() {
		_ = client.CloseWithError(tunnel.CodeShutdown, "the test is over")
		_ = server.CloseWithError(tunnel.CodeShutdown, "the test is over")
		closeAll()
	}
}

// Connect dials a listener and accepts the session.
func Connect(t testing.TB, d tunnel.Dialer, ln tunnel.Listener, addr string) (client, server tunnel.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	type result struct {
		s   tunnel.Session
		err error
	}
	accepted := make(chan result, 1)
	go func() {
		s, err := ln.Accept(ctx)
		accepted <- result{s, err}
	}()
	client, err := d.Dial(ctx, addr)
	if err != nil {
		cancel()
		<-accepted
		t.Fatalf("dial: %v", err)
	}
	r := <-accepted
	if r.err != nil {
		_ = client.CloseWithError(tunnel.CodeShutdown, "")
		t.Fatalf("accept: %v", r.err)
	}
	return client, r.s
}

func listen(t testing.TB, o Options) (tunnel.Listener, tunnel.Dialer, func()) {
	t.Helper()
	client, server := shared().Credentials(o.Client), shared().Credentials(o.Server)
	clientTLS, serverTLS := client.ClientConfig("localhost", identity.Exactly(o.Server), tunnel.ALPN), server.ServerConfig(nil, tunnel.ALPN)
	if o.Transport == tunnel.QUIC {
		pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		there, here := o.QUIC, o.QUIC
		there.TLS, here.TLS = serverTLS, clientTLS
		ln, err := quictun.Listen(pc, there)
		if err != nil {
			t.Fatal(err)
		}
		return ln, &quictun.Dialer{Config: here}, func() { _ = ln.Shutdown() }
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
	if err != nil {
		t.Fatal(err)
	}
	there, here := o.Mux, o.Mux
	there.TLS, here.TLS = serverTLS, clientTLS
	ln, err := muxtun.Listen(tcp, there)
	if err != nil {
		t.Fatal(err)
	}
	return ln, &muxtun.Dialer{Config: here}, func() { _ = ln.Close() }
}

// innerPair makes a session in a stream of a session over TCP. The two ends are
// called the other way round, as in use: a service calls a device.
func innerPair(t testing.TB, o Options) (client, server tunnel.Session, stop func()) {
	t.Helper()
	outer := o
	outer.Transport = tunnel.TCP
	near, far, stopOuter := NewPair(t, outer)
	a, b := Streams(t, near, far)
	o.Mux.Transport = tunnel.InnerMux
	there, here := o.Mux, o.Mux
	there.TLS = shared().Credentials(o.Server).ServerConfig(nil, tunnel.ALPNInner)
	here.TLS = shared().Credentials(o.Client).ClientConfig("localhost", identity.Exactly(o.Server), tunnel.ALPNInner)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	made := make(chan struct{})
	var err, serr error
	go func() {
		defer close(made)
		server, serr = muxtun.Server(ctx, b, there)
	}()
	client, err = muxtun.Client(ctx, a, here)
	<-made
	if err != nil || serr != nil {
		stopOuter()
		t.Fatalf("inner session: %v, %v", err, serr)
	}
	return client, server, func() {
		_ = client.CloseWithError(tunnel.CodeShutdown, "the test is over")
		_ = server.CloseWithError(tunnel.CodeShutdown, "the test is over")
		stopOuter()
	}
}

// Streams opens a stream from one session to the other and gives both ends, with
// nothing left to read. The first byte has been sent: over QUIC a stream that
// carries nothing does not exist for the peer.
func Streams(t testing.TB, from, to tunnel.Session) (a, b tunnel.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	a, err := from.Open(ctx)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if _, err := a.Write([]byte{0}); err != nil {
		t.Fatalf("first byte: %v", err)
	}
	b, err = to.Accept(ctx)
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Fatalf("first byte: %v", err)
	}
	return a, b
}
