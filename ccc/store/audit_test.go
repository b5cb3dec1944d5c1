package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// auditOf gives the log of a tenant, looked through.
func auditOf(t *testing.T, db *store.DB, tenant store.TenantID) []store.AuditEntry {
	t.Helper()
	chain := get(t, db, func(tx *store.Tx) (store.AuditChain, error) { return tx.AuditChain(tenant) })
	check := audit.NewChecker(chain.Swept)
	all := get(t, db, func(tx *store.Tx) ([]store.AuditEntry, error) { return tx.AuditAfter(tenant, chain.Swept.Seq, 10_000) })
	for _, e := range all {
		if f := check.Add(e.Entry, e.Hash); f != nil {
			t.Fatal(f)
		}
	}
	if got := check.Head(); got.Seq != chain.Last.Seq || got.Hash != chain.Last.Hash {
		t.Fatalf("the chain is at %v, and its entries end at %v", chain.Last, got)
	}
	return all
}

func newAct(tenant store.TenantID, operation string) *store.Act {
	return &store.Act{Tenant: tenant, Actor: "user u1", User: "u1", Home: tenant, Right: "home", Operation: operation}
}

// A change and its entry are there together, or neither is.
func TestAudit(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		act := newAct(s.Tenant, "createGroup")
		calls := 0
		act.Access = func() string { calls++; return "1234567890123456" }
		act.Fields, act.System = []string{"name"}, s.ID
		ctx := store.WithAct(t.Context(), act)
		create := func(name string) func(*store.Tx) error {
			return func(tx *store.Tx) error {
				return tx.CreateGroup(store.Group{ID: store.NewID[store.GroupID](), Tenant: s.Tenant, Name: name, Created: now})
			}
		}
		// What is undone, and what changes nothing, leaves none.
		if err := db.Update(ctx, func(tx *store.Tx) error { return errors.Join(create("A")(tx), errUndo) }); !errors.Is(err, errUndo) {
			t.Fatal(err)
		}
		if err := db.Update(ctx, func(tx *store.Tx) error { return tx.DeleteSession(store.TokenHash{}) }); err != nil {
			t.Fatal(err)
		}
		// Nor does what is aside.
		if err := db.Update(store.Aside(ctx), create("B")); err != nil {
			t.Fatal(err)
		}
		if all := auditOf(t, db, s.Tenant); len(all) != 0 || act.Told() {
			t.Fatalf("entries: %v", all)
		}
		// The first change leaves one, the next ones of the same act none.
		for _, name := range []string{"C", "D"} {
			if err := db.Update(ctx, create(name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Settle(ctx, act, audit.Done); err != nil {
			t.Fatal(err)
		}
		all := auditOf(t, db, s.Tenant)
		if len(all) != 1 || calls != 1 || !act.Told() {
			t.Fatalf("%d entries, %d calls", len(all), calls)
		}
		e := all[0]
		e.At, e.Resource = time.Time{}, strings.Fields(e.Resource)[0]
		want := audit.Entry{
			Tenant: string(s.Tenant), Seq: 1, Actor: "user u1", User: "u1", Home: string(s.Tenant), Right: "home", Operation: "createGroup", Resource: "group",
			Serial: string(serial), Outcome: audit.Done, Fields: []string{"name"}, Access: "1234567890123456", Prev: audit.Genesis(string(s.Tenant)).Hash,
		}
		equal(t, "the entry", e.Entry, want)
		// What is refused, without a change.
		refused := newAct(s.Tenant, "removeGroup")
		if err := db.Settle(t.Context(), refused, audit.Refused("not_found")); err != nil {
			t.Fatal(err)
		}
		// What the control centre or a PBX does by itself, and what is of another tenant.
		other := newTenant()
		update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(other) })
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: "paired", At: now}), tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: "expired", At: now}))
		})
		if err := db.Update(store.WithAct(t.Context(), newAct(s.Tenant, "offerHandover")), func(tx *store.Tx) error {
			return errors.Join(tx.AddEvent(store.Event{Tenant: s.Tenant, Kind: "one", At: now}), tx.AddEvent(store.Event{Tenant: other.ID, Kind: "two", Actor: "u1", At: now}))
		}); err != nil {
			t.Fatal(err)
		}
		text := func(tenant store.TenantID) (lines []string) {
			for _, e := range auditOf(t, db, tenant) {
				lines = append(lines, e.Actor+" "+e.Operation+" "+e.Outcome+" "+e.Serial)
			}
			return lines
		}
		equal(t, "the log", text(s.Tenant), []string{
			"user u1 createGroup done " + string(serial), "user u1 removeGroup refused:not_found ",
			"device 0123456789 event.paired done 0123456789", "ccc event.expired done 0123456789", "user u1 offerHandover done ",
		})
		equal(t, "the other's log", text(other.ID), []string{"user u1 event.two done "})
		// Filters and pages.
		find := func(f store.AuditFilter) (n int) {
			var p store.Page
			for {
				p.Limit = 2
				var items []store.AuditEntry
				var next string
				view(t, db, func(tx *store.Tx) (err error) {
					items, next, err = tx.AuditEntries(s.Tenant, f, p)
					return err
				})
				n += len(items)
				if next == "" {
					return n
				}
				p.Cursor = next
			}
		}
		for want, f := range map[int]store.AuditFilter{
			5: {}, 3: {User: "u1"}, 1: {Operation: "removeGroup"}, 2: {Resource: "system " + string(s.ID)}, 4: {Outcome: "done"}, 0: {From: time.Now().Add(time.Hour)},
		} {
			if got := find(f); got != want {
				t.Errorf("%+v: %d, want %d", f, got, want)
			}
		}
		if got := find(store.AuditFilter{Serial: serial}); got != 3 {
			t.Errorf("of the PBX: %d", got)
		}
		if got := find(store.AuditFilter{Actor: "device", To: time.Now().Add(time.Hour)}); got != 1 {
			t.Errorf("of devices: %d", got)
		}
	})
}

