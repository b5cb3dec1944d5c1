package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ccc is the service that issues grants.
const ccc = "ccc"

// own starts the paths of the gateway itself.
const own = "/.ara/"

// Gateway carries browsers to PBXs. Make it with [New] and call Run once. It is an
// http.Handler for connections with TLS.
type Gateway struct {
	cfg      Config
	log      hclog.Logger
	issuer   identity.ID
	used     *grant.Used
	sessions *registry
	begins   *limiter
	proofs   *limiter // of the name of one PBX
	askers   *limiter // for proofs
	cross    *http.CrossOriginProtection
	proxy    *httputil.ReverseProxy
	own      http.Handler // of paths below own
	metrics  *metrics
	altSvc   atomic.Pointer[[]string] // of the field; nil: no HTTP/3

	ctx     context.Context // of all sessions
	cancel  context.CancelFunc
	watches sync.WaitGroup // see enter
	running atomic.Bool

	mu     sync.Mutex
	closed bool // guarded by mu; Run waits for what has entered, and nothing else may
}

// New checks the configuration and makes a gateway, which dials nobody before somebody
// has a grant.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.checkRuntime(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	cfg.CCCURL = strings.TrimSuffix(cfg.CCCURL, "/")
	g := &Gateway{
		cfg: cfg, log: cfg.Logger, issuer: identity.Service(cfg.Credentials.ID().TrustDomain, ccc),
		used: grant.NewUsed(time.Now(), cfg.Limits.Grants), sessions: newRegistry(cfg), begins: newLimiter(cfg.Limits.BeginsPerMinute),
		proofs: newLimiter(cfg.Limits.ChallengesPerMinute), askers: newLimiter(askersTimes * cfg.Limits.ChallengesPerMinute),
		cross: http.NewCrossOriginProtection(),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.proxy = g.newProxy()
	g.own = g.ownPages()
	var err error
	if g.metrics, err = newMetrics(cfg.Metrics, g.sessions); err != nil {
		g.cancel()
		return nil, err
	}
	return g, nil
}

// Run keeps the sessions until ctx ends, and ends them all then.
func (g *Gateway) Run(ctx context.Context) error {
	if g.running.Swap(true) {
		return errors.New("gateway: Run was called twice")
	}
	g.sessions.run(ctx)
	g.cancel()
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.watches.Wait()
	return nil
}

// enter has Run wait for something, until its g.watches.Done(); false: Run has ended, or
// is about to.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.watches.Add(1)
	return true
}

// Drain ends every session, so that no stream keeps a server from ending. PBXs hear
// nothing of it; who wants to go on opens the session anew.
func (g *Gateway) Drain() { g.cancel() }

// Known reports whether a host is the gateway's or that of a session, also of one that
// waits for its grant: whether there may be a certificate for it.
func (g *Gateway) Known(host string) bool {
	label, ok := strings.CutSuffix(host, "."+g.cfg.Domain)
	return host == g.cfg.Domain || ok && g.sessions.known(label)
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &response{ResponseWriter: rw}
	if r.ProtoMajor < 3 {
		w.altSvc = g.altSvc.Load()
	}
	defer g.done(w)
	label, ok := g.label(r)
	switch {
	case !ok:
		g.refuse(w, r, refusedHost)
	case r.Method == http.MethodConnect:
		g.refuse(w, r, refusedMethod)
	case label == "":
		g.serveBase(w, r)
	case r.URL.Path == own[:len(own)-1] || strings.HasPrefix(r.URL.Path, own):
		g.serveOwn(w, r, label)
	default:
		g.serveSession(w, r, label)
	}
}

// done counts a request, and ends a panic without an address in any log.
func (g *Gateway) done(w *response) {
	p := recover()
	g.metrics.requests.WithLabelValues(strconv.Itoa(w.class()/100) + "xx").Inc()
	switch p {
	case nil:
		return
	case http.ErrAbortHandler: // as net/http compares it
	default:
		g.log.Error("panic in a request", "panic", p, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

// label gives the label of the session that a request is for; empty for the gateway's own
// host. A request whose host is not the one that its connection was made for is for
// nobody: a browser asks again on another connection (RFC 9110 §15.5.20).
func (g *Gateway) label(r *http.Request) (label string, ok bool) {
	host := r.Host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if port != strconv.Itoa(g.cfg.PublicPort) {
			return "", false
		}
		host = h
	}
	host = strings.ToLower(host)
	if r.TLS == nil || strings.ToLower(r.TLS.ServerName) != host {
		return "", false
	}
	if host == g.cfg.Domain {
		return "", true
	}
	label, ok = strings.CutSuffix(host, "."+g.cfg.Domain)
	return label, ok && isLabel(label)
}

// serveBase is the gateway's own host.
func (g *Gateway) serveBase(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		g.refuse(w, r, refusedMethod)
	case r.URL.Path == "/begin":
		g.begin(w, r)
	case strings.HasPrefix(r.URL.Path, own):
		if !serveFile(w, r) {
			g.refuse(w, r, refusedUnknown)
		}
	case r.URL.Path == "/":
		g.page(w, r, http.StatusOK, message(textOf(r).Home, ""))
	default:
		g.refuse(w, r, refusedUnknown)
	}
}

// response is what becomes of a request.
type response struct {
	http.ResponseWriter
	altSvc *[]string // nil: none
	status int       // 0: nothing was written yet
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status, and adds what every answer has. An interim one has
// nothing but links.
func (w *response) WriteHeader(status int) {
	h := w.Header()
	if status == http.StatusSwitchingProtocols {
		w.status = status
	} else if status < 200 {
		interim(h)
	} else if w.status == 0 {
		w.status = status
		h["Strict-Transport-Security"] = hsts
		if w.altSvc != nil {
			h["Alt-Svc"] = *w.altSvc
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is an answer, too.
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Hijack is for what becomes something else.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, brw, err
}

// class is the status for the metrics: 500 where there was none.
func (w *response) class() int {
	if w.status == 0 {
		return http.StatusInternalServerError
	}
	return w.status
}
