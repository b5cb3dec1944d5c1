package muxtun

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Listener accepts sessions on a TCP listener.
type Listener struct {
	cfg Config
	tcp net.Listener

	ctx    context.Context //nolint:containedctx // the life of the handshakes
	cancel context.CancelFunc
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
	l := &Listener{cfg: cfg.withDefaults(), tcp: tcp, ready: make(chan tunnel.Session)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.work.Go(l.accept)
	return l, nil
}

// admitPause is how long the listener waits before it asks Config.Admit again.
const admitPause = 5 * time.Millisecond

// acceptPause is how long it waits after a failed accept, e.g. without a free file
// descriptor.
const acceptPause = 50 * time.Millisecond

func (l *Listener) accept() {
	defer l.cancel()
	slots := make(chan struct{}, l.cfg.MaxHandshakes)
	for {
		slots <- struct{}{}
		conn, err := l.tcp.Accept()
		if err != nil {
			<-slots
			if errors.Is(err, net.ErrClosed) || l.ctx.Err() != nil {
				l.fail(err)
				return
			}
			l.cfg.Logger.Warn("accept failed", "error", err)
			l.pause(acceptPause)
			continue
		}
		for l.cfg.Admit != nil && !l.cfg.Admit(conn.RemoteAddr()) && l.pause(admitPause) {
		}
		l.work.Go(func() {
			defer func() { <-slots }()
			l.serve(conn)
		})
	}
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

// serve takes one connection through its handshake. The place among the
// handshakes is held until then only.
func (l *Listener) serve(raw net.Conn) {
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.HandshakeTimeout)
	defer cancel()
	tuneTCP(raw)
	conn := tls.Server(raw, l.cfg.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		l.cfg.Logger.Debug("handshake failed", "error", err)
		refuse(raw)
		return
	}
	if proto := conn.ConnectionState().NegotiatedProtocol; proto != l.cfg.TLS.NextProtos[0] {
		if l.cfg.Handoff == nil {
			_ = raw.Close()
			return
		}
		l.cfg.Handoff(conn)
		return
	}
	s, err := handshake(ctx, conn, false, l.cfg)
	if err != nil {
		l.cfg.Logger.Debug("peer refused", "error", err)
		return
	}
	select {
	case l.ready <- s:
	case <-l.ctx.Done():
		_ = s.CloseWithError(tunnel.CodeShutdown, "the listener is closed")
	}
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

// Close stops accepting and waits for running handshakes to end.
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
