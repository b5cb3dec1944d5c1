package authority

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func TestForecast(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	dir, now := stateDir(t), time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // the bubble starts in 2000, before the keys were made
		a, err := New(Config{StateDir: dir, PlainKeys: true, Lifetimes: Lifetimes{Relay: 10 * day}})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		start := time.Now()
		first := enrolled(t, a, device)
		enrolled(t, a, other)
		enrolled(t, a, relay)
		time.Sleep(10*day + time.Hour)
		if _, err := renew(t, a, first); err != nil {
			t.Fatal(err)
		}
		counts := func(f Forecast, n int) [3]Expiring {
			k := f.Periods[n].Kinds
			return [3]Expiring{k["device"], k["service"], k["relay"]}
		}
		f, err := a.Forecast(t.Context(), start, 7*day, 6)
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range [][3]Expiring{
			{}, {{}, {}, {Open: 1}}, {}, {}, {{Open: 1, Replaced: 1}, {}, {}}, {{Open: 1}, {}, {}},
		} {
			if got := counts(f, n); got != want {
				t.Errorf("week %d: %+v, want %+v", n, got, want)
			}
			if begin := start.Add(time.Duration(n) * 7 * day); !f.Periods[n].Begin.Equal(begin) {
				t.Errorf("week %d begins at %s, want %s", n, f.Periods[n].Begin, begin)
			}
		}
		if len(f.Authorities) != 5 || f.Authorities[4].Name != "Root comtrexx.test" || f.Authorities[0].Fingerprint == "" {
			t.Errorf("authorities %+v", f.Authorities)
		}
		if !a.RootExpiry().Equal(f.Authorities[4].NotAfter) {
			t.Errorf("the root expires at %s", a.RootExpiry())
		}
		// Swept with the certificates.
		time.Sleep(500 * day)
		if _, err := a.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		left := 0
		if err := a.db.View(t.Context(), func(tx store.Tx) error {
			return tx.Scan(bucketExpiry, nil, nil, func(_, _ []byte) (bool, error) { left++; return true, nil })
		}); err != nil || left != 0 {
			t.Errorf("%d left, %v", left, err)
		}
	})
	// A store from before there was an index.
	a := open(t, Config{})
	enrolled(t, a, device)
	if err := a.db.Update(t.Context(), func(tx store.Tx) error {
		return tx.Scan(bucketExpiry, nil, nil, func(k, _ []byte) (bool, error) { return true, tx.Delete(bucketExpiry, k) })
	}); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		f, err := a.Forecast(t.Context(), time.Now(), 31*day, 1)
		if err != nil {
			t.Fatal(err)
		}
		return f.Periods[0].Kinds["device"].Open
	}
	if n := open(); n != 0 {
		t.Errorf("without an index: %d", n)
	}
	if err := a.db.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Delete(bucketMeta, []byte("expiry")), indexExpiry(tx), indexExpiry(tx))
	}); err != nil {
		t.Fatal(err)
	}
	if n := open(); n != 1 {
		t.Errorf("indexed: %d", n)
	}
	for _, n := range []int{0, -1, MostPeriods + 1} {
		if _, err := a.Forecast(t.Context(), time.Now(), time.Hour, n); !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("%d periods: %v", n, err)
		}
	}
	if _, err := a.Forecast(t.Context(), time.Now(), time.Second, 1); !errors.Is(err, enrol.ErrBadRequest) {
		t.Error(err)
	}
}
