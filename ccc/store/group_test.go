package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// group runs changes of SQLite that wait for a first one, in whatever order, and gives
// their errors. The first does nothing.
func group(t *testing.T, db *store.DB, changes ...func(tx *store.Tx) error) []error {
	t.Helper()
	errs := make([]error, len(changes))
	var wg sync.WaitGroup
	begun := false
	update(t, db, func(*store.Tx) error {
		if begun { // this one may run again
			return nil
		}
		begun = true
		for i, f := range changes {
			wg.Go(func() {
				defer func() {
					if v := recover(); v != nil {
						errs[i] = fmt.Errorf("panic: %v", v)
					}
				}()
				errs[i] = db.Update(t.Context(), f)
			})
		}
		synctest.Wait() // until all of them wait
		return nil
	})
	wg.Wait()
	return errs
}

// tenants gives the ids of those that are there.
func tenants(t *testing.T, db *store.DB) (ids []store.TenantID) {
	t.Helper()
	for _, v := range get(t, db, (*store.Tx).Tenants) {
		ids = append(ids, v.ID)
	}
	return ids
}

// Changes that wait at the same time share a transaction, and know nothing of each
// other's errors: what one did that fails is undone, and nothing else.
func TestGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := open(t, sqliteConfig(t))
		there := newTenant()
		update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(there) })
		made := [6]store.Tenant{}
		for i := range made {
			made[i] = newTenant()
		}
		shared := 0 // changes that have seen one that is not on the disk
		change := func(i int, end func(tx *store.Tx) error) func(tx *store.Tx) error {
			return func(tx *store.Tx) error {
				all, err := tx.Tenants()
				if err != nil {
					return err
				}
				if len(all) > len(tenants(t, db)) {
					shared++
				}
				if err := tx.CreateTenant(made[i]); err != nil {
					return err
				}
				return end(tx)
			}
		}
		good := func(*store.Tx) error { return nil }
		errs := group(t, db,
			change(0, good),
			change(1, func(*store.Tx) error { return errUndo }),
			change(2, func(tx *store.Tx) error { return tx.CreateTenant(there) }),
			change(3, func(tx *store.Tx) error { _ = tx.CreateTenant(there); return nil }), // which it does not get away with
			change(4, func(*store.Tx) error { panic("no") }),
			change(5, good))
		if errs[0] != nil || errs[5] != nil {
			t.Errorf("good ones: %v, %v", errs[0], errs[5])
		}
		if !errors.Is(errs[1], errUndo) {
			t.Errorf("an error of its own: %v", errs[1])
		}
		conflicts(t, "id", errs[2])
		conflicts(t, "id", errs[3])
		if fmt.Sprint(errs[4]) != "panic: no" {
			t.Errorf("a panic: %v", errs[4])
		}
		want := []store.TenantID{there.ID, made[0].ID, made[5].ID}
		got := tenants(t, db)
		slices.Sort(want)
		slices.Sort(got)
		equal(t, "tenants", got, want)
		if shared == 0 {
			t.Error("no two have shared a transaction; the test shows nothing")
		}
	})
}

// Where SQLite undoes all of a transaction because of one change, the others are made
// again.
func TestGroupIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := open(t, sqliteConfig(t))
		const n = 10
		var changes []func(tx *store.Tx) error
		runs, lost := 0, false
		for range n {
			v := newTenant()
			changes = append(changes, func(tx *store.Tx) error {
				runs++
				if err := tx.CreateTenant(v); err != nil || runs != n/2 {
					return err
				}
				lost = true
				return errors.Join(tx.LoseGroup(), errUndo)
			})
		}
		failed := 0
		for _, err := range group(t, db, changes...) {
			if errors.Is(err, errUndo) {
				failed++
			} else if err != nil {
				t.Error(err)
			}
		}
		if !lost || failed != 1 || runs != n+n/2-1 {
			t.Errorf("lost: %v; %d have failed, after %d runs", lost, failed, runs)
		}
		if got := len(tenants(t, db)); got != n-1 {
			t.Errorf("%d changes were kept, want %d", got, n-1)
		}
	})
}

// Who waits can leave, and a group does not wait for more than it may.
func TestGroupEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := open(t, sqliteConfig(t))
		ctx, cancel := context.WithCancel(t.Context())
		var left error
		var wg sync.WaitGroup
		update(t, db, func(*store.Tx) error {
			wg.Go(func() {
				left = db.Update(ctx, func(tx *store.Tx) error { return tx.CreateTenant(newTenant()) })
			})
			synctest.Wait()
			cancel()
			wg.Wait() // although the turn does not come
			return nil
		})
		if !errors.Is(left, context.Canceled) || len(tenants(t, db)) != 0 {
			t.Errorf("who has left: %v, with %d changes", left, len(tenants(t, db)))
		}

		// Here it leaves in its turn.
		ctx, cancel = context.WithCancel(t.Context())
		errs := group(t, db,
			func(tx *store.Tx) error { return tx.CreateTenant(newTenant()) },
			func(tx *store.Tx) error {
				return db.View(t.Context(), func(*store.Tx) error {
					cancel()
					return nil
				})
			},
			func(tx *store.Tx) error { return tx.CreateTenant(newTenant()) })
		if err := errors.Join(errs...); err != nil || len(tenants(t, db)) != 2 {
			t.Errorf("%d changes, %v", len(tenants(t, db)), err)
		}
		err := db.Update(ctx, func(tx *store.Tx) error { return tx.CreateTenant(newTenant()) })
		if !errors.Is(err, context.Canceled) || len(tenants(t, db)) != 2 {
			t.Errorf("with a context that has ended: %v, %d changes", err, len(tenants(t, db)))
		}

		before, runs := len(tenants(t, db)), 0
		var seen []int // what is on the disk at each change
		var changes []func(tx *store.Tx) error
		for range store.GroupSize + 10 {
			changes = append(changes, func(tx *store.Tx) error {
				runs++
				seen = append(seen, len(tenants(t, db))-before)
				return tx.CreateTenant(newTenant())
			})
		}
		if err := errors.Join(group(t, db, changes...)...); err != nil {
			t.Fatal(err)
		}
		if runs != len(changes) || seen[store.GroupSize-2] != 0 || seen[store.GroupSize] == 0 {
			t.Errorf("after %d runs, there was on the disk: %v", runs, seen)
		}
		if got := len(tenants(t, db)) - before; got != len(changes) {
			t.Errorf("%d changes were kept, want %d", got, len(changes))
		}
	})
}

// A connection keeps its statements, but not without an end, and one whose rows are being
// read is not begun again.
func TestStatements(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	const n = 2 * store.MaxStatements
	for range 2 {
		view(t, db, func(tx *store.Tx) error {
			for i := range n {
				if _, err := tx.Plan(fmt.Sprintf("SELECT %d", i)); err != nil {
					return err
				}
			}
			return nil
		})
		if kept, err := db.Statements(t.Context()); err != nil || kept != store.MaxStatements {
			t.Errorf("%d statements are kept, %v; want %d", kept, err, store.MaxStatements)
		}
	}
	view(t, db, func(tx *store.Tx) error {
		want := []int{1, 2, 3}
		outer, inner, err := tx.Nested("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
		if !slices.Equal(outer, want) || !slices.Equal(inner, want) {
			t.Errorf("read %v, and %v at the same time", outer, inner)
		}
		return err
	})
}
