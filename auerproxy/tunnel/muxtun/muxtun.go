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
package muxtun

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Client runs the client's handshake on a connection and starts a session. The
// connection belongs to the session from now on, and is closed on error. That it
// succeeds does not mean that the peer accepts the certificate: only a welcome
// does.
func Client(ctx context.Context, conn net.Conn, cfg Config) (tunnel.Session, error) {
	cfg = cfg.withDefaults()
	return handshake(ctx, tls.Client(conn, cfg.TLS), true, cfg)
}

// Server is the other side of [Client].
func Server(ctx context.Context, conn net.Conn, cfg Config) (tunnel.Session, error) {
	cfg = cfg.withDefaults()
	return handshake(ctx, tls.Server(conn, cfg.TLS), false, cfg)
}

func handshake(ctx context.Context, conn *tls.Conn, client bool, cfg Config) (tunnel.Session, error) {
	s, err := tryHandshake(ctx, conn, client, cfg)
	if err != nil {
		refuse(conn.NetConn())
		if ctx.Err() != nil {
			return nil, tunnel.Errorf(tunnel.CodeHandshakeTimeout, "TLS handshake: %w", ctx.Err())
		}
		return nil, tunnel.FromTLS(err)
	}
	return s, nil
}

func tryHandshake(ctx context.Context, conn *tls.Conn, client bool, cfg Config) (*session, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	peer, err := identity.FromConnectionState(conn.ConnectionState())
	if err != nil {
		return nil, err
	}
	return newSession(conn, peer, client, cfg)
}

// refuseLinger is how long a refused connection stays half open.
const refuseLinger = time.Second

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

// refuseDrain is how many bytes of a refused peer are read at most.
const refuseDrain = 64 << 10
