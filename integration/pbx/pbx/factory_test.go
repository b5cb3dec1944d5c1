package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

func writeFile(t *testing.T, text []byte, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startPKI starts a real PKI that knows the serial and a manufacturer.
func startPKI(t *testing.T, f *pkitest.Factory) (*authority.Authority, *server.Server) {
	t.Helper()
	dir := t.TempDir()
	cfg := authority.Config{
		StateDir: dir, PlainKeys: true,
		FactoryRoots: []string{writeFile(t, enrol.EncodeCertificates(f.Root), t.TempDir(), "factory.pem")},
	}
	if _, err := authority.Init(cfg); err != nil {
		t.Fatal(err)
	}
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Authority: a, StateDir: dir, Listen: "127.0.0.1:0", FactoryListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(errors.Join(err, a.Close()))
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, a.Close()); err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
	if _, err := a.ImportDevices(t.Context(), strings.NewReader("serial\n"+string(serial)+"\n"), "test", nil); err != nil {
		t.Fatal(err)
	}
	return a, s
}

// writeBox writes a factory certificate with its key.
func writeBox(t *testing.T, f *pkitest.Factory, s identity.Serial) (dir string) {
	t.Helper()
	dir = t.TempDir()
	box := f.Box(s, nil)
	key, err := x509.MarshalPKCS8PrivateKey(box.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, enrol.EncodeCertificates(box.Leaf), dir, enrol.CertFile)
	writeFile(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), dir, enrol.KeyFile)
	return dir
}

// TestEnrolsFromTheFactory: a PBX needs nothing but what it left the factory with, a
// certificate (EST) or a secret; one of another manufacturer or with another secret stays
// outside.
func TestEnrolsFromTheFactory(t *testing.T) {
	t.Parallel()
	maker := pkitest.NewFactory(t, "Factory")
	a, s := startPKI(t, maker)
	roots := writeFile(t, enrol.EncodeCertificates(a.Roots()...), t.TempDir(), "roots.pem")
	secret, err := a.ResetSecret(t.Context(), serial, "test")
	if err != nil {
		t.Fatal(err)
	}
	secretFile := func(text string) string {
		return "pki.secret_file=" + writeFile(t, []byte(text+"\n"), t.TempDir(), "secret")
	}
	factory := func(dir string) []string {
		return []string{"--set", "pki.factory_url=https://" + s.FactoryAddr().String(), "--set", "pki.factory_dir=" + dir}
	}
	args := func(dir string, with ...string) []string {
		return append([]string{"--set", "state_dir=" + dir, "--set", "pki.url=https://" + s.Addr().String(), "--set", "pki.roots=" + roots}, with...)
	}
	for name, with := range map[string][]string{
		"another manufacturer": factory(writeBox(t, pkitest.NewFactory(t, "Copy"), serial)),
		"another serial":       factory(writeBox(t, maker, "5555555555")),
		"another secret":       {"--set", secretFile(string(serial) + ":AAAA-" + secret)},
		"no serial":            {"--set", secretFile(secret)},
	} {
		dir := t.TempDir()
		got := command(t, append([]string{"run", "--set", "listen=127.0.0.1:0"}, args(dir, with...)...)...)
		if got.code != cli.ExitFailed || !strings.Contains(got.err, "enrol: ") {
			t.Errorf("%s: %+v", name, got)
		}
		if _, err := os.Stat(filepath.Join(dir, "credentials")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: there are credentials: %v", name, err)
		}
	}
	for name, with := range map[string][]string{
		authority.MethodFactory: factory(writeBox(t, maker, serial)),
		authority.MethodSecret:  {"--set", secretFile(string(serial) + ":" + secret)},
	} {
		dir := t.TempDir()
		r := start(t, args(dir, with...)...)
		if r.Serial != string(serial) {
			t.Errorf("%s: serial %s", name, r.Serial)
		}
		if code := r.stop(); code != cli.ExitOK {
			t.Errorf("%s: ended with %d: %s", name, code, r.errs)
		}
		creds, err := enrol.LoadCredentials(filepath.Join(dir, "credentials"))
		if err != nil || creds.ID() != identity.Device(td, serial) {
			t.Errorf("%s: %v, %v", name, creds, err)
		}
		list, err := a.Certificates(t.Context(), identity.Device(td, serial))
		if err != nil || len(list) == 0 || list[len(list)-1].Method != name {
			t.Errorf("%s: the PKI has %+v, %v", name, list, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "enrolling.key")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the key for enrolling is still there: %v", name, err)
		}
		// The second start has a certificate, and asks for none.
		if r := start(t, "--set", "state_dir="+dir); r.Serial != string(serial) || r.stop() != cli.ExitOK {
			t.Errorf("%s: the second start: %s", name, r.errs)
		}
	}
}
