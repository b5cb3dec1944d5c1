package crl

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Config of a [Service]. Zero values mean the documented defaults; what is not in
// the file has none.
type Config struct {
	// Validity is how long a revocation list may be used (nextUpdate).
	// Default: 1h.
	Validity time.Duration `yaml:"validity"`
	// Rebuild is how often a list is made anew without a change. Default: 5m.
	Rebuild time.Duration `yaml:"rebuild"`
	// OCSPValidity is how long an OCSP response may be used. Caches keep one for
	// half as long. Default: 10m.
	OCSPValidity time.Duration `yaml:"ocsp_validity"`
	// OCSPNonce says what happens to a request with a nonce (RFC 9654): echo,
	// ignore or refuse. Default: echo.
	OCSPNonce Nonce `yaml:"ocsp_nonce"`

	// DB has the lists, and what Source reads.
	DB store.DB `yaml:"-"`
	// Source knows who is blocked.
	Source Source `yaml:"-"`
	// Issuers gives the intermediates whose certificates may still be in use, in
	// any order.
	Issuers func() []Issuer `yaml:"-"`
	// Changed gives a channel that is closed at the next change of who is
	// blocked. It is asked before the store is read.
	Changed func() <-chan struct{} `yaml:"-"`
	// Swapped gives a channel that is closed when Issuers gives others than before.
	// Nil: it always gives the same.
	Swapped func() <-chan struct{} `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
}

// Nonce is a policy for nonces in OCSP requests.
type Nonce string

// The policies. An echoed nonce proves that the answer is fresh, and keeps it out
// of every cache.
const (
	NonceEcho   Nonce = "echo"
	NonceIgnore Nonce = "ignore" // answer without it (RFC 5019 §4)
	NonceRefuse Nonce = "refuse" // answer "unauthorized"
)

// Issuer is one intermediate.
type Issuer struct {
	// Kind is what it signs. Newest tells that it signs what is issued now.
	Kind   identity.Kind
	Newest bool
	Cert   *x509.Certificate
	Key    crypto.Signer
}

// Name is the name of the issuer's list: the kind and the begin of its key
// identifier, e.g. "device-0a1b2c3d4e5f6071".
func (i Issuer) Name() string { return Name(i.Kind, i.Cert) }

// Name is [Issuer.Name] for those who have no key.
func Name(kind identity.Kind, issuer *x509.Certificate) string {
	const most = 8 // bytes
	id := issuer.SubjectKeyId
	return kind.String() + "-" + hex.EncodeToString(id[:min(most, len(id))])
}

// Links sets where a leaf's certificate says that its issuer's list and OCSP
// responder are (RFC 5280 §4.2.1.13 and §4.2.2.1). base is the public URL of the
// PKI; without one, the certificate says nothing.
func Links(leaf *x509.Certificate, base string, kind identity.Kind, issuer *x509.Certificate) {
	leaf.CRLDistributionPoints, leaf.OCSPServer = nil, nil
	if base == "" {
		return
	}
	base = strings.TrimSuffix(base, "/")
	leaf.CRLDistributionPoints = []string{base + ListPath + url.PathEscape(Name(kind, issuer)) + listSuffix}
	leaf.OCSPServer = []string{base + OCSPPath}
}

// Revocation is one identity whose certificates are revoked.
type Revocation struct {
	Identity string // path
	// Epoch of the block list when it was revoked; with Identity, it names this
	// revocation for ever.
	Epoch uint64
	Time  time.Time
	// Final tells that it never ends: the identity is retired, not blocked.
	Final bool
}

// Certificate is what a list needs to know of one.
type Certificate struct {
	Serial   *big.Int
	NotAfter time.Time
	// IssuerKeyID is the authority key identifier.
	IssuerKeyID []byte
}

// Source reads what the authority knows, in a transaction.
type Source interface {
	// Epoch numbers the state of what Revocations gives. It changes with it.
	Epoch(tx store.Tx) (uint64, error)
	// Revocations gives every identity that is blocked or retired now.
	Revocations(tx store.Tx, f func(Revocation) error) error
	// CertificatesOf gives the certificates of one identity, among them all that
	// have not expired. While it is revoked, there are no new ones.
	CertificatesOf(tx store.Tx, identity string, f func(Certificate) error) error
	// Find gives a certificate by its number, nil where it is not known, and how
	// it is revoked, nil where it is not.
	Find(tx store.Tx, serial *big.Int) (*Certificate, *Revocation, error)
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{Validity: time.Hour, Rebuild: 5 * time.Minute, OCSPValidity: 10 * time.Minute, OCSPNonce: NonceEcho}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.Validity, d.Validity}, {&c.Rebuild, d.Rebuild}, {&c.OCSPValidity, d.OCSPValidity}} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if c.OCSPNonce == "" {
		c.OCSPNonce = d.OCSPNonce
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	for _, v := range []struct {
		key string
		d   time.Duration
	}{{"rebuild", c.Rebuild}, {"ocsp_validity", c.OCSPValidity}} {
		if v.d < time.Second {
			all = append(all, &configs.KeyError{Key: v.key, Problem: "is below 1s"})
		}
	}
	if c.Validity < 2*c.Rebuild {
		all = append(all, &configs.KeyError{
			Key: "validity", Problem: "is below twice crl.rebuild", Hint: "one failed attempt would leave a list that has expired",
		})
	}
	switch c.OCSPNonce {
	case NonceEcho, NonceIgnore, NonceRefuse:
	default:
		all = append(all, &configs.KeyError{Key: "ocsp_nonce", Problem: "is unknown", Hint: "echo, ignore or refuse"})
	}
	return errors.Join(all...)
}

// pause waits, or tells that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
