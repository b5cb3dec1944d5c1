package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestAuditIsFound: each filter finds its entries, and those alone, by an index that is in
// the order of the log, so that a page costs the same however long the log is.
func TestAuditIsFound(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		begin := time.Now().Add(-time.Millisecond)
		var middle time.Time
		for i := range 60 {
			act := newAct(s.Tenant, "createGroup")
			outcome := audit.Done
			switch i % 20 {
			case 0:
				act.Actor, act.User, act.Operation = "token k1", "u2", "updateSystem"
			case 1:
				act.Actor, act.User, act.Home, act.Right, act.Resource, act.Serial = "device 0123456789", "", "", "", "system s1", serial
			case 2:
				outcome = audit.Refused("forbidden")
			case 3:
				outcome = audit.Failed("internal")
			}
			if err := db.Settle(t.Context(), act, outcome); err != nil {
				t.Fatal(err)
			}
			if i == 29 {
				last := auditOf(t, db, s.Tenant)
				middle = last[len(last)-1].At.Add(time.Millisecond)
				<-time.After(2 * time.Millisecond) // the next one is not of the same
			}
		}
		all := auditOf(t, db, s.Tenant)
		for what, c := range map[string]struct {
			f     store.AuditFilter
			index string
			is    func(e store.AuditEntry) bool
		}{
			"all":         {store.AuditFilter{}, "pkey", func(store.AuditEntry) bool { return true }},
			"user":        {store.AuditFilter{User: "u2"}, "audit_user", func(e store.AuditEntry) bool { return e.User == "u2" }},
			"operation":   {store.AuditFilter{Operation: "updateSystem"}, "audit_operation", func(e store.AuditEntry) bool { return e.Operation == "updateSystem" }},
			"resource":    {store.AuditFilter{Resource: "system s1"}, "audit_resource", func(e store.AuditEntry) bool { return e.Resource == "system s1" }},
			"PBX":         {store.AuditFilter{Serial: serial}, "audit_serial", func(e store.AuditEntry) bool { return e.Serial == string(serial) }},
			"kind":        {store.AuditFilter{Actor: "device"}, "audit_actor", func(e store.AuditEntry) bool { return strings.HasPrefix(e.Actor, "device") }},
			"of tokens":   {store.AuditFilter{Actor: "token"}, "audit_actor", func(e store.AuditEntry) bool { return strings.HasPrefix(e.Actor, "token") }},
			"refused":     {store.AuditFilter{Outcome: "refused"}, "audit_outcome", func(e store.AuditEntry) bool { return strings.HasPrefix(e.Outcome, "refused") }},
			"failed":      {store.AuditFilter{Outcome: "failed"}, "audit_outcome", func(e store.AuditEntry) bool { return strings.HasPrefix(e.Outcome, "failed") }},
			"done":        {store.AuditFilter{Outcome: "done"}, "pkey", func(e store.AuditEntry) bool { return e.Outcome == "done" }},
			"since":       {store.AuditFilter{From: middle}, "pkey", func(e store.AuditEntry) bool { return !e.At.Before(middle) }},
			"until":       {store.AuditFilter{From: begin, To: middle}, "pkey", func(e store.AuditEntry) bool { return e.At.Before(middle) }},
			"refused, in": {store.AuditFilter{Outcome: "refused", From: middle}, "audit_outcome", func(e store.AuditEntry) bool { return strings.HasPrefix(e.Outcome, "refused") && !e.At.Before(middle) }},
			"later":       {store.AuditFilter{From: time.Now().Add(time.Hour)}, "", func(store.AuditEntry) bool { return false }},
		} {
			want, got := []int64{}, []int64{}
			for _, e := range slices.Backward(all) {
				if c.is(e) {
					want = append(want, e.Seq)
				}
			}
			p := store.Page{Limit: 7}
			for more := true; more; more = p.Cursor != "" {
				view(t, db, func(tx *store.Tx) error {
					some, next, err := tx.AuditEntries(s.Tenant, c.f, p)
					for _, e := range some {
						got = append(got, e.Seq)
					}
					p.Cursor = next
					return err
				})
			}
			if !slices.Equal(got, want) || (len(want) == 0) != (c.index == "") || len(want) == len(all) != (what == "all") {
				t.Errorf("%s: entries %v, want %v", what, got, want)
			}
			if c.index == "" {
				continue
			}
			// Of the second page, which begins where the first has ended.
			steps := planOf(t, db, func(tx *store.Tx) (string, []any, error) {
				return store.AuditQuery(tx, s.Tenant, c.f, store.Page{Cursor: secondPage(t, db, s.Tenant), Limit: 7})
			})
			index := strings.Contains(steps, c.index)
			if c.index == "pkey" { // which SQLite calls something else
				index = index || strings.Contains(steps, "sqlite_autoindex_audit_1")
			}
			if !index || strings.Contains(steps, "TEMP B-TREE") || strings.Contains(steps, "Sort") || strings.Contains(steps, "SCAN") || !strings.Contains(strings.ReplaceAll(steps, " ", ""), "seq<") {
				t.Errorf("%s, by %s:\n%s", what, c.index, steps)
			}
		}
		if steps := planOf(t, db, func(*store.Tx) (string, []any, error) {
			return store.AuditSinceQuery, []any{s.Tenant, middle}, nil
		}); !strings.Contains(steps, "audit_at") || strings.Contains(steps, "TEMP B-TREE") || strings.Contains(steps, "Sort") {
			t.Errorf("a time:\n%s", steps)
		}
	})
}