// Without its entry there is no change.
func TestNoChangeWithoutEntry(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		s := fixture(t, db)
		rename := func(name string) error {
			return db.Update(store.WithAct(t.Context(), newAct(s.Tenant, "updateTenant")), func(tx *store.Tx) error { return tx.RenameTenant(s.Tenant, name, name) })
		}
		name := func() string {
			return get(t, db, func(tx *store.Tx) (store.Tenant, error) { return tx.Tenant(s.Tenant) }).Name
		}
		if err := rename("First"); err != nil || name() != "First" {
			t.Fatalf("control: %v", err)
		}
		if _, err := raw(t, cfg).ExecContext(t.Context(), "ALTER TABLE audit RENAME TO elsewhere"); err != nil {
			t.Fatal(err)
		}
		if err := rename("Second"); err == nil {
			t.Error("it was changed without an entry")
		}
		if name() != "First" {
			t.Error("it has changed")
		}
		// Nor where the entry would have a text that it must not have.
		act := newAct(s.Tenant, "updateTenant")
		act.Resource = "user jo@example.com"
		if err := db.Update(store.WithAct(t.Context(), act), func(tx *store.Tx) error { return tx.RenameTenant(s.Tenant, "Third", "Third") }); err == nil || name() != "First" {
			t.Errorf("an address in an entry: %v", err)
		}
	})
}

// The database refuses to have entries changed or removed, but for the sweep.
func TestAuditIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		s := fixture(t, db)
		for range 5 {
			if err := db.Settle(t.Context(), newAct(s.Tenant, "x"), audit.Done); err != nil {
				t.Fatal(err)
			}
		}
		all := auditOf(t, db, s.Tenant)
		update(t, db, func(tx *store.Tx) error {
			return tx.AddAuditHead(store.AuditHead{Tenant: s.Tenant, Seq: 3, Head: "x", At: now})
		})
		pool := raw(t, cfg)
		queries := []string{
			"UPDATE audit SET actor = 'ccc'", "DELETE FROM audit WHERE seq = 5", "DELETE FROM audit WHERE seq = 1",
			"INSERT INTO audit SELECT tenant_id, 9, at, actor, user_id, home, by_right, operation, resource, serial, outcome, fields, access, prev, hash, repeats FROM audit WHERE seq = 5",
			"UPDATE audit_chains SET seq = 4", "UPDATE audit_chains SET hash = 'x'", "UPDATE audit_chains SET seq = 9", "UPDATE audit_chains SET swept = 2",
			"UPDATE audit_chains SET swept_hash = 'x'", "DELETE FROM audit_chains", "UPDATE audit_heads SET head = 'y'", "DELETE FROM audit_heads",
		}
		if cfg.Engine == store.Postgres {
			queries = append(queries, "TRUNCATE audit", "TRUNCATE audit_chains", "TRUNCATE audit_heads")
		} else {
			queries = append(queries, "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 3")
		}
		for _, query := range queries {
			if _, err := pool.ExecContext(t.Context(), query); err == nil || !strings.Contains(err.Error(), "audit log") {
				t.Errorf("%s: %v", query, err)
			}
		}
		if n := len(auditOf(t, db, s.Tenant)); n != 5 {
			t.Fatalf("%d entries", n)
		}
		// Control: the triggers refuse what is wrong, not everything.
		n := 0
		update(t, db, func(tx *store.Tx) (err error) {
			n, err = tx.SweepAudit(s.Tenant, 3)
			return err
		})
		left := auditOf(t, db, s.Tenant) // goes on from the hash that was noted
		if n != 3 || len(left) != 2 || left[0].Prev != all[2].Hash {
			t.Errorf("%d were removed, left are %v", n, left)
		}
		if heads := get(t, db, func(tx *store.Tx) ([]store.AuditHead, error) { return tx.AuditHeads(s.Tenant) }); len(heads) != 1 {
			t.Errorf("the head of what was removed: %v", heads)
		}
	})
}

// Many who write to one log at once neither fork it nor lose an entry.
func TestAuditWriters(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		const writers, each = 20, 10
		began := time.Now()
		var wg sync.WaitGroup
		errs := make(chan error, writers*each)
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					ctx, act := context.Background(), newAct(s.Tenant, "createGroup")
					if i%5 > 0 { // and some that nobody at the API does, which wait for no turn
						ctx = store.WithAct(ctx, act)
					}
					errs <- db.Update(ctx, func(tx *store.Tx) error {
						return errors.Join(
							tx.CreateGroup(store.Group{ID: store.NewID[store.GroupID](), Tenant: s.Tenant, Name: fmt.Sprint(w, " ", i), Created: now}),
							tx.AddEvent(store.Event{Tenant: s.Tenant, Kind: "changed", At: now}),
						)
					})
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		if n := len(auditOf(t, db, s.Tenant)); n != writers*each {
			t.Errorf("%d entries of %d changes", n, writers*each)
		}
		t.Logf("%d writers, %d entries: %v", writers, writers*each, time.Since(began).Round(time.Millisecond))
	})
}
