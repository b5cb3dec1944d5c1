// Package quictun makes tunnel sessions over QUIC (RFC 9000).
//
//	ln, err := quictun.Listen(udp, quictun.Config{TLS: creds.ServerConfig(check, tunnel.ALPN)})
//	s, err := ln.Accept(ctx)
//
//	d := quictun.Dialer{Config: quictun.Config{TLS: creds.ClientConfig(name, check, tunnel.ALPN)}}
//	s, err := d.Dial(ctx, "relay.example.com:7844")
//
// A session survives a change of the client's address. A stream exists for the
// peer from its first byte, FIN or reset on. 0-RTT is never used, since a hello
// must not be replayed.
//
// On Linux the kernel cuts what is sent into datagrams (GSO) and joins those that
// arrive (GRO), where it can: a self-test at the first use decides about the latter.
// The environment variable QUIC_GO_DISABLE_GSO=true switches the former off, for
// kernels on which it is broken, Config.DisableGRO the latter.
package quictun

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// errBusy refuses a handshake beyond Config.MaxHandshakes. The client sees
// CONNECTION_REFUSED, which is AUER-1203 there.
var errBusy = errors.New("too many handshakes at once")

// Listener accepts sessions on one UDP socket.
type Listener struct {
	cfg    Config
	tr     *quic.Transport
	ln     *quic.Listener
	slots  chan struct{} // holds one element for each running handshake
	buffer int
	gro    bool
}

// listenBatch is how many messages of up to 64 KiB a listener reads at once, and
// dialBatch a dialled session.
const listenBatch, dialBatch = 8, 1

var _ tunnel.Listener = (*Listener)(nil)

// Listen starts to accept sessions on a UDP socket, which belongs to the listener
// from now on; on error it is still the caller's.
func Listen(pc net.PacketConn, cfg Config) (*Listener, error) {
	if cfg.TLS == nil || len(cfg.TLS.NextProtos) == 0 {
		return nil, errors.New("quictun: Config.TLS with an ALPN protocol is needed")
	}
	cfg = cfg.withDefaults()
	l := &Listener{cfg: cfg, slots: make(chan struct{}, cfg.MaxHandshakes), buffer: raiseReceiveBuffer(pc, cfg.ReceiveBuffer)}
	if l.buffer > 0 && l.buffer < cfg.ReceiveBuffer {
		cfg.Logger.Warn("the UDP receive buffer is smaller than wanted; raise net.core.rmem_max", "got", l.buffer, "wanted", cfg.ReceiveBuffer)
	}
	conn := pc
	if !cfg.DisableGRO {
		conn = receiveOffload(pc, listenBatch)
	}
	l.tr = &quic.Transport{Conn: conn, ConnContext: l.connContext}
	if cfg.StatelessResetKey != nil {
		l.tr.StatelessResetKey = (*quic.StatelessResetKey)(cfg.StatelessResetKey)
	}
	if cfg.Admit != nil {
		l.tr.VerifySourceAddress = func(a net.Addr) bool { return !cfg.Admit(a) }
	}
	ln, err := l.tr.Listen(cfg.TLS, cfg.quic())
	gro, joins := conn.(*groConn)
	if err != nil {
		if joins {
			gro.restore()
		}
		return nil, fmt.Errorf("listen on QUIC: %w", err)
	}
	l.ln, l.gro = ln, joins
	return l, nil
}

// connContext admits a handshake; its place is free again when the session has
// been accepted, or the connection is gone.
func (l *Listener) connContext(ctx context.Context, from *quic.ClientInfo) (context.Context, error) {
	select {
	case l.slots <- struct{}{}:
	default:
		l.cfg.Refused(from.RemoteAddr, "busy")
		return nil, errBusy
	}
	stop := context.AfterFunc(ctx, func() { // never accepted
		<-l.slots
		l.cfg.Refused(from.RemoteAddr, "handshake")
	})
	return context.WithValue(ctx, handshakeKey{}, &handshake{stop}), nil
}

type handshakeKey struct{}

// handshake has a place among the running handshakes.
type handshake struct {
	stop func() bool // false where the connection is gone, and with it the place
}

// Accept gives the next session. A peer whose certificate names no endpoint is
// closed and passed over. After Close the error is net.ErrClosed.
func (l *Listener) Accept(ctx context.Context) (tunnel.Session, error) {
	for {
		conn, err := l.ln.Accept(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, quic.ErrServerClosed):
			return nil, net.ErrClosed
		default:
			return nil, fmt.Errorf("accept QUIC: %w", err)
		}
		if h, ok := conn.Context().Value(handshakeKey{}).(*handshake); ok {
			if h.stop() {
				<-l.slots
			}
			h.stop = nil // for good: the context of the connection keeps h
		}
		s, err := newSession(conn, nil, l.cfg)
		if err == nil {
			return s, nil
		}
		l.cfg.Refused(conn.RemoteAddr(), "handshake")
		l.cfg.Logger.Debug("peer refused", "error", err)
	}
}

// Addr is the socket's address.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// ReceiveBuffer is the size of the socket's receive buffer in bytes; 0 if it is
// not known. A small one loses datagrams under load.
func (l *Listener) ReceiveBuffer() int { return l.buffer }

// ReceiveOffload says whether the kernel joins the datagrams that arrive (GRO).
func (l *Listener) ReceiveOffload() bool { return l.gro }

// Close stops accepting. Sessions live on; the socket is closed by
// [Listener.Shutdown].
func (l *Listener) Close() error { return l.ln.Close() }

// Shutdown stops accepting and closes the socket. Sessions that are still there
// end without a word to their peers.
func (l *Listener) Shutdown() error {
	err := errors.Join(l.tr.Close(), l.tr.Conn.Close())
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
