package store_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// engineBenchmarks runs a benchmark on each engine, with a tenant that has 10,000
// systems.
func engineBenchmarks(b *testing.B, run func(b *testing.B, db *store.DB, tenant store.TenantID)) {
	b.Helper()
	for name, config := range map[string]func(testing.TB) store.Config{"sqlite": sqliteConfig, "postgres": postgresConfig} {
		b.Run(name, func(b *testing.B) {
			db := open(b, config(b))
			tenant := newTenant()
			update(b, db, func(tx *store.Tx) error { return tx.CreateTenant(tenant) })
			const systems, each = 10_000, 1000
			for first := 0; first < systems; first += each {
				update(b, db, func(tx *store.Tx) error {
					for i := range each {
						if err := save(tx, newSystem(tenant.ID, identity.Serial(fmt.Sprintf("9%09d", first+i)))); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := db.Scrub(b.Context()); err != nil {
				b.Fatal(err)
			}
			run(b, db, tenant.ID)
		})
	}
}

// cpu is what the process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measured runs f and reports the CPU time of each operation: on a busy machine, and
// with others than the benchmark at the disk, that tells more than how long it took.
func measured(b *testing.B, f func()) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	f()
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
}

// save does what the service does for a new system and its first offer.
func save(tx *store.Tx, s store.System) error {
	for _, subject := range []string{string(s.Tenant), string(s.Tenant) + "/" + string(s.Serial)} {
		if _, _, err := tx.CountAttempts("offer", subject, now.Add(time.Hour)); err != nil {
			return err
		}
		if err := tx.AddAttempt("offer", subject, now); err != nil {
			return err
		}
	}
	if _, err := tx.Tenant(s.Tenant); err != nil {
		return err
	}
	return errors.Join(
		tx.CreateSystem(s), tx.CreateOffer(newOffer(s)),
		tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: "offered", At: now}),
	)
}

// pair does what the service does until a PBX is paired: four changes and the views
// between them.
func pair(b *testing.B, db *store.DB, s store.System) error {
	var o store.Offer
	look := func(tx *store.Tx) error {
		offers, err := tx.OpenOffers(s.Serial)
		if err == nil && len(offers) > 0 {
			o = offers[0]
		}
		_, none := tx.ActivePairing(s.Serial)
		_, err2 := tx.Tombstones(s.Serial)
		if none != nil && !errors.Is(none, store.ErrNotFound) {
			err = none
		}
		return errors.Join(err, err2)
	}
	change := func(step func(tx *store.Tx) error, from, to store.State) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			if _, err := tx.System(s.Tenant, s.ID); err != nil {
				return err
			}
			return errors.Join(
				step(tx), tx.SetState(s.Tenant, s.ID, []store.State{from}, to, "", now),
				tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: string(to), At: now}),
			)
		}
	}
	p := newPairing(s)
	for _, step := range []struct {
		transaction func(f func(tx *store.Tx) error) error
		f           func(tx *store.Tx) error
	}{
		{f: func(tx *store.Tx) error { return save(tx, s) }},
		{f: look, transaction: func(f func(tx *store.Tx) error) error { return db.View(b.Context(), f) }},
		{f: change(func(tx *store.Tx) error { return tx.SetReceived(o.ID, now) }, store.StateOffered, store.StateReceived)},
		{f: look, transaction: func(f func(tx *store.Tx) error) error { return db.View(b.Context(), f) }},
		{f: change(func(tx *store.Tx) (err error) {
			if p.Epoch, err = tx.NextEpoch(s.Serial); err != nil {
				return err
			}
			return errors.Join(tx.CreatePairing(p), tx.CloseOffer(o.ID, store.OfferUsed, now), tx.SetPaired(s.Tenant, s.ID, p.Epoch, now))
		}, store.StateReceived, store.StateProving)},
		{f: look, transaction: func(f func(tx *store.Tx) error) error { return db.View(b.Context(), f) }},
		{f: change(func(tx *store.Tx) error { return tx.SetProved(p.ID, now) }, store.StateProving, store.StatePaired)},
	} {
		if step.transaction == nil {
			step.transaction = func(f func(tx *store.Tx) error) error { return db.Update(b.Context(), f) }
		}
		if err := step.transaction(step.f); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkPairings pairs many PBXs at once, while somebody looks at a list for each
// tenth of them.
func BenchmarkPairings(b *testing.B) {
	engineBenchmarks(b, func(b *testing.B, db *store.DB, tenant store.TenantID) {
		var n atomic.Int64
		b.SetParallelism(64)
		measured(b, func() {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := int(n.Add(1))
					if err := pair(b, db, newSystem(tenant, identity.Serial(fmt.Sprintf("1%09d", i)))); err != nil {
						b.Error(err)
						return
					}
					if i%10 == 0 {
						if _, err := firstPage(b, db, tenant); err != nil {
							b.Error(err)
							return
						}
					}
				}
			})
		})
	})
}

func firstPage(b *testing.B, db *store.DB, tenant store.TenantID) (all []store.System, err error) {
	err = db.View(b.Context(), func(tx *store.Tx) error {
		all, _, _, err = tx.Systems(tenant, store.Filter{Query: "pbx", Sort: "-created"}, store.Page{Limit: 100})
		return err
	})
	return all, err
}

// BenchmarkAlone makes one small change after the other, each with a view of the same
// system: what it costs where nothing is shared.
func BenchmarkAlone(b *testing.B) {
	engineBenchmarks(b, func(b *testing.B, db *store.DB, tenant store.TenantID) {
		s := newSystem(tenant, serial)
		update(b, db, func(tx *store.Tx) error { return tx.CreateSystem(s) })
		measured(b, func() {
			for i := range b.N {
				update(b, db, func(tx *store.Tx) error { return tx.SetLastSeen(tenant, s.ID, now.Add(time.Duration(i)*time.Second)) })
				view(b, db, func(tx *store.Tx) error {
					_, err := tx.System(tenant, s.ID)
					return err
				})
			}
		})
	})
}

// BenchmarkListAfterChange gives a page of a long list after each change.
func BenchmarkListAfterChange(b *testing.B) {
	engineBenchmarks(b, func(b *testing.B, db *store.DB, tenant store.TenantID) {
		s := newSystem(tenant, serial)
		update(b, db, func(tx *store.Tx) error { return tx.CreateSystem(s) })
		measured(b, func() {
			for i := range b.N {
				update(b, db, func(tx *store.Tx) error {
					return tx.AddAttempt("kind", strconv.Itoa(i), now)
				})
				if all, err := firstPage(b, db, tenant); err != nil || len(all) != 100 {
					b.Fatal(len(all), err)
				}
			}
		})
	})
}
