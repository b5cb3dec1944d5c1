package api

import (
	"cmp"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/httprate"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Handler answers the requests of browsers and other clients: the API, and the pages
// everywhere else. It is for every listener; whether a request came by TLS is seen on
// the request.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", a.protect(a.limitNetwork(a.sessions(a.limitUser(http.HandlerFunc(a.route))))))
	mux.Handle("/", a.cfg.Pages)
	return a.recovered(a.deadline(a.proxied(a.cfg.AccessLog.Handler(a.hosts(mux)))))
}

// Server makes a server with the handler and the bounds that fit its answers: none on the
// time for writing them, which each answer sets for itself.
func (a *API) Server() *http.Server {
	s := &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute, // a stream lifts it
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		// With HTTP/2 an answer cannot end that waits for a connection which takes nothing;
		// a ping finds one that is dead.
		HTTP2: &http.HTTP2Config{
			WriteByteTimeout: a.cfg.Streams.WriteTimeout, SendPingTimeout: time.Minute, PingTimeout: 30 * time.Second,
		},
	}
	a.cfg.AccessLog.Connections(s)
	return s
}

// route gives the request to its operation. What has none gets a problem.
func (a *API) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := a.mux.Handler(r)
	if pattern != "" {
		// The mux sets the values of the path, which its Handler alone does not.
		a.mux.ServeHTTP(w, r)
		return
	}
	var probe probe
	h.ServeHTTP(&probe, r)
	if allow := probe.Header().Get("Allow"); probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		problem(CodeMethod, "").write(w)
		return
	}
	problem(CodeNotFound, "").write(w)
}

// probe is an answer that is looked at and goes nowhere.
type probe struct {
	header http.Header
	status int
}

// Header gives what the handler sets.
func (p *probe) Header() http.Header {
	if p.header == nil {
		p.header = http.Header{}
	}
	return p.header
}

// WriteHeader keeps the status.
func (p *probe) WriteHeader(status int) { p.status = status }

// Write drops the body.
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }

// protect sets the headers of every answer of the API, bounds the request, and refuses
// changes that a page of another origin asked the browser for.
func (a *API) protect(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(CodeCrossOrigin, "").write(w)
	}))
	guarded := origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		_, pattern := a.mux.Handler(r)
		r.Body = http.MaxBytesReader(w, r.Body, int64(cmp.Or(a.bodies[pattern], a.cfg.Limits.Body)))
		if account.Bearer(r) {
			next.ServeHTTP(w, r) // no browser adds it by itself, and no cookie counts beside it
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// hosts refuses requests for names that are not ours: a page of somebody else's name
// that leads to this server is of another origin only as long as names are checked.
func (a *API) hosts(next http.Handler) http.Handler {
	if len(a.cfg.Hosts) == 0 {
		return next
	}
	known := map[string]bool{}
	for _, h := range a.cfg.Hosts {
		known[strings.ToLower(h)] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := hostOf(r); !known[host] && !configs.IsLoopback(host) {
			problem(CodeMisdirected, "").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf gives the host that the client asks for, in lower case, without port and
// brackets.
func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// newLimiter counts requests, for all listeners together.
func newLimiter(l Limits) *httprate.RateLimiter {
	return httprate.NewRateLimiter(l.Requests, l.Window,
		httprate.WithResponseHeaders(httprate.ResponseHeaders{RetryAfter: "Retry-After"}),
		httprate.WithLimitHandler(func(w http.ResponseWriter, _ *http.Request) { problem(CodeRateLimited, "").write(w) }),
	)
}

// limitNetwork counts all requests of a network, before anything is looked up for them.
func (a *API) limitNetwork(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all := r.WithContext(httprate.WithRequestLimit(r.Context(), a.cfg.Limits.NetworkRequests))
		if !a.limiter.RespondOnLimit(w, all, "all of "+account.Prefix(r.RemoteAddr).String()) {
			next.ServeHTTP(w, r)
		}
	})
}

// limitUser counts the requests of a user, or those of a network where nobody is signed
// in.
func (a *API) limitUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := "nobody of " + account.Prefix(r.RemoteAddr).String()
		if who, ok := actorOf(r.Context()); ok {
			key = "user " + string(who.user.ID)
		}
		if !a.limiter.RespondOnLimit(w, r, key) {
			next.ServeHTTP(w, r)
		}
	})
}

// deadline bounds the time for an answer, which streams set anew as they go on.
func (a *API) deadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not every writer has deadlines: a test's has none.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.cfg.Limits.AnswerTimeout))
		next.ServeHTTP(w, r)
	})
}

// recovered answers where a handler panics, without ending the connection's server.
func (a *API) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				a.log.Error("a request failed", "method", r.Method, "pattern", r.Pattern, "panic", p)
				problem(CodeInternal, "").write(w)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
