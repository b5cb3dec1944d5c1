package pbx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/conformance"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// webService is the service of pages and API in the tunnel, and remoteName the service
// of the data centre that may open the pages.
const (
	webService = "web"
	remoteName = "ara"
)

// maxForm bounds a request's body, in bytes.
const maxForm = 64 << 10

// Timeouts of both servers.
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = time.Minute
	idleTimeout    = 30 * time.Second
	maxHeader      = 16 << 10
)

// Server gives a server with the PBX's timeouts for its Handler.
func (p *PBX) Server() *http.Server { return p.server(p.local) }

func (p *PBX) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: p.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// tunnelServer serves the services of the tunnel that are HTTP. Who calls comes from the
// verified certificate of the end-to-end TLS.
func (p *PBX) tunnelServer(ctx context.Context) *http.Server {
	sealed := p.ownName(p.local)
	srv := p.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch service, _ := r.Context().Value(serviceKey{}).(string); service {
		case wire.Service:
			p.pairing.ServeHTTP(w, r)
		case ara.ServiceName:
			p.gateway.ServeHTTP(w, r)
		case string(grant.TLS):
			sealed.ServeHTTP(w, r)
		default:
			p.local.ServeHTTP(w, r)
		}
	}))
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if slow, ok := c.(*slowConn); ok {
			c = slow.Conn
		}
		c = under(c)
		if a, ok := c.(*admitted); ok {
			ctx, c = context.WithValue(ctx, admittedKey{}, true), a.call
		}
		caller := identity.ID{Kind: identity.KindUnknown, Name: "unverified"} // let in nowhere
		if call, ok := c.(*agent.Conn); ok {
			ctx = context.WithValue(ctx, serviceKey{}, call.Call().Service)
			ctx = context.WithValue(ctx, purposeKey{}, call.Call().Purpose)
			if call.Call().Verified {
				caller = call.Caller()
			}
		}
		return withCaller(ctx, caller)
	}
	return srv
}

// admittedKey is where a request's context has that the administrator lets its connection
// in.
type admittedKey struct{}

// serviceKey is where a request's context has the service of the tunnel.
type serviceKey struct{}

// route answers a request to a PBX.
type route func(p *PBX, w http.ResponseWriter, r *http.Request)

// pbxKey is where a request's context has the PBX.
type pbxKey struct{}

// pbxOf is the PBX that handler has put into a request.
func pbxOf(r *http.Request) *PBX { return r.Context().Value(pbxKey{}).(*PBX) }

// handle adds a route to a mux.
func handle(mux *http.ServeMux, pattern string, f route) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { f(pbxOf(r), w, r) })
}

// routes are pages and API of all PBXs: a mux takes more memory than all else of a PBX
// that is idle.
var routes = sync.OnceValue(func() http.Handler {
	mux := http.NewServeMux()
	routeAPI(mux)
	routePages(mux)
	return sameOrigin(mux)
})

// conforming is the page by which proxies are tested, for people who have signed in and
// for the gateway, whom the administrator has let in. It takes bodies that are streams.
var conforming = sync.OnceValue(func() http.Handler {
	h := conformance.New()
	return sameOrigin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(admittedKey{}) != nil {
			h.ServeHTTP(w, r)
			return
		}
		person(people, func(_ *PBX, w http.ResponseWriter, r *http.Request, _ login) { h.ServeHTTP(w, r) })(pbxOf(r), w, r)
	}))
})

// sameOrigin refuses what pages of other origins send.
func sameOrigin(h http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pbxOf(r).refuse(w, r, problem(http.StatusForbidden, "cross_origin", "The request comes from a page of another origin."))
	}))
	return cross.Handler(h)
}

