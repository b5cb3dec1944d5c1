// Package muxtun makes tunnel sessions over TLS 1.3 and yamux, on any byte stream:
// a TCP connection to a relay, or a stream of another session for an end-to-end
// session through it.
//
//	ln, err := muxtun.Listen(tcp, muxtun.Config{TLS: creds.ServerConfig(check, tunnel.ALPN)})
//	s, err := ln.Accept(ctx)
//
//	d := muxtun.Dialer{Config: muxtun.Config{TLS: creds.ClientConfig(name, check, tunnel.ALPN)}}
//	s, err := d.Dial(ctx, "relay.example.com:7844")
//
//	s, err := muxtun.Client(ctx, stream, cfg) // on a connection that is there already
//
// yamux itself knows no reset with a reason and no end of a session with a reason;
// see signal.go for how they are sent.
//
// All streams share one connection. While that takes no byte, Read and Write may
// outlive their deadlines, until Config.WriteTimeout ends the session; Open,
// Accept, Close, Reset and CloseWithError never wait for it.
package muxtun

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Client runs the client's handshake on a connection and starts a session. The
// connection belongs to the session from now on, and is closed on error. That it
// succeeds does not mean that the peer accepts the certificate: only a welcome
// does. The error is a *tunnel.Error.
func Client(ctx context.Context, conn net.Conn, cfg Config) (tunnel.Session, error) {
	cfg = cfg.withDefaults()
	return handshake(ctx, tls.Client(wire.New(conn), cfg.TLS), true, cfg)
}

// Server is the other side of [Client].
func Server(ctx context.Context, conn net.Conn, cfg Config) (tunnel.Session, error) {
	cfg = cfg.withDefaults()
	return handshake(ctx, tls.Server(wire.New(conn), cfg.TLS), false, cfg)
}

func handshake(ctx context.Context, conn *tls.Conn, client bool, cfg Config) (tunnel.Session, error) {
	began := time.Now()
	if err := conn.HandshakeContext(ctx); err != nil {
		refuse(conn.NetConn())
		if client && cfg.Transport == tunnel.TCP {
			// In a stream of a relay there is nobody else on the path.
			err = tunnel.BeforeProof(tunnel.FromTLS(err))
		}
		return nil, handshakeError(ctx, client, cfg, err)
	}
	return afterTLS(ctx, conn, time.Since(began), client, cfg)
}

// afterTLS makes a session of a connection whose TLS handshake is done, and took so
// long: a round trip and some computing, on either side. Where the kernel knows the
// round trip alone, that counts.
func afterTLS(ctx context.Context, conn *tls.Conn, took time.Duration, client bool, cfg Config) (tunnel.Session, error) {
	state := conn.ConnectionState()
	if len(cfg.TLS.NextProtos) > 0 && state.NegotiatedProtocol != cfg.TLS.NextProtos[0] {
		_ = conn.NetConn().Close()
		return nil, tunnel.Errorf(tunnel.CodeProtocol, "the peer speaks %q, want %q", state.NegotiatedProtocol, cfg.TLS.NextProtos[0])
	}
	peer, err := identity.FromConnectionState(state)
	if err != nil {
		_ = conn.NetConn().Close()
		return nil, handshakeError(ctx, client, cfg, err)
	}
	if w, ok := conn.NetConn().(*wire.Conn); ok {
		if p, ok := pathOf(w.Conn); ok {
			took = min(took, p.RTT)
		}
	}
	if !client {
		tunnel.Slim(conn)
	}
	s, err := newSession(ctx, conn, peer, client, cfg.window(took), cfg)
	if err != nil {
		return nil, handshakeError(ctx, client, cfg, err)
	}
	s.expires = state.PeerCertificates[0].NotAfter // there is one: it gave the identity
	return s, nil
}

// handshakeError gives what went wrong in a handshake its number.
func handshakeError(ctx context.Context, client bool, cfg Config, err error) error {
	if ctx.Err() != nil {
		return tunnel.Errorf(tunnel.CodeHandshakeTimeout, "TLS handshake: %w", ctx.Err())
	}
	err = tunnel.FromTLS(err)
	switch {
	case tunnel.CodeOf(err) != tunnel.CodeInternal && tunnel.CodeOf(err) != tunnel.CodeOpenTimeout:
		return err
	case client && cfg.Transport == tunnel.TCP:
		return tunnel.Errorf(tunnel.CodeUnreachable, "TLS handshake: %w", err)
	default:
		return tunnel.Errorf(tunnel.CodeProtocol, "TLS handshake: %w", err)
	}
}

const (
	// refuseLinger is how long a refused connection stays half open.
	refuseLinger = time.Second
	// refuseDrain is how many bytes of a refused peer are read at most.
	refuseDrain = 64 << 10
)

// refuse closes a connection after a failed handshake so that the alert in it
// reaches the peer: closing a socket with unread bytes would make the kernel send
// a reset, which destroys the alert on its way.
func refuse(conn net.Conn) {
	cw, ok := conn.(interface{ CloseWrite() error })
	if ok && cw.CloseWrite() == nil && conn.SetReadDeadline(time.Now().Add(refuseLinger)) == nil {
		_, _ = io.CopyN(io.Discard, conn, refuseDrain)
	}
	_ = conn.Close()
}
