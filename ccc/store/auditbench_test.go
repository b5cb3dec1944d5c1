package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// benchEngines runs a benchmark on each engine, with what fill has put into the database.
func benchEngines[T any](b *testing.B, fill func(b *testing.B, db *store.DB) T, run func(b *testing.B, db *store.DB, what T)) {
	b.Helper()
	for name, config := range map[string]func(testing.TB) store.Config{"sqlite": sqliteConfig, "postgres": postgresConfig} {
		b.Run(name, func(b *testing.B) {
			db := open(b, config(b))
			what := fill(b, db)
			if err := db.Scrub(b.Context()); err != nil {
				b.Fatal(err)
			}
			run(b, db, what)
		})
	}
}

// longLog gives a tenant a log of 20,000 entries, of which one in a thousand is refused, and
// one in five hundred is of one PBX.
func longLog(b *testing.B, db *store.DB) store.TenantID {
	b.Helper()
	tenant := newTenant()
	update(b, db, func(tx *store.Tx) error { return tx.CreateTenant(tenant) })
	const entries, each = 20_000, 1000
	for first := 0; first < entries; first += each {
		update(b, db, func(tx *store.Tx) error {
			for i := range each {
				v := store.Event{Tenant: tenant.ID, Kind: "changed", At: now}
				if i%500 == 0 {
					v.Kind, v.Actor = "paired", "u1"
				}
				if err := tx.AddEvent(v); err != nil {
					return err
				}
			}
			return nil
		})
		if err := db.Settle(b.Context(), newAct(tenant.ID, "removeGroup"), audit.Refused("forbidden")); err != nil {
			b.Fatal(err)
		}
	}
	return tenant.ID
}

// BenchmarkAuditList gives a page of a long log: the newest, and what a filter finds.
func BenchmarkAuditList(b *testing.B) {
	benchEngines(b, longLog, func(b *testing.B, db *store.DB, tenant store.TenantID) {
		for name, c := range map[string]struct {
			f    store.AuditFilter
			want int
		}{
			"newest": {store.AuditFilter{}, 100}, "refused": {store.AuditFilter{Outcome: "refused"}, 20},
			"operation": {store.AuditFilter{Operation: "event.paired"}, 40}, "user": {store.AuditFilter{User: "u1"}, 60},
			"since": {store.AuditFilter{Outcome: "refused", From: time.Now().Add(-time.Hour)}, 20}, "none": {store.AuditFilter{Serial: serial}, 0},
		} {
			b.Run(name, func(b *testing.B) {
				measured(b, func() {
					for range b.N {
						view(b, db, func(tx *store.Tx) error {
							items, _, err := tx.AuditEntries(tenant, c.f, store.Page{Limit: 100})
							if len(items) != c.want {
								b.Fatalf("%d items, want %d", len(items), c.want)
							}
							return err
						})
					}
				})
			})
		}
	})
}

// BenchmarkHistory gives a page of the history of one of 200 PBXs that have 200 intervals
// each, how much it was online, and why all of them were not.
func BenchmarkHistory(b *testing.B) {
	fill := func(b *testing.B, db *store.DB) store.System {
		b.Helper()
		tenant := newTenant()
		update(b, db, func(tx *store.Tx) error { return tx.CreateTenant(tenant) })
		var last store.System
		for i := range 200 {
			last = newSystem(tenant.ID, identity.Serial(fmt.Sprintf("%010d", i)))
			last.Epoch = 1
			update(b, db, func(tx *store.Tx) error {
				if err := tx.CreateSystem(last); err != nil {
					return err
				}
				return tx.PutIntervals(long(last.Serial, 200))
			})
		}
		return last
	}
	benchEngines(b, fill, func(b *testing.B, db *store.DB, s store.System) {
		from := now.Add(-24 * time.Hour)
		for name, f := range map[string]func(tx *store.Tx) error{
			"page": func(tx *store.Tx) error {
				items, _, err := tx.History(s.Tenant, s.ID, store.HistoryFilter{From: from, To: now.Add(24 * time.Hour)}, store.Page{Limit: 100})
				if len(items) != 100 {
					b.Errorf("%d items", len(items))
				}
				return err
			},
			"availability": func(tx *store.Tx) error {
				_, err := tx.Availability(s.Tenant, s.ID, from, now)
				return err
			},
			"reasons": func(tx *store.Tx) error {
				_, err := tx.Reasons(s.Tenant, nil, from)
				return err
			},
			"lengths": func(tx *store.Tx) error {
				all, err := tx.HistoryLengths(store.Ownership{}, 1000)
				if len(all) != 200 {
					b.Errorf("%d PBXs", len(all))
				}
				return err
			},
		} {
			b.Run(name, func(b *testing.B) {
				measured(b, func() {
					for range b.N {
						view(b, db, f)
					}
				})
			})
		}
	})
}
