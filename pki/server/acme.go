package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// openACME makes the ACME server, if there is to be one.
func (s *Server) openACME() error {
	if s.cfg.ACMEListen == "" {
		return nil
	}
	issuer, err := s.useIssuer()
	if err == nil && s.cfg.Metrics != nil {
		err = s.cfg.Metrics.Register(lifeOf(profile.ServerAuthority, func() time.Time { return s.acme.Load().Issuer().NotAfter }))
	}
	if err != nil {
		return err
	}
	if left := time.Until(issuer.NotAfter); left < s.acme.Load().Lifetime() {
		s.cfg.Logger.Warn("the intermediate for the names of servers expires before the certificates it signs would; make a new one",
			"expires", issuer.NotAfter)
	}
	return nil
}

// useIssuer makes an ACME server that signs with the active intermediate.
func (s *Server) useIssuer() (*x509.Certificate, error) {
	issuer, err := s.auth.ServerIssuer()
	if err != nil {
		return nil, err
	}
	cfg := s.cfg.ACME
	cfg.Roots, cfg.Issuer, cfg.Key, cfg.DB = s.auth.Roots(), issuer.Certificate, issuer.Key, acmesrv.NewStorage(s.auth.Store())
	for _, r := range s.auth.Bundle().Roots {
		if r.Certificate.Equal(issuer.Root) {
			cfg.Cross = r.Cross
		}
	}
	cfg.Issued, cfg.Refused, cfg.Logger = s.acmeIssued, s.acmeRefused, s.cfg.Logger.Named("acme")
	cfg.Blocked = func(serial identity.Serial) bool {
		return s.auth.Feed().List().Blocked(identity.Device(s.auth.TrustDomain(), serial))
	}
	next, err := acmesrv.New(cfg)
	if err != nil {
		return nil, err
	}
	s.acme.Store(next)
	return issuer.Certificate, nil
}

// followIssuer signs with another intermediate as soon as one is installed.
func (s *Server) followIssuer(ctx context.Context) error {
	for {
		changed := s.auth.Changed()
		if issuer, err := s.auth.ServerIssuer(); err != nil || !issuer.Certificate.Equal(s.acme.Load().Issuer()) {
			if err == nil {
				_, err = s.useIssuer()
			}
			if err != nil {
				s.cfg.Logger.Error("the names of servers are signed with the former intermediate", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// acmeHandler serves by the ACME server of the moment.
func (s *Server) acmeHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.acme.Load().ServeHTTP(w, r) })
}

// acmeTLS asks for no client certificate: an ACME client proves itself by its
// account's key.
func acmeTLS(creds *enrol.Credentials) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // stock ACME clients
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert := creds.Certificate()
			return &cert, nil
		},
	}
}

// serverPath is what the audit log calls the servers of a role.
func serverPath(role string) string { return "server/" + role }

// acmeIssued writes the certificate into the audit log. Without that, there is none.
func (s *Server) acmeIssued(ctx context.Context, i acmesrv.Issue) error {
	names := slices.Clone(i.Certificate.DNSNames)
	for _, ip := range i.Certificate.IPAddresses {
		names = append(names, ip.String())
	}
	sum := sha256.Sum256(i.Certificate.RawSubjectPublicKeyInfo)
	err := s.auth.Note(ctx, audit.Entry{
		Event: audit.EventIssue, Method: authority.MethodACME, Actor: "account/" + i.Account, Identity: serverPath(i.Role),
		Certificate: i.Certificate.SerialNumber.Text(16), SPKI: hex.EncodeToString(sum[:]), Fingerprint: enrol.Fingerprint(i.Certificate), Reason: "for " + strings.Join(names, " "),
	})
	if err == nil {
		s.metrics.request("acme", "issued")
	}
	return err
}

