package server_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// thirdParty is a program that knows certificates only.
type thirdParty struct {
	*pki
	dir string
}

// withThirdParty starts a PKI whose lists are on a listener without TLS too.
func withThirdParty(t *testing.T, scfg server.Config) thirdParty {
	t.Helper()
	scfg.RevocationListen = "127.0.0.1:0"
	p := thirdParty{start(t, "", authority.Config{PublicURL: "http://pki.example.com/base/"}, scfg), t.TempDir()}
	p.write(t, "root.pem", enrol.EncodeCertificates(p.auth.Roots()...))
	for _, i := range p.auth.Issuers() {
		p.write(t, i.Role+".pem", enrol.EncodeCertificates(i.Certificate))
	}
	return p
}

func (p thirdParty) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// leaf issues for the identity and writes its certificate.
func (p thirdParty) leaf(t *testing.T, id identity.ID, name string) *x509.Certificate {
	t.Helper()
	c := p.issued(t, id)
	p.write(t, name, enrol.EncodeCertificates(c.Leaf()))
	return c.Leaf()
}

func (p thirdParty) plain(path string) string {
	return "http://" + p.RevocationAddr().String() + path
}

func (p thirdParty) fetch(t *testing.T, path string) (status int, header http.Header, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.plain(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

// openssl runs the stock tool and gives what it prints.
func (p thirdParty) openssl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", args...)
	cmd.Dir = p.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// What certificates say about where to ask, and that both listeners answer.
func TestRevocationLinks(t *testing.T) {
	t.Parallel()
	p := withThirdParty(t, server.Config{})
	leaf := p.issued(t, device).Leaf()
	var path string
	for _, i := range p.auth.Issuers() {
		if i.Role == "device" {
			path = crl.ListPath + crl.Name(identity.KindDevice, i.Certificate) + ".crl"
		}
	}
	if want := "http://pki.example.com/base" + path; len(leaf.CRLDistributionPoints) != 1 || leaf.CRLDistributionPoints[0] != want {
		t.Errorf("distribution points %q, want %q", leaf.CRLDistributionPoints, want)
	}
	if want := "http://pki.example.com/base/ocsp"; len(leaf.OCSPServer) != 1 || leaf.OCSPServer[0] != want {
		t.Errorf("OCSP servers %q, want %q", leaf.OCSPServer, want)
	}
	if err := p.revocation.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, header, plain := p.fetch(t, path)
	if status != http.StatusOK || header.Get("Content-Type") != "application/pkix-crl" {
		t.Errorf("%d %v", status, header)
	}
	status, public, err := p.call(t, p.anonymous(), http.MethodGet, "/crl/device.crl", "")
	if err != nil || status != http.StatusOK || public != string(plain) {
		t.Errorf("over TLS: %d %v", status, err)
	}
	// The listener without TLS has nothing else.
	if status, _, err := p.call(t, p.anonymous(), http.MethodGet, enrol.RootsPath, ""); err != nil || status != http.StatusOK {
		t.Errorf("the control: %d %v", status, err)
	}
	for _, path := range []string{enrol.RootsPath, enrol.EnrolPath, "/healthz", "/", "/crl", "/v1/blocks/stream"} {
		if status, _, _ := p.fetch(t, path); status != http.StatusNotFound {
			t.Errorf("%s without TLS: %d", path, status)
		}
	}
	if status, _, err := p.call(t, p.anonymous(), http.MethodPost, "/crl/device.crl", ""); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("POST of a list: %d %v", status, err)
	}

	// Without a public URL, certificates say nothing.
	silent := start(t, "", authority.Config{}, server.Config{}).issued(t, device).Leaf()
	if len(silent.CRLDistributionPoints)+len(silent.OCSPServer) != 0 {
		t.Errorf("%q %q", silent.CRLDistributionPoints, silent.OCSPServer)
	}
}

func TestOCSPRate(t *testing.T) {
	t.Parallel()
	p := withThirdParty(t, server.Config{OCSPPerMinute: 2})
	tryLater := []byte{0x30, 0x03, 0x0A, 0x01, 0x03}
	for n := range 3 {
		// An empty element of the path is the client's business, not the mux's.
		status, _, body := p.fetch(t, "/ocsp//AAA")
		if n < 2 && status != http.StatusOK && status != http.StatusBadRequest || bytes.Equal(body, tryLater) != (n == 2) {
			t.Errorf("request %d: %d %x", n, status, body)
		}
	}
}

// The stock tools: openssl crl, openssl verify and openssl ocsp.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl: ", err)
	}
	p := withThirdParty(t, server.Config{})
	gone := p.leaf(t, device, "gone.pem")
	p.leaf(t, other, "kept.pem")
	p.leaf(t, relay, "r1.pem")
	if _, err := p.auth.Block(t.Context(), device, "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	if err := p.revocation.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lists []byte
	for _, kind := range profile.SignedKinds() {
		_, _, der := p.fetch(t, crl.ListPath+kind.String()+".crl")
		p.write(t, kind.String()+".crl", der)
		lists = append(lists, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	p.write(t, "lists.pem", lists)

	verify := func(leaf, intermediate string) []string {
		return []string{"verify", "-CAfile", "root.pem", "-untrusted", intermediate, "-CRLfile", "lists.pem", "-crl_check", leaf}
	}
	ask := func(leaf, issuer string, more ...string) []string {
		return slices.Concat([]string{"ocsp", "-url", p.plain(crl.OCSPPath), "-issuer", issuer}, more,
			[]string{"-cert", leaf, "-CAfile", "root.pem", "-verify_other", issuer})
	}
	for name, c := range map[string]struct {
		args []string
		want []string
		ok   bool
	}{
		"the list": {
			[]string{"crl", "-inform", "DER", "-in", "device.crl", "-CAfile", "device.pem", "-noout", "-text"},
			[]string{"verify OK", "Certificate Hold", strings.ToUpper(gone.SerialNumber.Text(16)), "X509v3 CRL Number"},
			true,
		},
		"the list of another intermediate": {
			[]string{"crl", "-inform", "DER", "-in", "relay.crl", "-CAfile", "device.pem", "-noout"}, []string{"Error getting CRL issuer certificate"}, false,
		},
		"blocked":               {verify("gone.pem", "device.pem"), []string{"certificate revoked"}, false},
		"not blocked":           {verify("kept.pem", "device.pem"), []string{"kept.pem: OK"}, true},
		"of another kind":       {verify("r1.pem", "relay.pem"), []string{"r1.pem: OK"}, true},
		"OCSP, blocked":         {ask("gone.pem", "device.pem"), []string{"Response verify OK", "gone.pem: revoked", "certificateHold"}, true},
		"OCSP, not blocked":     {ask("kept.pem", "device.pem"), []string{"Response verify OK", "kept.pem: good"}, true},
		"OCSP, another kind":    {ask("r1.pem", "relay.pem"), []string{"Response verify OK", "r1.pem: good"}, true},
		"OCSP, without a nonce": {ask("kept.pem", "device.pem", "-no_nonce"), []string{"Response verify OK", "kept.pem: good"}, true},
		"OCSP, SHA-256":         {ask("kept.pem", "device.pem", "-sha256"), []string{"Response verify OK"}, true},
		"OCSP, not issued": {
			[]string{"ocsp", "-url", p.plain(crl.OCSPPath), "-issuer", "device.pem", "-serial", "4711", "-CAfile", "root.pem", "-verify_other", "device.pem"},
			[]string{"Response verify OK", "4711: unknown"},
			true,
		},
		"OCSP, wrong issuer": {ask("kept.pem", "relay.pem"), []string{"unauthorized"}, false},
	} {
		out, err := p.openssl(t, c.args...)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", name, want, out)
			}
		}
		if strings.Contains(out, "WARNING") { // as of a missing nonce
			t.Errorf("%s:\n%s", name, out)
		}
	}

	// Unblocked: it leaves the list and is good again.
	if _, err := p.auth.Unblock(t.Context(), device, "found", "test"); err != nil {
		t.Fatal(err)
	}
	if err := p.revocation.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, der := p.fetch(t, "/crl/device.crl")
	p.write(t, "lists.pem", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	if out, err := p.openssl(t, verify("gone.pem", "device.pem")...); err != nil {
		t.Errorf("unblocked: %v\n%s", err, out)
	}
	if out, err := p.openssl(t, ask("gone.pem", "device.pem")...); err != nil || !strings.Contains(out, "gone.pem: good") {
		t.Errorf("unblocked: %v\n%s", err, out)
	}
}
