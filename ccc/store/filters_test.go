package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func newFilter(tenant store.TenantID, user store.UserID, name string) store.SavedFilter {
	return store.SavedFilter{ID: store.NewID[store.FilterID](), Tenant: tenant, User: user, Name: name, Filter: `{"q":"x"}`, Created: now}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant := newTenant()
		jo, al := newUser(tenant.ID, "jo@example.com"), newUser(tenant.ID, "al@example.com")
		own, foreign, shared := newFilter(tenant.ID, jo.ID, "Own"), newFilter(tenant.ID, al.ID, "Own"), newFilter(tenant.ID, "", "All")
		create := func(v store.SavedFilter) error {
			return db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateFilter(v) })
		}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateTenant(tenant), tx.CreateUser(jo), tx.CreateUser(al), tx.CreateFilter(own), tx.CreateFilter(foreign), tx.CreateFilter(shared))
		})
		list := func(u store.UserID) []store.SavedFilter {
			return get(t, db, func(tx *store.Tx) ([]store.SavedFilter, error) { return tx.Filters(tenant.ID, u) })
		}
		equal(t, "what one may choose from", list(jo.ID), []store.SavedFilter{shared, own})
		conflicts(t, "name", create(newFilter(tenant.ID, jo.ID, "Own")))
		conflicts(t, "name", create(newFilter(tenant.ID, "", "All")))
		if err := create(newFilter(tenant.ID, jo.ID, "All")); err != nil {
			t.Error("a name that the others have:", err)
		}
		if err := create(newFilter(tenant.ID, "nobody", "Of nobody")); !errors.Is(err, store.ErrNotFound) {
			t.Error("of nobody:", err)
		}
		set := func(u store.UserID, id store.FilterID) error {
			return db.Update(t.Context(), func(tx *store.Tx) error { return tx.SetDefaultFilter(tenant.ID, u, id) })
		}
		begins := func(u store.UserID) store.FilterID {
			return get(t, db, func(tx *store.Tx) (store.FilterID, error) { return tx.DefaultFilter(tenant.ID, u) })
		}
		if err := set(jo.ID, foreign.ID); !errors.Is(err, store.ErrNotFound) {
			t.Error("another's as the default:", err)
		}
		if err := errors.Join(set(jo.ID, own.ID), set(jo.ID, shared.ID), set(al.ID, shared.ID)); err != nil {
			t.Error(err)
		}
		equal(t, "the default", begins(jo.ID), shared.ID)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.ChangeFilter(tenant.ID, own.ID, "Renamed", "{}"), tx.DeleteFilter(tenant.ID, shared.ID))
		})
		equal(t, "the default that is gone", begins(al.ID), store.FilterID(""))
		if got := list(jo.ID); len(got) != 2 || got[1].Name != "Renamed" || got[1].Filter != "{}" {
			t.Errorf("in the end: %+v", got)
		}
		if err := set(jo.ID, ""); err != nil {
			t.Error(err)
		}
		update(t, db, func(tx *store.Tx) error {
			for i := range store.MaxFilters - 2 {
				if err := tx.CreateFilter(newFilter(tenant.ID, jo.ID, fmt.Sprint(i))); err != nil {
					return err
				}
			}
			return nil
		})
		if err := create(newFilter(tenant.ID, jo.ID, "One more")); !errors.Is(err, store.ErrLimit) {
			t.Error("one more than fits:", err)
		}
		if err := create(newFilter(tenant.ID, "", "Of all")); err != nil {
			t.Error("the limit of a person is not that of all:", err)
		}
	})
}

// A search finds systems also by their site, with or without case and accents.
func TestSearchBySite(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		other := newSystem(s.Tenant, "0000000077")
		other.Site = store.NewID[store.SiteID]()
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateSite(store.Site{ID: other.Site, Tenant: s.Tenant, Name: "Köln Süd", Created: now}), tx.CreateSystem(other))
		})
		for query, want := range map[string]int{"koln": 1, "KÖLN 0077": 1, "köln 0123": 0, "pbx": 2, "süd koln pbx": 1, "hamburg": 0, "%": 0} {
			found := get(t, db, func(tx *store.Tx) ([]store.System, error) {
				all, _, _, err := tx.Systems(s.Tenant, store.Filter{Query: query}, store.Page{})
				return all, err
			})
			if len(found) != want {
				t.Errorf("%q finds %d, want %d", query, len(found), want)
			}
		}
	})
}

func TestSheet(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		o := newOffer(s)
		update(t, db, func(tx *store.Tx) error { return tx.CreateOffer(o) })
		open := func() []store.Offer {
			return get(t, db, func(tx *store.Tx) ([]store.Offer, error) {
				return tx.OpenOffersOf(s.Tenant, []store.SystemID{s.ID, "x\x00"})
			})
		}
		equal(t, "before", open(), []store.Offer{o})
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.SetSheet(s.Tenant, []store.OfferID{o.ID, "missing"}, now)
			equal(t, "how many", n, 1)
			return err
		})
		o.Sheet = new(now)
		equal(t, "after", open(), []store.Offer{o})
	})
}
