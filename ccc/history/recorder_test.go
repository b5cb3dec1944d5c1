package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is longer than any pause of this machine.
const patience = 20 * time.Second

// engines runs a test with an empty database of each engine.
func engines(t *testing.T, test func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, sqlite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		cfg := storetest.Postgres(t)
		cfg.RetryFor = patience
		test(t, open(t, cfg))
	})
}

func sqlite(t *testing.T) *store.DB {
	t.Helper()
	return open(t, storetest.SQLite(t))
}

func open(t *testing.T, cfg store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// fakeFleet is presence that a test decides.
type fakeFleet struct {
	known  chan struct{}
	change chan fleet.Change

	mu  sync.Mutex
	all map[identity.Serial]fleet.Status
}

func newFakeFleet() *fakeFleet {
	return &fakeFleet{known: make(chan struct{}), change: make(chan fleet.Change), all: map[identity.Serial]fleet.Status{}}
}

func (f *fakeFleet) Status(s identity.Serial) (fleet.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	status, known := f.all[s]
	return status, known
}

func (*fakeFleet) MayBeOnline(identity.Serial) bool { return false }
func (f *fakeFleet) Known() <-chan struct{}         { return f.known }
func (f *fakeFleet) Subscribe(context.Context) <-chan fleet.Change {
	return f.change
}

// put changes a status without telling, and set tells of it.
func (f *fakeFleet) put(s identity.Serial, status fleet.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[s] = status
}

func (f *fakeFleet) set(s identity.Serial, status fleet.Status) {
	f.put(s, status)
	f.change <- fleet.Change{Serial: s, Status: status}
}

// owner makes a tenant, and PBXs that are paired with it.
func owner(t *testing.T, db *store.DB, serials ...identity.Serial) (store.TenantID, map[identity.Serial]store.SystemID) {
	t.Helper()
	v := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindCustomer, Name: "North", LegalName: "North GmbH", Created: time.Now()}
	systems := map[identity.Serial]store.SystemID{}
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		err := tx.CreateTenant(v)
		for _, s := range serials {
			systems[s] = store.NewID[store.SystemID]()
			err = errors.Join(err, tx.CreateSystem(store.System{
				ID: systems[s], Tenant: v.ID, Serial: s, Name: "PBX", State: store.StatePaired, Created: time.Now(), StateSince: time.Now(), Epoch: 1,
			}), tx.CreatePairing(store.Pairing{
				ID: store.NewID[store.PairingID](), System: systems[s], Tenant: v.ID, Serial: s, Epoch: 1, UserSealed: []byte("x"), PasswordSealed: []byte("x"),
				Offer: store.NewID[store.OfferID](), Paired: time.Now(),
			}))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v.ID, systems
}

// run runs a recorder, and gives what stops it.
func run(t *testing.T, cfg Config) (*Recorder, func()) {
	t.Helper()
	cfg.after = time.Millisecond
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run gives %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

// until waits for something.
func until(t *testing.T, what func() string, ok func(string) bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); ; {
		got := what()
		if ok(got) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not in time: %s", got)
		}
	}
}

