package acmesrv_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func keyPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// verify builds the chain as a client does that speaks to name.
func (w *world) verify(chain []*x509.Certificate, name string, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	return chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: w.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
}

func TestIssue(t *testing.T) {
	t.Parallel()
	var issued []acmesrv.Issue
	w := start(t, func(c *acmesrv.Config) {
		c.Issued = func(_ context.Context, i acmesrv.Issue) error {
			issued = append(issued, i)
			return nil
		}
	})
	c := w.client("srv-auerproxy")
	account := w.account(c, "srv-auerproxy")
	key := pkitest.NewKey()
	begin := time.Now()
	chain, err := w.order(c, account, key, "auerproxy.comtrexx.test", "relay.localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	leaf := chain[0]
	if want := []string{"auerproxy.comtrexx.test", "relay.localhost"}; !slices.Equal(leaf.DNSNames, want) {
		t.Errorf("DNS names %q, want %q", leaf.DNSNames, want)
	}
	if len(leaf.IPAddresses) != 1 || !leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("addresses %v", leaf.IPAddresses)
	}
	if len(leaf.URIs)+len(leaf.EmailAddresses) != 0 || leaf.IsCA {
		t.Errorf("URIs %v, mail %v, CA %v", leaf.URIs, leaf.EmailAddresses, leaf.IsCA)
	}
	if leaf.Subject.CommonName != "auerproxy.comtrexx.test" || leaf.Subject.SerialNumber != "" {
		t.Errorf("subject %s", leaf.Subject)
	}
	if !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("usages %v, %v", leaf.KeyUsage, leaf.ExtKeyUsage)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		t.Error("another key")
	}
	const day = 24 * time.Hour
	if b, a := begin.Sub(leaf.NotBefore), leaf.NotAfter.Sub(begin); b < time.Hour-time.Minute || b > time.Hour+time.Minute || a < 30*day-time.Minute || a > 30*day+time.Minute {
		t.Errorf("valid from %s before to %s after the making", b, a)
	}
	for _, name := range []string{"auerproxy.comtrexx.test", "relay.localhost", "127.0.0.1"} {
		if _, err := w.verify(chain, name, x509.ExtKeyUsageServerAuth); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	// It authenticates nobody: not as a client, and not as any of our endpoints.
	if _, err := w.verify(chain, "", x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("it passes for a client's certificate")
	}
	chains, err := w.verify(chain, "", x509.ExtKeyUsageServerAuth)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := identity.FromChain(chains[0]); err == nil {
		t.Errorf("it names %s", id)
	}

	if len(issued) != 1 || !issued[0].Certificate.Equal(leaf) || issued[0].Role != "srv-auerproxy" || issued[0].Order == "" ||
		!strings.HasSuffix(account.Location, "/"+issued[0].Account) {
		t.Errorf("reported: %+v", issued)
	}
}

