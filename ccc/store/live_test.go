package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// livePages reads a whole list in small pages, and runs something after the first.
func livePages[T any](t *testing.T, db *store.DB, id func(T) string, between func(), list func(*store.Tx, store.Page) ([]T, string, error)) (ids []string) {
	t.Helper()
	p := store.Page{Limit: 2}
	for {
		var items []T
		update(t, db, func(tx *store.Tx) (err error) {
			items, p.Cursor, err = list(tx, p)
			return err
		})
		for _, v := range items {
			ids = append(ids, id(v))
		}
		if p.Cursor == "" {
			return ids
		}
		between()
		between = func() {}
	}
}

// TestLiveFirst: however many are over, what still counts comes first, and what ends between
// two pages is neither lost nor there twice.
func TestLiveFirst(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		to := newTenant()
		update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(to) })
		at := now.Add(time.Hour)
		var live, over []string
		for i := range 7 {
			g := newBreakGlass(store.BreakGlassID(fmt.Sprintf("glass%d", i)), s.Tenant)
			g.Home, g.User, g.Created, g.Expires = to.ID, "staff", now.Add(time.Duration(i)*time.Minute), at.Add(time.Hour)
			if i > 2 {
				g.Expires = at.Add(-time.Minute)
				over = append(over, string(g.ID))
			} else {
				live = append(live, string(g.ID))
			}
			update(t, db, func(tx *store.Tx) error { return tx.CreateBreakGlass(g) })
		}
		slices.Reverse(live)
		slices.Reverse(over)
		id := func(g store.BreakGlass) string { return string(g.ID) }
		end := func() {
			update(t, db, func(tx *store.Tx) error {
				_, err := tx.EndBreakGlass(s.Tenant, "glass0", "boss", at.Add(time.Second))
				return err
			})
		}
		own := func() (ids []string) {
			for _, g := range get(t, db, func(tx *store.Tx) ([]store.BreakGlass, error) {
				return tx.UserBreakGlasses("staff", at.Add(time.Minute))
			}) {
				ids = append(ids, id(g))
			}
			return ids
		}
		equal(t, "his own", own(), live)
		equal(t, "break-glass", livePages(t, db, id, end, func(tx *store.Tx, p store.Page) ([]store.BreakGlass, string, error) {
			return tx.BreakGlasses(s.Tenant, at, p)
		}), slices.Concat(live, over))
		equal(t, "his own, when one is ended", own(), live[:2])

		var handovers []string
		for i := range 6 {
			h := newHandover(store.HandoverID(fmt.Sprintf("handover%d", i)), s, to.ID)
			h.Created, h.Expires = now.Add(time.Duration(i)*time.Minute), at.Add(time.Hour)
			other := newSystem(s.Tenant, identity.Serial(fmt.Sprintf("000000001%d", i)))
			if i < 3 {
				h.System = other.ID // stays offered
			}
			update(t, db, func(tx *store.Tx) error {
				err := errors.Join(tx.CreateSystem(other), tx.CreateHandover(h))
				if i >= 3 && err == nil {
					_, err = tx.SetHandover(to.ID, h.ID, store.HandoverOffered, store.HandoverDeclined, "x", at.Add(-time.Second))
				}
				return err
			})
		}
		for _, i := range []int{2, 1, 0, 5, 4, 3} {
			handovers = append(handovers, fmt.Sprintf("handover%d", i))
		}
		equal(t, "hand-overs", livePages(t, db, func(h store.Handover) string { return string(h.ID) }, func() {
			update(t, db, func(tx *store.Tx) error {
				_, err := tx.SetHandover(to.ID, "handover1", store.HandoverOffered, store.HandoverDeclined, "x", at.Add(time.Second))
				return err
			})
		}, func(tx *store.Tx, p store.Page) ([]store.Handover, string, error) { return tx.Handovers(to.ID, at, p) }), handovers)
		err := db.View(t.Context(), func(tx *store.Tx) error {
			_, _, err := tx.Handovers(to.ID, at, store.Page{Cursor: "x"})
			return err
		})
		if !errors.Is(err, store.ErrCursor) {
			t.Errorf("an unknown cursor: %v", err)
		}
	})
}
