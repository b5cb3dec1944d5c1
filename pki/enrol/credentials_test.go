package enrol_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestNewCredentialsRefuses(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	good := ca.Issue(device, pkitest.Options{})
	roots := []*x509.Certificate{ca.Root}
	otherKey := good
	otherKey.PrivateKey = pkitest.NewKey()
	for name, make := range map[string]func() (*enrol.Credentials, error){
		"no certificate": func() (*enrol.Credentials, error) { return enrol.NewCredentials(tls.Certificate{}, roots) },
		"no key": func() (*enrol.Credentials, error) {
			return enrol.NewCredentials(tls.Certificate{Certificate: good.Certificate}, roots)
		},
		"another key": func() (*enrol.Credentials, error) { return enrol.NewCredentials(otherKey, roots) },
		"no root":     func() (*enrol.Credentials, error) { return enrol.NewCredentials(good, nil) },
		"garbage": func() (*enrol.Credentials, error) {
			return enrol.NewCredentials(tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: good.PrivateKey}, roots)
		},
		"no identity": func() (*enrol.Credentials, error) {
			return enrol.NewCredentials(ca.Issue(device, pkitest.Options{Mutate: func(c *x509.Certificate) { c.URIs = nil }}), roots)
		},
	} {
		if _, err := make(); !errors.Is(err, enrol.ErrCredentials) {
			t.Errorf("%s: %v, want %v", name, err, enrol.ErrCredentials)
		}
	}
	if _, err := enrol.NewCredentials(good, roots); err != nil {
		t.Error(err)
	}
}

func TestSwap(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	c := ca.Credentials(device)
	changed, before := c.Changed(), c.Leaf()
	if err := c.Swap(ca.Issue(other, pkitest.Options{}), nil); !errors.Is(err, enrol.ErrCredentials) {
		t.Errorf("swapped for another identity: %v", err)
	}
	select {
	case <-changed:
		t.Error("a refused swap was announced")
	default:
	}
	if c.Leaf() != before {
		t.Error("a refused swap changed the certificate")
	}
	next := ca.Issue(device, pkitest.Options{})
	if err := c.Swap(next, nil); err != nil {
		t.Fatal(err)
	}
	<-changed // hangs, and the test times out, where Swap does not announce
	if !c.Leaf().Equal(next.Leaf) || len(c.Roots()) != 1 {
		t.Error("the swap did not take")
	}
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	ca, dir := pkitest.New(t, td), filepath.Join(t.TempDir(), "deep", "dir")
	if _, err := enrol.LoadCredentials(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v, want %v", err, fs.ErrNotExist)
	}
	for range 3 { // the first save, and two that replace it
		c := ca.Credentials(device)
		if err := c.Save(dir); err != nil {
			t.Fatal(err)
		}
		got, err := enrol.LoadCredentials(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Leaf().Equal(c.Leaf()) || got.ID() != device || !got.Roots()[0].Equal(ca.Root) {
			t.Error("other credentials came back")
		}
		// What curl and openssl open.
		if _, err := tls.LoadX509KeyPair(filepath.Join(dir, enrol.CertFile), filepath.Join(dir, enrol.KeyFile)); err != nil {
			t.Error(err)
		}
	}
	generations, err := filepath.Glob(filepath.Join(dir, "gen-*"))
	if err != nil || len(generations) != 1 {
		t.Errorf("old keys were left behind: %v, %v", generations, err)
	}
	info, err := os.Stat(filepath.Join(dir, enrol.KeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
}

// What a crash in the middle of Save can leave behind must neither be read nor
// stop the next Save.
func TestSaveAfterCrash(t *testing.T) {
	t.Parallel()
	ca, dir := pkitest.New(t, td), t.TempDir()
	old := ca.Credentials(device)
	if err := old.Save(dir); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "gen-half")
	if err := errors.Join(
		os.Mkdir(half, 0o700),
		os.WriteFile(filepath.Join(half, enrol.CertFile), []byte("-----BEGIN"), 0o600),
		os.Symlink("gen-half", filepath.Join(dir, "live.new")),
	); err != nil {
		t.Fatal(err)
	}
	got, err := enrol.LoadCredentials(dir)
	if err != nil || !got.Leaf().Equal(old.Leaf()) {
		t.Fatalf("after the crash: %v", err)
	}
	next := ca.Credentials(device)
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	if got, err = enrol.LoadCredentials(dir); err != nil || !got.Leaf().Equal(next.Leaf()) {
		t.Errorf("after the next save: %v", err)
	}
}

// A reader beside a writer sees whole generations only: a mixed pair would fail
// to load.
func TestLoadDuringSave(t *testing.T) {
	t.Parallel()
	ca, dir := pkitest.New(t, td), t.TempDir()
	sets := []*enrol.Credentials{ca.Credentials(device), ca.Credentials(device)}
	if err := sets[0].Save(dir); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		var err error
		for i := range 50 {
			err = errors.Join(err, sets[i%2].Save(dir))
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			if _, err := enrol.LoadCredentials(dir); err != nil {
				t.Errorf("load during save: %v", err)
			}
		}
	}
}

func TestLoadPlainFiles(t *testing.T) {
	t.Parallel()
	ca, from, dir := pkitest.New(t, td), t.TempDir(), t.TempDir()
	if err := ca.Write(from, device); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{enrol.CertFile, enrol.KeyFile, enrol.RootsFile} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enrol.LoadCredentials(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, enrol.KeyFile), 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := enrol.LoadCredentials(dir); !errors.Is(err, enrol.ErrCredentials) {
		t.Errorf("a key that everybody may read: %v", err)
	}
	next := ca.Credentials(device)
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := enrol.LoadCredentials(dir); err != nil || !got.Leaf().Equal(next.Leaf()) {
		t.Errorf("saving over plain files: %v", err)
	}
}

func FuzzParseCertificates(f *testing.F) {
	ca, err := pkitest.NewCA(td)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ca.RootPEM())
	f.Add(append(ca.RootPEM(), ca.RootPEM()...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		certs, err := enrol.ParseCertificates(text)
		if err != nil {
			return
		}
		again, err := enrol.ParseCertificates(enrol.EncodeCertificates(certs...))
		if err != nil || len(again) != len(certs) {
			t.Errorf("%d certificates came back as %d, %v", len(certs), len(again), err)
		}
	})
}
