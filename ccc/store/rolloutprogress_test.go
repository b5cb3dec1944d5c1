package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// How far a rollout is, and what is to be read, is found in an index, however many rollouts
// and systems there are: what is sealed is not read for it.
func TestProgressIsFound(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		id := store.NewID[store.RolloutID]()
		for query, index := range map[string]string{store.RingCountsQuery: "rollout_devices_progress", store.UncheckedQuery: "rollout_devices_unchecked"} {
			steps := get(t, db, func(tx *store.Tx) ([]string, error) { return tx.Plan(query, id) })
			plan := strings.Join(steps, "\n")
			if !strings.Contains(plan, index) || strings.Contains(plan, "SCAN d") || strings.Contains(plan, "Seq Scan on rollout_devices") {
				t.Errorf("%s\n%s", query, plan)
			}
			if cfg.Path != "" && index == "rollout_devices_progress" && !strings.Contains(plan, "COVERING INDEX") {
				t.Errorf("it looks at the rows: %s", plan)
			}
		}
	})
}

// Since when a rollout stands still is kept, and gone when it goes on.
func TestRolloutStands(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		r := newRollout(store.NewID[store.RolloutID](), s.Tenant)
		stood := now.Add(time.Hour)
		update(t, db, func(tx *store.Tx) error { return tx.CreateRollout(r, nil) })
		for _, at := range []*time.Time{&stood, nil} {
			r.Stood = at
			update(t, db, func(tx *store.Tx) error { return tx.SetRollout(s.Tenant, r, r.State) })
			equal(t, "the rollout", get(t, db, func(tx *store.Tx) (store.Rollout, error) { return tx.Rollout(s.Tenant, r.ID, nil) }), r)
		}
	})
}

// What is sealed with another key is found, in pages, and replaced if it is still the same.
func TestSealedElsewise(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		a := fixture(t, db)
		b := newSystem(a.Tenant, "0000000002")
		id := store.NewID[store.RolloutID]()
		update(t, db, func(tx *store.Tx) error {
			if err := tx.CreateSystem(b); err != nil {
				return err
			}
			return roll(tx, id, a, b)
		})
		find := func(head string, after store.RolloutDevice) []store.RolloutDevice {
			return get(t, db, func(tx *store.Tx) ([]store.RolloutDevice, error) { return tx.SealedElsewise([]byte(head), after, 1) })
		}
		if all := find("seal", store.RolloutDevice{}); len(all) != 0 {
			t.Errorf("with the key that it has: %+v", all)
		}
		first := find("new", store.RolloutDevice{})
		if len(first) != 1 || string(first[0].Sealed) != "sealed" {
			t.Fatalf("%+v", first)
		}
		second := find("new", first[0])
		if len(second) != 1 || second[0].System == first[0].System || len(find("new", second[0])) != 0 {
			t.Errorf("the next page: %+v", second)
		}
		changed := second[0]
		changed.Sealed = []byte("older")
		update(t, db, func(tx *store.Tx) error {
			if err := tx.ResealRolloutDevice(changed, []byte("new")); err != nil {
				return err
			}
			return tx.ResealRolloutDevice(first[0], []byte("new"))
		})
		if left := find("new", store.RolloutDevice{}); len(left) != 1 || left[0].System != second[0].System || string(left[0].Sealed) != "sealed" {
			t.Errorf("left: %+v", left)
		}
	})
}
