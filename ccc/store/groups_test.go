package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// A tenant has no more groups than it may have; another one's do not count.
func TestGroupsAreLimited(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, other := newTenant(), newTenant()
		group := func(of store.Tenant, i int) store.Group {
			return store.Group{ID: store.NewID[store.GroupID](), Tenant: of.ID, Name: fmt.Sprintf("Group %d", i), Created: now}
		}
		var all []store.GroupID
		update(t, db, func(tx *store.Tx) error {
			all = nil
			if err := errors.Join(tx.CreateTenant(tenant), tx.CreateTenant(other), tx.CreateGroup(group(other, 0))); err != nil {
				return err
			}
			for i := range store.MaxGroups {
				g := group(tenant, i)
				if err := tx.CreateGroup(g); err != nil {
					return fmt.Errorf("group %d: %w", i, err)
				}
				all = append(all, g.ID)
			}
			return nil
		})
		create := func(of store.Tenant) error {
			return db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateGroup(group(of, store.MaxGroups)) })
		}
		if err := create(tenant); !errors.Is(err, store.ErrLimit) {
			t.Errorf("one too many: %v", err)
		}
		if err := create(other); err != nil {
			t.Errorf("of another tenant: %v", err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteGroup(tenant.ID, all[0]) })
		if err := create(tenant); err != nil {
			t.Errorf("after one was removed: %v", err)
		}

		// Those that are named come alone, by name; what is not there, or not the tenant's,
		// does not.
		theirs := get(t, db, func(tx *store.Tx) ([]store.Group, error) { return tx.Groups(other.ID) })
		named := []store.GroupID{all[10], all[9], all[10], all[0], theirs[0].ID, "?", "\x00", "\xff"}
		got := get(t, db, func(tx *store.Tx) ([]store.Group, error) { return tx.Groups(tenant.ID, named...) })
		if !slices.EqualFunc(got, all[9:11], func(g store.Group, id store.GroupID) bool { return g.ID == id }) {
			t.Errorf("named: %+v", got)
		}
		if got := get(t, db, func(tx *store.Tx) ([]store.Group, error) { return tx.Groups(tenant.ID, "?") }); len(got) != 0 {
			t.Errorf("none is named that is there: %d", len(got))
		}
		if got := get(t, db, func(tx *store.Tx) ([]store.Group, error) { return tx.Groups(tenant.ID) }); len(got) != store.MaxGroups {
			t.Errorf("all: %d", len(got))
		}
	})
}

func TestSystemsByID(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, all := fleet(t, db, 20)
		asked := []store.SystemID{all[3].ID, store.NewID[store.SystemID](), all[0].ID, "?", "\x00", all[3].ID}
		got := get(t, db, func(tx *store.Tx) ([]store.System, error) { return tx.SystemsByID(tenant, asked) })
		want := []store.System{
			get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System(tenant, all[0].ID) }),
			get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System(tenant, all[3].ID) }),
		}
		slices.SortFunc(got, func(a, b store.System) int { return slices.IndexFunc(all, is(a)) - slices.IndexFunc(all, is(b)) })
		equal(t, "systems", got, want)
		if n := get(t, db, func(tx *store.Tx) (int, error) { return tx.CountSystems(tenant) }); n != 20 {
			t.Errorf("%d systems", n)
		}
	})
}

func is(s store.System) func(store.System) bool {
	return func(other store.System) bool { return other.ID == s.ID }
}

// Who is paired is told page by page, in the order of serials.
func TestPaired(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		_, all := fleet(t, db, 5)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreatePairing(newPairing(all[4])), tx.CreatePairing(newPairing(all[1])))
		})
		var got, want []store.Paired
		for _, p := range get(t, db, func(tx *store.Tx) ([]store.Pairing, error) { return tx.ActivePairings("", 10) }) {
			want = append(want, store.Paired{Serial: p.Serial, Tenant: p.Tenant, System: p.System, Epoch: p.Epoch})
			after := store.Paired{}
			if len(got) > 0 {
				after = got[len(got)-1]
			}
			got = append(got, get(t, db, func(tx *store.Tx) ([]store.Paired, error) { return tx.Paired(after.Serial, 1) })...)
		}
		if len(want) != 2 {
			t.Fatalf("%d are paired", len(want))
		}
		equal(t, "paired", got, want)
	})
}

// A sweep that finds nothing gives SQLite nothing to overwrite.
func TestSweepOfNothingErasesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	s := fixture(t, db)
	user := newUser(s.Tenant, "jo@example.com")
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.SweepIdempotent(now.Add(time.Hour))
		if tx.Erased() {
			t.Error("nothing was swept, and erased")
		}
		return errors.Join(err, tx.CreateUser(user))
	})
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.BeginIdempotent(user.ID, "key", []byte("request"), now)
		return err
	})
	update(t, db, func(tx *store.Tx) error {
		n, err := tx.SweepIdempotent(now.Add(time.Hour))
		if n != 1 || !tx.Erased() {
			t.Errorf("%d were swept, erased: %v", n, tx.Erased())
		}
		return err
	})
}
