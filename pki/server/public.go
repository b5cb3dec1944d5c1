package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/est"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// handler is an HTTP handler that gives its refusal as an error.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Server) publicHandler() http.Handler {
	routes := map[string]handler{
		"POST " + enrol.EnrolPath:      s.limited(s.enrol),
		"POST " + enrol.RenewPath:      s.renew,
		"POST " + enrol.ConfirmPath:    s.confirm,
		"POST " + enrol.ACMEPath:       s.limited(s.deviceACME),
		"GET " + enrol.RootsPath:       s.roots,
		"GET " + enrol.BundlePath:      s.bundle,
		"GET " + blocks.Path:           s.feed,
		"GET /healthz":                 healthz,
		"POST " + enrol.ESTEnrolPath:   s.limited(s.estIssue(s.estBySecret)),
		"POST " + enrol.ESTReenrolPath: s.estIssue(s.estByCertificate),
	}
	maps.Copy(routes, logView{Server: s}.routes())
	return s.withRevocation(s.mux("", s.estRoutes(routes)))
}

// mux serves the routes; their names in the metrics begin with name.
func (s *Server) mux(name string, routes map[string]handler) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range routes {
		mux.Handle(pattern, s.wrap(name+pattern, h))
	}
	return mux
}

// limited bounds the tries per address.
func (s *Server) limited(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !allow(s.limit, r) {
			return fmt.Errorf("%w from this address", enrol.ErrRateLimit)
		}
		return h(w, r)
	}
}

// wrap turns errors into problem documents and counts.
func (s *Server) wrap(route string, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		r.Body = http.MaxBytesReader(w, r.Body, enrol.MaxBody)
		s.noteBundle(r)
		err := h(w, r)
		if err == nil {
			s.metrics.request(route, "ok")
			return
		}
		p := enrol.NewProblem(err)
		if p.Status >= http.StatusInternalServerError {
			s.cfg.Logger.Error("request failed", "route", route, "error", err)
		}
		s.metrics.request(route, http.StatusText(p.Status))
		switch p.Status {
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "60")
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", `Basic realm="serial and factory secret", charset="UTF-8"`)
		}
		if strings.HasPrefix(r.URL.Path, enrol.ESTPrefix) {
			est.WriteProblem(w, r, p)
			return
		}
		w.Header().Set("Content-Type", enrol.ProblemMediaType)
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(p) // the client is gone, and there is nobody to tell
	})
}

func answer(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(data) // as above
	return nil
}

func decode[T any](r *http.Request) (v T, err error) {
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		return v, fmt.Errorf("%w: body: %w", enrol.ErrBadRequest, err)
	}
	return v, nil
}

func healthz(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte("ok\n"))
	return nil
}

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[enrol.Request](r)
	if err != nil {
		return err
	}
	issued, err := s.auth.Enrol(r.Context(), req.Token, []byte(req.CSR))
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, issued)
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) error {
	_, leaf, err := peer(r)
	if err != nil {
		return err
	}
	req, err := decode[enrol.Request](r)
	if err != nil {
		return err
	}
	issued, err := s.auth.Renew(r.Context(), leaf, []byte(req.CSR))
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, issued)
}

func (s *Server) confirm(w http.ResponseWriter, r *http.Request) error {
	_, leaf, err := peer(r)
	if err != nil {
		return err
	}
	if err := s.auth.Confirm(r.Context(), leaf); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// feed serves the block list to relays and services, until their own certificate
// expires or they are blocked themselves.
func (s *Server) feed(w http.ResponseWriter, r *http.Request) error {
	id, leaf, err := peer(r)
	if err != nil {
		return err
	}
	if !slices.Contains([]identity.Kind{identity.KindRelay, identity.KindService}, id.Kind) {
		return fmt.Errorf("%w: the feed is for relays and services", enrol.ErrForbidden)
	}
	if s.auth.Feed().List().Blocked(id) {
		return fmt.Errorf("%w: %s", enrol.ErrBlocked, id)
	}
	// The request's deadlines are not for a stream.
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(r.Context(), leaf.NotAfter)
	defer cancel()
	go func() {
		defer cancel()
		s.untilBlocked(ctx, id)
	}()
	defer s.metrics.subscriber()()
	s.auth.Feed().ServeHTTP(w, r.WithContext(ctx))
	return nil
}

func (s *Server) untilBlocked(ctx context.Context, id identity.ID) {
	for {
		list, changed := s.auth.Feed().Watch()
		if list.Blocked(id) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// peer gives the verified endpoint of the connection.
func peer(r *http.Request) (identity.ID, *x509.Certificate, error) {
	if r.TLS == nil {
		return identity.ID{}, nil, fmt.Errorf("%w: no client certificate", enrol.ErrForbidden)
	}
	id, err := identity.FromConnectionState(*r.TLS)
	if err != nil {
		return identity.ID{}, nil, fmt.Errorf("%w: client certificate: %w", enrol.ErrForbidden, err)
	}
	return id, r.TLS.VerifiedChains[0][0], nil
}
