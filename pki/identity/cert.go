package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
)

// FromCert reads the identity of a certificate that has already been verified.
// A certificate has exactly one URI SAN; a device's subject serialNumber and CN
// and the DNS SAN must name the same endpoint. An error wraps [ErrMalformed] or
// [ErrMismatch].
//
// Callers that hold a connection use [FromConnectionState] instead, which takes
// the certificate from the verified chain.
func FromCert(c *x509.Certificate) (ID, error) {
	if len(c.URIs) != 1 {
		return ID{}, fmt.Errorf("%w: certificate has %d URI SANs, want exactly one", ErrMalformed, len(c.URIs))
	}
	id, err := ParseURI(c.URIs[0])
	if err != nil {
		return ID{}, err
	}
	if id.Kind == KindDevice && (c.Subject.SerialNumber != id.Name || c.Subject.CommonName != id.Name) {
		return ID{}, fmt.Errorf("%w: URI SAN names %s, subject serialNumber %q, CN %q",
			ErrMismatch, id, clip(c.Subject.SerialNumber), clip(c.Subject.CommonName))
	}
	for _, want := range id.DNSNames() {
		if !slices.Contains(c.DNSNames, want) {
			return ID{}, fmt.Errorf("%w: certificate for %s lacks the DNS SAN %s", ErrMismatch, id, want)
		}
	}
	return id, nil
}

// FromChain reads the identity of a verified chain, leaf first, and checks that
// the issuer is the authority for that kind: an intermediate that signs devices
// cannot mint a service.
func FromChain(chain []*x509.Certificate) (ID, error) {
	if len(chain) == 0 {
		return ID{}, ErrUnverified
	}
	id, err := FromCert(chain[0])
	if err != nil {
		return ID{}, err
	}
	if id.Kind == KindAuthority {
		return ID{}, fmt.Errorf("%w: an authority's certificate cannot be an endpoint", ErrMismatch)
	}
	if len(chain) < 3 {
		return ID{}, fmt.Errorf("%w: %s is not issued by an intermediate", ErrMismatch, id)
	}
	issuer, err := FromCert(chain[1])
	if err != nil {
		return ID{}, fmt.Errorf("issuer of %s: %w", id, err)
	}
	if want := Authority(id.TrustDomain, id.Kind); issuer != want {
		return ID{}, fmt.Errorf("%w: %s is signed by %s, want %s", ErrMismatch, id, issuer, want)
	}
	return id, nil
}

// FromConnectionState reads the peer's identity from VerifiedChains[0], whose
// first certificate is the one that signed the handshake. It fails with
// [ErrUnverified] where the peer's certificate was not verified.
func FromConnectionState(cs tls.ConnectionState) (ID, error) {
	if len(cs.VerifiedChains) == 0 {
		return ID{}, ErrUnverified
	}
	return FromChain(cs.VerifiedChains[0])
}

// VerifyPeer gives a function for tls.Config.VerifyConnection: it reads the
// peer's identity and passes it to check. VerifyConnection is the hook that
// also runs on resumed sessions (VerifyPeerCertificate does not).
func VerifyPeer(check func(ID) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		id, err := FromConnectionState(cs)
		if err != nil {
			return err
		}
		return check(id)
	}
}

// Exactly gives a check for [VerifyPeer] that accepts one identity.
func Exactly(want ID) func(ID) error {
	return func(got ID) error {
		if got != want {
			return fmt.Errorf("%w: peer is %s, want %s", ErrUnexpected, got, want)
		}
		return nil
	}
}

// OfKind gives a check for [VerifyPeer] that accepts every endpoint of the kinds
// in one trust domain.
func OfKind(td TrustDomain, kinds ...Kind) func(ID) error {
	return func(got ID) error {
		if got.TrustDomain != td || !slices.Contains(kinds, got.Kind) {
			return fmt.Errorf("%w: peer is %s, want one of %v in %s", ErrUnexpected, got, kinds, td)
		}
		return nil
	}
}
