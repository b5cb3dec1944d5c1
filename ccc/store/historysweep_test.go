package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// long is a history of n intervals of a minute each, from two hours ago on.
func long(of identity.Serial, n int) (all []store.Interval) {
	for i := range n {
		at := now.Add(time.Duration(i-120) * time.Minute)
		all = append(all, store.Interval{
			ID: store.NewID[store.HistoryID](), Serial: of, Epoch: 1, Link: store.LinkOnline, Started: at, Ended: at.Add(time.Minute),
		})
	}
	return all
}

func TestSweepHistory(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, of := populate(t, db, "owner@example.com")
		removed := func(f func(tx *store.Tx) (int, error)) (n int) {
			t.Helper()
			update(t, db, func(tx *store.Tx) (err error) {
				n, err = f(tx)
				return err
			})
			return n
		}
		ids := func() (all []store.HistoryID) {
			view(t, db, func(tx *store.Tx) error {
				found, _, err := tx.History(tenant, of.system, store.HistoryFilter{From: now.Add(-24 * time.Hour), To: now.Add(time.Hour)}, store.Page{})
				for _, v := range found {
					all = append(all, v.ID)
				}
				return err
			})
			return all
		}
		update(t, db, func(tx *store.Tx) error { return tx.PutIntervals(long(serial, 10)) }) // and the three of populate
		all := ids()
		lengths := get(t, db, func(tx *store.Tx) ([]store.HistoryLength, error) { return tx.HistoryLengths(store.Ownership{}, 10) })
		own := store.Ownership{Serial: serial, Epoch: 1}
		equal(t, "the lengths", lengths, []store.HistoryLength{{own, 13}})
		if after := get(t, db, func(tx *store.Tx) ([]store.HistoryLength, error) { return tx.HistoryLengths(own, 10) }); len(after) != 0 {
			t.Errorf("after the last one: %v", after)
		}
		sweep := func(before time.Time, limit int) func(tx *store.Tx) (int, error) {
			return func(tx *store.Tx) (int, error) { return tx.SweepHistory(before, limit) }
		}
		trim := func(most, limit int) func(tx *store.Tx) (int, error) {
			return func(tx *store.Tx) (int, error) { return tx.TrimHistory(own, most, limit) }
		}
		for _, c := range []struct {
			what string
			f    func(tx *store.Tx) (int, error)
			want int
		}{
			{"nothing is so old", sweep(now.Add(-2*time.Hour), 5), 0},
			{"two at once", sweep(now.Add(-115*time.Minute), 2), 2},
			{"the rest of them", sweep(now.Add(-115*time.Minute), 2), 2},
			{"none is left", sweep(now.Add(-115*time.Minute), 2), 0},
			{"no more than may be", trim(9, 5), 0},
			{"the oldest, at most two", trim(5, 2), 2},
			{"the rest", trim(5, 3), 2},
			{"no more than may be any more", trim(5, 3), 0},
		} {
			if n := removed(c.f); n != c.want {
				t.Errorf("%s: %d were removed, want %d", c.what, n, c.want)
			}
		}
		equal(t, "the newest are left", ids(), all[:5])
		// What lasts has no end.
		if n := removed(sweep(now.Add(time.Hour), 100)); n != 4 || len(ids()) != 1 {
			t.Errorf("%d were removed, left is %v", n, ids())
		}
	})
}

// TestHistoryIsSweptByIndexes: none of the queries looks through the table, or sorts it.
func TestHistoryIsSweptByIndexes(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		of := populateOne(t, db)
		errRolledBack := errors.New("rolled back")
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			for what, q := range map[string]struct {
				query string
				args  []any
				index string
			}{
				"lengths": {store.HistoryLengthsQuery, []any{of.Serial, of.Epoch, 100}, "presence_history_system"},
				"old":     {"SELECT id FROM presence_history WHERE ended > 0 AND ended < $1 ORDER BY ended LIMIT $2", []any{now, 100}, "presence_history_ended"},
				"oldest":  {"SELECT id FROM presence_history WHERE serial = $1 AND epoch = $2 ORDER BY started, id LIMIT $3", []any{of.Serial, of.Epoch, 100}, "presence_history_system"},
			} {
				steps, err := tx.Plan(q.query, q.args...)
				if err != nil {
					return err
				}
				text := strings.Join(steps, "\n")
				if !strings.Contains(text, q.index) || strings.Contains(text, "TEMP B-TREE") || strings.Contains(text, "Sort") || strings.Contains(text, "Seq Scan") {
					t.Errorf("%s:\n%s", what, text)
				}
			}
			return errRolledBack
		})
		if !errors.Is(err, errRolledBack) {
			t.Fatal(err)
		}
	})
}

// populateOne makes a PBX with a long history.
func populateOne(t *testing.T, db *store.DB) store.Ownership {
	t.Helper()
	populate(t, db, "owner@example.com")
	update(t, db, func(tx *store.Tx) error { return tx.PutIntervals(long(serial, 50)) })
	return store.Ownership{Serial: serial, Epoch: 1}
}
