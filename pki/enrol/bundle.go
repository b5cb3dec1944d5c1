package enrol

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ErrBundle: a trust bundle is malformed, or names no root that may be trusted.
var ErrBundle = errors.New("unusable trust bundle")

// BundlePath gives the trust bundle as JSON, a [Bundle]: 200, or 304 where the
// ETag of the request is the present one.
const BundlePath = "/v1/bundle"

// BundleHeader tells the version of a trust bundle as a decimal number: in an
// answer the present one, in a request over mutual TLS the one that the caller
// trusts.
const BundleHeader = "Pki-Bundle-Version"

// RootState is what a root of a [Bundle] is for.
//
//	         added            activated       another one activated       retired
//	(none) ────────► trusted ───────────► active ──────────────────► retiring ───► retired
type RootState string

// The states of a root.
const (
	RootTrusted  RootState = "trusted"  // to be trusted; nothing is issued below it yet
	RootActive   RootState = "active"   // what is issued now is issued below it
	RootRetiring RootState = "retiring" // certificates below it are still in use
	RootRetired  RootState = "retired"  // not to be trusted; kept for those who know no other
)

// Bundle is the trust bundle of a trust domain.
type Bundle struct {
	TrustDomain identity.TrustDomain `json:"trust_domain"`
	// Version rises with every change.
	Version uint64 `json:"version"`
	// Roots has the retired ones too: who trusts one of these only finds the way
	// from it to the others by their cross certificates.
	Roots []Root `json:"roots"`
}

// Root is one root of a [Bundle].
type Root struct {
	State RootState
	// Certificate is the root itself, self-signed.
	Certificate *x509.Certificate
	// Cross certifies the root's key by other roots (RFC 4210 §4.4, "new with
	// old"). With it, who trusts one of these may trust this root.
	Cross []*x509.Certificate
}

// rootJSON is a Root on the wire. What can be read from the certificate is there
// for people, and not read.
type rootJSON struct {
	State       RootState `json:"state"`
	Fingerprint string    `json:"fingerprint_sha256"`
	Subject     string    `json:"subject"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Certificate string    `json:"certificate"`     // PEM
	Cross       string    `json:"cross,omitempty"` // PEM, any number
}

// MarshalJSON writes certificates as PEM text.
func (r Root) MarshalJSON() ([]byte, error) {
	if r.Certificate == nil {
		return nil, fmt.Errorf("%w: a root without a certificate", ErrBundle)
	}
	return json.Marshal(rootJSON{
		State: r.State, Fingerprint: Fingerprint(r.Certificate), Subject: r.Certificate.Subject.String(),
		NotBefore: r.Certificate.NotBefore, NotAfter: r.Certificate.NotAfter,
		Certificate: string(EncodeCertificates(r.Certificate)), Cross: string(EncodeCertificates(r.Cross...)),
	})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Root) UnmarshalJSON(data []byte) error {
	var wire rootJSON
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	certs, err := ParseCertificates([]byte(wire.Certificate))
	if err != nil {
		return fmt.Errorf("%w: root: %w", ErrBundle, err)
	}
	if len(certs) != 1 {
		return fmt.Errorf("%w: a root with %d certificates", ErrBundle, len(certs))
	}
	r.State, r.Certificate, r.Cross = wire.State, certs[0], nil
	if wire.Cross != "" {
		if r.Cross, err = ParseCertificates([]byte(wire.Cross)); err != nil {
			return fmt.Errorf("%w: cross certificates: %w", ErrBundle, err)
		}
	}
	return nil
}

// ParseBundle reads a bundle from JSON and checks it with [Bundle.Validate].
func ParseBundle(data []byte) (b Bundle, err error) {
	if err := json.Unmarshal(data, &b); err != nil {
		return Bundle{}, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if err := b.Validate(); err != nil {
		return Bundle{}, err
	}
	return b, nil
}

// Validate checks that every root is a self-signed authority of which there is
// one, and that there is one to be trusted. It does not look at dates.
func (b Bundle) Validate() error {
	if b.Version == 0 {
		return fmt.Errorf("%w: no version", ErrBundle)
	}
	for i, r := range b.Roots {
		switch {
		case r.Certificate == nil:
			return fmt.Errorf("%w: root %d has no certificate", ErrBundle, i+1)
		case !SelfSigned(r.Certificate):
			return fmt.Errorf("%w: %q is not a self-signed authority", ErrBundle, r.Certificate.Subject)
		case slices.ContainsFunc(b.Roots[:i], func(o Root) bool { return o.Certificate.Equal(r.Certificate) }):
			return fmt.Errorf("%w: %q is in it twice", ErrBundle, r.Certificate.Subject)
		}
	}
	if len(b.Trusted()) == 0 {
		return fmt.Errorf("%w: no root to be trusted", ErrBundle)
	}
	return nil
}

// SelfSigned tells whether a certificate is that of a root.
func SelfSigned(c *x509.Certificate) bool {
	return c.IsCA && bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}

// Trusted lists the roots to be trusted, the active one first.
func (b Bundle) Trusted() (out []*x509.Certificate) {
	for _, r := range b.Roots {
		switch r.State {
		case RootRetired:
		case RootActive:
			out = slices.Insert(out, 0, r.Certificate)
		default:
			out = append(out, r.Certificate)
		}
	}
	return out
}

// Accept gives the roots of the bundle that somebody who trusts the given roots
// may trust from now on: those, and the roots that one of them certified, directly
// or over others. So whoever serves the bundle cannot put a root into it without
// the key of an earlier root. It fails with [ErrBundle] if none is left.
func (b Bundle) Accept(trusted []*x509.Certificate) ([]*x509.Certificate, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	accepted := b.linked(trusted)
	out := slices.DeleteFunc(b.Trusted(), func(c *x509.Certificate) bool { return !contains(accepted, c) })
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no root of version %d is trusted here, or certified by one that is", ErrBundle, b.Version)
	}
	return out, nil
}

// linked gives the trusted roots with all to which cross certificates lead.
func (b Bundle) linked(trusted []*x509.Certificate) []*x509.Certificate {
	all := slices.Clone(trusted)
	for i := 0; i < len(all); i++ {
		for _, r := range b.Roots {
			if !contains(all, r.Certificate) && slices.ContainsFunc(r.Cross, func(x *x509.Certificate) bool { return Certifies(x, r.Certificate, all[i]) }) {
				all = append(all, r.Certificate)
			}
		}
	}
	return all
}

// Certifies tells whether the cross certificate is one for the root's name and
// key, signed by the other root. It does not look at dates.
func Certifies(cross, root, by *x509.Certificate) bool {
	return cross.IsCA && bytes.Equal(cross.RawSubject, root.RawSubject) &&
		SameKey(cross.PublicKey, root.PublicKey) && cross.CheckSignatureFrom(by) == nil
}

func contains(list []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(list, c.Equal)
}

// ETag is the entity tag of a version (RFC 9110 §8.8.3).
func (b Bundle) ETag() string { return bundleTag(b.Version) }

func bundleTag(version uint64) string { return strconv.Quote(strconv.FormatUint(version, 10)) }