// written gives a system's intervals from the store, the oldest first: "online, offline lost".
func written(t *testing.T, db *store.DB, tenant store.TenantID, system store.SystemID) string {
	t.Helper()
	var all []store.Interval
	err := db.View(context.Background(), func(tx *store.Tx) (err error) {
		all, _, err = tx.History(tenant, system, store.HistoryFilter{To: time.Now().Add(time.Hour)}, store.Page{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = strings.TrimSpace(string(one.Link) + " " + one.Reason)
		if one.Ended.IsZero() != (i == len(all)-1) {
			texts[i] += " (open or not)"
		}
		if i > 0 && one.Started.Before(all[i-1].Ended) {
			texts[i] += " (overlaps)"
		}
	}
	return strings.Join(texts, ", ")
}

func is(want string) func(string) bool { return func(got string) bool { return got == want } }

const first, second = identity.Serial("0000000001"), identity.Serial("0000000002")

// ago gives a status since some seconds before now.
func ago(seconds int, s fleet.Status) fleet.Status {
	s.Since = time.Now().Add(-time.Duration(seconds) * time.Second)
	return s
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *store.DB) {
		tenant, systems := owner(t, db, first)
		f := newFakeFleet()
		f.put(first, ago(0, online("0:0", 7)))
		r, stop := run(t, Config{Store: db, Fleet: f})
		history := func() string { return written(t, db, tenant, systems[first]) }
		if _, ok := r.Now(first); ok {
			t.Error("something is known before the relays have told")
		}
		close(f.known)
		until(t, history, is("online"))
		f.set("0000000009", ago(0, online("0:0", 7))) // of nobody
		f.set(first, ago(0, offline("0:0", 7, tunnel.CodeHeartbeatLost)))
		until(t, history, is("online, offline lost"))
		if now, ok := r.Now(first); !ok || now.Reason != string(Lost) || now.Link != store.LinkOffline {
			t.Errorf("now %+v, %t", now, ok)
		}
		// The program is not there when it comes back, and is told afterwards.
		stop()
		f.put(first, ago(0, online("0:0", 8)))
		_, stop = run(t, Config{Store: db, Fleet: f})
		until(t, history, is("online, offline power, online"))
		// It was there all the time.
		stop()
		r, stop = run(t, Config{Store: db, Fleet: f})
		until(t, func() string { now, _ := r.Now(first); return string(now.Link) }, is("online"))
		until(t, history, is("online, offline power, online"))
		// It went while the program was not there.
		stop()
		f.put(first, fleet.Status{})
		r, stop = run(t, Config{Store: db, Fleet: f})
		until(t, history, is("online, offline power, online unknown, offline unknown"))
		// A new owner begins anew; of nobody's nothing goes on.
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			p, err := tx.SystemPairing(tenant, systems[first])
			return errors.Join(err, tx.DeletePairing(p.ID))
		})
		if err != nil {
			t.Fatal(err)
		}
		r.PairingsChanged()
		until(t, func() string { _, ok := r.Now(first); return fmt.Sprint(ok) }, is("false"))
		stop()
		if open := openIntervals(t, db); len(open) != 0 {
			t.Errorf("of nobody there is %+v", open)
		}
	})
}

func openIntervals(t *testing.T, db *store.DB) (open []store.Interval) {
	t.Helper()
	err := db.View(context.Background(), func(tx *store.Tx) (err error) {
		open, err = tx.OpenIntervals("", 10)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// A change that the fleet could not tell of is found by looking.
func TestResync(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *store.DB) {
		tenant, systems := owner(t, db, first, second)
		f := newFakeFleet()
		close(f.known)
		for _, s := range []identity.Serial{first, second} {
			f.put(s, ago(0, online("0:0", 7)))
		}
		_, stop := run(t, Config{Store: db, Fleet: f})
		defer stop()
		until(t, func() string { return written(t, db, tenant, systems[second]) }, is("online"))
		f.put(second, ago(0, offline("0:0", 7, tunnel.CodeDraining)))
		f.change <- fleet.Change{Resync: true}
		until(t, func() string { return written(t, db, tenant, systems[second]) }, is("online, offline relay_drain"))
		if got := written(t, db, tenant, systems[first]); got != "online" {
			t.Errorf("the other one is %s", got)
		}
	})
}

// A relay with many PBXs that restarts costs few transactions.
func TestManyAreWrittenTogether(t *testing.T) {
	t.Parallel()
	const n, batch = 300, 50
	serials := make([]identity.Serial, n)
	for i := range serials {
		serials[i] = identity.Serial(fmt.Sprintf("%010d", i))
	}
	engines(t, func(t *testing.T, db *store.DB) {
		tenant, systems := owner(t, db, serials...)
		f, metrics := newFakeFleet(), prometheus.NewRegistry()
		close(f.known)
		for _, s := range serials {
			f.put(s, ago(0, online("0:0", 7)))
		}
		r, stop := run(t, Config{Store: db, Fleet: f, Batch: batch, Metrics: metrics})
		last := func() string { return written(t, db, tenant, systems[serials[n-1]]) }
		until(t, last, is("online"))
		for _, s := range serials {
			f.put(s, ago(0, offline("0:0", 7, tunnel.CodeUnreachable)))
		}
		f.change <- fleet.Change{Resync: true}
		until(t, last, is("online, offline relay_lost"))
		stop()
		got, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		// 300 that begin, twice 300 that end and begin, and the last one.
		if most := float64(n/batch + 2*n/batch + 3); got[0].GetMetric()[0].GetCounter().GetValue() > most {
			t.Errorf("%v transactions, want no more than %v", got[0].GetMetric()[0].GetCounter().GetValue(), most)
		}
		if open := len(r.tracks); open != n {
			t.Errorf("%d are known", open)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); err == nil {
		t.Error("nothing is enough")
	}
}
