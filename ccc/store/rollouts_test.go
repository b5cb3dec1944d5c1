package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func newTemplate(id store.TemplateID, tenant store.TenantID) store.Template {
	return store.Template{ID: id, Tenant: tenant, Name: "Time", Version: 1, Settings: []byte(`{"ntp_server":"a"}`), Created: now, Changed: now, ChangedBy: "jo"}
}

func newFirmware(version string) store.Firmware {
	return store.Firmware{ID: store.NewID[store.FirmwareID](), Model: "VM", Version: version, Manifest: []byte("{}"), KeyID: "k", Size: 7, Uploaded: now, UploadedBy: "jo"}
}

func newRollout(id store.RolloutID, tenant store.TenantID) store.Rollout {
	return store.Rollout{
		ID: id, Tenant: tenant, Name: "Time", Kind: store.RolloutSettings, Settings: []byte(`{"ntp_server":"a"}`),
		Plan: store.RolloutPlan{
			Rings: []store.Ring{{Count: 1}, {Percent: 100}}, Parallel: 2, Pause: time.Minute, Wait: time.Hour,
			Window: &store.RolloutWindow{From: 60, To: 120, Zone: "Europe/Berlin"},
		},
		State: store.RolloutChecking, Created: now, CreatedBy: "jo", Acting: "jo",
	}
}

// roll makes a rollout to systems, each of which was read.
func roll(tx *store.Tx, id store.RolloutID, systems ...store.System) error {
	var first, rest []store.SystemID
	for i, s := range systems {
		if i == 0 {
			first = append(first, s.ID)
		} else {
			rest = append(rest, s.ID)
		}
	}
	err := tx.CreateRollout(newRollout(id, systems[0].Tenant), [][]store.SystemID{first, rest})
	for i, s := range systems {
		if err == nil {
			err = tx.SaveRolloutDevice(store.RolloutDevice{
				Rollout: id, System: s.ID, Ring: min(i, 1), State: store.DevicePending, Checked: true, Seen: "7", Diff: "d", Sealed: []byte("sealed"), Changed: now,
			})
		}
	}
	return err
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		v := newTemplate(store.NewID[store.TemplateID](), s.Tenant)
		update(t, db, func(tx *store.Tx) error { return tx.CreateTemplate(v) })
		equal(t, "the template", get(t, db, func(tx *store.Tx) (store.Template, error) { return tx.Template(s.Tenant, v.ID) }), v)
		conflicts(t, "name", db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.CreateTemplate(newTemplate(store.NewID[store.TemplateID](), s.Tenant))
		}))
		changed := v
		changed.Settings = []byte(`{}`)
		update(t, db, func(tx *store.Tx) error {
			got, err := tx.UpdateTemplate(s.Tenant, changed)
			if got.Version != 2 {
				t.Errorf("version %d", got.Version)
			}
			return err
		})
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.UpdateTemplate(s.Tenant, changed)
			return err
		})
		if !errors.Is(err, store.ErrVersion) {
			t.Errorf("an old version gives %v", err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteTemplate(s.Tenant, v.ID) })
		if all := get(t, db, func(tx *store.Tx) ([]store.Template, error) { return tx.Templates(s.Tenant) }); len(all) != 0 {
			t.Errorf("left: %v", all)
		}
	})
}

func TestFirmwares(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		v := newFirmware("1.0")
		update(t, db, func(tx *store.Tx) error { return tx.CreateFirmware(v) })
		equal(t, "the image", get(t, db, func(tx *store.Tx) (store.Firmware, error) { return tx.Firmware(v.ID) }), v)
		conflicts(t, "version", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateFirmware(newFirmware("1.0")) }))
		r := newRollout(store.NewID[store.RolloutID](), s.Tenant)
		r.Firmware = v.ID
		update(t, db, func(tx *store.Tx) error { return tx.CreateRollout(r, nil) })
		conflicts(t, "rollout", db.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteFirmware(v.ID) }))
		r.State, r.Ended = store.RolloutStopped, &now
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.SetRollout(s.Tenant, r, store.RolloutChecking), tx.DeleteFirmware(v.ID))
		})
		if all := get(t, db, func(tx *store.Tx) ([]store.Firmware, error) { return tx.Firmwares() }); len(all) != 0 {
			t.Errorf("left: %v", all)
		}
	})
}

