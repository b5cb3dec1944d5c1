package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// The request headers that tell an HTTP target about the call. A caller's own
// headers of these names, or of any other that starts with X-Auer-, are removed,
// also when they are spelt with '_', which CGI does not tell from '-'.
const (
	HeaderCaller    = "X-Auer-Caller"     // SPIFFE ID of the caller
	HeaderRequestID = "X-Auer-Request-Id" // request id, 32 hex digits
	HeaderPurpose   = "X-Auer-Purpose"    // purpose; absent if empty
	headerPrefix    = "X-Auer-"
)

// Limits of the HTTP server towards callers.
const (
	readHeaderTimeout = 15 * time.Second
	maxHeaderBytes    = 64 << 10
)

// httpForwarder forwards the requests of a service's calls to a local HTTP/1.1
// target and adds who calls. One call has one connection to the target.
type httpForwarder struct {
	*forwarder
	server *http.Server
	calls  chan *httpConn
}

// httpConn is one call in the hands of the HTTP server.
type httpConn struct {
	duplex
	call      Call
	transport *http.Transport
	over      func() // once
}

type httpConnKey struct{}

func newHTTPForwarder(a *Agent, f *forwarder) *httpForwarder {
	errorLog := a.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	proxy := &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     perConn{},
		FlushInterval: -1, // events and long polls are passed on at once
		ErrorLog:      errorLog,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, tunnel.CodeTargetUnreachable.String()+" "+why(err), http.StatusBadGateway)
		},
	}
	return &httpForwarder{
		forwarder: f,
		calls:     make(chan *httpConn),
		server: &http.Server{
			Handler:           proxy,
			ReadHeaderTimeout: readHeaderTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			IdleTimeout:       f.splice.IdleTimeout,
			ErrorLog:          errorLog,
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, httpConnKey{}, c)
			},
		},
	}
}

func (f *httpForwarder) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = f.server.Close() })
	defer stop()
	ln := &callListener{name: f.cfg.Name, calls: f.calls, closed: make(chan struct{})}
	_ = f.server.Serve(ln) // http.ErrServerClosed: Accept has no other error
}

func (f *httpForwarder) take(ctx context.Context, call Call, ans answer, over func()) error {
	start := time.Now()
	target, err := f.dial(ctx, call, ans)
	if err != nil {
		return err
	}
	if err := ans.accept(since(start, "target")); err != nil {
		_ = target.Close()
		ans.conn().Reset(tunnel.CodeOf(err))
		over()
		return nil // the caller has gone
	}
	first := make(chan net.Conn, 1)
	first <- target
	closed := make(chan struct{})
	c := &httpConn{
		duplex: ans.conn(), call: call, over: sync.OnceFunc(func() { close(closed) }),
		transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				select {
				case conn := <-first:
					return conn, nil
				default:
					return f.dialer.DialContext(ctx, f.network, f.address)
				}
			},
			DisableCompression: true, // what the target sends is passed on as it is
			MaxConnsPerHost:    1,
			IdleConnTimeout:    f.splice.IdleTimeout,
		},
	}
	select {
	case f.calls <- c:
		select {
		case <-closed:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	_ = c.Close() // again, or because the agent stops
	c.transport.CloseIdleConnections()
	select {
	case conn := <-first: // no request came
		_ = conn.Close()
	default:
	}
	over()
	return nil
}

// Close ends the call.
func (c *httpConn) Close() error {
	defer c.over()
	return c.duplex.Close()
}

// rewrite makes the request for the target: the same, with who calls. httputil
// has removed hop-by-hop headers and the Forwarded family by then, so that
// a caller cannot have ours removed through "Connection".
func rewrite(r *httputil.ProxyRequest) {
	c := connOf(r.In.Context())
	r.Out.URL.Scheme, r.Out.URL.Host = "http", c.call.Service
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = r.In.Host
	for name := range r.Out.Header {
		if strings.HasPrefix(http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")), headerPrefix) {
			delete(r.Out.Header, name)
		}
	}
	r.Out.Header.Set(HeaderCaller, c.call.Caller.String())
	r.Out.Header.Set(HeaderRequestID, c.call.RequestID)
	if c.call.Purpose != "" {
		r.Out.Header.Set(HeaderPurpose, c.call.Purpose)
	}
	r.Out.Header.Set("X-Forwarded-Proto", "https")
	r.Out.Header.Set("X-Forwarded-Host", r.In.Host)
}

// perConn sends each request over the connection of the call that it came by.
type perConn struct{}

func (perConn) RoundTrip(r *http.Request) (*http.Response, error) {
	c := connOf(r.Context())
	if c == nil {
		return nil, errors.New("request outside a call")
	}
	return c.transport.RoundTrip(r)
}

func connOf(ctx context.Context) *httpConn {
	c, _ := ctx.Value(httpConnKey{}).(*httpConn)
	return c
}

// callListener gives the HTTP server the calls of one service.
type callListener struct {
	name   string
	calls  <-chan *httpConn
	closed chan struct{}
	once   sync.Once
}

func (l *callListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.calls:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *callListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *callListener) Addr() net.Addr { return serviceAddr(l.name) }
