package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// newHistory is of the first ownership of a PBX: online for 40 minutes, offline for 10, and
// online since, which is 10 minutes before now.
func newHistory(of identity.Serial) []store.Interval {
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	interval := func(link store.Link, reason string, from, to time.Time) store.Interval {
		return store.Interval{
			ID: store.NewID[store.HistoryID](), Serial: of, Epoch: 1, Link: link, Reason: reason, Relay: "relay/fra-1",
			Transport: "quic", Boot: 1<<63 + 7, Started: from, Ended: to,
		}
	}
	all := []store.Interval{
		interval(store.LinkOnline, "", at(-60), at(-20)),
		interval(store.LinkOffline, "network", at(-20), at(-10)),
		interval(store.LinkOnline, "", at(-10), time.Time{}),
	}
	all[0].RTT = store.RTT{Count: 2, Sum: 30 * time.Millisecond, Min: 12345 * time.Microsecond, Max: 17655 * time.Microsecond}
	return all
}

func TestHistory(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, of := populate(t, db, "owner@example.com")
		all := get(t, db, func(tx *store.Tx) ([]store.Interval, error) {
			v, _, err := tx.History(tenant, of.system, store.HistoryFilter{From: now.Add(-2 * time.Hour), To: now}, store.Page{})
			return v, err
		})
		want := newHistory(serial)
		for i := range want {
			want[i].ID = all[len(all)-1-i].ID
			equal(t, "interval", all[len(all)-1-i], want[i])
		}
		// What does not overlap is left out, and pages go on where the one before ended.
		read := func(from, to time.Time, limit int) (got []store.Interval) {
			for next := ""; ; {
				view(t, db, func(tx *store.Tx) error {
					some, cursor, err := tx.History(tenant, of.system, store.HistoryFilter{From: from, To: to}, store.Page{Limit: limit, Cursor: next})
					got, next = append(got, some...), cursor
					return err
				})
				if next == "" {
					return got
				}
			}
		}
		equal(t, "by pages", read(now.Add(-2*time.Hour), now, 1), all)
		equal(t, "the first half hour", read(now.Add(-time.Hour), now.Add(-30*time.Minute), 0), all[2:])
		equal(t, "the last minute", read(now.Add(-time.Minute), now, 0), all[:1])
		share := get(t, db, func(tx *store.Tx) (store.Share, error) {
			return tx.Availability(tenant, of.system, now.Add(-30*time.Minute), now)
		})
		equal(t, "availability", share, store.Share{Watched: 30 * time.Minute, Online: 20 * time.Minute})
		equal(t, "reasons", get(t, db, func(tx *store.Tx) ([]store.ReasonCount, error) {
			return tx.Reasons(tenant, nil, now.Add(-time.Hour))
		}), []store.ReasonCount{{Reason: "network", Times: 1, Systems: 1}})
		for within, n := range map[*store.Within]int{{Systems: []store.SystemID{of.system}}: 1, {Sites: []store.SiteID{of.site}}: 1, {}: 0} {
			if got := get(t, db, func(tx *store.Tx) ([]store.ReasonCount, error) {
				return tx.Reasons(tenant, within, now.Add(-time.Hour))
			}); len(got) != n {
				t.Errorf("within %+v: %+v, want %d", within, got, n)
			}
		}
		equal(t, "what lasts", get(t, db, func(tx *store.Tx) ([]store.Interval, error) { return tx.OpenIntervals("", 10) }), all[:1])
		equal(t, "seen", get(t, db, (*store.Tx).RecorderSeen), now)

		// One that lasts is changed, and ends once; what took its place is removed.
		last := all[0]
		last.Ended, last.Reason = now.Add(time.Minute), "unknown"
		late := last
		late.Ended = time.Time{}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.PutIntervals([]store.Interval{last}), tx.PutIntervals([]store.Interval{late}), tx.DeleteIntervals([]store.HistoryID{all[2].ID}))
		})
		equal(t, "changed", read(now.Add(-2*time.Hour), now, 0), []store.Interval{last, all[1]})
	})
}

// A new owner sees nothing of what was before, and of a system that is removed nothing stays.
func TestHistoryIsOfAnOwnership(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, of := populate(t, db, "owner@example.com")
		count := func() (n int) {
			view(t, db, func(tx *store.Tx) error {
				all, _, err := tx.History(tenant, of.system, store.HistoryFilter{From: now.Add(-time.Hour), To: now}, store.Page{})
				n = len(all)
				return err
			})
			return n
		}
		if n := count(); n != 3 {
			t.Fatalf("%d intervals", n)
		}
		update(t, db, func(tx *store.Tx) error { return tx.SetPaired(tenant, of.system, 2, now) })
		if n := count(); n != 0 {
			t.Errorf("the next owner sees %d intervals", n)
		}
		// Of an ownership that no system has nothing is kept.
		update(t, db, func(tx *store.Tx) error { return tx.PutIntervals(newHistory(serial)) })
		update(t, db, func(tx *store.Tx) error { return tx.SetPaired(tenant, of.system, 1, now) })
		if n := count(); n != 3 {
			t.Errorf("%d intervals, of which some were written for nobody", n)
		}
		update(t, db, func(tx *store.Tx) error {
			p, err := tx.SystemPairing(tenant, of.system)
			return errors.Join(err, tx.DeletePairing(p.ID), tx.DeleteSystem(tenant, of.system))
		})
		if left := get(t, db, func(tx *store.Tx) ([]store.Interval, error) { return tx.OpenIntervals("", 10) }); len(left) != 0 {
			t.Errorf("of a system that was removed there is %+v", left)
		}
	})
}

func TestPlaceSite(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, of := populate(t, db, "owner@example.com")
		place := func(address string, at *store.Position) error {
			return db.Update(t.Context(), func(tx *store.Tx) error { return tx.PlaceSite(tenant, of.site, address, at) })
		}
		site := func() store.Site {
			return get(t, db, func(tx *store.Tx) (store.Site, error) { return tx.Site(tenant, of.site) })
		}
		at := &store.Position{Latitude: 53.550341, Longitude: -9.993682}
		if err := place("Rathausmarkt 1", at); err != nil {
			t.Fatal(err)
		}
		equal(t, "placed", site().At, at)
		equal(t, "address", site().Address, "Rathausmarkt 1")
		var invalid *store.InvalidError
		if err := place("", &store.Position{Latitude: 91}); !errors.As(err, &invalid) || invalid.Field != "Position" {
			t.Errorf("beyond the pole: %v", err)
		}
		if err := place("", nil); err != nil || site().At != nil || site().Address != "" {
			t.Errorf("taken back: %v, %+v", err, site())
		}
	})
}
