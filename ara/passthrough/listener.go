package passthrough

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// Listener gives those connections that are not for a PBX's name. Make it with [New].
type Listener struct {
	cfg   Config
	inner net.Listener
	conns chan accepted
	ctx   context.Context // ends with the listener
	stop  context.CancelFunc
	work  sync.WaitGroup
	once  sync.Once
	err   error // of Close
}

type accepted struct {
	conn net.Conn
	err  error
}

// New takes the connections of a listener, which is closed with the new one.
func New(cfg Config, inner net.Listener) *Listener {
	l := &Listener{cfg: cfg.withDefaults(), inner: inner, conns: make(chan accepted)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.work.Go(l.run)
	return l
}

func (l *Listener) run() {
	for {
		c, err := l.inner.Accept()
		if err == nil {
			l.work.Go(func() { l.lead(c) })
			continue
		}
		if !l.give(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// give hands something to Accept; false: the listener is closed.
func (l *Listener) give(a accepted) bool {
	select {
	case l.conns <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// Accept gives the next connection that is not for a PBX's name; what was read of it comes
// again.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.conns:
		return a.conn, a.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr is that of the listener inside.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close ends the listener and every connection to a PBX, and waits for them.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.err = l.inner.Close()
		l.stop()
	})
	l.work.Wait()
	return l.err
}

// lead takes one connection to where it belongs.
func (l *Listener) lead(c net.Conn) {
	stop := context.AfterFunc(l.ctx, func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(l.cfg.HelloTime)) // one that cannot has ended
	info, read, err := hello(c, l.cfg.HelloBytes)
	if err != nil {
		stop()
		l.refuse(c, nil)
		return
	}
	r := &replayed{Conn: c, before: read}
	if info != nil {
		if serial, ours, ok := serialOf(info.ServerName, l.cfg.Domain); ours {
			defer stop()
			if !ok {
				l.refuse(c, alert)
				return
			}
			open, challenge := l.cfg.Open, slices.Equal(info.SupportedProtos, []string{challengeProtocol})
			if challenge {
				open = l.cfg.Challenge
			}
			call, err := open(l.ctx, serial, accesslog.AddrOf(c.RemoteAddr()))
			if err != nil {
				l.refuse(c, alert)
				return
			}
			l.cfg.AccessLog.RecordAddr(c.RemoteAddr(), accesslog.OK)
			l.join(r, call, challenge)
			return
		}
	}
	_ = c.SetDeadline(time.Time{})
	if !stop() || !l.give(accepted{conn: r}) {
		_ = c.Close()
	}
}

// join carries the ciphertext until either side, or the listener, ends it.
func (l *Listener) join(c, call net.Conn, challenge bool) {
	defer context.AfterFunc(l.ctx, func() { _ = call.Close() })()
	o := splice.Options{IdleTimeout: l.cfg.Idle}
	_ = c.SetDeadline(time.Time{})
	if challenge {
		o.LimitAtoB, o.LimitBtoA = budget(challengeBytes), budget(challengeBytes)
		defer time.AfterFunc(challengeTime, func() { _ = c.Close(); _ = call.Close() }).Stop()
	}
	splice.Join(c, call, o)
}

// budget lets so many bytes through.
func budget(left int) func(context.Context, int) error {
	return func(_ context.Context, n int) error {
		if left -= n; left < 0 {
			return errLong
		}
		return nil
	}
}

// refuse ends a connection.
func (l *Listener) refuse(c net.Conn, say []byte) {
	l.cfg.AccessLog.RecordAddr(c.RemoteAddr(), accesslog.Refused)
	if len(say) > 0 {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // it fits into any buffer
		_, _ = c.Write(say)                                 // the client may be gone
	}
	_ = c.Close()
}
