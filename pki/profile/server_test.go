package profile_test

import (
	"crypto/rand"
	"crypto/x509"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

const td = identity.DefaultTrustDomain

// Whatever the intermediate for servers signs, even with its key stolen, no client
// takes it for an endpoint of ours or for a client.
func TestServerIntermediate(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	issuer, key := ca.Server()
	between := x509.NewCertPool()
	between.AddCert(issuer)
	verify := func(usage x509.ExtKeyUsage, change func(*x509.Certificate)) error {
		c := &x509.Certificate{
			DNSNames: []string{"ara.comtrexx.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
		profile.ApplyServer(c)
		change(c)
		der, err := x509.CreateCertificate(rand.Reader, c, issuer, pkitest.NewKey().Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: ca.Roots(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if err := verify(x509.ExtKeyUsageServerAuth, func(*x509.Certificate) {}); err != nil {
		t.Error(err)
	}
	for name, tt := range map[string]struct {
		usage  x509.ExtKeyUsage
		change func(*x509.Certificate)
	}{
		"identity of a relay": {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.URIs = []*url.URL{identity.Relay(td, "r1").URI()} }},
		"foreign identity":    {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.URIs = []*url.URL{identity.Relay("other.test", "r1").URI()} }},
		"name of a device":    {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.DNSNames = identity.Device(td, "0123456789").DNSNames() }},
		"name of every relay": {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.DNSNames = []string{identity.RelayDNSName(td)} }},
		"name of a service":   {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.DNSNames = identity.Service(td, "ccc").DNSNames() }},
		"foreign name":        {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }},
		"foreign address":     {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }},
		"mail":                {x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.EmailAddresses = []string{"root@comtrexx.test"} }},
		"client":              {x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) { c.ExtKeyUsage = both }},
	} {
		if verify(tt.usage, tt.change) == nil {
			t.Errorf("%s: verified", name)
		}
	}
	if !profile.IsServerAuthority(issuer, td) || profile.IsServerAuthority(issuer, "other.test") || profile.IsServerAuthority(ca.Intermediate(identity.KindRelay), td) {
		t.Error("not told from others")
	}
}

func TestServerNames(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"Example.com", "*.example.com", "http://example.com", "10.0.0.0/33", "", "fe80::1%eth0"} {
		if _, err := profile.ServerIntermediate(td, "example.com", bad); err == nil || !strings.Contains(err.Error(), "server name") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	c, err := profile.ServerIntermediate(td)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.PermittedDNSDomains) != 1 || c.PermittedDNSDomains[0] != "invalid" || len(c.ExcludedIPRanges) != 2 {
		t.Errorf("without names it permits %v and excludes %v", c.PermittedDNSDomains, c.ExcludedIPRanges)
	}
}
