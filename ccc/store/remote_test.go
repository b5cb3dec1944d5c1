package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func newRemote(s store.System, u store.User) store.Remote {
	return store.Remote{
		ID: store.NewID[store.RemoteID](), Tenant: s.Tenant, System: s.ID, Serial: s.Serial, Epoch: 1, User: u.ID, Name: u.Name,
		Reason: "a phone is silent", Service: grant.SSH, Target: "switch", Seconds: 3600, State: grant.Requested,
		Requested: now, Expires: now.Add(15 * time.Minute),
	}
}

// TestRemotes follows a record from the request to after its system and user are gone.
func TestRemotes(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		jo := newUser(s.Tenant, "jo@example.com")
		v := newRemote(s, jo)
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateUser(jo), tx.CreateRemote(v)) })
		read := func() store.Remote {
			t.Helper()
			return get(t, db, func(tx *store.Tx) (store.Remote, error) { return tx.Remote(s.Tenant, s.ID, v.ID) })
		}
		equal(t, "created", read(), v)
		equal(t, "by serial", get(t, db, func(tx *store.Tx) (store.Remote, error) { return tx.SerialRemote(serial, v.ID) }), v)
		conflicts(t, "id", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateRemote(v) }))
		for what, f := range map[string]func(tx *store.Tx) error{
			"of another PBX": func(tx *store.Tx) error { _, err := tx.SerialRemote("0000000002", v.ID); return err },
			"of another system": func(tx *store.Tx) error {
				_, err := tx.Remote(s.Tenant, store.NewID[store.SystemID](), v.ID)
				return err
			},
			"of nothing": func(tx *store.Tx) error { _, err := tx.Remote(s.Tenant, s.ID, "x y"); return err },
		} {
			if err := db.View(t.Context(), f); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		start, until, ended, reported := now.Add(time.Minute), now.Add(time.Hour), now.Add(2*time.Minute), now.Add(-time.Hour)
		v.State, v.Consent, v.Started, v.Until, v.Reported, v.BytesIn, v.BytesOut = grant.Active, "pin", &start, &until, &reported, 7, 1<<40
		update(t, db, func(tx *store.Tx) error { return tx.SetRemote(v) })
		equal(t, "active", read(), v)
		v.State, v.Cause, v.Ended, v.Ending = grant.Ended, grant.CauseUser, &ended, grant.CauseUser
		update(t, db, func(tx *store.Tx) error { return tx.SetRemote(v) })
		equal(t, "ended", read(), v)
		equal(t, "to be told", get(t, db, func(tx *store.Tx) ([]store.Remote, error) { return tx.EndingRemotes("", 9) }), []store.Remote{v})
		v.Ending, v.Confirmed = "", true
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.SetRemote(v), tx.DeleteSystem(s.Tenant, s.ID), tx.DeleteUser(s.Tenant, jo.ID))
		})
		equal(t, "without its system", read(), v)
		sweep := func(before time.Time) int {
			var n int
			update(t, db, func(tx *store.Tx) (err error) { n, err = tx.SweepRemotes(before); return err })
			return n
		}
		if sweep(now) != 0 || sweep(now.Add(time.Millisecond)) != 1 {
			t.Error("the sweep removes others than the old ones")
		}
	})
}

