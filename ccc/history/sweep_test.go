package history

import (
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TestOthersWriteDuringASweep: somebody else who writes gets in between its transactions,
// and sees what is not removed yet.
func TestOthersWriteDuringASweep(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *store.DB) {
		const each, keep = 120, 20
		const serial identity.Serial = "0000000001"
		tenant, systems := owner(t, db, serial)
		var all []store.Interval
		begin := time.Now().Add(-200 * 24 * time.Hour).Truncate(time.Millisecond)
		for i := range 2 * each { // half of them are too old, and of the rest there are too many
			if i == each {
				begin = time.Now().Add(-time.Duration(2*each) * time.Minute).Truncate(time.Millisecond)
			}
			at := begin.Add(time.Duration(i%each) * time.Minute)
			all = append(all, store.Interval{
				ID: store.NewID[store.HistoryID](), Serial: serial, Epoch: 1, Link: store.LinkOnline, Started: at, Ended: at.Add(time.Minute),
			})
		}
		left := func() (n int) {
			if err := db.View(t.Context(), func(tx *store.Tx) error {
				lengths, err := tx.HistoryLengths(store.Ownership{}, 10)
				n = 0
				for _, v := range lengths {
					n += v.Intervals
				}
				return err
			}); err != nil {
				t.Error(err)
			}
			return n
		}
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.PutIntervals(all) }); err != nil {
			t.Fatal(err)
		}
		if n := left(); n != 2*each {
			t.Fatalf("control: %d intervals", n)
		}
		r, err := New(Config{Store: db, Fleet: newFakeFleet(), Intervals: keep, Batch: 2})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		between, writes, longest := 0, 0, time.Duration(0)
		write := func() {
			began := time.Now()
			if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.SetRecorderSeen(time.Now()) }); err != nil {
				t.Error(err)
			}
			longest = max(longest, time.Since(began))
			if n := left(); n > keep && n < 2*each {
				between++
			}
			writes++
		}
		write()
		go func() { done <- r.sweep(t.Context()) }()
		for swept := false; !swept; write() {
			select {
			case err := <-done:
				if swept = true; err != nil {
					t.Fatal(err)
				}
			default:
			}
		}
		if between < 3 {
			t.Errorf("of %d writes %d were in between", writes, between)
		}
		if n := left(); n != keep {
			t.Errorf("%d intervals are left, want %d", n, keep)
		}
		if err := db.View(t.Context(), func(tx *store.Tx) error {
			found, _, err := tx.History(tenant, systems[serial], store.HistoryFilter{From: begin, To: time.Now()}, store.Page{})
			if len(found) != keep || found[0].ID != all[len(all)-1].ID {
				t.Errorf("%d are left of the newest", len(found))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d writes, %d in between, the longest %v", writes, between, longest)
	})
}
