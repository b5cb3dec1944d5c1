package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func TestInit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	made, err := Init(Config{StateDir: dir, TrustDomain: "cloud.example"})
	if err != nil {
		t.Fatal(err)
	}
	if !made.NewPassphrase || len(made.RootFingerprint) != 64 || len(made.Intermediates) != 4 {
		t.Errorf("made %+v", made)
	}
	for _, name := range []string{"root.key", "device.key", "service.key", "relay.key", "log.key"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), "ENCRYPTED PRIVATE KEY") {
			t.Errorf("%s is not encrypted: %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := Init(Config{StateDir: dir}); !errors.Is(err, ErrInitialised) {
		t.Errorf("init over a PKI: %v", err)
	}

	if _, err := New(Config{StateDir: dir, TrustDomain: "cloud.example", PlainKeys: true}); !errors.Is(err, ErrKeys) {
		t.Errorf("encrypted keys taken for plain ones: %v", err)
	}

	// The root's key goes into the safe.
	if err := os.Remove(made.RootKey); err != nil {
		t.Fatal(err)
	}
	a := open(t, Config{StateDir: dir, TrustDomain: "cloud.example"})
	if got := enrol.Fingerprint(a.Roots()[0]); got != made.RootFingerprint {
		t.Errorf("root %s, want %s", got, made.RootFingerprint)
	}
	if id := identity.Device("cloud.example", "0123456789"); enrolled(t, a, id).ID() != id {
		t.Error("issued for somebody else")
	}
	for _, pass := range []string{"wrong", "\n"} {
		if err := os.WriteFile(made.Passphrase, []byte(pass), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{StateDir: dir, TrustDomain: "cloud.example"}); !errors.Is(err, ErrKeys) {
			t.Errorf("passphrase %q: %v, want %v", pass, err, ErrKeys)
		}
	}
	if err := os.Chmod(made.Passphrase, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{StateDir: dir, TrustDomain: "cloud.example"}); !errors.Is(err, configs.ErrExposed) {
		t.Errorf("a passphrase that everybody may read: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string, cfg *Config)
		want   error
	}{
		"empty directory": {func(t *testing.T, _ string, cfg *Config) { cfg.StateDir = t.TempDir() }, ErrNotInitialised},
		"another domain":  {func(_ *testing.T, _ string, cfg *Config) { cfg.TrustDomain = "other.test" }, ErrKeys},
		"no state_dir":    {func(_ *testing.T, _ string, cfg *Config) { cfg.StateDir = "" }, nil},
		"swapped keys": {func(t *testing.T, dir string, _ *Config) {
			if err := os.Rename(filepath.Join(dir, "relay.key"), filepath.Join(dir, "device.key")); err != nil {
				t.Fatal(err)
			}
		}, ErrKeys},
		"swapped intermediates": {func(t *testing.T, dir string, _ *Config) {
			for _, ext := range []string{".key", ".pem"} {
				if err := os.Rename(filepath.Join(dir, "relay"+ext), filepath.Join(dir, "device"+ext)); err != nil {
					t.Fatal(err)
				}
			}
		}, ErrKeys},
		"plain keys where encrypted ones are due": {func(_ *testing.T, _ string, cfg *Config) { cfg.PlainKeys = false }, os.ErrNotExist},
		"plain keys and a passphrase": {func(t *testing.T, dir string, cfg *Config) {
			cfg.PlainKeys = false
			if err := os.WriteFile(filepath.Join(dir, "passphrase"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrKeys},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{StateDir: stateDir(t), PlainKeys: true}
			c.change(t, cfg.StateDir, &cfg)
			a, err := New(cfg)
			if err == nil {
				t.Fatal("opened", a.Close())
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestSecondProcess(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	start := time.Now()
	if _, err := New(Config{StateDir: a.cfg.StateDir, PlainKeys: true}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("the store was opened twice: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the error took %v", took)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	a, err := New(Config{StateDir: dir, PlainKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	unused, used := token(t, a, device), token(t, a, other)
	_, csr := request(t, x509.CertificateRequest{})
	if _, err := a.Enrol(t.Context(), used, csr); err != nil {
		t.Fatal(err)
	}
	c := enrolled(t, a, service)
	epoch, err := a.Block(t.Context(), other, "stolen", "test")
	if err != nil {
		t.Fatal(err)
	}
	before := len(entries(t, a))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	b := open(t, Config{StateDir: dir, PlainKeys: true})
	if got := b.Feed().List(); got.Epoch() != epoch || !got.Blocked(other) || got.Len() != 1 {
		t.Errorf("block list: epoch %d, want %d, %v", got.Epoch(), epoch, got.Paths())
	}
	if n := len(entries(t, b)); n != before {
		t.Errorf("%d audit log entries, want %d", n, before)
	}
	if _, err := renew(t, b, c); err != nil {
		t.Errorf("renewal: %v", err)
	}
	_, csr = request(t, x509.CertificateRequest{})
	if _, err := b.Enrol(t.Context(), used, csr); !errors.Is(err, enrol.ErrToken) {
		t.Errorf("a used token: %v", err)
	}
	if _, err := b.Enrol(t.Context(), unused, csr); err != nil {
		t.Errorf("an unused token: %v", err)
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	c, tok := enrolled(t, a, device), token(t, a, device)
	epoch, err := a.Block(t.Context(), device, "stolen", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Block(t.Context(), device, "again", "alice"); err != nil || again != epoch {
		t.Errorf("blocking twice: epoch %d, want %d, %v", again, epoch, err)
	}
	_, csr := request(t, x509.CertificateRequest{})
	_, enrolErr := a.Enrol(t.Context(), tok, csr)
	_, renewErr := renew(t, a, c)
	_, issueErr := a.Issue(t.Context(), device, csr, profile.Extra{}, "alice")
	_, tokenErr := a.Token(t.Context(), device, 0, "alice")
	confirmErr := a.Confirm(t.Context(), c.Leaf())
	for name, err := range map[string]error{"enrol": enrolErr, "renew": renewErr, "issue": issueErr, "token": tokenErr, "confirm": confirmErr} {
		if !errors.Is(err, enrol.ErrBlocked) {
			t.Errorf("%s while blocked: %v", name, err)
		}
	}
	list, err := a.Blocks(t.Context())
	if err != nil || len(list) != 1 || list[0].Reason != "stolen" || list[0].Actor != "alice" || list[0].Epoch != epoch {
		t.Errorf("list: %+v, %v", list, err)
	}
	if certs, err := a.Certificates(t.Context(), device); err != nil || certs[0].State != StateBlocked {
		t.Errorf("state: %+v, %v", certs, err)
	}

	lifted, err := a.Unblock(t.Context(), device, "found", "alice")
	if err != nil || lifted <= epoch {
		t.Fatalf("unblock: epoch %d after %d, %v", lifted, epoch, err)
	}
	if _, err := renew(t, a, c); err != nil {
		t.Errorf("renewal after the unblock: %v", err)
	}
	if _, err := a.Enrol(t.Context(), tok, csr); err != nil {
		t.Errorf("enrolment after the unblock: %v", err)
	}
	if _, err := a.Block(t.Context(), identity.Service(td, enrol.ServiceName), "", "alice"); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("the PKI blocked itself: %v", err)
	}
}

// A store that is restored from a backup offers an older list, which subscribers
// refuse; but its next change is above every epoch that they have seen.
func TestEpochAfterARestore(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	run := func(id identity.ID) uint64 {
		a, err := New(Config{StateDir: dir, PlainKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		epoch, err := a.Block(t.Context(), id, "", "test")
		if err := errors.Join(err, a.Close()); err != nil {
			t.Fatal(err)
		}
		return epoch
	}
	store := filepath.Join(dir, storeFile)
	backedUp := run(device)
	backup, err := os.ReadFile(store)
	if err != nil {
		t.Fatal(err)
	}
	seen := run(other)
	if err := os.WriteFile(store, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	restored := open(t, Config{StateDir: dir, PlainKeys: true})
	if got := restored.Feed().List(); got.Epoch() != backedUp || got.Blocked(other) {
		t.Errorf("restored at epoch %d, want %d", got.Epoch(), backedUp)
	}
	next, err := restored.Block(t.Context(), service, "", "test")
	if err != nil || next <= seen {
		t.Errorf("epoch %d after %d, %v", next, seen, err)
	}
}

func TestListByIdentity(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	first := enrolled(t, a, device)
	enrolled(t, a, other)
	second, err := renew(t, a, first)
	if err != nil {
		t.Fatal(err)
	}
	states := func() (out []string) {
		list, err := a.Certificates(t.Context(), device)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Identity != device.Path() || c.DER != nil {
				t.Errorf("listed %+v", c)
			}
			out = append(out, c.State)
		}
		return out
	}
	if got := states(); len(got) != 2 || got[0] != StateActive || got[1] != StatePending {
		t.Errorf("after the renewal: %v", got)
	}
	if err := a.Confirm(t.Context(), second.Leaf()); err != nil {
		t.Fatal(err)
	}
	if got := states(); len(got) != 2 || got[0] != StateSuperseded || got[1] != StateActive {
		t.Errorf("after the confirmation: %v", got)
	}
	if n := issuedTo(t, a, identity.ID{}); n != 3 {
		t.Errorf("%d certificates in all, want 3", n)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	dir, now := stateDir(t), time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // the bubble starts in 2000, before the keys were made
		a, err := New(Config{StateDir: dir, PlainKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		reported := func(id identity.ID) {
			if err := a.ReportBundle(t.Context(), enrolled(t, a, id).Leaf(), 1); err != nil {
				t.Fatal(err)
			}
		}
		reported(device)
		time.Sleep(400 * 24 * time.Hour) // expired for 370 days
		reported(other)
		if n, err := a.Sweep(t.Context()); err != nil || n != 0 {
			t.Errorf("removed %d too early, %v", n, err)
		}
		time.Sleep(41 * 24 * time.Hour)
		if n, err := a.Sweep(t.Context()); err != nil || n == 0 {
			t.Errorf("removed %d, %v", n, err)
		}
		if issuedTo(t, a, device) != 0 || issuedTo(t, a, other) != 1 {
			t.Errorf("left %d and %d", issuedTo(t, a, device), issuedTo(t, a, other))
		}
		reports := 0
		if err := a.db.View(t.Context(), func(tx store.Tx) error {
			return tx.Scan(bucketReports, nil, nil, func(_, _ []byte) (bool, error) { reports++; return true, nil })
		}); err != nil || reports != 1 {
			t.Errorf("%d reports are left, want that of the living: %v", reports, err)
		}
		if len(entries(t, a)) == 0 {
			t.Error("the audit log was swept")
		}
	})
}

// More than one transaction holds: all that has ended goes, in certificates as in
// tokens, and a lineage stays while it has a certificate.
func TestSweepPages(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	const many = 2*sweepPage + 1
	long, soon := time.Now().Add(-a.cfg.KeepExpired-time.Hour), time.Now().Add(time.Hour)
	err := a.db.Update(t.Context(), func(tx store.Tx) error {
		var err error
		add := func(id identity.ID, n int, lineage string, notAfter time.Time) {
			c := Certificate{Serial: fmt.Sprintf("%x", n), Identity: id.Path(), Lineage: lineage, NotAfter: notAfter}
			err = errors.Join(err, addCertificate(tx, c), tx.Put(bucketLineages, lineageKey(c.Identity, lineage), []byte("{}")),
				put(tx, bucketTokens, []byte(c.Serial), tokenRecord{Expires: notAfter}))
		}
		for n := range many {
			add(identity.Device(td, identity.Serial(fmt.Sprintf("%010d", n))), n, "a", long)
		}
		add(device, many, "old", long)
		add(device, many+1, "kept", long)
		add(device, many+2, "kept", soon)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := a.Sweep(t.Context()); err != nil || n != 2*(many+2) {
		t.Errorf("removed %d, %v, want %d certificates and as many tokens", n, err, many+2)
	}
	left := func(b store.Bucket) (keys []string) {
		err := a.db.View(t.Context(), func(tx store.Tx) error {
			keys = nil
			return tx.Scan(b, nil, nil, func(k, _ []byte) (bool, error) {
				keys = append(keys, string(k))
				return true, nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	for _, b := range []store.Bucket{bucketCerts, bucketIndex, bucketExpiry, bucketTokens, bucketLineages} {
		if keys := left(b); len(keys) != 1 {
			t.Errorf("%s has %d entries: %.200q", b, len(keys), keys)
		}
	}
	if keys := left(bucketLineages); keys[0] != string(lineageKey(device.Path(), "kept")) {
		t.Errorf("the lineage that is left is %q", keys[0])
	}
}
