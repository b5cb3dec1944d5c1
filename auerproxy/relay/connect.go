package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// connectFront serves HTTP CONNECT (RFC 9110 §9.3.6, over HTTP/2 RFC 9113 §8.5)
// for callers that hold no session: any HTTP client with a client certificate
// reaches s<serial>.pbx.<trust-domain>:<port>. The port names the service; the
// client's TLS to the device runs inside, end to end.
type connectFront struct {
	relay *Relay
	conns *connQueue
	http  *http.Server
}

// connectCall is one CONNECT request that is being served.
type connectCall struct {
	caller identity.ID
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the call is over
}

func newConnectFront(r *Relay, addr net.Addr) *connectFront {
	f := &connectFront{relay: r, conns: &connQueue{addr: addr, queue: make(chan net.Conn), closed: make(chan struct{})}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	f.http = &http.Server{
		Handler:           f,
		Protocols:         protocols,
		ReadHeaderTimeout: r.cfg.Limits.HandshakeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          r.log.Named("connect").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          1000,
			MaxReceiveBufferPerStream:     1 << 20,
			MaxReceiveBufferPerConnection: 8 << 20,
			SendPingTimeout:               r.silence(),
		},
	}
	r.cfg.AccessLog.Watch(f.http)
	return f
}

// run serves until ctx ends; running calls are then cut.
func (f *connectFront) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		f.relay.mu.RLock()
		for c := range f.relay.connects {
			c.cancel(&tunnel.Error{Code: tunnel.CodeShutdown})
		}
		f.relay.mu.RUnlock()
		_ = f.conns.Close()
		_ = f.http.Close()
	})
	defer stop()
	if err := f.http.Serve(f.conns); err != nil && ctx.Err() == nil {
		return fmt.Errorf("relay: HTTP CONNECT: %w", err)
	}
	return nil
}

// ServeHTTP answers one request.
func (f *connectFront) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	status := http.StatusOK
	if err := f.serve(w, req); err != nil {
		status = writeProblem(w, err)
	}
	f.relay.metrics.connects.WithLabelValues(strconv.Itoa(status)).Inc()
}

// serve opens the stream and copies until it ends. An error means that nothing
// was answered yet.
func (f *connectFront) serve(w http.ResponseWriter, req *http.Request) error {
	r := f.relay
	if req.Method != http.MethodConnect {
		return &httpError{http.StatusMethodNotAllowed, tunnel.Errorf(tunnel.CodeProtocol, "this port speaks HTTP CONNECT and the tunnel protocol only")}
	}
	if req.TLS == nil {
		return tunnel.Errorf(tunnel.CodeCertificateMissing, "no TLS")
	}
	caller, err := identity.FromConnectionState(*req.TLS)
	if err != nil {
		return tunnel.FromTLS(err)
	}
	preamble, err := f.preamble(caller, req)
	if err != nil {
		return err
	}
	r.work.Add(1)
	defer r.work.Done()
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	call := &connectCall{caller: caller, cancel: cancel, done: make(chan struct{})}
	defer close(call.done)
	if err := r.addConnect(call); err != nil {
		return err
	}
	defer r.removeConnect(call)

	j, err := r.open(ctx, caller, preamble)
	if err != nil {
		return err
	}
	w.Header().Set("X-Auer-Request-Id", hex.EncodeToString(preamble.GetRequestId()))
	conn, err := takeConn(w, req)
	if err != nil {
		j.abort(tunnel.CodeInternal)
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		code := tunnel.CodeOf(context.Cause(ctx))
		j.stream.Reset(code)
		conn.Reset(code)
	})
	defer stop()
	defer conn.release()
	j.run(conn)
	return nil
}

func (f *connectFront) preamble(caller identity.ID, req *http.Request) (*tunnel.Preamble, error) {
	td := f.relay.self.TrustDomain
	host, portText, err := net.SplitHostPort(req.Host)
	if err != nil {
		return nil, &httpError{http.StatusBadRequest, tunnel.Errorf(tunnel.CodeProtocol, "target %q, want s<serial>.pbx.%s:<port>", req.Host, td)}
	}
	serial, err := identity.ParseDeviceDNSName(td, host)
	if err != nil {
		// A name outside the trust domain is as unreachable as an unknown serial.
		return nil, &httpError{http.StatusNotFound, tunnel.Errorf(tunnel.CodeNotReachable, "%w", err)}
	}
	port, err := strconv.Atoi(portText)
	service, ok := f.relay.cfg.Ports[port]
	if err != nil || !ok {
		return nil, tunnel.Errorf(tunnel.CodeServiceUnknown, "port %s stands for no service", portText)
	}
	inner := tunnelpb.Inner_INNER_TLS
	if service.Raw {
		inner = tunnelpb.Inner_INNER_RAW
	}
	return &tunnel.Preamble{
		Target: identity.Device(td, serial).Path(), Service: service.Service, Caller: caller.Path(), Purpose: "connect",
		RequestId: tunnel.NewID(), Traceparent: req.Header.Get("Traceparent"), Inner: inner,
	}, nil
}

func (r *Relay) addConnect(c *connectCall) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return &tunnel.Error{Code: tunnel.CodeDraining}
	}
	if len(r.connects) >= r.cfg.Limits.StreamsFromService {
		return &tunnel.Error{Code: tunnel.CodeTooManyStreams}
	}
	r.connects[c] = struct{}{}
	return nil
}