func TestRollouts(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		a := fixture(t, db)
		b := newSystem(a.Tenant, "0000000002")
		site := store.Site{ID: store.NewID[store.SiteID](), Tenant: a.Tenant, Name: "Hamburg", Created: now}
		b.Site = site.ID
		id := store.NewID[store.RolloutID]()
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateSite(site), tx.CreateSystem(b), roll(tx, id, a, b))
		})
		equal(t, "the rollout", get(t, db, func(tx *store.Tx) (store.Rollout, error) { return tx.Rollout(a.Tenant, id, nil) }), newRollout(id, a.Tenant))

		// Who may only look after a part sees a rollout that stays within it.
		parts := func(systems ...store.SystemID) *store.Within {
			return &store.Within{Sites: []store.SiteID{site.ID}, Systems: systems}
		}
		for _, within := range []*store.Within{parts(), parts(a.ID)} {
			want := len(within.Systems)
			all := get(t, db, func(tx *store.Tx) ([]store.Rollout, error) {
				all, _, err := tx.Rollouts(a.Tenant, within, store.Page{})
				return all, err
			})
			err := db.View(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Rollout(a.Tenant, id, within)
				return err
			})
			if len(all) != want || (err == nil) != (want == 1) {
				t.Errorf("within %v: %d rollouts, %v", within, len(all), err)
			}
		}

		var seen []store.SystemID
		for p := (store.Page{Limit: 1}); ; {
			view(t, db, func(tx *store.Tx) error {
				all, next, err := tx.RolloutDevices(a.Tenant, id, store.RolloutDeviceFilter{States: []store.RolloutDeviceState{store.DevicePending}, Diff: "d"}, p)
				for _, d := range all {
					seen = append(seen, d.System)
				}
				p.Cursor = next
				return err
			})
			if p.Cursor == "" {
				break
			}
		}
		equal(t, "systems, ring by ring", seen, []store.SystemID{a.ID, b.ID})
		diffs := get(t, db, func(tx *store.Tx) ([]store.RolloutDiff, error) { return tx.RolloutDiffs(a.Tenant, id) })
		if len(diffs) != 1 || diffs[0].Systems != 2 {
			t.Errorf("%+v", diffs)
		}
		equal(t, "counts", get(t, db, func(tx *store.Tx) ([]store.RingCount, error) { return tx.RingCounts(id) }), []store.RingCount{
			{id, 0, store.DevicePending, false, 1}, {id, 1, store.DevicePending, false, 1},
		})

		conflicts(t, "state", db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.SetRollout(a.Tenant, store.Rollout{ID: id, State: store.RolloutDone}, store.RolloutRunning)
		}))
		// What was not reached goes with the next ring, and what is sealed with its system.
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.NextRing(id, 1, now), tx.DeleteSystem(a.Tenant, b.ID)) })
		equal(t, "counts", get(t, db, func(tx *store.Tx) ([]store.RingCount, error) { return tx.RingCounts(id) }), []store.RingCount{{id, 1, store.DevicePending, false, 1}})
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.SweepRollouts(now.Add(time.Hour))
			if n != 0 {
				t.Error("a rollout that has not ended is swept")
			}
			ended := store.Rollout{ID: id, State: store.RolloutStopped, Ended: &now}
			err = errors.Join(err, tx.SetRollout(a.Tenant, ended, store.RolloutChecking))
			if n, err2 := tx.SweepRollouts(now.Add(time.Hour)); err2 != nil || n != 1 {
				t.Errorf("%d swept, %v", n, err2)
			}
			return err
		})
	})
}

// One process works on a rollout: who has the lease.
func TestRolloutLease(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		id := store.NewID[store.RolloutID]()
		update(t, db, func(tx *store.Tx) error { return roll(tx, id, s) })
		claim := func(owner string, at time.Time) (n int) {
			update(t, db, func(tx *store.Tx) error {
				all, err := tx.ClaimRollouts(owner, at, at.Add(time.Minute))
				n = len(all)
				return err
			})
			return n
		}
		has := func(owner string, at time.Time) error {
			return db.View(t.Context(), func(tx *store.Tx) error {
				_, err := tx.LeasedRollout(id, owner, at)
				return err
			})
		}
		later, late := now.Add(30*time.Second), now.Add(100*time.Second)
		if got := fmt.Sprint(claim("a", now), claim("b", later), claim("a", later)); got != "1 0 1" {
			t.Errorf("claimed: %s", got)
		}
		if err := has("a", now.Add(80*time.Second)); err != nil {
			t.Errorf("the lease was extended: %v", err)
		}
		conflicts(t, "lease", has("b", now))
		conflicts(t, "lease", has("a", late))
		if n := claim("b", late); n != 1 || has("b", late) != nil {
			t.Error("a lease that is over is not claimed")
		}
		update(t, db, func(tx *store.Tx) error { return tx.ReleaseRollout(id, "a") })
		if err := has("b", late); err != nil {
			t.Errorf("somebody else has released it: %v", err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.ReleaseRollout(id, "b") })
		if n := claim("a", late); n != 1 {
			t.Error("what is released is not claimed")
		}
	})
}
