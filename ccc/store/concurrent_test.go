package store_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// complete does what a completion does.
func complete(db *store.DB, t testing.TB, s store.System, offer store.OfferID) error {
	t.Helper()
	return db.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.ActivePairing(s.Serial); !errors.Is(err, store.ErrNotFound) {
			return errors.Join(err, &store.ConflictError{What: "serial"})
		}
		epoch, err := tx.NextEpoch(s.Serial)
		if err != nil {
			return err
		}
		p := newPairing(s)
		p.Epoch, p.Offer = epoch, offer
		return errors.Join(
			tx.CreatePairing(p),
			tx.CloseOffer(offer, store.OfferUsed, now),
			tx.SetState(s.Tenant, s.ID, []store.State{store.StateOffered}, store.StateProving, "", now),
			tx.SetPaired(s.Tenant, s.ID, epoch, now),
			tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Epoch: epoch, Kind: "paired", At: now}),
		)
	})
}

// at once runs n functions and gives their errors.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}

// Of 100 completions at once, of one offer or of several tenants' for the same PBX, one
// makes a pairing.
func TestOnePairing(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		const n = 100
		for round := range 2 {
			serial := identity.Serial("000000000" + strconv.Itoa(round))
			var systems []store.System
			var offers []store.OfferID
			update(t, db, func(tx *store.Tx) error {
				systems, offers = nil, nil
				for i := range n {
					if i%10 == 0 { // ten for each of ten tenants
						tenant := newTenant()
						s := newSystem(tenant.ID, serial)
						o := newOffer(s)
						if err := errors.Join(tx.CreateTenant(tenant), tx.CreateSystem(s), tx.CreateOffer(o)); err != nil {
							return err
						}
						systems, offers = append(systems, s), append(offers, o.ID)
						continue
					}
					systems, offers = append(systems, systems[len(systems)-1]), append(offers, offers[len(offers)-1])
				}
				return nil
			})
			won := 0
			for _, err := range atOnce(n, func(i int) error { return complete(db, t, systems[i], offers[i]) }) {
				if err == nil {
					won++
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			}
			if won != 1 {
				t.Errorf("%d completions have made a pairing", won)
			}
			paired := get(t, db, func(tx *store.Tx) ([]store.System, error) { return tx.SystemsByPairedSerial(serial) })
			epoch := get(t, db, func(tx *store.Tx) (uint64, error) { return tx.Epoch(serial) })
			if len(paired) != 1 || paired[0].State != store.StateProving || paired[0].Epoch != 1 || epoch != 1 {
				t.Errorf("paired are %+v; the epoch is %d", paired, epoch)
			}
		}
	})
}

// No epoch is given twice, and each is one above the one before it.
func TestEpochsRise(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		const n = 100
		epochs := make([]uint64, n)
		errs := atOnce(n, func(i int) error {
			return db.Update(t.Context(), func(tx *store.Tx) (err error) {
				epochs[i], err = tx.NextEpoch(serial)
				return err
			})
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		slices.Sort(epochs)
		for i, epoch := range epochs {
			if epoch != uint64(i+1) {
				t.Fatalf("epochs %v", epochs)
			}
		}
		// Those of undone transactions are given again; of other PBXs they are their own.
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.NextEpoch(serial)
			return errors.Join(err, errUndo)
		})
		if !errors.Is(err, errUndo) {
			t.Fatal(err)
		}
		for serial, want := range map[identity.Serial]uint64{serial: n, "5555555555": 0} {
			if got := get(t, db, func(tx *store.Tx) (uint64, error) { return tx.Epoch(serial) }); got != want {
				t.Errorf("the epoch of %s is %d, want %d", serial, got, want)
			}
		}
	})
}

// What one transaction counts, another one that runs beside it cannot add to: a quota
// of three lets three through.
func TestQuotaHolds(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		errFull := errors.New("full")
		made := 0
		for _, err := range atOnce(20, func(i int) error {
			return db.Update(t.Context(), func(tx *store.Tx) error {
				n, _, err := tx.CountAttempts("kind", "subject", now)
				if err != nil {
					return err
				}
				if n >= 3 {
					return errFull
				}
				return tx.AddAttempt("kind", "subject", now.Add(time.Duration(i)*time.Millisecond))
			})
		}) {
			if err == nil {
				made++
			} else if !errors.Is(err, errFull) {
				t.Error(err)
			}
		}
		if made != 3 {
			t.Errorf("%d were let through", made)
		}
	})
}

// A view sees one moment: writers keep a sum that is seen by each.
func TestViewsAreOfOneMoment(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		a, b := fixture(t, db), newSystem("", "0000000002")
		b.Tenant = a.Tenant
		update(t, db, func(tx *store.Tx) error { return tx.CreateSystem(b) })
		writers := make(chan error, 1)
		go func() {
			var err error
			for i := 0; i < 100 && err == nil; i++ {
				name := strconv.Itoa(i)
				err = db.Update(t.Context(), func(tx *store.Tx) error {
					_, err1 := tx.UpdateSystem(a.Tenant, a.ID, 0, store.Fields{Name: &name})
					_, err2 := tx.UpdateSystem(a.Tenant, b.ID, 0, store.Fields{Name: &name})
					return errors.Join(err1, err2)
				})
			}
			writers <- err
		}()
		for done := false; !done; {
			select {
			case err := <-writers:
				if err != nil {
					t.Fatal(err)
				}
				done = true
			default:
			}
			view(t, db, func(tx *store.Tx) error {
				x, err1 := tx.System(a.Tenant, a.ID)
				y, err2 := tx.System(a.Tenant, b.ID)
				if x.Version != y.Version {
					t.Errorf("versions %d and %d in one view", x.Version, y.Version)
				}
				return errors.Join(err1, err2)
			})
		}
	})
}

// TestTwoProcesses: this process and another make changes to one file of SQLite.
func TestTwoProcesses(t *testing.T) {
	const variable = "STORE_TEST_SECOND"
	const n = 50
	work := func(db *store.DB) error {
		for range n {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.NextEpoch(serial)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if path := os.Getenv(variable); path != "" {
		if err := work(open(t, store.Config{Path: path, BusyTimeout: time.Minute})); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	cfg := sqliteConfig(t)
	var others []*exec.Cmd
	for range 2 { // they make the tables, too, all at once
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTwoProcesses$")
		cmd.Env = append(os.Environ(), variable+"="+cfg.Path)
		cmd.Stdout = new(strings.Builder)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		others = append(others, cmd)
	}
	db := open(t, cfg)
	if err := work(db); err != nil {
		t.Error(err)
	}
	for _, cmd := range others {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, cmd.Stdout)
		}
	}
	if got := get(t, db, func(tx *store.Tx) (uint64, error) { return tx.Epoch(serial) }); got != 3*n {
		t.Errorf("%d changes of %d are there", got, 3*n)
	}
}

// Opening one empty database many times at once makes the tables once.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		dbs := make([]*store.DB, 8)
		errs := atOnce(len(dbs), func(i int) (err error) {
			dbs[i], err = store.Open(t.Context(), cfg)
			return err
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		tenant := newTenant()
		update(t, dbs[0], func(tx *store.Tx) error { return tx.CreateTenant(tenant) })
		for i, db := range dbs {
			equal(t, fmt.Sprint(i), get(t, db, (*store.Tx).Tenants), []store.Tenant{tenant})
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
