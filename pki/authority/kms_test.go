package authority

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.step.sm/crypto/kms/apiv1"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// The files are the key management system called softkms.
func TestSoftKMS(t *testing.T) {
	t.Parallel()
	cfg := Config{StateDir: t.TempDir(), PlainKeys: true, KMS: "softkms:"}
	if _, err := Init(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "device.key")); err != nil {
		t.Error(err)
	}
	a := open(t, cfg)
	installed(t, a, cfg, "device")
	if i := issuerOf(a, enrolled(t, a, device).Leaf()); i.Generation != 2 {
		t.Errorf("issued by generation %d", i.Generation)
	}
}

func TestKMSConfig(t *testing.T) {
	t.Parallel()
	for kms, c := range map[string]struct {
		key    string
		scheme apiv1.Type
		want   string
	}{
		"":                    {},
		"softkms:":            {},
		"pkcs11:token=pki":    {scheme: apiv1.PKCS11, want: "built without pkcs11"},
		"awskms:region=x":     {scheme: apiv1.AmazonKMS, want: "built without awskms"},
		"azurekms:vault=x":    {scheme: apiv1.AzureKMS, want: "built without azurekms"},
		"cloudkms:":           {scheme: apiv1.CloudKMS, want: "built without cloudkms"},
		"yubikey:":            {want: "URI of no key management system"},
		"/var/lib/pki/keys":   {want: "URI of no key management system"},
		"softkms-but-not:yes": {want: "URI of no key management system"},
	} {
		if _, linked := apiv1.LoadKeyManagerNewFunc(c.scheme); c.scheme != "" && linked {
			continue // this test was built with it
		}
		err := Config{StateDir: t.TempDir(), KMS: kms, KMSKey: c.key}.Validate()
		key, ok := errors.AsType[*configs.KeyError](err)
		if (err == nil) != (c.want == "") || (err != nil && (!ok || !strings.Contains(err.Error(), c.want))) {
			t.Errorf("%q: %v, want %q", kms, err, c.want)
		}
		if c.scheme != "" && (key == nil || !strings.Contains(key.Hint, "-tags "+string(c.scheme))) {
			t.Errorf("%q: the error does not say what to do: %+v", kms, key)
		}
	}
}

// A key that is elsewhere is not replaced by one in a file.
func TestKeyElsewhere(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	if err := os.WriteFile(filepath.Join(dir, "device.kms"), []byte("pkcs11:id=01;object=device\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := New(Config{StateDir: dir, PlainKeys: true}); !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), "authority.kms") {
		t.Errorf("%v, %v", a, err)
	}
}
