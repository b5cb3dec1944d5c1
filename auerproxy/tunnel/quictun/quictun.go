// Package quictun makes tunnel sessions over QUIC (RFC 9000).
//
//	ln, err := quictun.Listen(udp, quictun.Config{TLS: creds.ServerConfig(check, tunnel.ALPN)})
//	s, err := ln.Accept(ctx)
//
//	d := quictun.Dialer{Config: quictun.Config{TLS: creds.ClientConfig(name, check, tunnel.ALPN)}}
//	s, err := d.Dial(ctx, "relay.example.com:7844")
//
// A session survives a change of the client's address. 0-RTT is never used, since
// a hello must not be replayed.
//
// The environment variable QUIC_GO_DISABLE_GSO=true switches segmentation offload
// off, for kernels on which it is broken.
package quictun

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// errBusy refuses a handshake beyond Config.MaxHandshakes.
var errBusy = errors.New("too many handshakes at once")

// Listener accepts sessions on one UDP socket.
type Listener struct {
	cfg   Config
	tr    *quic.Transport
	ln    *quic.Listener
	slots chan struct{}
}

var _ tunnel.Listener = (*Listener)(nil)

// Listen starts to accept sessions on a UDP socket, which belongs to the listener
// from now on.
func Listen(pc net.PacketConn, cfg Config) (*Listener, error) {
	cfg = cfg.withDefaults()
	l := &Listener{cfg: cfg, slots: make(chan struct{}, cfg.MaxHandshakes)}
	l.tr = &quic.Transport{Conn: pc, ConnContext: l.connContext}
	if cfg.StatelessResetKey != nil {
		l.tr.StatelessResetKey = (*quic.StatelessResetKey)(cfg.StatelessResetKey)
	}
	if cfg.Admit != nil {
		l.tr.VerifySourceAddress = func(a net.Addr) bool { return !cfg.Admit(a) }
	}
	ln, err := l.tr.Listen(cfg.TLS, cfg.quic())
	if err != nil {
		return nil, fmt.Errorf("listen on QUIC: %w", err)
	}
	l.ln = ln
	return l, nil
}

// connContext admits a handshake; its place is free again when the handshake is
// done, or when the connection is gone.
func (l *Listener) connContext(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	select {
	case l.slots <- struct{}{}:
	default:
		return nil, errBusy
	}
	h := &handshake{slots: l.slots}
	context.AfterFunc(ctx, h.done)
	return context.WithValue(ctx, handshakeKey{}, h), nil
}

type handshakeKey struct{}

// handshake is a place among the running handshakes.
type handshake struct {
	once  sync.Once
	slots chan struct{}
}

func (h *handshake) done() { h.once.Do(func() { <-h.slots }) }

// Accept gives the next session. A peer whose certificate names no endpoint is
// closed and passed over.
func (l *Listener) Accept(ctx context.Context) (tunnel.Session, error) {
	for {
		conn, err := l.ln.Accept(ctx)
		if err != nil {
			return nil, err
		}
		if h, ok := conn.Context().Value(handshakeKey{}).(*handshake); ok {
			h.done()
		}
		s, err := newSession(conn, nil)
		if err == nil {
			return s, nil
		}
		l.cfg.Logger.Debug("peer refused", "error", err)
	}
}

// Addr is the socket's address.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Close stops accepting. Sessions live on; the socket is closed by [Listener.Shutdown].
func (l *Listener) Close() error { return l.ln.Close() }

// Shutdown closes the socket and with it every session.
func (l *Listener) Shutdown() error { return errors.Join(l.tr.Close(), l.tr.Conn.Close()) }

// Dialer dials sessions.
type Dialer struct {
	Config Config
	// Transport is a socket that all sessions of the dialer share. Default: one
	// socket for each session.
	Transport *quic.Transport
}

var _ tunnel.Dialer = (*Dialer)(nil)

// Dial connects to addr. That it succeeds does not mean that the peer accepts the
// certificate: only a welcome does.
func (d *Dialer) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	cfg := d.Config.withDefaults()
	raddr, err := resolve(ctx, addr)
	if err != nil {
		return nil, &tunnel.Error{Code: tunnel.CodeUnreachable, Message: err.Error(), Cause: err}
	}
	tr, free := d.Transport, func() {}
	if tr == nil {
		pc, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, fmt.Errorf("dial QUIC: %w", err)
		}
		tr = &quic.Transport{Conn: pc}
		free = func() { _ = tr.Close(); _ = pc.Close() }
	}
	conn, err := tr.Dial(ctx, raddr, cfg.TLS, cfg.quic())
	if err != nil {
		free()
		return nil, dialError(ctx, err)
	}
	s, err := newSession(conn, free)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &tunnel.Error{Code: tunnel.CodeUnreachable, Message: "no answer over QUIC: " + ctx.Err().Error(), Cause: ctx.Err()}
	}
	e := sessionError(err)
	if tunnel.CodeOf(e) == tunnel.CodeHeartbeatLost || tunnel.CodeOf(e) == tunnel.CodeSessionLost {
		return &tunnel.Error{Code: tunnel.CodeUnreachable, Message: "no answer over QUIC: " + err.Error(), Cause: err}
	}
	return e
}

func resolve(ctx context.Context, addr string) (net.Addr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: ips[0].Unmap().AsSlice(), Port: p, Zone: ips[0].Zone()}, nil
}

// newSession reads the peer's identity. Where there is none the connection is
// closed.
func newSession(conn *quic.Conn, free func()) (*session, error) {
	s := &session{conn: conn, free: free}
	peer, err := identity.FromConnectionState(conn.ConnectionState().TLS)
	if err != nil {
		err = tunnel.FromTLS(err)
		_ = s.CloseWithError(tunnel.CodeOf(err), "certificate refused")
		return nil, err
	}
	s.peer = peer
	if free != nil {
		// The socket of a session that the peer ended.
		context.AfterFunc(conn.Context(), func() { s.closeOnce.Do(free) })
	}
	return s, nil
}
