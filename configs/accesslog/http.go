package accesslog

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Watch makes the log note every request to the server, by its status, and every
// connection that ends without one, e.g. in the TLS handshake, as [Refused]. Call it
// before the server serves. It keeps a ConnState that is there.
func (l *Log) Watch(s *http.Server) {
	if !l.enabled() {
		return
	}
	if s.Handler == nil {
		s.Handler = http.DefaultServeMux
	}
	s.Handler = l.Handler(s.Handler)
	l.Connections(s)
}

// Connections is the part of [Log.Watch] that notes connections without a request. It is
// for servers that call [Log.Handler] where the client's address is known, behind a proxy.
func (l *Log) Connections(s *http.Server) {
	if !l.enabled() {
		return
	}
	w := &silent{log: l, next: s.ConnState, conns: map[net.Conn]struct{}{}}
	s.ConnState = w.change
}

// silent knows the connections that have not asked for anything yet.
type silent struct {
	log  *Log
	next func(net.Conn, http.ConnState)

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
}

func (w *silent) change(c net.Conn, state http.ConnState) {
	w.mu.Lock()
	_, was := w.conns[c]
	if state == http.StateNew {
		w.conns[c] = struct{}{}
	} else if was {
		delete(w.conns, c)
	}
	w.mu.Unlock()
	if was && state == http.StateClosed {
		w.log.RecordAddr(c.RemoteAddr(), Refused)
	}
	if w.next != nil {
		w.next(c, state)
	}
}

// Handler notes each request when its status is known; one that a handler takes over as
// a connection is [OK] then. Watch does this, too; Handler is for servers that have no
// connections, such as those of HTTP/3.
func (l *Log) Handler(next http.Handler) http.Handler {
	if !l.enabled() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &noter{ResponseWriter: w, log: l}
		if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			n.addr = ap.Addr()
		}
		r = r.WithContext(context.WithValue(r.Context(), noterKey{}, n))
		returned := false
		defer func() {
			if returned {
				n.note(http.StatusOK)
			} else {
				n.note(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(n, r)
		returned = true
	})
}

// noter notes the first status that is final.
type noter struct {
	http.ResponseWriter
	log   *Log
	addr  netip.Addr
	noted bool
	at    atomic.Int64 // when the log has it; 0: that is not known yet
}

type noterKey struct{}

// Reference gives the time that the log has the request of a context under, which no other
// access has: microseconds since 1970, in 16 digits. It is empty where the log does not
// have it. [Reader.At] finds the access as long as the log keeps it.
func Reference(ctx context.Context) string {
	n, ok := ctx.Value(noterKey{}).(*noter)
	if !ok || !n.log.keeps(n.addr) {
		return ""
	}
	return fmt.Sprintf("%016d", n.stamp())
}

func (n *noter) stamp() int64 {
	if at := n.at.Load(); at != 0 {
		return at
	}
	n.at.CompareAndSwap(0, n.log.stamp())
	return n.at.Load()
}

func (n *noter) note(status int) {
	if !n.noted {
		n.noted = true
		if n.log.keeps(n.addr) {
			n.log.record(n.stamp(), n.addr, ClassOf(status))
		}
	}
}

// WriteHeader notes the status.
func (n *noter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		n.note(status)
	}
	n.ResponseWriter.WriteHeader(status)
}

// Write notes a success where no status was written.
func (n *noter) Write(b []byte) (int, error) {
	n.note(http.StatusOK)
	return n.ResponseWriter.Write(b)
}

// ReadFrom keeps the way on which the kernel copies files.
func (n *noter) ReadFrom(src io.Reader) (int64, error) {
	n.note(http.StatusOK)
	return io.Copy(n.ResponseWriter, src)
}

// Flush implements [http.Flusher].
func (n *noter) Flush() { _ = n.FlushError() }

// FlushError is for [http.ResponseController].
func (n *noter) FlushError() error {
	n.note(http.StatusOK)
	return http.NewResponseController(n.ResponseWriter).Flush()
}

// Hijack implements [http.Hijacker].
func (n *noter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(n.ResponseWriter).Hijack()
	if err == nil {
		n.note(http.StatusOK)
	}
	return c, rw, err
}

// Unwrap is for [http.ResponseController].
func (n *noter) Unwrap() http.ResponseWriter { return n.ResponseWriter }
