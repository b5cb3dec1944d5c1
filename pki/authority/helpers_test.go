package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// serviceHashing is what the program hashes secrets with. The tests do it with the least
// that there is, for the race detector looks at every one of those bytes.
var serviceHashing = *hashing

func TestMain(m *testing.M) {
	hashing = &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	// badger, which smallstep links unless built with -tags nobadger, starts it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreAnyFunction("github.com/comtrexx-cloud/comtrexx/pki/store/pgtest.(*Server).start.func1"))
}

const td = identity.DefaultTrustDomain

var (
	device  = identity.Device(td, "0123456789")
	other   = identity.Device(td, "9999999999")
	service = identity.Service(td, "ccc")
	relay   = identity.Relay(td, "r1")
)

// initialised makes one PKI for all tests, with plain keys, because decrypting
// is slow on purpose. Each test works on a copy.
var initialised = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "pki-authority-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if _, err := Init(Config{StateDir: dir, PlainKeys: true}); err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
})

// stateDir gives a fresh copy of the initialised state directory.
func stateDir(t testing.TB) string {
	t.Helper()
	files, err := initialised()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t testing.TB, cfg Config) *Authority {
	t.Helper()
	if cfg.StateDir == "" {
		cfg.StateDir, cfg.PlainKeys = stateDir(t), true
	}
	if strings.HasPrefix(t.Name(), "TestPostgres/") && cfg.Store.Kind == "" {
		cfg.Store = inPostgres(t)
	}
	if cfg.Limits.PerHour == 0 { // the limits have a test of their own
		cfg.Limits.PerHour, cfg.Limits.PerDay = -1, -1
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// request makes a certificate request with a new key.
func request(t testing.TB, tmpl x509.CertificateRequest) (crypto.Signer, []byte) {
	t.Helper()
	key := pkitest.NewKey()
	return key, requestFor(t, key, tmpl)
}

func requestFor(t testing.TB, key crypto.Signer, tmpl x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func token(t testing.TB, a *Authority, id identity.ID) string {
	t.Helper()
	tok, err := a.Token(t.Context(), id, time.Hour, "test")
	if err != nil {
		t.Fatal(err)
	}
	return tok.Token
}

// enrolled enrols the identity and gives its credentials.
func enrolled(t testing.TB, a *Authority, id identity.ID) *enrol.Credentials {
	t.Helper()
	key, csr := request(t, x509.CertificateRequest{})
	issued, err := a.Enrol(t.Context(), token(t, a, id), csr)
	if err != nil {
		t.Fatal(err)
	}
	return credentials(t, a, key, issued)
}

func credentials(t testing.TB, a *Authority, key crypto.Signer, issued enrol.Issued) *enrol.Credentials {
	t.Helper()
	c, err := issued.Credentials(key, a.Roots()) // verifies the chain and the authority
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// renew renews, or gives the refusal.
func renew(t testing.TB, a *Authority, c *enrol.Credentials) (*enrol.Credentials, error) {
	t.Helper()
	key, csr := request(t, x509.CertificateRequest{})
	issued, err := a.Renew(t.Context(), c.Leaf(), csr)
	if err != nil {
		return nil, err
	}
	return credentials(t, a, key, issued), nil
}

// entries gives the audit log, which must verify.
func entries(t testing.TB, a *Authority) (out []audit.Entry) {
	t.Helper()
	for e, err := range a.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	if v, err := a.Log().Verify(t.Context()); err != nil || v.Entries != uint64(len(out)) {
		t.Fatalf("audit log of %d entries: %d, %v", len(out), v.Entries, err)
	}
	return out
}

func last(t testing.TB, a *Authority) audit.Entry {
	t.Helper()
	all := entries(t, a)
	return all[len(all)-1]
}

// issuedTo counts what the index lists.
func issuedTo(t testing.TB, a *Authority, id identity.ID) int {
	t.Helper()
	list, err := a.Certificates(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
