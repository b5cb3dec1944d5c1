package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

func TestFromCert(t *testing.T) {
	t.Parallel()
	device, other := identity.Device(td, "0123456789"), identity.Device(td, "9999999999")
	service := identity.Service(td, "ccc")
	for _, c := range []struct {
		name   string
		id     identity.ID
		mutate func(*x509.Certificate)
		want   error // nil: the identity itself is read
	}{
		{"device", device, func(*x509.Certificate) {}, nil},
		{"service", service, func(*x509.Certificate) {}, nil},
		{"extra DNS name", service, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "localhost") }, nil},
		{"no URI", device, func(c *x509.Certificate) { c.URIs = nil }, identity.ErrMalformed},
		{"two URIs", device, func(c *x509.Certificate) { c.URIs = append(c.URIs, other.URI()) }, identity.ErrMalformed},
		{"foreign URI", device, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "https", Host: "x"}} }, identity.ErrMalformed},
		{"other serialNumber", device, func(c *x509.Certificate) { c.Subject.SerialNumber = other.Name }, identity.ErrMismatch},
		{"no serialNumber", device, func(c *x509.Certificate) { c.Subject.SerialNumber = "" }, identity.ErrMismatch},
		{"other CN", device, func(c *x509.Certificate) { c.Subject.CommonName = other.Name }, identity.ErrMismatch},
		{"other URI", device, func(c *x509.Certificate) { c.URIs = []*url.URL{other.URI()} }, identity.ErrMismatch},
		{"other DNS name", device, func(c *x509.Certificate) { c.DNSNames = other.DNSNames() }, identity.ErrMismatch},
		{"no DNS name", service, func(c *x509.Certificate) { c.DNSNames = nil }, identity.ErrMismatch},
	} {
		cert := profile.Leaf(c.id, profile.Extra{})
		c.mutate(cert)
		got, err := identity.FromCert(cert)
		if !errors.Is(err, c.want) || (c.want == nil && got != c.id) {
			t.Errorf("%s: got %s, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestFromChain(t *testing.T) {
	t.Parallel()
	device := identity.Device(td, "0123456789")
	leaf := profile.Leaf(device, profile.Extra{})
	root := profile.Root(td)
	by := func(td identity.TrustDomain, k identity.Kind) *x509.Certificate { return profile.Intermediate(td, k) }
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		want  error
	}{
		{"own authority", []*x509.Certificate{leaf, by(td, identity.KindDevice), root}, nil},
		{"empty", nil, identity.ErrUnverified},
		{"alone", []*x509.Certificate{leaf}, identity.ErrMismatch},
		{"signed by the root", []*x509.Certificate{leaf, root}, identity.ErrMismatch},
		{"signed by the service authority", []*x509.Certificate{leaf, by(td, identity.KindService), root}, identity.ErrMismatch},
		{"signed by another domain", []*x509.Certificate{leaf, by("other.test", identity.KindDevice), root}, identity.ErrMismatch},
		{"signed by a device", []*x509.Certificate{leaf, leaf, root}, identity.ErrMismatch},
		{"issuer without identity", []*x509.Certificate{leaf, root, root}, identity.ErrMalformed},
		{"an authority itself", []*x509.Certificate{by(td, identity.KindDevice), root, root}, identity.ErrMismatch},
	} {
		got, err := identity.FromChain(c.chain)
		if !errors.Is(err, c.want) || (c.want == nil && got != device) {
			t.Errorf("%s: got %s, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestFromConnectionStateIgnoresWhatWasNotVerified(t *testing.T) {
	t.Parallel()
	leaf := profile.Leaf(identity.Device(td, "0123456789"), profile.Extra{})
	cs := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, profile.Intermediate(td, identity.KindDevice), profile.Root(td)}}
	if id, err := identity.FromConnectionState(cs); !errors.Is(err, identity.ErrUnverified) {
		t.Errorf("unverified certificate read as %s, %v", id, err)
	}
	cs.VerifiedChains = [][]*x509.Certificate{cs.PeerCertificates}
	if _, err := identity.FromConnectionState(cs); err != nil {
		t.Error(err)
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	device, service := identity.Device(td, "0123456789"), identity.Service(td, "ccc")
	for _, c := range []struct {
		name  string
		check func(identity.ID) error
		id    identity.ID
		ok    bool
	}{
		{"exactly it", identity.Exactly(device), device, true},
		{"exactly another", identity.Exactly(device), identity.Device(td, "9999999999"), false},
		{"exactly, other domain", identity.Exactly(device), identity.Device("other.test", "0123456789"), false},
		{"of kind", identity.OfKind(td, identity.KindRelay, identity.KindService), service, true},
		{"of another kind", identity.OfKind(td, identity.KindRelay, identity.KindService), device, false},
		{"of kind, other domain", identity.OfKind(td, identity.KindService), identity.Service("other.test", "ccc"), false},
		{"no kind", identity.OfKind(td), service, false},
		{"nobody", identity.OfKind(td, identity.KindService), identity.ID{}, false},
	} {
		if err := c.check(c.id); (err == nil) != c.ok || (err != nil && !errors.Is(err, identity.ErrUnexpected)) {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
}

func FuzzFromCert(f *testing.F) {
	ca, err := pkitest.NewCA(td)
	if err != nil {
		f.Fatal(err)
	}
	for _, id := range []identity.ID{identity.Device(td, "0123456789"), identity.Service(td, "ccc"), identity.Relay(td, "r1")} {
		f.Add(ca.Issue(id, pkitest.Options{}).Certificate[0])
	}
	f.Add(ca.Intermediate(identity.KindDevice).Raw)
	f.Add(ca.Root.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		id, err := identity.FromCert(c)
		if err != nil {
			return
		}
		if err := id.Validate(); err != nil {
			t.Errorf("read an invalid identity %s: %v", id, err)
		}
		if c.URIs[0].String() != id.String() {
			t.Errorf("read %s from %s", id, c.URIs[0])
		}
	})
}
