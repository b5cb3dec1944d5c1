package muxtun

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/wire"
)

// Listener accepts sessions on a TCP listener.
type Listener struct {
	cfg Config
	tcp net.Listener

	ctx    context.Context //nolint:containedctx // the life of the handshakes
	cancel context.CancelFunc
	places *places
	ready  chan tunnel.Session
	work   sync.WaitGroup

	mu  sync.Mutex
	err error // guarded by mu; why accepting ended
}

var _ tunnel.Listener = (*Listener)(nil)

// Listen starts to accept sessions. The TCP listener belongs to it from now on.
// Handshakes run side by side, each with a deadline.
func Listen(tcp net.Listener, cfg Config) (*Listener, error) {
	if cfg.TLS == nil || len(cfg.TLS.NextProtos) == 0 {
		return nil, errors.New("muxtun: Config.TLS with an ALPN protocol is needed")
	}
	cfg = cfg.withDefaults()
	l := &Listener{
		cfg: cfg, tcp: tcp, ready: make(chan tunnel.Session),
		places: newPlaces(cfg.MaxHandshakes, cfg.MaxHandshakesPerSource),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.work.Go(l.accept)
	return l, nil
}

const (
	// admitPause is how long the listener waits before it asks Config.Admit again.
	admitPause = 5 * time.Millisecond
	// acceptPause is how long it waits after a failed accept, e.g. without a free
	// file descriptor.
	acceptPause = 50 * time.Millisecond
)

func (l *Listener) accept() {
	defer l.cancel()
	for l.places.wait(l.ctx) {
		conn, err := l.tcp.Accept()
		if err == nil {
			l.take(conn)
			continue
		}
		l.places.skip()
		if errors.Is(err, net.ErrClosed) || l.ctx.Err() != nil {
			l.fail(err)
			return
		}
		l.cfg.Logger.Warn("accept failed", "error", err)
		l.pause(acceptPause)
	}
}

// take starts the handshake of a connection, or closes it.
func (l *Listener) take(conn net.Conn) {
	for l.cfg.Admit != nil && !l.cfg.Admit(conn.RemoteAddr()) && l.pause(admitPause) {
	}
	pl := l.places.enter(conn.RemoteAddr())
	if pl == nil {
		_ = conn.Close()
		l.cfg.Refused(conn.RemoteAddr(), "source_limit")
		return
	}
	l.work.Go(func() { l.serve(conn, pl) })
}

// pause waits, and reports whether the listener is still open.
func (l *Listener) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

func (l *Listener) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// serve takes one connection through its handshake. Its place is free when that is
// over: a refused peer is not waited for at others' cost, and one that has passed
// is no stranger any more.
func (l *Listener) serve(raw net.Conn, pl *place) {
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.HandshakeTimeout)
	defer cancel()
	l.cfg.tune(raw)
	w := wire.New(raw)
	if l.cfg.Other != nil && l.other(ctx, w, pl) {
		return
	}
	conn := tls.Server(w, l.cfg.TLS)
	turn := pl.run(ctx)
	began := time.Now()
	var err error
	if turn {
		err = conn.HandshakeContext(ctx)
	}
	took := time.Since(began)
	pl.leave()
	if !turn {
		l.cfg.Refused(raw.RemoteAddr(), "busy")
		_ = raw.Close()
		return
	}
	if err != nil {
		l.cfg.Logger.Debug("handshake failed", "error", err)
		l.cfg.Refused(raw.RemoteAddr(), "handshake")
		refuse(raw)
		return
	}
	if conn.ConnectionState().NegotiatedProtocol != l.cfg.TLS.NextProtos[0] {
		if l.cfg.Handoff == nil {
			l.cfg.Refused(raw.RemoteAddr(), "protocol")
			_ = raw.Close()
			return
		}
		l.cfg.Handoff(conn)
		return
	}
	s, err := afterTLS(ctx, conn, took, false, l.cfg)
	if err != nil {
		l.cfg.Logger.Debug("peer refused", "error", err)
		l.cfg.Refused(raw.RemoteAddr(), "handshake")
		return
	}
	select {
	case l.ready <- s:
	case <-l.ctx.Done():
		_ = s.CloseWithError(tunnel.CodeShutdown, "the listener is closed")
	}
}

// recordHandshake begins the first record of a TLS client (RFC 8446 §5.1).
const recordHandshake = 22

// other waits for the first byte of a connection, and gives one that is not TLS
// away. It reports whether the connection is done with here.
func (l *Listener) other(ctx context.Context, w *wire.Conn, pl *place) bool {
	stop := context.AfterFunc(ctx, func() { _ = w.Conn.SetReadDeadline(past) })
	first, err := w.Peek()
	stopped := stop()
	switch {
	case err != nil || !stopped:
		pl.leave()
		_ = w.Conn.Close()
		l.cfg.Refused(w.RemoteAddr(), "handshake")
	case first == recordHandshake:
		return false
	default:
		l.cfg.Other(ctx, w.Conn, first)
		pl.leave()
	}
	return true
}

// Accept gives the next session.
func (l *Listener) Accept(ctx context.Context) (tunnel.Session, error) {
	select {
	case s := <-l.ready:
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err != nil {
			return nil, l.err
		}
		return nil, net.ErrClosed
	}
}

// Addr is the TCP listener's address.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// Close stops accepting and waits for running handshakes, and for Handoff, to end.
func (l *Listener) Close() error {
	l.fail(net.ErrClosed)
	l.cancel()
	err := l.tcp.Close()
	l.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
