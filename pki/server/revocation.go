package server

import (
	"net/http"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/pki/crl"
)

// withRevocation puts the revocation lists and the OCSP responder before other
// routes. It does without a mux: the base64 of a GET request may have empty elements
// of a path, which a mux would redirect.
func (s *Server) withRevocation(next http.Handler) http.Handler {
	if s.cfg.Revocation == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, crl.ListPath):
			s.list(w, r)
		case r.URL.Path == crl.OCSPPath, strings.HasPrefix(r.URL.Path, crl.OCSPPath+"/"):
			s.ocsp(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	s.cfg.Revocation.ServeList(w, r)
	s.metrics.request("GET "+crl.ListPath, "ok")
}

func (s *Server) ocsp(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !allow(s.ocspLimit, r) {
		s.metrics.ocsp.WithLabelValues(crl.TryLater(w)).Inc()
		return
	}
	s.metrics.ocsp.WithLabelValues(s.cfg.Revocation.ServeOCSP(w, r)).Inc()
}
