package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http/httpguts"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// sessionKey is where the context of a request has its session.
type sessionKey struct{}

func sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}

// flushEvery is how long the first bytes of an answer wait for more. That is for answers
// whose length is known: events, and all others without a length, are flushed at once by
// the library. Flushing everything at once is a third more work for a small page.
const flushEvery = 10 * time.Millisecond

// newProxy makes the one proxy of all sessions.
func (g *Gateway) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     roundTripper{},
		FlushInterval: flushEvery,
		ErrorLog:      hclog.NewNullLogger().StandardLogger(nil), // it would get addresses; ErrorHandler knows the errors
		BufferPool:    &buffers{},
		ModifyResponse: func(r *http.Response) error {
			sessionOf(r.Request.Context()).answer(r.Header)
			return nil
		},
		ErrorHandler: g.failed,
	}
}

// roundTripper sends a request over the connections of its session.
type roundTripper struct{}

// RoundTrip is that of the session's transport.
func (roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	return sessionOf(r.Context()).transport.RoundTrip(r)
}

// rewrite makes the request for the PBX. Its host stays, so that what the PBX makes of it
// leads back to the session.
func rewrite(p *httputil.ProxyRequest) {
	s := sessionOf(p.In.Context())
	p.Out.URL = &url.URL{
		Scheme: "http", Host: string(grant.Web), // a name for the pool of connections; it is not looked up
		Path: p.In.URL.Path, RawPath: p.In.URL.RawPath, RawQuery: p.In.URL.RawQuery, ForceQuery: p.In.URL.ForceQuery,
	}
	p.Out.Host = s.authority
	h := p.Out.Header
	for name := range h {
		if telling(name) {
			delete(h, name)
		}
	}
	h["X-Forwarded-Host"] = []string{s.authority}
	h["X-Forwarded-Proto"] = forwardedProto
	s.jar.toPBX(h)
	p.Out.Trailer = p.In.Trailer // filled in when the body has been read
}

// telling reports whether a field tells a server who asks, which only proxies and the
// PBX's agent may. Some servers take _ for -.
func telling(name string) bool {
	if strings.Contains(name, "_") {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return strings.HasPrefix(name, "X-Auer-") || strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" || name == "Forwarded"
}

var forwardedProto = []string{"https"}

// serveSession carries a request to the PBX.
func (g *Gateway) serveSession(w *response, r *http.Request, label string) {
	s := g.owned(w, r, label)
	if s == nil {
		return
	}
	v, _ := s.look()
	switch {
	case g.foreign(r):
		g.refuse(w, r, refusedOrigin)
		return
	case serviceWorker(r):
		g.refuse(w, r, refusedWorker)
		return
	case !v.ended.IsZero():
		g.refuse(w, r, refusedEnded)
		return
	case s.grant.Service != grant.Web:
		g.redirect(w, r, own)
		return
	case v.State == grant.Pending:
		if r.Method == http.MethodGet && !isUpgrade(r) {
			g.redirect(w, r, own)
			return
		}
		g.refuse(w, r, refusedPending)
		return
	}
	if !s.acquire(r.Context()) {
		w.Header().Set("Retry-After", "1")
		g.refuse(w, r, refusedStreams)
		return
	}
	defer func() { <-s.streams }()
	if isUpgrade(r) {
		defer s.upgrades.Add(-1)
		if int(s.upgrades.Add(1)) > g.cfg.Limits.Upgrades {
			g.refuse(w, r, refusedStreams)
			return
		}
	}
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		// The PBX may answer while it is still being told.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), sessionKey{}, s))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	g.proxy.ServeHTTP(w, r.WithContext(ctx))
	trailers(w.Header())
}

func isUpgrade(r *http.Request) bool {
	return httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// acquire waits for a place among the requests of the session.
func (s *session) acquire(ctx context.Context) bool {
	select {
	case s.streams <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(s.g.cfg.Timing.Queue)
	defer timer.Stop()
	select {
	case s.streams <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return false
}

// failed answers where the PBX did not.
func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, err error) {
	s := sessionOf(r.Context())
	var timeout interface{ Timeout() bool }
	e := (*tunnel.Error)(nil)
	switch {
	case s.ctx.Err() != nil:
		g.refuse(w, r, refusedEnded)
	case errors.As(err, &e) && e.Code == tunnel.CodeRefusedByDevice:
		g.refuse(w, r, refusedByPBX)
	case errors.As(err, &e):
		g.unreachable(w, r, e.Code)
	case errors.As(err, &timeout) && timeout.Timeout():
		g.refuse(w, r, failedTimeout)
	default:
		g.refuse(w, r, failedAnswer)
	}
}

// buffers is for what is copied to browsers.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get gives a buffer of bufferSize bytes.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// Put takes it back.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
