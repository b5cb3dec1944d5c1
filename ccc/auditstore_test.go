package main

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// plainHead is a head without a signature, as audit.ReadHead takes it.
func plainHead(t *testing.T, h audit.Head) string {
	t.Helper()
	h.At = time.Now().UTC()
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return "e." + base64.RawURLEncoding.EncodeToString(text) + ".s"
}

// TestVerifyBesideASweep: entries that a sweep removes while the log is looked through are
// not missing, unless no head was left of them; nor are those that come meanwhile too many.
func TestVerifyBesideASweep(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "ccc.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	update := func(f func(tx *store.Tx) error) {
		t.Helper()
		if err := db.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	const tenant = store.TenantID("t1")
	update(func(tx *store.Tx) error {
		return tx.CreateTenant(store.Tenant{ID: tenant, Kind: store.KindCustomer, Name: "T", LegalName: "T", Created: time.Now()})
	})
	const entries = 3 * verifiedAtOnce
	update(func(tx *store.Tx) error {
		for range entries {
			if err := tx.AddEvent(store.Event{Tenant: tenant, Kind: "changed", At: time.Now()}); err != nil {
				return err
			}
		}
		return nil
	})
	sweep := func(seq int64, signed bool) {
		t.Helper()
		update(func(tx *store.Tx) error {
			e, err := tx.AuditEntry(tenant, seq)
			if err == nil && signed {
				err = tx.AddAuditHead(store.AuditHead{
					Tenant: tenant, Seq: seq, Head: plainHead(t, audit.Head{Tenant: string(tenant), Seq: seq, Hash: e.Hash}), At: time.Now(),
				})
			}
			if err == nil {
				_, err = tx.SweepAudit(tenant, seq)
			}
			return err
		})
	}
	verify := func(meanwhile func(looked int64)) audit.Report {
		t.Helper()
		all, err := storeVerifier{db: db, open: audit.ReadHead, progress: meanwhile}.run(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%d reports, %v", len(all), err)
		}
		return all[0]
	}
	if r := verify(nil); r.Fault != nil || r.Entries != entries || r.Last != entries {
		t.Fatalf("control: %+v", r)
	}
	done := map[string]bool{}
	once := func(what string, f func()) {
		if !done[what] {
			done[what] = true
			f()
		}
	}
	// What is removed was looked at already; then what was not; and something is added.
	r := verify(func(int64) {
		once("behind", func() { sweep(verifiedAtOnce/2, true) })
		once("ahead", func() { sweep(verifiedAtOnce+20, true) })
		once("added", func() {
			update(func(tx *store.Tx) error {
				return tx.AddEvent(store.Event{Tenant: tenant, Kind: "changed", At: time.Now()})
			})
		})
	})
	if r.Fault != nil || r.After != verifiedAtOnce+20 || r.Last < entries || len(done) != 3 {
		t.Errorf("beside a sweep: %+v, %v", r, done)
	}
	// Without a head of what is gone it is a fault all the same.
	r = verify(func(int64) { once("unsigned", func() { sweep(2*verifiedAtOnce+100, false) }) })
	if r.Fault == nil || r.Fault.Kind != audit.Missing {
		t.Errorf("a sweep that leaves no head: %+v", r)
	}
}
