package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// bundle serves the trust bundle to anybody. Who shows a certificate and names a
// version is noted with it.
func (s *Server) bundle(w http.ResponseWriter, r *http.Request) error {
	b := s.auth.Bundle()
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return serveBundle(w, r, b, "application/json", data)
}

// roots serves the trusted roots as PEM text.
func (s *Server) roots(w http.ResponseWriter, r *http.Request) error {
	b := s.auth.Bundle()
	return serveBundle(w, r, b, "application/x-pem-file", enrol.EncodeCertificates(b.Trusted()...))
}

func serveBundle(w http.ResponseWriter, r *http.Request, b enrol.Bundle, kind string, data []byte) error {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-cache") // ask, with If-None-Match
	h.Set("ETag", b.ETag())
	h.Set(enrol.BundleHeader, strconv.FormatUint(b.Version, 10))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	return nil
}

// noteBundle notes the version of the trust bundle that a verified endpoint says it
// has. It is not a reason to refuse what it came for.
func (s *Server) noteBundle(r *http.Request) {
	text := r.Header.Get(enrol.BundleHeader)
	if text == "" || r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return
	}
	version, err := strconv.ParseUint(text, 10, 64)
	if err == nil {
		err = s.auth.ReportBundle(r.Context(), r.TLS.VerifiedChains[0][0], version)
	}
	if err != nil {
		s.cfg.Logger.Debug("report of a trust bundle refused", "version", text, "error", err)
	}
}

// Paths of the admin API for keys and trust bundle.
const (
	adminBundle       = "/v1/bundle"
	adminRootAdd      = "/v1/bundle/add"
	adminRootActivate = "/v1/bundle/activate"
	adminRootRetire   = "/v1/bundle/retire"
	adminRollout      = "/v1/bundle/status"
	adminReload       = "/v1/reload"
)

// Trust is the trust bundle with the intermediates below its roots.
type Trust struct {
	Bundle  enrol.Bundle `json:"bundle"`
	Issuers []Issuer     `json:"issuers"`
}

// Issuer is one intermediate.
type Issuer struct {
	Role        string    `json:"role"`
	Generation  int       `json:"generation"`
	Active      bool      `json:"active"` // new certificates come from it
	Fingerprint string    `json:"fingerprint_sha256"`
	Root        string    `json:"root_sha256"` // fingerprint of its root
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
}

// rootRequest is the body of the calls that change the bundle.
type rootRequest struct {
	Actor string `json:"actor"`
	// Root is a certificate (add) or a fingerprint; Cross are certificates.
	Root  string `json:"root"`
	Cross string `json:"cross,omitempty"`
	Force bool   `json:"force,omitempty"`
}

func (s *Server) trust() Trust {
	t := Trust{Bundle: s.auth.Bundle(), Issuers: []Issuer{}}
	for _, i := range s.auth.Issuers() {
		t.Issuers = append(t.Issuers, Issuer{
			Role: i.Role, Generation: i.Generation, Active: i.Active,
			Fingerprint: enrol.Fingerprint(i.Certificate), Root: enrol.Fingerprint(i.Root),
			NotBefore: i.Certificate.NotBefore, NotAfter: i.Certificate.NotAfter,
		})
	}
	return t
}

func (s *Server) adminBundle(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, s.trust())
}

func (s *Server) adminRootAdd(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[rootRequest](r)
	if err != nil {
		return err
	}
	roots, err := enrol.ParseCertificates([]byte(req.Root))
	if err != nil || len(roots) != 1 {
		return fmt.Errorf("%w: want one root as PEM text: %d, %w", enrol.ErrBadRequest, len(roots), err)
	}
	cross, err := enrol.ParseCertificates([]byte(req.Cross))
	if err != nil && req.Cross != "" {
		return fmt.Errorf("%w: cross certificates: %w", enrol.ErrBadRequest, err)
	}
	if _, err := s.auth.AddRoot(r.Context(), roots[0], cross, req.Actor); err != nil {
		return err
	}
	return answer(w, http.StatusOK, s.trust())
}

func (s *Server) adminRoot(change func(ctx context.Context, fingerprint string, force bool, actor string) (enrol.Bundle, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		req, err := decode[rootRequest](r)
		if err != nil {
			return err
		}
		if _, err := change(r.Context(), req.Root, req.Force, req.Actor); err != nil {
			return err
		}
		return answer(w, http.StatusOK, s.trust())
	}
}

func (s *Server) adminRollout(w http.ResponseWriter, r *http.Request) error {
	most, err := strconv.Atoi(r.URL.Query().Get("stragglers"))
	if err != nil || most < 0 {
		return fmt.Errorf("%w: stragglers: want a number", enrol.ErrBadRequest)
	}
	status, err := s.auth.Rollout(r.Context(), r.URL.Query().Get("root"), most)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, status)
}

func (s *Server) adminReload(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.auth.Reload(r.Context()); err != nil {
		return fmt.Errorf("%w: %w", enrol.ErrForbidden, err)
	}
	return answer(w, http.StatusOK, s.trust())
}

// Trust gives trust bundle and intermediates.
func (a Admin) Trust(ctx context.Context) (t Trust, err error) {
	err = a.get(ctx, adminBundle, &t)
	return t, err
}

// Reload makes the server look for installed keys now.
func (a Admin) Reload(ctx context.Context) (t Trust, err error) {
	err = a.changeRoot(ctx, adminReload, rootRequest{}, &t)
	return t, err
}

// AddRoot puts a root into the trust bundle, both as PEM text.
func (a Admin) AddRoot(ctx context.Context, root, cross []byte) (t Trust, err error) {
	err = a.changeRoot(ctx, adminRootAdd, rootRequest{Root: string(root), Cross: string(cross)}, &t)
	return t, err
}

// ActivateRoot issues below the root from now on; see [authority.Authority.ActivateRoot].
func (a Admin) ActivateRoot(ctx context.Context, fingerprint string, force bool) (t Trust, err error) {
	err = a.changeRoot(ctx, adminRootActivate, rootRequest{Root: fingerprint, Force: force}, &t)
	return t, err
}

// RetireRoot ends the trust in the root; see [authority.Authority.RetireRoot].
func (a Admin) RetireRoot(ctx context.Context, fingerprint string, force bool) (t Trust, err error) {
	err = a.changeRoot(ctx, adminRootRetire, rootRequest{Root: fingerprint, Force: force}, &t)
	return t, err
}

// Rollout tells how far the root, or with an empty fingerprint the newest trust
// bundle, has come.
func (a Admin) Rollout(ctx context.Context, fingerprint string, stragglers int) (r authority.Rollout, err error) {
	query := url.Values{"root": {fingerprint}, "stragglers": {strconv.Itoa(stragglers)}}
	err = a.get(ctx, adminRollout+"?"+query.Encode(), &r)
	return r, err
}

func (a Admin) changeRoot(ctx context.Context, path string, req rootRequest, out *Trust) error {
	req.Actor = a.Actor
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	return a.read(ctx, http.MethodPost, path, body, out)
}
