package pkitest

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Factory is a manufacturer's CA: it makes the certificates that boxes leave the
// factory with (IEEE 802.1AR IDevID). They know nothing of a trust domain.
type Factory struct {
	Root *x509.Certificate

	key crypto.Signer
	t   testing.TB
}

// never is the notAfter of a certificate that does not expire (RFC 5280 §4.1.2.5).
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// NewFactory makes a manufacturer's CA.
func NewFactory(t testing.TB, name string) *Factory {
	t.Helper()
	f := &Factory{key: NewKey(), t: t}
	f.Root = f.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: never,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, f.key.Public())
	return f
}

// Box makes a factory certificate with a new key. change, which may be nil, gets the
// template: subject serialNumber, no expiry, no extended key usage.
func (f *Factory) Box(serial identity.Serial, change func(*x509.Certificate)) tls.Certificate {
	f.t.Helper()
	tmpl := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "PBX " + string(serial), SerialNumber: string(serial)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: never,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(tmpl)
	}
	key := NewKey()
	leaf := f.sign(tmpl, f.Root, key.Public())
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func (f *Factory) sign(tmpl, parent *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	f.t.Helper()
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key, f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return cert
}
