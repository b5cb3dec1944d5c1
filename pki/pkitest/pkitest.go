// Package pkitest is a throw-away certificate authority in memory, for tests
// and for the fleet simulator. It uses the profiles of the real authority (one
// root, one intermediate per kind of endpoint) and nothing but the standard
// library, so that ten thousand device certificates take about a second.
//
//	ca := pkitest.New(t, identity.DefaultTrustDomain)
//	relay := ca.Credentials(identity.Relay(td, "r1"))
//	expired := ca.Issue(id, pkitest.Options{NotAfter: time.Now().Add(-time.Hour)})
//
// A CA is safe for concurrent use. Its methods panic when a certificate cannot
// be made, which happens only when a caller passes something impossible.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// CA is one trust domain's root and intermediates.
type CA struct {
	// TrustDomain is the domain that the CA issues for.
	TrustDomain identity.TrustDomain
	// Root is the certificate that endpoints trust.
	Root *x509.Certificate
	// Cross certifies the root by that of the CA before, in a CA that
	// [CA.Successor] made. It is part of every chain.
	Cross *x509.Certificate

	key     crypto.Signer // of Root
	signers map[identity.Kind]issuer
	server  issuer
}

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Options changes what [CA.Issue] makes. The zero value gives a certificate
// that the authority would issue, valid from one hour ago for 30 days.
type Options struct {
	// NotBefore is when the certificate becomes valid; zero is one hour before
	// now, or before NotAfter if that has passed.
	NotBefore time.Time
	// NotAfter is when it expires; zero is 30 days from now.
	NotAfter time.Time
	// ExtraDNS and ExtraIPs are added to the SANs.
	ExtraDNS []string
	ExtraIPs []net.IP
	// Key is the leaf's key; nil makes a new P-256 key.
	Key crypto.Signer
	// Mutate changes the template just before it is signed, for certificates
	// that no authority should issue.
	Mutate func(*x509.Certificate)
	// Signer is the kind whose intermediate signs; zero is the identity's own.
	Signer identity.Kind
}

