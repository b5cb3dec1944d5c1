package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/est"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// estRoutes are what every listener gives of EST beside its own ways to a
// certificate.
func (s *Server) estRoutes(more map[string]handler) map[string]handler {
	routes := map[string]handler{
		"GET " + enrol.ESTCACertsPath:  s.estCACerts,
		"GET " + enrol.ESTCSRAttrsPath: func(w http.ResponseWriter, _ *http.Request) error { return est.WriteCSRAttrs(w) },
	}
	maps.Copy(routes, more)
	return routes
}

// estCACerts gives the trusted roots with their cross certificates, and the
// intermediates of devices, of which older generations may be in use.
func (s *Server) estCACerts(w http.ResponseWriter, _ *http.Request) error {
	var certs []*x509.Certificate
	for _, r := range s.auth.Bundle().Roots {
		if r.State != enrol.RootRetired {
			certs = append(append(certs, r.Certificate), r.Cross...)
		}
	}
	for _, i := range s.auth.Issuers() {
		if i.Role == identity.KindDevice.String() {
			certs = append(certs, i.Certificate)
		}
	}
	return est.WriteCerts(w, est.MediaTypeCerts, certs...)
}

// issuing is how a listener decides about a certificate request.
type issuing func(ctx context.Context, r *http.Request, csr *x509.CertificateRequest) (enrol.Issued, error)

// estIssue makes a simpleenroll or simplereenroll from issue.
func (s *Server) estIssue(issue issuing) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		csr, err := est.ReadRequest(r)
		if err != nil {
			return err
		}
		issued, err := issue(r.Context(), r, csr)
		if err != nil {
			return err
		}
		if est.Accepts(r, "application/json") {
			return answer(w, http.StatusOK, issued)
		}
		chain, err := enrol.ParseCertificates([]byte(issued.Chain))
		if err != nil {
			return err
		}
		// Only the issued one; cacerts has the rest (RFC 7030 §4.2.3).
		return est.WriteCerts(w, est.MediaTypeIssued, chain[0])
	}
}

// estBySecret enrols with HTTP Basic: the serial, and the secret that the box left
// the factory with.
func (s *Server) estBySecret(ctx context.Context, r *http.Request, csr *x509.CertificateRequest) (enrol.Issued, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return enrol.Issued{}, fmt.Errorf("%w: give both by HTTP Basic", enrol.ErrSecret)
	}
	serial, err := identity.ParseSerial(user)
	if err != nil {
		return enrol.Issued{}, fmt.Errorf("%w: %w", enrol.ErrSecret, err)
	}
	return s.auth.EnrolSecret(ctx, serial, password, csr)
}

// estByCertificate renews for the holder of a certificate that is valid.
func (s *Server) estByCertificate(ctx context.Context, r *http.Request, csr *x509.CertificateRequest) (enrol.Issued, error) {
	_, leaf, err := peer(r)
	if err != nil {
		return enrol.Issued{}, err
	}
	return s.auth.Renew(ctx, leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr.Raw}))
}

// estByFactory enrols the holder of a factory certificate, which the handshake has
// verified.
func (s *Server) estByFactory(ctx context.Context, r *http.Request, csr *x509.CertificateRequest) (enrol.Issued, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return enrol.Issued{}, fmt.Errorf("%w: no factory certificate", enrol.ErrForbidden)
	}
	chain := r.TLS.VerifiedChains[0]
	return s.factory.Enrol(ctx, chain, csr)
}

// estByExpired renews for the holder of a certificate that has expired, which the
// handshake has checked.
func (s *Server) estByExpired(ctx context.Context, r *http.Request, csr *x509.CertificateRequest) (enrol.Issued, error) {
	if r.TLS == nil {
		return enrol.Issued{}, fmt.Errorf("%w: no client certificate", enrol.ErrForbidden)
	}
	// Again: the connection may be old.
	if err := s.auth.VerifyExpired(r.TLS.PeerCertificates); err != nil {
		return enrol.Issued{}, err
	}
	return s.auth.Recover(ctx, r.TLS.PeerCertificates[0], csr)
}
