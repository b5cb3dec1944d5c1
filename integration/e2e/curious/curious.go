// Package curious has a relay that keeps all that it can read, for tests of what it
// cannot: it stands between real agents and real callers and holds real sessions with
// both.
package curious

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Relay is a relay that lets everybody do everything, and keeps every byte
// that its transports have decrypted. It stands for one whose operator is curious,
// or whose machine is somebody else's.
type Relay struct {
	tunneltest.Recorder
	t    testing.TB
	addr string
	work sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]tunnel.Session // guarded by mu; by the peer's path
}

// Addr is where agents and callers find it, "host:port".
func (r *Relay) Addr() string { return r.addr }

// Start runs one for the length of the test, with a certificate of the CA; transport is
// that of package agent.
func Start(t testing.TB, ca *pkitest.CA, transport string) *Relay {
	t.Helper()
	r := &Relay{t: t, sessions: make(map[string]tunnel.Session)}
	cfg := ca.Credentials(identity.Relay(ca.TrustDomain, "curious")).ServerConfig(nil, tunnel.ALPN)
	var ln tunnel.Listener
	stop := func() {}
	if transport == agent.TransportQUIC {
		udp, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		quic, err := quictun.Listen(udp, quictun.Config{TLS: cfg})
		if err != nil {
			t.Fatal(err)
		}
		ln, stop = quic, func() { _ = quic.Shutdown() }
	} else {
		tcp, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if ln, err = muxtun.Listen(tcp, muxtun.Config{TLS: cfg}); err != nil {
			t.Fatal(err)
		}
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.work.Go(func() {
		for {
			s, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			r.work.Go(func() { r.serve(ctx, r.Session(s)) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		r.work.Wait()
		stop()
	})
	return r
}

// serve serves one device or caller.
func (r *Relay) serve(ctx context.Context, s tunnel.Session) {
	control, _, err := tunnel.AcceptHello(ctx, s)
	if err != nil {
		r.t.Errorf("hello: %v", err)
		return
	}
	r.mu.Lock()
	r.sessions[s.Peer().Path()] = s
	r.mu.Unlock()
	if err := control.Welcome(&tunnel.Welcome{Session: tunnel.NewID(), Relay: "relay/curious"}); err != nil {
		r.t.Errorf("welcome: %v", err)
	}
	_ = e2e.Serve(ctx, s, e2e.ServeConfig{IdleTimeout: -1, Handle: func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
		p.Caller = s.Peer().Path()
		r.mu.Lock()
		target := r.sessions[p.GetTarget()]
		r.mu.Unlock()
		if target == nil {
			tunnel.Refuse(st, &tunnel.Error{Code: tunnel.CodeNotReachable})
			return
		}
		out, ack, err := tunnel.Open(ctx, target, p)
		if err != nil {
			tunnel.Refuse(st, err)
			return
		}
		if err := tunnel.WriteAck(st, ack.GetHops()...); err != nil {
			r.t.Errorf("open-ack: %v", err)
		}
		splice.Join(st, out, splice.Options{})
	}})
}
