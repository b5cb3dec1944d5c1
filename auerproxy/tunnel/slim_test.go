package tunnel_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// TestSlim wants the peer's certificate to be collected while the connection lives on and
// works. Without Slim it stays: so the test tells when crypto/tls or quic-go has changed.
func TestSlim(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	device, relay := identity.Device(identity.DefaultTrustDomain, "0123456789"), identity.Relay(identity.DefaultTrustDomain, "r1")
	for name, connect := range map[string]func(t *testing.T, client, server *tls.Config, slim bool) (here, there io.ReadWriter){
		"TCP": slimTCP, "QUIC": slimQUIC,
	} {
		for _, slim := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var leaf atomic.Pointer[weak.Pointer[x509.Certificate]]
				server := ca.Credentials(relay).ServerConfig(nil, tunnel.ALPN)
				verify := server.VerifyConnection
				server.VerifyConnection = func(cs tls.ConnectionState) error {
					w := weak.Make(cs.PeerCertificates[0])
					leaf.Store(&w)
					return verify(cs)
				}
				here, there := connect(t, ca.Credentials(device).ClientConfig("localhost", identity.Exactly(relay), tunnel.ALPN), server, slim)
				for range 3 { // finalizers and what they free
					runtime.GC()
				}
				if gone := leaf.Load().Value() == nil; gone != slim {
					t.Errorf("slim %t: certificate collected %t", slim, gone)
				}
				for _, way := range [][2]io.ReadWriter{{here, there}, {there, here}} {
					got := make([]byte, 5)
					if _, err := way[0].Write([]byte("hello")); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "hello" {
						t.Errorf("%q, %v", got, err)
					}
				}
				runtime.KeepAlive(there)
			})
		}
	}
}

// TestSlimKeepsIssuer wants the issuer's certificate to stay, so that the next handshake
// does not parse it, while that of the peer goes.
func TestSlimKeepsIssuer(t *testing.T) { //nolint:paralleltest // another connection could bring another issuer
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	var chain []weak.Pointer[x509.Certificate]
	server := ca.Credentials(identity.Relay(identity.DefaultTrustDomain, "r1")).ServerConfig(nil, tunnel.ALPN)
	verify := server.VerifyConnection
	server.VerifyConnection = func(cs tls.ConnectionState) error {
		for _, c := range cs.PeerCertificates {
			chain = append(chain, weak.Make(c))
		}
		return verify(cs)
	}
	device := identity.Device(identity.DefaultTrustDomain, "0123456789")
	_, there := slimTCP(t, ca.Credentials(device).ClientConfig("localhost", nil, tunnel.ALPN), server, true)
	for range 3 {
		runtime.GC()
	}
	if len(chain) < 2 || chain[0].Value() != nil || chain[1].Value() == nil {
		t.Errorf("%d certificates; the first two are there: %t, %t; want the second alone", len(chain), len(chain) > 0 && chain[0].Value() != nil, len(chain) > 1 && chain[1].Value() != nil)
	}
	runtime.KeepAlive(there)
}

// held says how much a buffer of a TLS connection can hold.
func held(v reflect.Value, name string) int { return v.FieldByName(name).FieldByName("buf").Cap() }

func slimTCP(t *testing.T, client, server *tls.Config, slim bool) (here, there io.ReadWriter) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = near.Close(), far.Close(), ln.Close() })
	c, s := tls.Client(near, client), tls.Server(far, server)
	done := make(chan error, 1)
	go func() { done <- c.HandshakeContext(t.Context()) }()
	if err := s.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if slim {
		tunnel.Slim(s)
	}
	for _, buffer := range []string{"hand", "rawInput"} {
		if n := held(reflect.ValueOf(s).Elem(), buffer); (n == 0) != slim {
			t.Errorf("slim %t: %s holds %d bytes", slim, buffer, n)
		}
	}
	return c, s
}

func slimQUIC(t *testing.T, client, server *tls.Config, slim bool) (here, there io.ReadWriter) {
	t.Helper()
	ln, err := quic.ListenAddr("127.0.0.1:0", server, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, ln.Addr().String(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = c.CloseWithError(0, ""), s.CloseWithError(0, ""), ln.Close() })
	if slim {
		quictun.Slim(s)
	}
	cs, err := c.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cs.Write([]byte{0}); err != nil { // which opens it over there
		t.Fatal(err)
	}
	ss, err := s.AcceptStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(ss, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cs, ss
}