// Loopback are the SANs of a server that tests reach at localhost.
func Loopback() Options {
	return Options{ExtraDNS: []string{"localhost"}, ExtraIPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
}

// New makes a CA, or fails the test.
func New(t testing.TB, td identity.TrustDomain) *CA {
	t.Helper()
	ca, err := NewCA(td)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// NewCA makes a CA outside a test.
func NewCA(td identity.TrustDomain) (*CA, error) { return newCA(td, "Root "+string(td)) }

func newCA(td identity.TrustDomain, name string) (*CA, error) {
	if _, err := identity.ParseTrustDomain(string(td)); err != nil {
		return nil, err
	}
	ca := &CA{TrustDomain: td, signers: make(map[identity.Kind]issuer)}
	rootKey := NewKey()
	tmpl := profile.Root(td)
	tmpl.Subject.CommonName = name
	root, err := sign(valid(tmpl), nil, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	ca.Root, ca.key = root, rootKey
	for _, kind := range profile.SignedKinds() {
		key := NewKey()
		cert, err := sign(valid(profile.Intermediate(td, kind)), root, key.Public(), rootKey)
		if err != nil {
			return nil, err
		}
		ca.signers[kind] = issuer{cert, key}
	}
	key := NewKey()
	tmpl, err = profile.ServerIntermediate(td, string(td), "localhost", "127.0.0.0/8", "::1")
	if err != nil {
		return nil, err
	}
	cert, err := sign(valid(tmpl), root, key.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	ca.server = issuer{cert, key}
	return ca, nil
}

func valid(c *x509.Certificate) *x509.Certificate {
	now := time.Now()
	c.NotBefore, c.NotAfter = now.AddDate(-2, 0, 0), now.AddDate(2, 0, 0)
	return c
}

// Successor makes the CA that comes after this one: with a root and intermediates
// of its own, the root certified by this one's.
func (ca *CA) Successor() *CA {
	next, err := newCA(ca.TrustDomain, ca.Root.Subject.CommonName+" next")
	if err == nil {
		next.Cross, err = sign(valid(profile.Cross(next.Root)), ca.Root, next.Root.PublicKey, ca.key)
	}
	if err != nil {
		panic(err)
	}
	return next
}

// Bundle is a trust bundle with the roots of the CAs. The last is the active one.
func Bundle(version uint64, cas ...*CA) enrol.Bundle {
	b := enrol.Bundle{Version: version}
	for i, ca := range cas {
		r := enrol.Root{State: enrol.RootRetiring, Certificate: ca.Root}
		if i == len(cas)-1 {
			r.State = enrol.RootActive
		}
		if ca.Cross != nil {
			r.Cross = []*x509.Certificate{ca.Cross}
		}
		b.TrustDomain, b.Roots = ca.TrustDomain, append(b.Roots, r)
	}
	return b
}

// NewKey makes a P-256 key.
func NewKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return key
}

func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("pkitest: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Issue makes a certificate for the identity: the leaf, its intermediate, and the
// cross certificate where there is one; without the root.
func (ca *CA) Issue(id identity.ID, o Options) tls.Certificate {
	if o.Key == nil {
		o.Key = NewKey()
	}
	kind := o.Signer
	if kind == identity.KindUnknown {
		kind = id.Kind
	}
	iss, ok := ca.signers[kind]
	if !ok {
		panic("pkitest: nobody signs " + id.String())
	}
	tmpl := profile.Leaf(id, profile.Extra{DNS: o.ExtraDNS, IPs: o.ExtraIPs})
	now := time.Now()
	if tmpl.NotAfter = o.NotAfter; tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = now.AddDate(0, 0, 30)
	}
	if tmpl.NotBefore = o.NotBefore; tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = now
		if tmpl.NotAfter.Before(now) {
			tmpl.NotBefore = tmpl.NotAfter
		}
		tmpl.NotBefore = tmpl.NotBefore.Add(-time.Hour)
	}
	if o.Mutate != nil {
		o.Mutate(tmpl)
	}
	leaf, err := sign(tmpl, iss.cert, o.Key.Public(), iss.key)
	if err != nil {
		panic(err)
	}
	chain := [][]byte{leaf.Raw, iss.cert.Raw}
	if ca.Cross != nil {
		chain = append(chain, ca.Cross.Raw)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: o.Key, Leaf: leaf}
}

// Intermediate is the certificate of the authority that signs a kind.
func (ca *CA) Intermediate(k identity.Kind) *x509.Certificate { return ca.signers[k].cert }

// Server is the intermediate that signs the names of servers, below the trust
// domain, localhost and on loopback, with its key.
func (ca *CA) Server() (*x509.Certificate, crypto.Signer) { return ca.server.cert, ca.server.key }

// Roots holds the root.
func (ca *CA) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Root)
	return pool
}

// RootPEM is the root as PEM text.
func (ca *CA) RootPEM() []byte { return enrol.EncodeCertificates(ca.Root) }

// Credentials are usable credentials for the identity. A relay's and a
// service's also cover localhost, 127.0.0.1 and ::1.
func (ca *CA) Credentials(id identity.ID) *enrol.Credentials {
	var o Options
	if id.Kind != identity.KindDevice {
		o = Loopback()
	}
	return ca.CredentialsWith(ca.Issue(id, o))
}

// CredentialsWith puts a certificate, e.g. an expired one, together with the
// CA's root.
func (ca *CA) CredentialsWith(cert tls.Certificate) *enrol.Credentials {
	c, err := enrol.NewCredentials(cert, []*x509.Certificate{ca.Root})
	if err != nil {
		panic(err)
	}
	return c
}

// Write puts cert.pem, key.pem and roots.pem for the identity into dir, in the
// form that enrol.LoadCredentials reads.
func (ca *CA) Write(dir string, id identity.ID) error {
	return ca.Credentials(id).Save(dir)
}
