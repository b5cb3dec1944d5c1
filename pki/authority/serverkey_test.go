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
	issuer, err := LoadServerIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !profile.IsServerAuthority(issuer.Cert, td) || !enrol.SameKey(issuer.Key.Public(), issuer.Cert.PublicKey) || len(issuer.Roots) != 1 {
		t.Errorf("%+v", issuer)
	}
	if want := []string{string(td), "localhost"}; !slices.Equal(issuer.Cert.PermittedDNSDomains, want) {
		t.Errorf("permits %q, want %q", issuer.Cert.PermittedDNSDomains, want)
	}
	if _, err := InitServer(cfg); !errors.Is(err, ErrInitialised) {
		t.Errorf("made twice: %v", err)
	}

	wrong := cfg
	wrong.TrustDomain = "other.test"
	if _, err := LoadServerIssuer(wrong); !errors.Is(err, ErrKeys) {
		t.Errorf("another trust domain: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(cfg.StateDir, "relay.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.StateDir, serverKeyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadServerIssuer(cfg); !errors.Is(err, ErrKeys) {
		t.Errorf("another key: %v", err)
	}
	if _, err := LoadServerIssuer(Config{StateDir: t.TempDir()}); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("empty directory: %v", err)
	}
}

// A state directory from before gets the intermediate, and keeps everything else.
func TestInitServer(t *testing.T) {
	t.Parallel()
	cfg := Config{StateDir: stateDir(t), PlainKeys: true, ServerNames: []string{"example.com", "10.0.0.0/8"}}
	for _, name := range []string{serverCertFile, serverKeyFile} {
		if err := os.Remove(filepath.Join(cfg.StateDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadServerIssuer(cfg); !errors.Is(err, ErrNoServerAuthority) {
		t.Errorf("nothing there: %v", err)
	}
	fingerprint, err := InitServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := LoadServerIssuer(cfg)
	if err != nil || enrol.Fingerprint(issuer.Cert) != fingerprint {
		t.Fatalf("%v", err)
	}
	if !slices.Equal(issuer.Cert.PermittedDNSDomains, []string{"example.com"}) || issuer.Cert.PermittedIPRanges[0].String() != "10.0.0.0/8" {
		t.Errorf("permits %v, %v", issuer.Cert.PermittedDNSDomains, issuer.Cert.PermittedIPRanges)
	}
	pool := x509.NewCertPool()
	pool.AddCert(open(t, cfg).Roots()[0]) // the rest is as it was
	if _, err := issuer.Cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		t.Error(err)
	}
	cfg.StateDir = t.TempDir()
	if _, err := InitServer(cfg); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("empty directory: %v", err)
	}
}
