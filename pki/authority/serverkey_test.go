package authority

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

func TestServerIssuer(t *testing.T) {
	t.Parallel()
	cfg := Config{StateDir: stateDir(t), PlainKeys: true}
	a := open(t, cfg)
	issuer, err := a.ServerIssuer()
	if err != nil {
		t.Fatal(err)
	}
	if !profile.IsServerAuthority(issuer.Certificate, td) || !enrol.SameKey(issuer.Key.Public(), issuer.Certificate.PublicKey) {
		t.Errorf("%+v", issuer)
	}
	if want := []string{string(td), "localhost"}; !slices.Equal(issuer.Certificate.PermittedDNSDomains, want) {
		t.Errorf("permits %q, want %q", issuer.Certificate.PermittedDNSDomains, want)
	}
	if _, err := InitServer(cfg); !errors.Is(err, ErrInitialised) {
		t.Errorf("made twice: %v", err)
	}
}

func TestServerIssuerWithAnotherKey(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	key, err := os.ReadFile(filepath.Join(dir, "relay.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := New(Config{StateDir: dir, PlainKeys: true}); !errors.Is(err, ErrKeys) {
		t.Errorf("opened %v, %v", a, err)
	}
}

// A state directory from before gets the intermediate, and keeps everything else.
func TestInitServer(t *testing.T) {
	t.Parallel()
	cfg := Config{StateDir: stateDir(t), PlainKeys: true, ServerNames: []string{"example.com", "10.0.0.0/8"}}
	for _, name := range []string{"server.pem", "server.key"} {
		if err := os.Remove(filepath.Join(cfg.StateDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal("without it:", err)
	}
	if _, err := a.ServerIssuer(); !errors.Is(err, ErrNoServerAuthority) {
		t.Errorf("nothing there: %v", err)
	}
	fingerprint, err := InitServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := a.Reload(t.Context()); err != nil || !changed {
		t.Errorf("reload: %v, %v", changed, err)
	}
	issuer, err := a.ServerIssuer()
	if err != nil || enrol.Fingerprint(issuer.Certificate) != fingerprint {
		t.Fatalf("%v", err)
	}
	if c := issuer.Certificate; !slices.Equal(c.PermittedDNSDomains, []string{"example.com"}) || c.PermittedIPRanges[0].String() != "10.0.0.0/8" {
		t.Errorf("permits %v, %v", c.PermittedDNSDomains, c.PermittedIPRanges)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Roots()[0]) // the rest is as it was
	if _, err := issuer.Certificate.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	cfg.StateDir = t.TempDir()
	if _, err := InitServer(cfg); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("empty directory: %v", err)
	}
}
