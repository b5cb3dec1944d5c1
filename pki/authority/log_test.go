package authority

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Where nothing can be written into the audit log nothing is issued, and nothing else
// happens; afterwards everything works as if it had not been tried.
func TestNoEntryNoCertificate(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	c, tok := enrolled(t, a, device), token(t, a, other)
	before := len(entries(t, a))

	// The log loses its last entry, which is the one way to make Append fail without
	// the store failing with it.
	var end, lost []byte
	change := func(f func(store.Tx) error) {
		t.Helper()
		if err := a.db.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	change(func(tx store.Tx) (err error) {
		if end, lost, err = tx.Last(audit.Bucket); err != nil {
			return err
		}
		return tx.Delete(audit.Bucket, end)
	})
	_, csr := request(t, x509.CertificateRequest{})
	for name, try := range map[string]func() error{
		"enrol": func() error { _, err := a.Enrol(t.Context(), tok, csr); return err },
		"renew": func() error { _, err := renew(t, a, c); return err },
		"issue": func() error { _, err := a.Issue(t.Context(), service, csr, profile.Extra{}, "test"); return err },
		"token": func() error { _, err := a.Token(t.Context(), device, 0, "test"); return err },
		"block": func() error { _, err := a.Block(t.Context(), device, "", "test"); return err },
		// A refusal that cannot be noted says so, and stays one.
		"refusal": func() error {
			_, err := a.Issue(t.Context(), relay, csr, profile.Extra{DNS: []string{"evil.example"}}, "test")
			if !errors.Is(err, enrol.ErrForbidden) {
				t.Errorf("the refusal: %v", err)
			}
			return err
		},
	} {
		if err := try(); !errors.Is(err, audit.ErrBroken) {
			t.Errorf("%s with a broken audit log: %v", name, err)
		}
	}
	if issuedTo(t, a, device) != 1 || issuedTo(t, a, other) != 0 || issuedTo(t, a, service) != 0 {
		t.Error("something was issued")
	}
	if a.Feed().List().Blocked(device) {
		t.Error("blocked without an entry")
	}

	change(func(tx store.Tx) error { return tx.Put(audit.Bucket, end, lost) })
	if n := len(entries(t, a)); n != before {
		t.Errorf("%d entries, want %d", n, before)
	}
	if _, err := a.Enrol(t.Context(), tok, csr); err != nil {
		t.Errorf("the token afterwards: %v", err)
	}
	if _, err := renew(t, a, c); err != nil {
		t.Errorf("the renewal afterwards: %v", err)
	}
}

// What an owner finds about a serial, refusals included, each with its proof.
func TestOwnersView(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	tok := token(t, a, device)
	_, csr := request(t, x509.CertificateRequest{})
	if _, err := a.Enrol(t.Context(), tok, csr); err != nil {
		t.Fatal(err)
	}
	enrolled(t, a, other)
	if _, err := a.Enrol(t.Context(), tok, csr); err != nil {
		t.Fatal(err)
	}
	_, foreign := request(t, x509.CertificateRequest{})
	if _, err := a.Enrol(t.Context(), tok, foreign); !errors.Is(err, enrol.ErrToken) {
		t.Fatal(err)
	}
	if _, err := a.Block(t.Context(), device, "stolen", "alice"); err != nil {
		t.Fatal(err)
	}
	head, err := a.Log().Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page, err := a.Log().Find(t.Context(), audit.Query{Identity: device.Path()})
	if err != nil {
		t.Fatal(err)
	}
	got, found, err := page.Verify(a.Log().Key())
	if err != nil || got != head {
		t.Fatalf("%+v, want %+v, %v", got, head, err)
	}
	var events []string
	for _, e := range found {
		events = append(events, e.Event)
		if e.Identity != device.Path() {
			t.Errorf("entry about %s", e.Identity)
		}
	}
	if got, want := strings.Join(events, " "), "token issue repeat refuse block"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A certificate that the authority issued is in the log, and one that was signed with
// its key past it is not.
func TestIssueInSilence(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	honest := enrolled(t, a, device).Leaf()
	_, csr := request(t, x509.CertificateRequest{})
	req, err := enrol.ParseRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.keys.Load().signers[identity.KindDevice].sign(t.Context(), device, req, profile.Extra{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Log().Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert *x509.Certificate
		want int
	}{"honest": {honest, 1}, "silent": {chain[0], 0}} {
		page, err := a.Log().Find(t.Context(), audit.Query{Certificate: audit.CertificateSerial(c.cert)})
		if err != nil || len(page.Entries) != c.want {
			t.Fatalf("%s: %d entries, %v", name, len(page.Entries), err)
		}
		if c.want == 1 {
			if _, _, err := page.Proof(0).Certificate(a.Log().Key(), c.cert); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, _, err := page.Proof(0).Certificate(a.Log().Key(), chain[0]); !errors.Is(err, audit.ErrNotLogged) {
				t.Errorf("the proof of another certificate: %v", err)
			}
		}
	}
}

func TestLogKey(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	key, public := filepath.Join(dir, logKeyFile), filepath.Join(dir, LogPublicFile)
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	made := read(public)
	// As an older program left it.
	if err := errors.Join(os.Remove(key), os.Remove(public)); err != nil {
		t.Fatal(err)
	}
	cfg := Config{StateDir: dir, PlainKeys: true}
	run := func() (audit.Key, error) {
		a, err := New(cfg)
		if err != nil {
			return "", err
		}
		return a.Log().Key(), a.Close()
	}
	first, err := run()
	if err != nil || read(public) != string(first)+"\n" || read(public) == made {
		t.Fatalf("key %q, file %q, %v", first, read(public), err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	secret := read(key)
	if err := os.Remove(public); err != nil {
		t.Fatal(err)
	}
	if again, err := run(); err != nil || again != first || read(public) != string(first)+"\n" {
		t.Errorf("key %q, want %q, %v", again, first, err)
	}
	// A log has one key for life.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := run(); !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("without its key: %v", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a second key was made")
	}
	if err := os.WriteFile(key, []byte(read(filepath.Join(stateDir(t), logKeyFile))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(); !errors.Is(err, ErrKeys) || !errors.Is(err, audit.ErrKey) {
		t.Errorf("with another key: %v", err)
	}
	if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(); err != nil {
		t.Error(err)
	}
}
