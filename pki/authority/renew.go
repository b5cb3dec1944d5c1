package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// cloneError is the use of a generation whose successor is in use already: by an
// endpoint that was copied, or by one restored from an old backup.
type cloneError struct{ error }

func (e cloneError) Unwrap() error { return e.error }

// Renew issues the next generation for the holder of a certificate. peer is the
// verified leaf of the connection (VerifiedChains[0][0]); it must be, byte for
// byte, one that this authority issued. The request must have a new key. Extra
// names are carried over. It is a fresh signature: today's lifetime and profile
// apply.
func (a *Authority) Renew(ctx context.Context, peer *x509.Certificate, csrPEM []byte) (enrol.Issued, error) {
	csr, err := enrol.ParseRequest(csrPEM)
	if err != nil {
		return enrol.Issued{}, err
	}
	return a.succeed(ctx, peer, csr, MethodRenew, 0)
}

// Recover is [Authority.Renew] for a device whose certificate has expired, not longer
// ago than authority.recover_for: it was switched off. The caller must have verified
// that the peer has the certificate's key.
func (a *Authority) Recover(ctx context.Context, peer *x509.Certificate, csr *x509.CertificateRequest) (enrol.Issued, error) {
	return a.succeed(ctx, peer, csr, MethodRecover, a.cfg.RecoverFor)
}

// succeed issues the generation after peer's, whose certificate may have expired for
// as long as grace.
func (a *Authority) succeed(ctx context.Context, peer *x509.Certificate, csr *x509.CertificateRequest, method string, grace time.Duration) (enrol.Issued, error) {
	id, err := a.identify(peer)
	if err != nil {
		return enrol.Issued{}, err
	}
	app := application{id: id, csr: csr, method: method, actor: id.Path()}
	return a.decide(ctx, &app, func(tx store.Tx) error {
		old, err := present(tx, id, peer)
		if err != nil {
			return err
		}
		if since := time.Since(peer.NotAfter); since > grace {
			return fmt.Errorf("%w: it did so at %s, %s ago", enrol.ErrExpired, peer.NotAfter.Format(time.RFC3339), since.Round(time.Minute))
		}
		app.lineage, app.generation = old.Lineage, old.Generation
		app.extra = extraOf(peer, id)
		key := lineageKey(old.Identity, old.Lineage)
		l, err := advance(tx, key, old)
		if err != nil {
			return err
		}
		if err := newKey(tx, id, csr); err != nil {
			return err
		}
		l.Last++
		app.generation = l.Last
		return put(tx, bucketLineages, key, l)
	})
}

// Confirm notes that the certificate is in use, which ends the generations
// before it.
func (a *Authority) Confirm(ctx context.Context, peer *x509.Certificate) error {
	id, err := a.identify(peer)
	if err != nil {
		return err
	}
	app := application{id: id, csr: &x509.CertificateRequest{RawSubjectPublicKeyInfo: peer.RawSubjectPublicKeyInfo}, method: "confirm", actor: id.Path()}
	err = a.db.Update(ctx, func(tx store.Tx) error {
		if err := blocked(tx, id); err != nil {
			return err
		}
		c, err := present(tx, id, peer)
		if err != nil {
			return err
		}
		app.generation = c.Generation
		key := lineageKey(c.Identity, c.Lineage)
		before, _, err := get[lineage](tx, bucketLineages, key)
		if err != nil {
			return err
		}
		l, err := advance(tx, key, c)
		if err != nil || l == before {
			return err
		}
		if err := put(tx, bucketLineages, key, l); err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{
			Event: audit.EventConfirm, Identity: c.Identity, Certificate: c.Serial, Generation: c.Generation, SPKI: c.SPKI,
		})
	})
	if err != nil {
		return a.refuse(ctx, &app, err)
	}
	return nil
}

// identify reads the identity of a verified leaf of our trust domain.
func (a *Authority) identify(peer *x509.Certificate) (identity.ID, error) {
	id, err := identity.FromCert(peer)
	if err != nil {
		return identity.ID{}, fmt.Errorf("%w: %w", enrol.ErrForbidden, err)
	}
	return id, a.ours(id)
}

// present finds the certificate in the store. A certificate that is not there
// was not issued here, whatever signed it.
func present(tx store.Tx, id identity.ID, peer *x509.Certificate) (Certificate, error) {
	c, ok, err := get[Certificate](tx, bucketCerts, []byte(serialOf(peer)))
	if err != nil {
		return c, err
	}
	if !ok || !bytes.Equal(c.DER, peer.Raw) || c.Identity != id.Path() {
		return c, fmt.Errorf("%w: the certificate is not one that this PKI issued", enrol.ErrForbidden)
	}
	return c, nil
}

// advance checks that the certificate may renew, and confirms it if it is the
// pending one. It does not store the result.
func advance(tx store.Tx, key []byte, c Certificate) (lineage, error) {
	l, ok, err := get[lineage](tx, bucketLineages, key)
	if err != nil {
		return l, err
	}
	if !ok {
		return l, fmt.Errorf("store: certificate %s has no lineage", c.Serial)
	}
	if !l.mayRenew(c.Generation) {
		err := fmt.Errorf("%w: generation %d after %d", enrol.ErrSuperseded, c.Generation, l.Confirmed)
		if l.Retired {
			err = fmt.Errorf("%w: by a new enrolment", enrol.ErrSuperseded)
		}
		return l, cloneError{err}
	}
	l.Confirmed = max(l.Confirmed, c.Generation)
	return l, nil
}

// newKey refuses a key that the identity has had before.
func newKey(tx store.Tx, id identity.ID, csr *x509.CertificateRequest) error {
	pin := spki(csr.RawSubjectPublicKeyInfo)
	used := false
	if err := eachCertificate(tx, id.Path(), func(c Certificate) error { used = used || c.SPKI == pin; return nil }); err != nil {
		return err
	}
	if used {
		return fmt.Errorf("%w: the key is not new", enrol.ErrForbidden)
	}
	return nil
}

// extraOf gives the names of a certificate beyond its identity's own.
func extraOf(c *x509.Certificate, id identity.ID) profile.Extra {
	own := id.DNSNames()
	return profile.Extra{
		DNS: slices.DeleteFunc(slices.Clone(c.DNSNames), func(n string) bool { return slices.Contains(own, n) }),
		IPs: slices.Clone[[]net.IP](c.IPAddresses),
	}
}
