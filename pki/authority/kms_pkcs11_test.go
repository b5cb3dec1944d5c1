//go:build pkcs11 && cgo

package authority

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// softHSM makes a token and gives the URI of its key management system.
func softHSM(t *testing.T) string {
	t.Helper()
	module := ""
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			module = found[0]
		}
	}
	util, err := exec.LookPath("softhsm2-util")
	if err != nil || module == "" {
		t.Skip("softhsm2 is not installed")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	pin := filepath.Join(dir, "pin")
	for path, text := range map[string]string{conf: "directories.tokendir = " + dir + "\nlog.level = ERROR\n", pin: "1234"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.CommandContext(t.Context(), util, "--init-token", "--free", "--label", "pki", "--pin", "1234", "--so-pin", "4321").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return "pkcs11:module-path=" + module + ";token=pki?pin-source=" + pin
}

// Every key of a certificate is in the token and none is on the disk: of the root, of
// the intermediates, and of their next generation. The key of the audit log is on the
// disk, encrypted.
func TestPKCS11(t *testing.T) {
	cfg := Config{StateDir: t.TempDir(), KMS: softHSM(t)}
	made, err := Init(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !made.KMS || !made.NewPassphrase || !strings.HasSuffix(made.RootKey, "root.kms") {
		t.Errorf("made %+v", made)
	}
	a := open(t, cfg)
	first := enrolled(t, a, device)
	if _, _, err := RenewIntermediates(cfg, "device"); err != nil {
		t.Fatal(err)
	}
	if changed, err := a.Reload(t.Context()); err != nil || !changed {
		t.Fatalf("reload: %v, %v", changed, err)
	}
	second, err := renew(t, a, first)
	if err != nil {
		t.Fatal(err)
	}
	if i := issuerOf(a, second.Leaf()); i.Generation != 2 {
		t.Errorf("renewed by generation %d", i.Generation)
	}
	entries, err := os.ReadDir(cfg.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(cfg.StateDir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		switch isKey := strings.Contains(string(text), "PRIVATE KEY"); {
		case e.Name() == logKeyFile:
			if !strings.Contains(string(text), "BEGIN ENCRYPTED PRIVATE KEY") {
				t.Errorf("%s is not encrypted", e.Name())
			}
		case isKey:
			t.Errorf("%s holds a key", e.Name())
		}
		if strings.HasSuffix(e.Name(), ".kms") {
			names++
		}
	}
	if names != 6 { // root, device twice, service, relay, server
		t.Errorf("%d keys are in the token, want 6", names)
	}
}
