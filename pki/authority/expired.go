package authority

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// VerifyExpired checks the certificate of a device, which may have expired, though
// not longer ago than authority.recover_for: what the peer sent, leaf first, must
// chain to our roots, retired ones included, at the last moment of the leaf's life. The caller must know that
// the peer has the leaf's key. Errors wrap [enrol.ErrForbidden] or
// [enrol.ErrExpired].
//
// It says that the certificate was a good one; [Authority.Recover] decides.
func (a *Authority) VerifyExpired(certs []*x509.Certificate) error {
	if len(certs) == 0 {
		return fmt.Errorf("%w: no certificate", enrol.ErrForbidden)
	}
	leaf, now := certs[0], time.Now()
	if now.Before(leaf.NotBefore) {
		return fmt.Errorf("%w: the certificate is not valid before %s", enrol.ErrForbidden, leaf.NotBefore.Format(time.RFC3339))
	}
	at := now
	if leaf.NotAfter.Before(at) {
		at = leaf.NotAfter
	}
	if since := now.Sub(at); since > a.cfg.RecoverFor {
		return fmt.Errorf("%w: %s ago, and can be recovered for %s (authority.recover_for)", enrol.ErrExpired, since.Round(time.Minute), a.cfg.RecoverFor)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range a.Bundle().Roots { // the retired ones, too: the device has slept since
		roots.AddCert(r.Certificate)
	}
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", enrol.ErrForbidden, err)
	}
	id, err := identity.FromChain(chains[0])
	if err == nil {
		err = identity.OfKind(a.cfg.TrustDomain, identity.KindDevice)(id)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", enrol.ErrForbidden, err)
	}
	return nil
}