// secondPage gives the cursor of the second page of a log.
func secondPage(t *testing.T, db *store.DB, tenant store.TenantID) (next string) {
	t.Helper()
	view(t, db, func(tx *store.Tx) (err error) {
		_, next, err = tx.AuditEntries(tenant, store.AuditFilter{}, store.Page{Limit: 7})
		return err
	})
	return next
}

// planOf gives how a query is answered, as one text.
func planOf(t *testing.T, db *store.DB, query func(tx *store.Tx) (string, []any, error)) string {
	t.Helper()
	var steps []string
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		text, args, err := query(tx)
		if err == nil {
			steps, err = tx.Plan(text, args...)
		}
		return errors.Join(err, errUndo)
	})
	if !errors.Is(err, errUndo) || len(steps) == 0 {
		t.Fatal(err)
	}
	return strings.Join(steps, "\n")
}

// TestThinAuditHeads: of old heads the last one of each day is left, and the database lets
// nobody remove another.
func TestThinAuditHeads(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		s := fixture(t, db)
		day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
		for range 60 {
			if err := db.Settle(t.Context(), newAct(s.Tenant, "x"), audit.Done); err != nil {
				t.Fatal(err)
			}
		}
		update(t, db, func(tx *store.Tx) error {
			for i := range 60 { // each three hours, from the first hour of the first day on
				at := day.Add(time.Duration(i)*3*time.Hour + time.Hour)
				if err := tx.AddAuditHead(store.AuditHead{Tenant: s.Tenant, Seq: int64(i + 1), Head: "x", At: at}); err != nil {
					return err
				}
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error { _, err := tx.SweepAudit(s.Tenant, 3); return err }) // of which the head stays
		seqs := func() (all []int64) {
			for _, h := range get(t, db, func(tx *store.Tx) ([]store.AuditHead, error) { return tx.AuditHeads(s.Tenant) }) {
				all = append(all, h.Seq)
			}
			return all
		}
		if all := seqs(); len(all) != 58 || all[0] != 3 {
			t.Fatalf("control: heads of %v", all)
		}
		thin := func(before time.Time) (n int) {
			update(t, db, func(tx *store.Tx) (err error) {
				n, err = tx.ThinAuditHeads(s.Tenant, before)
				return err
			})
			return n
		}
		n := thin(day.Add(3*24*time.Hour + 12*time.Hour)) // at noon of the fourth day
		// The one that the log begins after, the last ones of three days, those of the fourth
		// day from its noon on, and those of later days.
		want := []int64{3, 8, 16, 24}
		for i := int64(29); i <= 60; i++ {
			want = append(want, i)
		}
		equal(t, "the heads", seqs(), want)
		if n != 58-len(want) || thin(day.Add(3*24*time.Hour+12*time.Hour)) != 0 {
			t.Errorf("%d were removed", n)
		}
		pool := raw(t, cfg)
		for _, seq := range []int{3, 8, 24, 60} {
			if _, err := pool.ExecContext(t.Context(), "DELETE FROM audit_heads WHERE seq = $1", seq); err == nil || !strings.Contains(err.Error(), "audit log") {
				t.Errorf("the head of %d: %v", seq, err)
			}
		}
		if _, err := pool.ExecContext(t.Context(), "DELETE FROM audit_heads WHERE seq = 57"); err != nil {
			t.Errorf("control, one that is followed by another of its day: %v", err)
		}
	})
}