// TestRemoteLists: pages, counts, and what is open, to be told or ends with a pairing.
func TestRemoteLists(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		jo, al := newUser(s.Tenant, "jo@example.com"), newUser(s.Tenant, "al@example.com")
		all := make([]store.Remote, 5)
		update(t, db, func(tx *store.Tx) error {
			if err := errors.Join(tx.CreateUser(jo), tx.CreateUser(al)); err != nil {
				return err
			}
			for i := range all {
				all[i] = newRemote(s, jo)
				all[i].Requested = now.Add(time.Duration(i/2) * time.Second) // some at once
				if i == 4 {
					all[i].User, all[i].Epoch = al.ID, 2
				}
				if err := tx.CreateRemote(all[i]); err != nil {
					return err
				}
			}
			all[0].State, all[0].Cause, all[0].Ended, all[0].Ending = grant.Expired, grant.CauseNoConsent, &now, grant.CauseCCC
			return tx.SetRemote(all[0])
		})
		var got []store.RemoteID
		for cursor, more := "", true; more; more = cursor != "" {
			view(t, db, func(tx *store.Tx) error {
				page, next, err := tx.Remotes(s.Tenant, s.ID, store.Page{Cursor: cursor, Limit: 2})
				for _, v := range page {
					got = append(got, v.ID)
				}
				cursor = next
				return err
			})
		}
		want := make([]store.RemoteID, 5)
		for i, v := range all {
			want[4-i] = v.ID
		}
		equal(t, "pages", got, want)
		view(t, db, func(tx *store.Tx) error {
			if _, _, err := tx.Remotes(s.Tenant, s.ID, store.Page{Cursor: "nonsense"}); !errors.Is(err, store.ErrCursor) {
				t.Errorf("a cursor of nobody: %v", err)
			}
			ofSystem, ofUser, asked, err := tx.CountRemotes(s.Tenant, s.ID, jo.ID, now)
			equal(t, "counts", []int{ofSystem, ofUser, asked}, []int{4, 3, 3})
			return err
		})
		byID := slices.SortedFunc(slices.Values(all[1:]), func(a, b store.Remote) int {
			if a.ID < b.ID {
				return -1
			}
			return 1
		})
		equal(t, "open", get(t, db, func(tx *store.Tx) ([]store.Remote, error) { return tx.OpenRemotes("", 9) }), byID)
		equal(t, "open, the rest", get(t, db, func(tx *store.Tx) ([]store.Remote, error) { return tx.OpenRemotes(byID[0].ID, 2) }), byID[1:3])
		// The first pairing ends, the second does not.
		at := now.Add(time.Hour)
		update(t, db, func(tx *store.Tx) error {
			ended, err := tx.EndRemotes(serial, 1, grant.CauseDissolved, at)
			if len(ended) != 3 {
				t.Errorf("%d have ended", len(ended))
			}
			for _, v := range ended {
				if v.State != grant.Ended || v.Cause != grant.CauseDissolved || !v.Ended.Equal(at) || v.Confirmed || v.Epoch != 1 {
					t.Errorf("%+v", v)
				}
			}
			return err
		})
		equal(t, "open after that", get(t, db, func(tx *store.Tx) ([]store.Remote, error) { return tx.OpenRemotes("", 9) }), all[4:])
		if left := get(t, db, func(tx *store.Tx) ([]store.Remote, error) { return tx.EndingRemotes("", 9) }); len(left) > 0 {
			t.Errorf("to be told after that: %v", left)
		}
		first := get(t, db, func(tx *store.Tx) (store.Remote, error) { return tx.Remote(s.Tenant, s.ID, all[0].ID) })
		if first.State != grant.Expired || !first.Ended.Equal(now) {
			t.Errorf("what had ended before has changed: %+v", first)
		}
	})
}

func TestRemoteValues(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	s := fixture(t, db)
	for field, change := range map[string]func(*store.Remote){
		"":          func(*store.Remote) {},
		"ID":        func(v *store.Remote) { v.ID = "a b" },
		"User":      func(v *store.Remote) { v.User = "" },
		"Serial":    func(v *store.Remote) { v.Serial = "1" },
		"Epoch":     func(v *store.Remote) { v.Epoch = 0 },
		"Service":   func(v *store.Remote) { v.Service = "telnet" },
		"Seconds":   func(v *store.Remote) { v.Seconds = 0 },
		"State":     func(v *store.Remote) { v.State = "gone" },
		"Ended":     func(v *store.Remote) { v.Ended = &now },
		"Ending":    func(v *store.Remote) { v.Ending = grant.CauseCCC },
		"BytesIn":   func(v *store.Remote) { v.BytesOut = -1 },
		"Expires":   func(v *store.Remote) { v.Expires = time.Time{} },
		"Requested": func(v *store.Remote) { v.Requested = time.Time{} },
	} {
		v := newRemote(s, store.User{ID: "jo"})
		change(&v)
		err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateRemote(v) })
		invalid, _ := errors.AsType[*store.InvalidError](err)
		if field == "" && err != nil || field != "" && (invalid == nil || invalid.Field != field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
