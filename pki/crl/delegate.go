package crl

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// MethodOCSP is the method of the audit log's entries about the certificates that
// sign OCSP responses.
const MethodOCSP = "ocsp signer"

// delegateLife is short, because nobody can revoke such a certificate. It is
// replaced at half of it.
const delegateLife = 24 * time.Hour

// oidNoCheck is id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1): nobody shall ask whether
// the responder's certificate is revoked.
var oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

// delegate signs OCSP responses in the name of an intermediate. Its key never
// leaves the process.
type delegate struct {
	cert  *x509.Certificate
	key   crypto.Signer
	until time.Time // then it is replaced
}

// delegate gives the signer of an issuer's responses, and makes it where there is
// none or half of its life is over.
func (s *Service) delegate(ctx context.Context, i Issuer, now time.Time) (*delegate, error) {
	name := i.Name()
	current := func() *delegate {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d := s.delegates[name]; d != nil && now.Before(d.until) {
			return d
		}
		return nil
	}
	if d := current(); d != nil {
		return d, nil
	}
	s.delegating.Lock()
	defer s.delegating.Unlock()
	if d := current(); d != nil {
		return d, nil
	}
	d, err := s.newDelegate(ctx, i, now)
	if err != nil {
		return nil, fmt.Errorf("certificate for signing: %w", err)
	}
	s.mu.Lock()
	s.delegates[name] = d
	s.mu.Unlock()
	return d, nil
}

// newDelegate signs a certificate, and notes it in the same transaction.
func (s *Service) newDelegate(ctx context.Context, i Issuer, now time.Time) (*delegate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	life := min(delegateLife, i.Cert.NotAfter.Sub(now))
	if life <= 0 {
		return nil, fmt.Errorf("the intermediate expired at %s", i.Cert.NotAfter)
	}
	d := &delegate{key: key, until: now.Add(life / 2)}
	template := &x509.Certificate{
		Subject:         pkix.Name{Organization: i.Cert.Subject.Organization, CommonName: "OCSP responder of " + i.Cert.Subject.CommonName},
		NotBefore:       now.Add(-time.Hour),
		NotAfter:        now.Add(life),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: oidNoCheck, Value: asn1.NullBytes}},
	}
	err = s.cfg.DB.Update(ctx, func(tx store.Tx) error {
		der, err := x509.CreateCertificate(rand.Reader, template, i.Cert, key.Public(), i.Key)
		if err != nil {
			return err
		}
		if d.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
		pin := sha256.Sum256(d.cert.RawSubjectPublicKeyInfo)
		return audit.Append(tx, audit.Entry{
			Event: audit.EventIssue, Method: MethodOCSP, Identity: "authority/" + i.Kind.String(),
			Certificate: d.cert.SerialNumber.Text(16), SPKI: hex.EncodeToString(pin[:]),
		})
	})
	return d, err
}
