package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func TestTenants(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		a, b := newTenant(), newTenant()
		b.Parent, b.Kind, b.Created = a.ID, store.KindReseller, now.Add(time.Second)
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(a), tx.CreateTenant(b)) })
		equal(t, "all", get(t, db, (*store.Tx).Tenants), []store.Tenant{a, b})
		equal(t, "one", get(t, db, func(tx *store.Tx) (store.Tenant, error) { return tx.Tenant(b.ID) }), b)
		conflicts(t, "id", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(a) }))
		c := newTenant()
		c.Parent = store.NewID[store.TenantID]()
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(c) }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a parent that is not there: %v", err)
		}
		c.Parent, c.Kind = "", "king"
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(c) }); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("an unknown kind: %v", err)
		}
	})
}

func TestSystems(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		read := func() store.System {
			t.Helper()
			return get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System(s.Tenant, s.ID) })
		}
		equal(t, "created", read(), s)
		g := store.Group{ID: store.NewID[store.GroupID](), Tenant: s.Tenant, Name: "North", Created: now}
		name, tags := "Müller", []string{"vip", "a", "vip"}
		update(t, db, func(tx *store.Tx) error {
			if err := tx.CreateGroup(g); err != nil {
				return err
			}
			_, err := tx.UpdateSystem(s.Tenant, s.ID, 1, store.Fields{Name: &name, Tags: &tags, Groups: &[]store.GroupID{g.ID}})
			return err
		})
		s.Name, s.Tags, s.Groups, s.Version = name, []string{"a", "vip"}, []store.Group{g}, 2
		equal(t, "updated", read(), s)
		for _, q := range []string{"muller", "MÜL VIP", "0123456"} {
			items, next, total, err := list(t, db, s.Tenant, store.Filter{Query: q}, store.Page{})
			if err != nil || next != "" || total != 1 {
				t.Fatal(q, next, total, err)
			}
			equal(t, q, items, []store.System{s})
		}
		at := now.Add(time.Minute)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(
				tx.SetState(s.Tenant, s.ID, []store.State{store.StateOffered}, store.StateProving, "", at),
				tx.SetPaired(s.Tenant, s.ID, 3, at), tx.SetLastSeen(s.Tenant, s.ID, at))
		})
		s.State, s.StateSince, s.Paired, s.Epoch, s.LastSeen = store.StateProving, at, &at, 3, &at
		equal(t, "paired", read(), s)
	})
}

func list(t testing.TB, db *store.DB, tenant store.TenantID, f store.Filter, p store.Page) (items []store.System, next string, total int, err error) {
	err = db.View(t.Context(), func(tx *store.Tx) (err error) {
		items, next, total, err = tx.Systems(tenant, f, p)
		return err
	})
	return items, next, total, err
}

func TestOffersAndPairings(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		o, p := newOffer(s), newPairing(s)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateOffer(o), tx.CreatePairing(p), tx.SetReceived(o.ID, now), tx.SetProved(p.ID, now))
		})
		received := now
		o.State, o.Received = store.OfferReceived, &received
		p.Proved = &received
		equal(t, "offer", get(t, db, func(tx *store.Tx) (store.Offer, error) { return tx.Offer(o.ID) }), o)
		equal(t, "pairing", get(t, db, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) }), p)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CloseOffer(o.ID, store.OfferUsed, now), tx.DeletePairing(p.ID))
		})
		var epochs []uint64
		for range 3 {
			update(t, db, func(tx *store.Tx) error {
				n, err := tx.NextEpoch(serial)
				epochs = append(epochs, n)
				return err
			})
		}
		equal(t, "epochs", epochs, []uint64{1, 2, 3})
	})
}