// Names outside of the role's are refused, whether another role has them or nobody.
func TestOtherNames(t *testing.T) {
	t.Parallel()
	var refused []acmesrv.Refusal
	w := start(t, func(c *acmesrv.Config) {
		c.Refused = func(_ context.Context, r acmesrv.Refusal) { refused = append(refused, r) }
	})
	c := w.client("srv-ara")
	account := w.account(c, "srv-ara")
	for _, name := range []string{"ara.comtrexx.test", "one.ara.comtrexx.test"} {
		if _, err := w.order(c, account, pkitest.NewKey(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(refused) != 0 {
		t.Fatalf("refused: %+v", refused)
	}
	for _, names := range [][]string{
		{"auerproxy.comtrexx.test"},
		{"ara.comtrexx.test", "auerproxy.comtrexx.test"},
		{"127.0.0.1"},
		{"evil.example"},
		{"comtrexx.test"},
		{"a.b.ara.comtrexx.test"},
		{"ara.comtrexx.test.evil.example"},
		{"xara.comtrexx.test"},
		{"*.ara.comtrexx.test"}, // needs dns-01
		{"r1.relay.comtrexx.test"},
	} {
		_, err := w.order(c, account, pkitest.NewKey(), names...)
		if err == nil {
			t.Errorf("%q: issued", names)
			continue
		}
		if typ, status := problem(t, err); typ != "rejectedIdentifier" || status != 400 {
			t.Errorf("%q: %s, %d", names, typ, status)
		}
	}
	if !contains(refused, "srv-ara", "rejectedIdentifier") {
		t.Errorf("reported: %+v", refused)
	}
}

// What the request asks for beyond its names is not in the certificate.
func TestRequestAsksForMore(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.client("srv-ara")
	account := w.account(c, "srv-ara")
	key := pkitest.NewKey()
	issue := func(tmpl x509.CertificateRequest) ([]byte, error) {
		tmpl.DNSNames = []string{"ara.comtrexx.test"}
		der, err := x509.CreateCertificateRequest(rand.Reader, &tmpl, key)
		if err != nil {
			t.Fatal(err)
		}
		return w.finalize(c, account, "ara.comtrexx.test", der)
	}
	clientAuth, err := pkixEKU()
	if err != nil {
		t.Fatal(err)
	}
	der, err := issue(x509.CertificateRequest{
		Subject:         pkix.Name{SerialNumber: "0123456789", Organization: []string{"Evil"}},
		ExtraExtensions: []pkix.Extension{clientAuth},
	})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Subject.SerialNumber != "" || slices.Contains(leaf.Subject.Organization, "Evil") || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		t.Errorf("subject %s, usages %v", leaf.Subject, leaf.ExtKeyUsage)
	}
	for name, tmpl := range map[string]x509.CertificateRequest{
		"identity": {URIs: []*url.URL{identity.Relay(td, "r1").URI()}},
		"mail":     {EmailAddresses: []string{"root@comtrexx.test"}},
		"CN":       {Subject: pkix.Name{CommonName: "auerproxy.comtrexx.test"}},
		"address":  {IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
	} {
		if der, err := issue(tmpl); err == nil {
			leaf, perr := x509.ParseCertificate(der)
			t.Errorf("%s: issued %v, %v", name, leaf, perr)
		} else if typ, _ := problem(t, err); typ != "badCSR" {
			t.Errorf("%s: %s", name, typ)
		}
	}
}

// The hook decides: without it there is no certificate.
func TestHookFailsClosed(t *testing.T) {
	t.Parallel()
	fail := true
	w := start(t, func(c *acmesrv.Config) {
		c.Issued = func(context.Context, acmesrv.Issue) error {
			if fail {
				return errors.New("the journal is full")
			}
			return nil
		}
	})
	c := w.client("srv-ara")
	account := w.account(c, "srv-ara")
	if _, err := w.order(c, account, pkitest.NewKey(), "ara.comtrexx.test"); err == nil {
		t.Error("issued without a record")
	} else if typ, status := problem(t, err); typ != "serverInternal" || status != 500 || strings.Contains(err.Error(), "journal") {
		t.Errorf("%s, %d: %v", typ, status, err)
	}
	if certs, err := w.cfg.DB.List([]byte("acme_certs")); err != nil || len(certs) != 0 {
		t.Errorf("%d certificates are stored, %v", len(certs), err)
	}
	fail = false
	if _, err := w.order(c, account, pkitest.NewKey(), "ara.comtrexx.test"); err != nil {
		t.Error(err)
	}
}

func TestLifeWithinIssuer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		left time.Duration
		ok   bool
	}{"short": {time.Hour, true}, "over": {30 * time.Second, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, func(c *acmesrv.Config) { c.Roots, c.Issuer, c.Key = shortIssuer(t, tt.left) })
			c := w.client("srv-ara")
			chain, err := w.order(c, w.account(c, "srv-ara"), pkitest.NewKey(), "ara.comtrexx.test")
			switch {
			case !tt.ok && err == nil:
				t.Error("issued")
			case tt.ok && err != nil:
				t.Error(err)
			case tt.ok && !chain[0].NotAfter.Equal(w.cfg.Issuer.NotAfter):
				t.Errorf("expires %s, the issuer %s", chain[0].NotAfter, w.cfg.Issuer.NotAfter)
			}
		})
	}
}
