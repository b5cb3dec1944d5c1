package authority

import (
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Who has the key of one intermediate can make no identity of another kind or of
// another trust domain, by X.509 alone where a name gives it away, and by the check
// of the issuer where none does. OpenSSL, where it is there, agrees about the names.
func TestNameConstraints(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	uri := func(text string) func(*x509.Certificate) {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *x509.Certificate) { c.URIs = []*url.URL{u} }
	}
	noDNS := func(c *x509.Certificate) { c.DNSNames = nil }
	loopback := func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }
	for _, c := range []struct {
		name        string
		signer      identity.Kind
		leaf        identity.ID
		mutate      func(*x509.Certificate)
		x509, chain bool // what verifies
	}{
		{"device", identity.KindDevice, device, nil, true, true},
		{"service", identity.KindService, service, nil, true, true},
		{"relay", identity.KindRelay, relay, nil, true, true},
		{"relay with an address", identity.KindRelay, relay, loopback, true, true},

		{"device key, relay", identity.KindDevice, relay, nil, false, false},
		{"device key, service", identity.KindDevice, service, nil, false, false},
		{"relay key, device", identity.KindRelay, device, nil, false, false},
		{"relay key, service", identity.KindRelay, service, nil, false, false},
		{"service key, device", identity.KindService, device, nil, false, false},
		{"service key, relay", identity.KindService, relay, nil, false, false},
		{"device key, service without a DNS name", identity.KindDevice, service, noDNS, true, false},
		{"relay key, device without a DNS name", identity.KindRelay, device, noDNS, true, false},

		{"device with an address", identity.KindDevice, device, loopback, false, false},
		{"another trust domain", identity.KindDevice, device, uri("spiffe://evil.test/device/0123456789"), false, false},
		// RFC 5280 §4.2.1.10 wants the very host; crypto/x509 takes hosts below it too.
		{"a domain below", identity.KindDevice, device, uri("spiffe://x.comtrexx.test/device/0123456789"), true, false},
		{"a domain that ends alike", identity.KindDevice, device, uri("spiffe://evilcomtrexx.test/device/0123456789"), false, false},
		{"a URI without a host", identity.KindDevice, device, uri("spiffe:device/0123456789"), false, false},
		{"another DNS name", identity.KindDevice, device, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "example.com") }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			by := a.keys.Load().signers[c.signer].cert
			tmpl := dated(profile.Leaf(c.leaf, profile.Extra{}), time.Now(), time.Hour)
			if c.mutate != nil {
				c.mutate(tmpl)
			}
			leaf, err := signFor(tmpl, by, pkitest.NewKey().Public(), issuerOfCert(a, by).Key)
			if err != nil {
				t.Fatal(err)
			}
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(a.Roots()[0])
			between.AddCert(by)
			chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			if (err == nil) != c.x509 {
				t.Errorf("X.509: %v", err)
			}
			if err == nil {
				_, err = identity.FromChain(chains[0])
			}
			if (err == nil) != c.chain {
				t.Errorf("identity: %v", err)
			}
			if ok, output := opensslVerifies(t, a.Roots()[0], by, leaf); ok != (c.x509 && c.name != "a domain below") {
				t.Errorf("openssl: %v\n%s", ok, output)
			}
		})
	}
}

func issuerOfCert(a *Authority, c *x509.Certificate) *Issuer {
	for _, i := range a.Issuers() {
		if i.Certificate.Equal(c) {
			return &i
		}
	}
	return nil
}

func opensslVerifies(t *testing.T, root, between, leaf *x509.Certificate) (ok bool, output string) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	write := func(name string, c *x509.Certificate) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, enrol.EncodeCertificates(c), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	out, err := exec.CommandContext(t.Context(), openssl, "verify", "-x509_strict", "-purpose", "sslclient",
		"-CAfile", write("root.pem", root), "-untrusted", write("between.pem", between), write("leaf.pem", leaf)).CombinedOutput()
	return err == nil, string(out)
}

// An intermediate cannot make another one.
func TestIntermediateSignsLeavesOnly(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	by := a.keys.Load().signers[identity.KindDevice].cert
	key := issuerOfCert(a, by).Key
	below := pkitest.NewKey()
	tmpl := dated(profile.Intermediate(td, identity.KindDevice), time.Now(), time.Hour)
	authority, err := signFor(tmpl, by, below.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signer *x509.Certificate
		leaf   func() (*x509.Certificate, error)
		ok     bool
	}{
		"leaf": {by, func() (*x509.Certificate, error) {
			return signFor(dated(profile.Leaf(device, profile.Extra{}), time.Now(), time.Hour), by, pkitest.NewKey().Public(), key)
		}, true},
		"leaf of one below": {authority, func() (*x509.Certificate, error) {
			return signFor(dated(profile.Leaf(device, profile.Extra{}), time.Now(), time.Hour), authority, pkitest.NewKey().Public(), below)
		}, false},
	} {
		leaf, err := c.leaf()
		if err != nil {
			t.Fatal(err)
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(a.Roots()[0])
		between.AddCert(by)
		between.AddCert(authority)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
