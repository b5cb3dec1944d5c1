package server_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// tool skips the test where a program is missing.
func tool(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
}

// stock is what stock clients need of a PKI: files, and addresses by a name.
type stock struct {
	*pki
	f         *pkitest.Factory
	roots     string
	cert, key string // of a box
	secret    string
	dir       string
}

func startStock(t *testing.T) *stock {
	t.Helper()
	s := &stock{f: pkitest.NewFactory(t, "Factory"), dir: t.TempDir()}
	s.pki = startAll(t, "", authority.Config{Limits: authority.Limits{PerHour: -1, PerDay: -1}}, s.f)
	box := s.f.Box(device.Serial(), nil)
	key, err := x509.MarshalPKCS8PrivateKey(box.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	s.roots, s.cert, s.key = filepath.Join(s.dir, "roots.pem"), filepath.Join(s.dir, "box.pem"), filepath.Join(s.dir, "box.key")
	if s.secret, err = s.auth.ResetSecret(t.Context(), other.Serial(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(s.roots, enrol.EncodeCertificates(s.auth.Roots()...), 0o600),
		os.WriteFile(s.cert, enrol.EncodeCertificates(box.Leaf), 0o600),
		os.WriteFile(s.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return s
}

// named is the address with a name that is in the PKI's certificate.
func named(a net.Addr) string { return fmt.Sprintf("localhost:%d", a.(*net.TCPAddr).Port) }

// run runs a program in the directory, and gives what it wrote to both outputs.
func (s *stock) run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The script that the README shows.
func TestCurlAndOpenssl(t *testing.T) {
	t.Parallel()
	tool(t, "sh", "curl", "openssl")
	s := startStock(t)
	script, err := filepath.Abs("testdata/est.sh")
	if err != nil {
		t.Fatal(err)
	}
	get := func(addr net.Addr, path, out string, curl ...string) (*enrol.Credentials, error) {
		t.Helper()
		text, err := s.run(t, "sh", append([]string{script, "https://" + named(addr) + path, s.roots, filepath.Join(s.dir, out)}, curl...)...)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, text)
		}
		return enrol.LoadCredentials(filepath.Join(s.dir, out))
	}
	for _, c := range []struct {
		name, out string
		addr      net.Addr
		path      string
		curl      []string
		want      identity.ID // zero: refused
	}{
		{"secret", "a", s.Addr(), enrol.ESTEnrolPath, []string{"-u", "9999999999:" + s.secret}, other},
		{"secret again", "b", s.Addr(), enrol.ESTEnrolPath, []string{"-u", "9999999999:" + s.secret}, identity.ID{}},
		{"renewal", "c", s.Addr(), enrol.ESTReenrolPath, []string{"--cert", "a/cert.pem", "--key", "a/key.pem"}, other},
		{"renewal of the renewed", "d", s.Addr(), enrol.ESTReenrolPath, []string{"--cert", "c/cert.pem", "--key", "c/key.pem"}, other},
		{"renewal of the old one", "e", s.Addr(), enrol.ESTReenrolPath, []string{"--cert", "a/cert.pem", "--key", "a/key.pem"}, identity.ID{}},
		{"factory certificate", "f", s.FactoryAddr(), enrol.ESTEnrolPath, []string{"--cert", s.cert, "--key", s.key}, device},
		{"factory certificate elsewhere", "g", s.Addr(), enrol.ESTEnrolPath, []string{"--cert", s.cert, "--key", s.key}, identity.ID{}},
		{"recovery", "h", s.RecoveryAddr(), enrol.ESTReenrolPath, []string{"--cert", "f/cert.pem", "--key", "f/key.pem"}, device},
	} {
		creds, err := get(c.addr, c.path, c.out, c.curl...)
		switch {
		case c.want.IsZero() && err == nil:
			t.Errorf("%s: issued for %s", c.name, creds.ID())
		case !c.want.IsZero() && (err != nil || creds.ID() != c.want):
			t.Fatalf("%s: %v", c.name, err)
		}
	}
}

// GlobalSign's client, as stock as one can be had.
func TestStockESTClient(t *testing.T) {
	t.Parallel()
	tool(t, "estclient", "openssl")
	s := startStock(t)
	do := func(what string, addr net.Addr, args ...string) string {
		t.Helper()
		out, err := s.run(t, "estclient", append([]string{what, "-server", named(addr), "-explicit", s.roots}, args...)...)
		if err != nil {
			return "refused: " + out
		}
		return out
	}
	for _, k := range []string{"k1", "k2", "k3"} {
		if out, err := s.run(t, "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", k); err != nil {
			t.Fatal(err, out)
		}
	}
	if out := do("cacerts", s.Addr(), "-out", "cacerts.pem"); out != "" {
		t.Fatal(out)
	}
	if out := do("csrattrs", s.Addr()); !strings.Contains(out, "1.2.840.10045.2.1") {
		t.Errorf("csrattrs: %s", out)
	}
	certs := func(file string) []*x509.Certificate {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		certs, err := enrol.ParseCertificates(text)
		if err != nil {
			t.Fatal(err)
		}
		return certs
	}
	cas := certs("cacerts.pem")
	if len(cas) != 2 || !cas[0].Equal(s.auth.Roots()[0]) {
		t.Errorf("cacerts: %d certificates", len(cas))
	}
	csr := func(key, cn string) string {
		t.Helper()
		if out, err := s.run(t, "estclient", "csr", "-key", key, "-cn", cn, "-out", key+".csr"); err != nil {
			t.Fatal(err, out)
		}
		return key + ".csr"
	}
	// With a factory certificate; then again with what came of it.
	if out := do("enroll", s.FactoryAddr(), "-csr", csr("k1", "0123456789"), "-certs", s.cert, "-key", s.key, "-out", "c1"); out != "" {
		t.Fatal(out)
	}
	if id, err := identity.FromCert(certs("c1")[0]); err != nil || id != device {
		t.Errorf("factory certificate: %v, %v", id, err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "c1"))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "chain"), append(text, enrol.EncodeCertificates(s.deviceIssuer())...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	// It wants the same names in the request (RFC 7030 §4.2.2).
	if out, err := s.run(t, "openssl", "req", "-new", "-key", "k2", "-subj", "/O=COMtrexx cloud/CN=0123456789/serialNumber=0123456789", "-addext",
		"subjectAltName=URI:"+device.String()+",DNS:"+device.DNSName(), "-out", "k2.csr"); err != nil {
		t.Fatal(err, out)
	}
	if out := do("reenroll", s.Addr(), "-csr", "k2.csr", "-certs", "chain", "-key", "k1", "-out", "c2"); out != "" {
		t.Fatal(out)
	}
	if id, err := identity.FromCert(certs("c2")[0]); err != nil || id != device {
		t.Errorf("renewed: %v, %v", id, err)
	}
	// With a secret: once, and again only for the key that had it.
	withSecret := func(csr, out string) string {
		return do("enroll", s.Addr(), "-csr", csr, "-user", "9999999999", "-pass", s.secret, "-out", out)
	}
	first := csr("k3", "9999999999")
	if out := withSecret(first, "c3"); out != "" {
		t.Fatal(out)
	}
	if out := withSecret(first, "c3again"); out != "" {
		t.Errorf("the same key again: %s", out)
	}
	if out := withSecret(csr("k2", "9999999999"), "c4"); !strings.Contains(out, "refused") || !strings.Contains(out, "secret") {
		t.Errorf("the secret with another key: %s", out)
	}
}