// acmeRefused counts refusals, and writes those of known accounts into the audit log.
func (s *Server) acmeRefused(ctx context.Context, r acmesrv.Refusal) {
	result := r.Type
	if result == "" {
		result = "refused"
	}
	s.metrics.request("acme", result)
	if r.Type != "rejectedIdentifier" && r.Type != "badCSR" {
		return
	}
	err := s.auth.Note(ctx, audit.Entry{
		Event: audit.EventRefuse, Method: authority.MethodACME, Identity: serverPath(r.Role), Reason: r.Path + ": " + r.Type + ": " + r.Detail,
	})
	if err != nil {
		s.cfg.Logger.Error("a refusal is not in the audit log", "role", r.Role, "error", err)
	}
}

// acmeSweepEvery is short, as every request leaves a nonce.
const acmeSweepEvery = time.Hour

func (s *Server) sweepACME(ctx context.Context) error {
	for {
		if _, err := s.acme.Load().Sweep(time.Now()); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("old ACME records were not removed; tried again later", "error", err)
		}
		if !pause(ctx, acmeSweepEvery) {
			return nil
		}
	}
}

const adminEAB = "/v1/acme/eab"

// eabRequest asks for an external account binding.
type eabRequest struct {
	Role   string          `json:"role"`
	Device identity.Serial `json:"device,omitempty"`
	Actor  string          `json:"actor"`
}

// EAB is an external account binding with the address of the directory for which
// it is.
type EAB struct {
	acmesrv.EAB
	Directory string `json:"directory"`
}

// adminEAB makes an external account binding. That it was asked for is in the audit
// log before there is one.
func (s *Server) adminEAB(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[eabRequest](r)
	if err != nil {
		return err
	}
	if s.acme.Load() == nil {
		return fmt.Errorf("%w: there is no ACME server; set server.acme_listen", enrol.ErrBadRequest)
	}
	if !slices.ContainsFunc(s.cfg.ACME.Roles, func(known acmesrv.Role) bool { return known.Name == req.Role }) {
		return fmt.Errorf("%w: no role %q in server.acme.roles", enrol.ErrBadRequest, req.Role)
	}
	entry := audit.Entry{Event: audit.EventToken, Method: authority.MethodACME, Actor: req.Actor, Identity: serverPath(req.Role)}
	if req.Device != "" {
		entry.Reason = "for the PBX " + string(req.Device)
	}
	if err := s.auth.Note(r.Context(), entry); err != nil {
		return err
	}
	eab, err := s.acme.Load().EAB(r.Context(), req.Role, req.Device)
	if errors.Is(err, acmesrv.ErrSerial) {
		err = fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, EAB{EAB: eab, Directory: "https://" + s.acmeHost() + eab.Path})
}

// deviceACME gives a device the key with which it opens its ACME account.
func (s *Server) deviceACME(w http.ResponseWriter, r *http.Request) error {
	id, _, err := peer(r)
	if err != nil {
		return err
	}
	if id.Kind != identity.KindDevice {
		return fmt.Errorf("%w: this is for devices", enrol.ErrForbidden)
	}
	if s.auth.Feed().List().Blocked(id) {
		return fmt.Errorf("%w: %s", enrol.ErrBlocked, id)
	}
	i := slices.IndexFunc(s.cfg.ACME.Roles, func(r acmesrv.Role) bool { return r.Devices })
	if s.acme.Load() == nil || i < 0 {
		return fmt.Errorf("%w: there are no names of PBXs here; set server.acme_listen, and devices of a role in server.acme.roles", enrol.ErrBadRequest)
	}
	role := s.cfg.ACME.Roles[i].Name
	entry := audit.Entry{
		Event: audit.EventToken, Method: authority.MethodACME, Actor: id.Path(), Identity: serverPath(role), Reason: "for the PBX " + string(id.Serial()),
	}
	if err := s.auth.Note(r.Context(), entry); err != nil {
		return err
	}
	eab, err := s.acme.Load().EAB(r.Context(), role, id.Serial())
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, enrol.ACMEKey{KeyID: eab.KeyID, HMACKey: eab.HMACKey, Directory: "https://" + s.acmeHost() + eab.Path})
}

// acmeHost is where servers on this machine reach the ACME server.
func (s *Server) acmeHost() string {
	addr := s.ACMEAddr().String()
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}
