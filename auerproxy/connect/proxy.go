package connect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// ErrNotLoopback: the listener of [Proxy] can be reached from other machines.
var ErrNotLoopback = errors.New("the proxy listens on loopback addresses only")

// proxyDialer is the part of a dial.Dialer that Proxy needs.
type proxyDialer interface {
	opener
	ParseAddr(addr string) (dial.Call, error)
	Transport() *http.Transport
}

// Proxy is an HTTP/1.1 proxy on ln for the names s<serial>.pbx.<trust-domain>, and
// for nothing else. It has two ways to a device:
//
//   - CONNECT, for https URLs: the client speaks TLS with the device itself, and
//     verifies its certificate by the cloud's root. The device sees no client
//     certificate, so its service must have caller_auth "relay", or the client
//     bring one.
//   - A request with an http URL, e.g. http://s0123456789.pbx.comtrexx.test/: the
//     proxy calls the device over its own end-to-end session. The way between
//     client and proxy is plain text, which is why it never leaves the machine.
//
// Errors are answered with the status of their number, the header X-Auer-Error and
// a text with the hint. Proxy closes ln and every connection when ctx ends, and
// returns nil after they have ended.
func Proxy(ctx context.Context, ln net.Listener, d proxyDialer, o Options) error {
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		_ = ln.Close()
		return fmt.Errorf("%w, not on %s", ErrNotLoopback, ln.Addr())
	}
	o = o.filled()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &proxy{ctx: ctx, dialer: d, options: o, transport: d.Transport()}
	p.requests = &httputil.ReverseProxy{
		Transport:     p.transport,
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "https", httpsHost(r.In.URL.Host) },
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, err error) { p.fail(w, err) },
		ErrorLog:      o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	srv := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err := srv.Serve(netutil.LimitListener(ln, o.Connections))
	cancel()
	_ = srv.Close()
	p.calls.Wait()
	p.transport.CloseIdleConnections()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("proxy: %w", err)
}

type proxy struct {
	ctx       context.Context // the life of the proxy
	dialer    proxyDialer
	options   Options
	transport *http.Transport
	requests  *httputil.ReverseProxy
	calls     sync.WaitGroup // requests and CONNECT calls that run
}

// httpsHost is the host of the https URL that an http URL stands for.
func httpsHost(host string) string {
	name := strings.TrimSuffix(host, ":80")
	if _, _, err := net.SplitHostPort(name); err == nil {
		return name
	}
	return name + ":443"
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.calls.Add(1)
	defer p.calls.Done()
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.Scheme == "http":
		p.requests.ServeHTTP(w, r)
	default:
		// A web page that addresses this port directly ends here.
		http.Error(w, "this is a proxy: configure it as such", http.StatusBadRequest)
	}
}

// connect answers CONNECT and copies until the call ends.
func (p *proxy) connect(w http.ResponseWriter, r *http.Request) {
	call, err := p.dialer.ParseAddr(r.Host)
	if err != nil {
		p.fail(w, err)
		return
	}
	call.Inner, call.Purpose, call.Traceparent = dial.OwnTLS, "connect", r.Header.Get("Traceparent")
	c, err := p.dialer.Open(r.Context(), call)
	if err != nil {
		p.fail(w, err)
		return
	}
	local, err := hijack(w)
	if err != nil {
		c.Reset(tunnel.CodeCancelled)
		p.options.Logger.Debug("client left", "error", err)
		return
	}
	if res := join(p.ctx, local, c, p.options.Splice); res.Err != nil && p.ctx.Err() == nil {
		p.options.Logger.Debug("call ended early", "target", call.Target.Path(), "error", res.Err)
	}
}

// fail answers with an error.
func (p *proxy) fail(w http.ResponseWriter, err error) {
	code := tunnel.CodeOf(err)
	info := code.Info()
	p.options.Logger.Warn("call failed", "error", err, "hint", info.Hint)
	w.Header().Set("X-Auer-Error", code.String())
	http.Error(w, fmt.Sprintf("%v\n%s", err, info.Hint), info.HTTPStatus)
}

// hijack takes the connection over from the server and confirms the CONNECT.
func hijack(w http.ResponseWriter) (net.Conn, error) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &hijacked{Conn: conn, r: buf.Reader}, nil
}

// hijacked reads first what the server had read ahead.
type hijacked struct {
	net.Conn
	r *bufio.Reader
}

func (h *hijacked) Read(p []byte) (int, error) { return h.r.Read(p) }

// CloseWrite ends the direction to the client.
func (h *hijacked) CloseWrite() error {
	if cw, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return h.Conn.Close()
}