// handler is pages and API.
func (p *PBX) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pages.Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !p.letIn(r) {
			p.refuse(w, r, problem(http.StatusForbidden, "not_allowed", "The system does not let this caller in here."))
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), pbxKey{}, p))
		if strings.HasPrefix(r.URL.Path, conformance.Path) {
			conforming().ServeHTTP(w, r)
			return
		}
		if p.life.away.Load() {
			w.Header().Set("Retry-After", "5")
			p.refuse(w, r, problem(http.StatusServiceUnavailable, "restarting", "The system restarts."))
			return
		}
		if r.URL.Path == firmwarePath && r.Method == http.MethodPut {
			routes().ServeHTTP(w, r) // which reads the body as it comes
			return
		}
		if err := readBody(w, r); err != nil {
			p.refuse(w, r, err)
			return
		}
		routes().ServeHTTP(w, r)
	})
}

// readBody has all of a request here before anything is decided. Who sends it slowly
// could otherwise have it done when he may no longer, or to a state that is gone.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil {
		return nil // a request that did not come over a connection
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("A body has at most %d bytes.", maxForm))
	}
	if err != nil {
		return problem(http.StatusBadRequest, "bad_request", "The body has not come whole.")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// cloudPaths are what the control centre may ask for.
var cloudPaths = map[string]bool{
	apiPrefix + "login": true, apiPrefix + "logout": true, apiPrefix + "system": true, apiPrefix + "calldata": true,
	apiPrefix + "settings": true, apiPrefix + "settings/schema": true, apiPrefix + "restart": true,
	firmwarePath: true, firmwarePath + "/rollback": true,
}

// letIn says who comes in at all, see the package doc.
func (p *PBX) letIn(r *http.Request) bool {
	switch caller := callerOf(r.Context()); {
	case isLocal(r):
		return true
	case caller == p.cloudID():
		return cloudPaths[r.URL.Path]
	case caller == p.araID():
		return r.Context().Value(admittedKey{}) != nil // and is cut when that ends
	default:
		return false
	}
}

// isLocal tells whether a request comes from the local network.
func isLocal(r *http.Request) bool { return r.Context().Value(callerKey{}) == nil }

// isAPI tells whether the other side of a request is a program.
func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

// Problem is an answer of the API that refuses (RFC 9457 §3).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Code says in a stable word what is wrong.
	Code string `json:"code"`
	// TriesLeft is there after a wrong token: tries until the offer is void.
	TriesLeft *int `json:"tries_left,omitempty"`
	// Errors names every field that cannot be used.
	Errors []FieldError `json:"errors,omitempty"`
	// Changed has the settings that are no longer as the caller believes.
	Changed []settings.Change `json:"changed,omitempty"`

	retry time.Duration // for Retry-After
}

// FieldError is one field of a body that cannot be used.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is the code and the title.
func (p *Problem) Error() string { return p.Code + ": " + p.Title }

func problem(status int, code, title string) *Problem {
	return &Problem{Type: "urn:comtrexx:pbx:" + code, Title: title, Status: status, Code: code}
}

// refuse answers with a problem, or for people with a page.
func (p *PBX) refuse(w http.ResponseWriter, r *http.Request, err error) {
	pr, ok := errors.AsType[*Problem](err)
	if !ok {
		p.log.Error("request", "method", r.Method, "path", r.URL.Path, "error", err)
		pr = problem(http.StatusInternalServerError, "internal", "The system cannot do this now.")
	}
	if pr.retry > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int((pr.retry+time.Second-1)/time.Second)))
	}
	if !isAPI(r) {
		p.errorPage(w, r, pr.Status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(pr.Status)
	_ = json.NewEncoder(w).Encode(pr) // the client may be gone
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// readJSON reads one JSON object with known fields.
func readJSON(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more follows the object")
		}
	}
	if err == nil {
		return nil
	}
	pr := problem(http.StatusBadRequest, "bad_request", "The body is not the JSON object that is expected.")
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		pr.Errors = []FieldError{{"body." + wrong.Field, "is of another type"}}
	}
	return pr
}