func (r *Relay) removeConnect(c *connectCall) {
	r.mu.Lock()
	delete(r.connects, c)
	r.mu.Unlock()
}

// httpError gives an error another status than its code has.
type httpError struct {
	status int
	err    *tunnel.Error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

// writeProblem answers with a problem document (RFC 9457) and the error's number
// as X-Auer-Error, which also clients show that drop the body of a failed
// CONNECT.
func writeProblem(w http.ResponseWriter, err error) int {
	info := tunnel.CodeOf(err).Info()
	status := info.HTTPStatus
	if he, ok := errors.AsType[*httpError](err); ok {
		status = he.status
	}
	detail := ""
	if te, ok := errors.AsType[*tunnel.Error](err); ok {
		detail = te.Message
		if d := te.RetryAfter(); d > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(d.Seconds())+1))
		}
	}
	body, jerr := json.Marshal(map[string]any{
		"type": "about:blank", "title": info.Text, "status": status, "detail": detail, "code": info.Code.String(), "hint": info.Hint,
	})
	if jerr != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Auer-Error", info.Code.String())
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; nobody else to tell
	return status
}

// callConn is what splice needs of a CONNECT caller.
type callConn interface {
	net.Conn
	CloseWrite() error
	Reset(code tunnel.Code)
	// release ends the use of what belongs to the request: from its return on,
	// nothing touches that any more, although a Reset may still be on its way.
	release()
}

// takeConn answers 200 and turns the request into a byte flow.
func takeConn(w http.ResponseWriter, req *http.Request) (callConn, error) {
	rc := http.NewResponseController(w)
	if req.ProtoMajor == 2 {
		w.WriteHeader(http.StatusOK)
		if err := rc.Flush(); err != nil {
			return nil, err
		}
		return &h2Conn{body: req.Body, w: w, rc: rc, tls: req.TLS}, nil
	}
	conn, buf, err := rc.Hijack()
	if err != nil {
		return nil, err
	}
	answer := "HTTP/1.1 200 Connection established\r\nX-Auer-Request-Id: " + w.Header().Get("X-Auer-Request-Id") + "\r\n\r\n"
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, answer); err != nil {
		_ = conn.Close()
		return nil, err
	}
	tc, ok := conn.(*tls.Conn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("CONNECT over %T", conn)
	}
	return &h1Conn{Conn: tc, r: buf.Reader}, nil
}

// h1Conn is a hijacked HTTP/1.1 connection.
type h1Conn struct {
	*tls.Conn
	r *bufio.Reader // holds what came right behind the request
}

func (c *h1Conn) Read(p []byte) (int, error) {
	if c.r != nil {
		if c.r.Buffered() > 0 {
			return c.r.Read(p)
		}
		c.r = nil
	}
	return c.Conn.Read(p)
}

// Reset closes the connection under TLS, without a close_notify: the caller must
// not take it for an orderly end.
func (c *h1Conn) Reset(tunnel.Code) { _ = c.NetConn().Close() }

func (c *h1Conn) release() {}

// h2Conn is one HTTP/2 CONNECT stream.
type h2Conn struct {
	body io.ReadCloser
	w    http.ResponseWriter
	rc   *http.ResponseController
	tls  *tls.ConnectionState

	// mu guards what follows, and is held while rc is used: net/http panics when
	// a response is touched after its handler has returned.
	mu       sync.Mutex
	closed   bool
	released bool
}

func (c *h2Conn) Read(p []byte) (int, error) { return c.body.Read(p) }

func (c *h2Conn) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, c.rc.Flush()
}

// CloseWrite ends the whole call: a server ends its direction of an HTTP/2 stream
// only by returning from the handler, which ends the other one too.
func (c *h2Conn) CloseWrite() error { return c.Close() }

// Close makes Read fail, so that the handler returns.
func (c *h2Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.released {
		return nil
	}
	c.closed = true
	return errors.Join(c.rc.SetReadDeadline(time.Unix(1, 0)), c.body.Close())
}

// Reset ends both directions at once.
func (c *h2Conn) Reset(tunnel.Code) {
	_ = c.Close()
	_ = c.SetWriteDeadline(time.Unix(1, 0))
}

func (c *h2Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = true
}

func (c *h2Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return net.ErrClosed
	}
	return c.rc.SetReadDeadline(t)
}

func (c *h2Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return net.ErrClosed
	}
	return c.rc.SetWriteDeadline(t)
}

func (c *h2Conn) LocalAddr() net.Addr  { return h2Addr{} }
func (c *h2Conn) RemoteAddr() net.Addr { return h2Addr{} }
func (c *h2Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

type h2Addr struct{}

func (h2Addr) Network() string { return "h2" }
func (h2Addr) String() string  { return "CONNECT" }

// connQueue is a listener over connections that somebody else accepted.
type connQueue struct {
	addr   net.Addr
	queue  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// put hands a connection to Accept, or closes it.
func (q *connQueue) put(ctx context.Context, c net.Conn) {
	select {
	case q.queue <- c:
	case <-q.closed:
		_ = c.Close()
	case <-ctx.Done():
		_ = c.Close()
	}
}

func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.queue:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *connQueue) Addr() net.Addr { return q.addr }
