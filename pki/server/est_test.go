package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/est"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

const day = 24 * time.Hour

// startAll runs a PKI with all listeners, a manufacturer, and two devices on its
// list.
func startAll(t *testing.T, dir string, acfg authority.Config, f *pkitest.Factory) *pki {
	t.Helper()
	root := filepath.Join(t.TempDir(), "factory.pem")
	if err := os.WriteFile(root, enrol.EncodeCertificates(f.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	acfg.FactoryRoots = append(acfg.FactoryRoots, root)
	p := start(t, dir, acfg, server.Config{FactoryListen: "127.0.0.1:0", RecoveryListen: "127.0.0.1:0", EnrolPerMinute: -1})
	if _, err := p.auth.ImportDevices(t.Context(), strings.NewReader("serial\n0123456789\n9999999999\n"), "test", nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// estCall is one EST call.
type estCall struct {
	addr           net.Addr
	tls            *tls.Config
	path           string
	csr            []byte // DER; nil makes a GET
	user, password string
	accept         string
}

type estAnswer struct {
	status int
	header http.Header
	body   string
}

// do gives an error where the connection or the handshake fails.
func (c estCall) do(t *testing.T) (estAnswer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	method, body := http.MethodGet, ""
	if c.csr != nil {
		method, body = http.MethodPost, base64.StdEncoding.EncodeToString(c.csr)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.addr.String()+c.path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", est.MediaTypePKCS10)
	if c.accept != "" {
		req.Header.Set("Accept", c.accept)
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: c.tls, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return estAnswer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return estAnswer{resp.StatusCode, resp.Header, string(text)}, err
}

// certs reads a certs-only answer.
func (a estAnswer) certs(t *testing.T) []*x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(a.body)
	if err != nil {
		t.Fatalf("%v: %d %.200s", err, a.status, a.body)
	}
	p7, err := pkcs7.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return p7.Certificates
}

// with is a client that shows a certificate, any.
func (p *pki) with(cert tls.Certificate) *tls.Config {
	cfg := p.anonymous()
	// Not Certificates: crypto/tls would keep one back that the server does not
	// ask for.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return cfg
}

func csrDER(t *testing.T, tmpl x509.CertificateRequest, key any) []byte {
	t.Helper()
	if key == nil {
		key = pkitest.NewKey()
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (p *pki) count(t *testing.T) int {
	t.Helper()
	all, err := p.auth.Certificates(t.Context(), identity.ID{})
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func (p *pki) lastEntry(t *testing.T) (last audit.Entry) {
	t.Helper()
	for e, err := range p.auth.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		last = e
	}
	return last
}

func TestFactoryEnrolment(t *testing.T) {
	t.Parallel()
	f := pkitest.NewFactory(t, "Factory")
	p := startAll(t, "", authority.Config{Limits: authority.Limits{PerHour: -1, PerDay: -1}}, f)
	box := f.Box(device.Serial(), nil)
	enroll := func(cert tls.Certificate, csr []byte) (estAnswer, error) {
		return estCall{addr: p.FactoryAddr(), tls: p.with(cert), path: enrol.ESTEnrolPath, csr: csr}.do(t)
	}

	// The certificate, field by field.
	key := pkitest.NewKey()
	got, err := enroll(box, csrDER(t, x509.CertificateRequest{}, key))
	if err != nil || got.status != http.StatusOK || got.header.Get("Content-Type") != est.MediaTypeIssued {
		t.Fatalf("%+v, %v", got, err)
	}
	certs := got.certs(t)
	if len(certs) != 1 {
		t.Fatalf("%d certificates, want the issued one only", len(certs))
	}
	leaf := certs[0]
	life := time.Until(leaf.NotAfter)
	if id, err := identity.FromCert(leaf); err != nil || id != device ||
		leaf.Subject.String() != "SERIALNUMBER=0123456789,CN=0123456789,O=COMtrexx cloud" ||
		leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.UnhandledCriticalExtensions) != 0 ||
		!slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}) ||
		!slices.Equal(leaf.DNSNames, []string{device.DNSName()}) || len(leaf.IPAddresses)+len(leaf.EmailAddresses) != 0 ||
		life < 29*day || life > 30*day || !enrol.SameKey(leaf.PublicKey, key.Public()) ||
		leaf.CheckSignatureFrom(p.deviceIssuer()) != nil {
		t.Errorf("certificate %s, %v", leaf.Subject, err)
	}
	if e := p.lastEntry(t); e.Event != audit.EventIssue || e.Method != authority.MethodFactory || e.Identity != device.Path() {
		t.Errorf("audit log: %+v", e)
	}

	rsaSmall, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	forged := csrDER(t, x509.CertificateRequest{}, nil)
	forged[len(forged)-1] ^= 1
	name := func(cn, sn string) x509.CertificateRequest {
		return x509.CertificateRequest{Subject: pkix.Name{CommonName: cn, SerialNumber: sn}}
	}
	for title, c := range map[string]struct {
		box    tls.Certificate
		csr    []byte
		status int
	}{
		"its own names":          {box, csrDER(t, name("0123456789", "0123456789"), nil), 200},
		"no names":               {box, csrDER(t, x509.CertificateRequest{}, nil), 200},
		"another serialNumber":   {box, csrDER(t, name("", "9999999999"), nil), 403},
		"without a leading zero": {box, csrDER(t, name("", "123456789"), nil), 403},
		"another CN":             {box, csrDER(t, name("9999999999", ""), nil), 403},
		"a DNS name more":        {box, csrDER(t, x509.CertificateRequest{DNSNames: []string{device.DNSName(), "x.example"}}, nil), 403},
		"an IP address":          {box, csrDER(t, x509.CertificateRequest{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}, nil), 403},
		"another URI":            {box, csrDER(t, x509.CertificateRequest{URIs: uri(service.String())}, nil), 403},
		"an e-mail address":      {box, csrDER(t, x509.CertificateRequest{EmailAddresses: []string{"a@example.com"}}, nil), 403},
		"a bad signature":        {box, forged, 400},
		"RSA of 1024 bits":       {box, csrDER(t, x509.CertificateRequest{SignatureAlgorithm: x509.SHA256WithRSA}, rsaSmall), 400},
		"P-224":                  {box, csrDER(t, x509.CertificateRequest{}, p224), 400},
		"a serial nobody knows":  {f.Box("5555555555", nil), csrDER(t, x509.CertificateRequest{}, nil), 403},
		"a second box":           {f.Box(device.Serial(), nil), csrDER(t, x509.CertificateRequest{}, nil), 409},
	} {
		before := p.count(t)
		got, err := enroll(c.box, c.csr)
		if err != nil || got.status != c.status {
			t.Errorf("%s: %d %q %v, want %d", title, got.status, got.body, err, c.status)
		}
		issued := p.count(t) - before
		if want := map[bool]int{true: 1}[c.status == 200]; issued != want {
			t.Errorf("%s: %d certificates in the store", title, issued)
		}
		if e := p.lastEntry(t); c.status == 403 && e.Event != audit.EventRefuse || c.status == 409 && e.Event != audit.EventConflict {
			t.Errorf("%s: audit log: %+v", title, e)
		}
	}
	if _, err := p.auth.Retire(t.Context(), device.Serial(), "scrapped", "test"); err != nil {
		t.Fatal(err)
	}
	if got, err := enroll(box, csrDER(t, x509.CertificateRequest{}, nil)); err != nil || got.status != http.StatusForbidden {
		t.Errorf("retired: %+v, %v", got, err)
	}
}

// selfSigned is a client certificate that says what it likes.
func selfSigned(t *testing.T, like *x509.Certificate) tls.Certificate {
	t.Helper()
	tmpl := *like
	key := pkitest.NewKey()
	tmpl.SignatureAlgorithm, tmpl.PublicKey = x509.UnknownSignatureAlgorithm, key.Public()
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Each listener takes its own sort of certificate; every other one, whatever it says
// of itself, ends in the handshake and leaves nothing in the store.
func TestListenersTakeTheirOwn(t *testing.T) {
	t.Parallel()
	f, foreign := pkitest.NewFactory(t, "Factory"), pkitest.NewFactory(t, "Factory")
	past := pkitest.NewFactory(t, "Old factory", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day)
	})
	file := filepath.Join(t.TempDir(), "old.pem")
	if err := os.WriteFile(file, enrol.EncodeCertificates(past.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startAll(t, "", authority.Config{FactoryRoots: []string{file}, Limits: authority.Limits{PerHour: -1, PerDay: -1}}, f)
	box, own := f.Box(device.Serial(), nil), p.enrolled(t, other).Certificate()
	certs := map[string]tls.Certificate{
		"own":     own,
		"factory": box,
		"factory, for servers": f.Box(device.Serial(), func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}),
		"factory, expired": f.Box(device.Serial(), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"factory, not yet valid": f.Box(device.Serial(), func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(day)
		}),
		"factory, no serial":       f.Box("", nil),
		"factory, nine digits":     f.Box("123456789", nil),
		"foreign factory":          foreign.Box(device.Serial(), nil),
		"expired factory CA":       past.Box(device.Serial(), nil),
		"self-signed, like ours":   selfSigned(t, own.Leaf),
		"self-signed, like a box":  selfSigned(t, box.Leaf),
		"self-signed, as our root": selfSigned(t, p.auth.Roots()[0]),
	}
	for _, l := range []struct {
		name string
		addr net.Addr
		path string
		good string
	}{
		{"public", p.Addr(), enrol.ESTReenrolPath, "own"},
		{"public, renew", p.Addr(), enrol.RenewPath, ""}, // own gets 400: not JSON
		{"factory", p.FactoryAddr(), enrol.ESTEnrolPath, "factory"},
		{"recovery", p.RecoveryAddr(), enrol.ESTReenrolPath, "own"},
	} {
		for name, cert := range certs {
			before := p.count(t)
			got, err := estCall{addr: l.addr, tls: p.with(cert), path: l.path, csr: csrDER(t, x509.CertificateRequest{}, nil)}.do(t)
			issued := p.count(t) - before
			switch {
			case name == l.good:
				if err != nil || got.status != http.StatusOK || issued != 1 {
					t.Errorf("%s with %s: %+v, %v, issued %d", l.name, name, got, err, issued)
				}
			case name == "own" && l.good == "":
				if err != nil || got.status != http.StatusBadRequest {
					t.Errorf("%s with %s: %+v, %v", l.name, name, got, err)
				}
			case err == nil || issued != 0:
				t.Errorf("%s with %s: answered %+v, issued %d", l.name, name, got, issued)
			}
		}
	}
	// Nobody at all.
	for name, addr := range map[string]net.Addr{"factory": p.FactoryAddr(), "recovery": p.RecoveryAddr()} {
		if got, err := (estCall{addr: addr, tls: p.anonymous(), path: enrol.ESTCACertsPath}).do(t); err == nil {
			t.Errorf("%s without a certificate: %+v", name, got)
		}
	}
	if got, err := (estCall{addr: p.Addr(), tls: p.anonymous(), path: enrol.ESTReenrolPath, csr: csrDER(t, x509.CertificateRequest{}, nil)}).do(t); err != nil || got.status != http.StatusForbidden {
		t.Errorf("simplereenroll by nobody: %+v, %v", got, err)
	}
	// A way that belongs to another listener.
	for _, c := range []estCall{
		{addr: p.FactoryAddr(), tls: p.with(box), path: enrol.ESTReenrolPath},
		{addr: p.FactoryAddr(), tls: p.with(box), path: enrol.RenewPath},
		{addr: p.RecoveryAddr(), tls: p.with(own), path: enrol.ESTEnrolPath},
		{addr: p.RecoveryAddr(), tls: p.with(own), path: enrol.ConfirmPath},
	} {
		c.csr = csrDER(t, x509.CertificateRequest{}, nil)
		if got, err := c.do(t); err != nil || got.status != http.StatusNotFound {
			t.Errorf("%s: %+v, %v", c.path, got, err)
		}
	}
}

func TestESTGets(t *testing.T) {
	t.Parallel()
	f := pkitest.NewFactory(t, "Factory")
	p := startAll(t, "", authority.Config{}, f)
	for name, c := range map[string]estCall{
		"public":   {addr: p.Addr(), tls: p.anonymous()},
		"factory":  {addr: p.FactoryAddr(), tls: p.with(f.Box(device.Serial(), nil))},
		"recovery": {addr: p.RecoveryAddr(), tls: p.with(p.enrolled(t, device).Certificate())},
	} {
		c.path = enrol.ESTCACertsPath
		got, err := c.do(t)
		if err != nil || got.status != http.StatusOK || got.header.Get("Content-Type") != est.MediaTypeCerts {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		certs := got.certs(t)
		if len(certs) != 2 || !certs[0].Equal(p.auth.Roots()[0]) || !certs[1].Equal(p.deviceIssuer()) {
			t.Errorf("%s: %d certificates", name, len(certs))
		}
		c.path = enrol.ESTCSRAttrsPath
		if got, err = c.do(t); err != nil || got.status != http.StatusOK || got.header.Get("Content-Type") != est.MediaTypeCSRAttrs {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestSecretEnrolment(t *testing.T) {
	t.Parallel()
	p := startAll(t, "", authority.Config{}, pkitest.NewFactory(t, "Factory"))
	secret, err := p.auth.ResetSecret(t.Context(), device.Serial(), "test")
	if err != nil {
		t.Fatal(err)
	}
	enroll := func(user, password string) estAnswer {
		t.Helper()
		got, err := estCall{
			addr: p.Addr(), tls: p.anonymous(), path: enrol.ESTEnrolPath, csr: csrDER(t, x509.CertificateRequest{}, nil),
			user: user, password: password, accept: enrol.ProblemMediaType,
		}.do(t)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	before := p.count(t)
	for name, got := range map[string]estAnswer{
		"nobody": enroll("", ""), "no serial": enroll("123456789", secret), "unknown": enroll("5555555555", secret),
		"wrong": enroll("0123456789", "wrong"), "another's": enroll("9999999999", secret),
	} {
		if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if n := p.count(t) - before; n != 0 {
		t.Errorf("%d certificates", n)
	}
	got := enroll("0123456789", strings.ToLower(secret))
	if got.status != http.StatusOK {
		t.Fatalf("the right secret: %+v", got)
	}
	if id, err := identity.FromCert(got.certs(t)[0]); err != nil || id != device {
		t.Errorf("issued for %s, %v", id, err)
	}
	if got := enroll("0123456789", secret); got.status != http.StatusUnauthorized {
		t.Errorf("again: %+v", got)
	}
	// The sixth wrong try within a quarter of an hour.
	for i := range 5 {
		got = enroll("9999999999", "wrong")
		if want := map[bool]int{true: 401, false: 429}[i < 4]; got.status != want { // one try was made above
			t.Errorf("try %d: %+v, want %d", i+2, got, want)
		}
	}
	if got = enroll("9999999999", "wrong"); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("the sixth try: %+v", got)
	}
	var problem enrol.Problem
	if err := json.Unmarshal([]byte(got.body), &problem); err != nil || problem.Status != http.StatusTooManyRequests {
		t.Errorf("%q, %v", got.body, err)
	}
}

func TestReenroll(t *testing.T) {
	t.Parallel()
	p := startAll(t, "", authority.Config{}, pkitest.NewFactory(t, "Factory"))
	first := p.enrolled(t, device)
	again := func(c tls.Certificate, key any) estAnswer {
		t.Helper()
		got, err := estCall{addr: p.Addr(), tls: p.with(c), path: enrol.ESTReenrolPath, csr: csrDER(t, x509.CertificateRequest{}, key)}.do(t)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := again(first.Certificate(), first.Certificate().PrivateKey); got.status != http.StatusForbidden || !strings.Contains(got.body, "not new") {
		t.Errorf("the old key: %+v", got)
	}
	key := pkitest.NewKey()
	got := again(first.Certificate(), key)
	if got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	chain := append(got.certs(t), p.deviceIssuer())
	second := tls.Certificate{Certificate: [][]byte{chain[0].Raw, chain[1].Raw}, PrivateKey: key}
	// An answer that was lost: the first one is still good.
	if got = again(first.Certificate(), nil); got.status != http.StatusOK {
		t.Errorf("the first again: %+v", got)
	}
	// The second was replaced by that; it is not the newest, nor confirmed.
	if got = again(second, nil); got.status != http.StatusConflict {
		t.Errorf("the one that was replaced: %+v", got)
	}
	if e := p.lastEntry(t); e.Event != audit.EventClone {
		t.Errorf("audit log: %+v", e)
	}
	if _, err := p.auth.Block(t.Context(), device, "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	if got = again(first.Certificate(), nil); got.status != http.StatusForbidden {
		t.Errorf("blocked: %+v", got)
	}
}

// A device that was switched off for long. The clock is the bubble's; it stands
// still while somebody serves, so the PKI is stopped in between.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		expired time.Duration
		before  func(*testing.T, *pki)
		ok      bool
	}{
		{"a day", day, nil, true},
		{"399 days", 399 * day, nil, true},
		{"401 days", 401 * day, nil, false},
		{"a day, blocked", day, func(t *testing.T, p *pki) {
			if _, err := p.auth.Block(t.Context(), device, "stolen", "test"); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a day, enrolled anew meanwhile", day, func(t *testing.T, p *pki) { p.enrolled(t, device) }, false},
		{"valid", -day, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := pkitest.NewFactory(t, "Factory")
				p := startAll(t, "", authority.Config{}, f)
				old := p.enrolled(t, device)
				p.stop()
				time.Sleep(time.Until(old.Leaf().NotAfter) + c.expired)
				p = startAll(t, p.dir, authority.Config{}, f)
				defer p.stop()
				if c.before != nil {
					c.before(t, p)
				}
				csr, before := csrDER(t, x509.CertificateRequest{}, nil), p.count(t)
				if c.expired > 0 {
					// The public listener does not look away from it.
					if got, err := (estCall{addr: p.Addr(), tls: p.with(old.Certificate()), path: enrol.ESTReenrolPath, csr: csr}).do(t); err == nil {
						t.Errorf("the public listener: %+v", got)
					}
				}
				got, err := estCall{addr: p.RecoveryAddr(), tls: p.with(old.Certificate()), path: enrol.ESTReenrolPath, csr: csr}.do(t)
				ok := err == nil && got.status == http.StatusOK
				if issued := p.count(t) - before; ok != c.ok || issued != map[bool]int{true: 1}[ok] {
					t.Errorf("%+v, %v, issued %d", got, err, issued)
				}
				if ok && time.Until(got.certs(t)[0].NotAfter) < 29*day {
					t.Errorf("valid until %s", got.certs(t)[0].NotAfter)
				}
			})
		})
	}
}

// Signed by our key, but not in our store; and by another kind's authority.
func TestRecoveryOfForgeries(t *testing.T) {
	t.Parallel()
	p := startAll(t, "", authority.Config{}, pkitest.NewFactory(t, "Factory"))
	try := func(c *enrol.Credentials) (estAnswer, error) {
		return estCall{addr: p.RecoveryAddr(), tls: p.with(c.Certificate()), path: enrol.ESTReenrolPath, csr: csrDER(t, x509.CertificateRequest{}, nil)}.do(t)
	}
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	if got, err := try(p.forge(t, identity.KindDevice, device, expired)); err != nil || got.status != http.StatusForbidden {
		t.Errorf("not in the store: %+v, %v", got, err)
	}
	for name, c := range map[string]*enrol.Credentials{
		"of another authority": p.forge(t, identity.KindService, device, expired),
		"a service":            p.issued(t, service),
		"not yet valid":        p.forge(t, identity.KindDevice, device, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
	} {
		if got, err := try(c); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Sessions resume on the public listener only.
func TestTickets(t *testing.T) {
	t.Parallel()
	f := pkitest.NewFactory(t, "Factory")
	p := startAll(t, "", authority.Config{}, f)
	own := p.with(p.enrolled(t, device).Certificate())
	for _, c := range []struct {
		name    string
		addr    net.Addr
		cfg     *tls.Config
		resumes bool
	}{
		{"public", p.Addr(), own, true},
		{"factory", p.FactoryAddr(), p.with(f.Box(device.Serial(), nil)), false},
		{"recovery", p.RecoveryAddr(), own, false},
	} {
		resumed := false
		c.cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		c.cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			resumed = cs.DidResume
			return nil
		}
		for range 2 {
			if got, err := (estCall{addr: c.addr, tls: c.cfg, path: enrol.ESTCACertsPath}).do(t); err != nil || got.status != http.StatusOK {
				t.Fatalf("%s: %+v, %v", c.name, got, err)
			}
		}
		if resumed != c.resumes {
			t.Errorf("%s: resumed %v", c.name, resumed)
		}
	}
}

func TestFactoryBlocklist(t *testing.T) {
	t.Parallel()
	f := pkitest.NewFactory(t, "Factory")
	list := filepath.Join(t.TempDir(), "blocks")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nothing yet\n")
	p := startAll(t, "", authority.Config{FactoryBlocklist: list, Limits: authority.Limits{PerHour: -1, PerDay: -1}}, f)
	box := f.Box(device.Serial(), nil)
	serial := box.Leaf.SerialNumber.Text(16)
	for _, c := range []struct {
		name, text string
		status     int
	}{
		{"empty", "\n\n", 200},
		{"by fingerprint", "fingerprint " + strings.ToUpper(enrol.Fingerprint(box.Leaf)) + " # stolen\n", 403},
		{"another's", "fingerprint " + strings.Repeat("0", 64) + "\ncertificate ff\ndevice 9999999999\n", 200},
		{"by number", "certificate 00" + serial + "\n", 403},
		{"broken: the one before counts", "certificate 00" + serial + "\nfoo\n", 403},
		{"by device", "device 0123456789\n\n", 403},
	} {
		write(c.text)
		got, err := estCall{addr: p.FactoryAddr(), tls: p.with(box), path: enrol.ESTEnrolPath, csr: csrDER(t, x509.CertificateRequest{}, nil)}.do(t)
		if err != nil || got.status != c.status {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestFactoryConfig(t *testing.T) {
	t.Parallel()
	f := pkitest.NewFactory(t, "Factory")
	dir := filepath.Join(t.TempDir(), "s")
	if _, err := authority.Init(authority.Config{StateDir: dir, PlainKeys: true}); err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("factory.pem", enrol.EncodeCertificates(f.Root))
	for name, c := range map[string]struct {
		roots  []string
		blocks string
		want   string
	}{
		"good":                 {[]string{good}, "", ""},
		"no roots":             {nil, "", "authority.factory_roots"},
		"a file that is not":   {[]string{good, good + "x"}, "", "no such file"},
		"no certificate in it": {[]string{write("x.pem", []byte("x"))}, "", "x.pem: not a certificate bundle"},
		"our own root":         {[]string{good, filepath.Join(dir, "roots.pem")}, "", "would then pass for a factory's"},
		"our own intermediate": {[]string{filepath.Join(dir, "device.pem")}, "", "would then pass for a factory's"},
		"no block list":        {[]string{good}, good + "x", "no such file"},
		"a bad block list":     {[]string{good}, write("b", []byte("device 123456789")), "line 1: device:"},
	} {
		a, err := authority.New(authority.Config{StateDir: dir, PlainKeys: true, FactoryRoots: c.roots, FactoryBlocklist: c.blocks})
		if err != nil {
			t.Fatal(err)
		}
		_, err = server.New(server.Config{Authority: a, StateDir: dir, FactoryListen: "127.0.0.1:0"})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}
