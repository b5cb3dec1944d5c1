package server

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Paths of the admin API on the unix socket. Who can open the socket may do
// everything; the actor is who they say they are, for the audit log.
const (
	adminTokens       = "/v1/tokens"
	adminIssue        = "/v1/issue"
	adminCertificates = "/v1/certificates"
	adminBlocks       = "/v1/blocks"
	adminBlock        = "/v1/block"
	adminUnblock      = "/v1/unblock"
	adminAudit        = "/v1/audit"
	adminVerify       = "/v1/audit/verify"
	adminExpiry       = "/v1/expiry"
	adminStanding     = "/v1/standing"
)

// adminRequest is the body of every admin call; each uses what it needs.
type adminRequest struct {
	Identity string   `json:"identity"` // path
	Actor    string   `json:"actor"`
	Reason   string   `json:"reason,omitempty"`
	TTL      string   `json:"ttl,omitempty"`
	CSR      string   `json:"csr,omitempty"`
	DNS      []string `json:"dns,omitempty"`
	IPs      []net.IP `json:"ips,omitempty"`
}

type epochAnswer struct {
	Epoch uint64 `json:"epoch"`
}

func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range (logView{s, true}).routes() {
		mux.Handle(pattern, s.wrap("admin "+pattern, h))
	}
	for pattern, h := range map[string]handler{
		"POST " + adminTokens:       s.adminToken,
		"POST " + adminIssue:        s.adminIssue,
		"GET " + adminCertificates:  s.adminCertificates,
		"GET " + adminBlocks:        s.adminBlocks,
		"POST " + adminBlock:        s.adminBlock(true),
		"POST " + adminUnblock:      s.adminBlock(false),
		"GET " + adminAudit:         s.adminAudit,
		"GET " + adminVerify:        s.adminVerify,
		"GET " + adminExpiry:        s.adminExpiry,
		"GET " + adminStanding:      s.adminStanding,
		"GET " + adminBundle:        s.adminBundle,
		"POST " + adminRootAdd:      s.adminRootAdd,
		"POST " + adminRootActivate: s.adminRoot(s.auth.ActivateRoot),
		"POST " + adminRootRetire:   s.adminRoot(s.auth.RetireRoot),
		"GET " + adminExport:        s.adminExport,
		"GET " + adminLists:         s.adminLists,
		"GET " + adminList:          s.adminList,
		"POST " + adminEAB:          s.adminEAB,
		"GET " + adminRollout:       s.adminRollout,
		"POST " + adminReload:       s.adminReload,
	} {
		mux.Handle(pattern, s.wrap("admin "+pattern, h))
	}
	for pattern, h := range s.deviceRoutes() {
		mux.Handle(pattern, s.wrap("admin "+pattern, h))
	}
	mux.HandleFunc("POST "+adminImport, s.adminImport)
	return mux
}

func (s *Server) adminBody(r *http.Request) (req adminRequest, id identity.ID, err error) {
	if req, err = decode[adminRequest](r); err != nil {
		return req, id, err
	}
	id, err = s.id(req.Identity)
	return req, id, err
}

func (s *Server) id(path string) (identity.ID, error) {
	id, err := identity.ParsePath(s.auth.TrustDomain(), path)
	if err != nil {
		return id, fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
	}
	return id, nil
}

func (s *Server) adminToken(w http.ResponseWriter, r *http.Request) error {
	req, id, err := s.adminBody(r)
	if err != nil {
		return err
	}
	var ttl time.Duration
	if req.TTL != "" {
		if ttl, err = time.ParseDuration(req.TTL); err != nil {
			return fmt.Errorf("%w: ttl: %w", enrol.ErrBadRequest, err)
		}
	}
	token, err := s.auth.Token(r.Context(), id, ttl, req.Actor)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, token)
}

func (s *Server) adminIssue(w http.ResponseWriter, r *http.Request) error {
	req, id, err := s.adminBody(r)
	if err != nil {
		return err
	}
	issued, err := s.auth.Issue(r.Context(), id, []byte(req.CSR), profile.Extra{DNS: req.DNS, IPs: req.IPs}, req.Actor)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, issued)
}

func (s *Server) adminCertificates(w http.ResponseWriter, r *http.Request) error {
	var id identity.ID
	if path := r.URL.Query().Get("identity"); path != "" {
		var err error
		if id, err = s.id(path); err != nil {
			return err
		}
	}
	list, err := s.auth.Certificates(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) adminBlocks(w http.ResponseWriter, r *http.Request) error {
	list, err := s.auth.Blocks(r.Context())
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) adminBlock(block bool) handler {
	change := s.auth.Unblock
	if block {
		change = s.auth.Block
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		req, id, err := s.adminBody(r)
		if err != nil {
			return err
		}
		epoch, err := change(r.Context(), id, req.Reason, req.Actor)
		if err != nil {
			return err
		}
		return answer(w, http.StatusOK, epochAnswer{epoch})
	}
}

// adminAudit streams the entries, one JSON object per line. An error on the way
// ends the stream with a line that has no sequence number.
func (s *Server) adminAudit(w http.ResponseWriter, r *http.Request) error {
	var after uint64
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("%w: after: %w", enrol.ErrBadRequest, err)
		}
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	encode := json.NewEncoder(w)
	for e, err := range s.auth.Audit(r.Context(), after) {
		if err != nil {
			s.cfg.Logger.Error("audit log cannot be read", "error", err)
			e = audit.Entry{Reason: err.Error()}
		}
		if encode.Encode(e) != nil {
			break // the reader is gone
		}
	}
	return nil
}

func (s *Server) adminVerify(w http.ResponseWriter, r *http.Request) error {
	if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	v, err := s.auth.Log().Verify(r.Context())
	if err != nil {
		return fmt.Errorf("%w: %w", enrol.ErrForbidden, err)
	}
	return answer(w, http.StatusOK, v)
}

// adminExpiry counts what expires from now on, in "periods" periods of "length".
func (s *Server) adminExpiry(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	length, err := time.ParseDuration(q.Get("length"))
	if err != nil {
		return fmt.Errorf("%w: length: %w", enrol.ErrBadRequest, err)
	}
	periods, err := strconv.Atoi(q.Get("periods"))
	if err != nil {
		return fmt.Errorf("%w: periods: %w", enrol.ErrBadRequest, err)
	}
	f, err := s.auth.Forecast(r.Context(), time.Now(), length, periods)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, f)
}

func (s *Server) adminStanding(w http.ResponseWriter, r *http.Request) error {
	standing, err := s.auth.Standing(r.Context(), r.URL.Query().Get("certificate"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, standing)
}
