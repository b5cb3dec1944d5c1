package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestTenants(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		a, b := newTenant(), newTenant()
		b.Parent, b.Kind, b.Created = a.ID, store.KindReseller, now.Add(time.Second)
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(a), tx.CreateTenant(b)) })
		equal(t, "all", get(t, db, (*store.Tx).Tenants), []store.Tenant{a, b})
		equal(t, "one", get(t, db, func(tx *store.Tx) (store.Tenant, error) { return tx.Tenant(b.ID) }), b)
		conflicts(t, "id", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(a) }))
		c := newTenant()
		c.Parent = store.NewID[store.TenantID]()
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(c) }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a parent that is not there: %v", err)
		}
	})
}

func TestUsers(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		jo, al := newUser(s.Tenant, "jo@example.com"), newUser(s.Tenant, "al@example.com")
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateUser(jo), tx.CreateUser(al)) })
		equal(t, "all", get(t, db, func(tx *store.Tx) ([]store.User, error) { return tx.Users(s.Tenant) }), []store.User{al, jo})
		twin := newUser(s.Tenant, jo.Email)
		conflicts(t, "email", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateUser(twin) }))
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(
				tx.SetPassword(s.Tenant, jo.ID, "fresh"), tx.SetUserLanguage(s.Tenant, jo.ID, store.French),
				tx.SetUserDisabled(s.Tenant, jo.ID, true))
		})
		jo.PasswordHash, jo.Language, jo.Disabled = "fresh", store.French, true
		equal(t, "changed", get(t, db, func(tx *store.Tx) (store.User, error) { return tx.User(s.Tenant, jo.ID) }), jo)
		equal(t, "by address", get(t, db, func(tx *store.Tx) (store.User, error) { return tx.UserByEmail(jo.Email) }), jo)
		session := store.Session{User: jo.ID, Created: now, LastSeen: now, Expires: now}
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.BeginIdempotent(jo.ID, "key", nil, now)
			return errors.Join(err, tx.PutSession(session), tx.DeleteUser(s.Tenant, jo.ID))
		})
		view(t, db, func(tx *store.Tx) error {
			if _, err := tx.UserByEmail(jo.Email); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a removed user: %v", err)
			}
			if _, err := tx.Session(session.TokenHash); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("his session: %v", err)
			}
			return nil
		})
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		jo, al := newUser(s.Tenant, "jo@example.com"), newUser(s.Tenant, "al@example.com")
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateUser(jo), tx.CreateUser(al)) })
		session := func(n int, user store.UserID) store.Session {
			return store.Session{
				TokenHash: store.TokenHash{byte(n)}, User: user, Data: []byte{0, 255, byte(n)}, Created: now,
				LastSeen: now.Add(time.Duration(n) * time.Second), Expires: now.Add(time.Duration(n) * time.Minute),
			}
		}
		all := []store.Session{session(1, jo.ID), session(2, jo.ID), session(3, jo.ID), session(4, al.ID)}
		update(t, db, func(tx *store.Tx) error {
			for _, v := range all {
				if err := tx.PutSession(v); err != nil {
					return err
				}
			}
			return nil
		})
		one := func(n byte) (store.Session, error) {
			var v store.Session
			err := db.View(t.Context(), func(tx *store.Tx) (err error) {
				v, err = tx.Session(store.TokenHash{n})
				return err
			})
			return v, err
		}
		there := func(want string) {
			t.Helper()
			got := ""
			for n := range byte(6) {
				if _, err := one(n); err == nil {
					got += fmt.Sprint(n)
				} else if !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			}
			if got != want {
				t.Errorf("there are %s, want %s", got, want)
			}
		}
		there("1234")
		equal(t, "those of a user", get(t, db, func(tx *store.Tx) ([]store.Session, error) { return tx.UserSessions(jo.ID) }),
			[]store.Session{all[2], all[1], all[0]})
		changed := all[1]
		changed.Data, changed.LastSeen, changed.Expires = nil, now.Add(time.Hour), now.Add(2*time.Hour)
		later := changed
		later.Created = now.Add(time.Hour)
		update(t, db, func(tx *store.Tx) error { return tx.PutSession(later) })
		got, err := one(2)
		equal(t, fmt.Sprint("put again ", err), got, changed)
		changed.LastSeen, changed.Expires = now.Add(3*time.Hour), now.Add(4*time.Hour)
		update(t, db, func(tx *store.Tx) error {
			return tx.TouchSession(store.TokenHash{2}, changed.LastSeen, changed.Expires)
		})
		got, err = one(2)
		equal(t, fmt.Sprint("touched ", err), got, changed)
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.TouchSession(store.TokenHash{9}, now, now) }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a touch of nothing: %v", err)
		}
		count := func(want int, f func(tx *store.Tx) (int, error)) {
			t.Helper()
			var n int
			update(t, db, func(tx *store.Tx) (err error) {
				n, err = f(tx)
				return err
			})
			if n != want {
				t.Errorf("%d, want %d", n, want)
			}
		}
		count(0, func(tx *store.Tx) (int, error) { return tx.SweepSessions(now.Add(time.Minute - time.Millisecond)) })
		count(1, func(tx *store.Tx) (int, error) { return tx.SweepSessions(now.Add(time.Minute)) })
		there("234")
		count(1, func(tx *store.Tx) (int, error) { return tx.DeleteUserSessions(jo.ID, store.TokenHash{3}) })
		there("34")
		count(1, func(tx *store.Tx) (int, error) { return tx.DeleteUserSessions(jo.ID, store.TokenHash{}) })
		there("4")
		for range 2 {
			update(t, db, func(tx *store.Tx) error { return tx.DeleteSession(store.TokenHash{4}) })
		}
		there("")
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.PutSession(session(1, "nobody")) }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a session of nobody: %v", err)
		}
	})
}

func TestSystems(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		read := func() store.System {
			t.Helper()
			return get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System(s.Tenant, s.ID) })
		}
		equal(t, "created", read(), s)
		g := store.Group{ID: store.NewID[store.GroupID](), Tenant: s.Tenant, Name: "North", Created: now}
		h := store.Group{ID: store.NewID[store.GroupID](), Tenant: s.Tenant, Name: "ähnlich", Created: now}
		name, tags := "Müller\n☎", []string{"vip", "a", "vip"}
		update(t, db, func(tx *store.Tx) error {
			if err := errors.Join(tx.CreateGroup(g), tx.CreateGroup(h)); err != nil {
				return err
			}
			got, err := tx.UpdateSystem(s.Tenant, s.ID, 1, store.Fields{Name: &name, Tags: &tags, Groups: &[]store.GroupID{g.ID, h.ID, g.ID}})
			s.Name, s.Tags, s.Groups, s.Version = name, []string{"a", "vip"}, []store.Group{h, g}, 2
			equal(t, "updated", got, s)
			return err
		})
		equal(t, "updated", read(), s)
		equal(t, "groups", get(t, db, func(tx *store.Tx) ([]store.Group, error) { return tx.Groups(s.Tenant) }), []store.Group{h, g})
		equal(t, "tags", get(t, db, func(tx *store.Tx) ([]store.TagCount, error) { return tx.Tags(s.Tenant, nil) }), []store.TagCount{{"a", 1}, {"vip", 1}})
		conflicts(t, "name", db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.CreateGroup(store.Group{ID: store.NewID[store.GroupID](), Tenant: s.Tenant, Name: "North", Created: now})
		}))
		for version, want := range map[int64]error{1: store.ErrVersion, 3: store.ErrVersion, -1: store.ErrVersion} {
			if err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.UpdateSystem(s.Tenant, s.ID, version, store.Fields{Name: &name})
				return err
			}); !errors.Is(err, want) {
				t.Errorf("version %d: %v", version, err)
			}
		}
		bad := "\xff"
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.UpdateSystem(s.Tenant, s.ID, 0, store.Fields{Name: &bad})
			return err
		}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("a name that is no text: %v", err)
		}
		// States.
		at := now.Add(time.Minute)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(
				tx.SetState(s.Tenant, s.ID, []store.State{store.StateReceived, store.StateOffered}, store.StateProving, "", at),
				tx.SetPaired(s.Tenant, s.ID, 3, at), tx.SetLastSeen(s.Tenant, s.ID, at), tx.SetLastSeen(s.Tenant, s.ID, now))
		})
		s.State, s.StateSince, s.Paired, s.Epoch, s.LastSeen = store.StateProving, at, &at, 3, &at
		equal(t, "paired", read(), s)
		update(t, db, func(tx *store.Tx) error {
			conflicts(t, "state", tx.SetState(s.Tenant, s.ID, []store.State{store.StateOffered}, store.StateLeft, "", at))
			conflicts(t, "state", tx.SetState(s.Tenant, s.ID, nil, store.StateLeft, "", at))
			return tx.SetState(s.Tenant, s.ID, []store.State{store.StateProving}, store.StateError, "proof", at)
		})
		s.State, s.ErrorCode, s.Paired = store.StateError, "proof", nil
		equal(t, "unpaired", read(), s)
		// Another one takes its place.
		next := newSystem(s.Tenant, "0000000002")
		next.Replaces = s.ID
		twin := newSystem(s.Tenant, serial)
		conflicts(t, "serial", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateSystem(twin) }))
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateSystem(next), tx.MoveMeta(s.Tenant, s.ID, next.ID), tx.CreatePairing(newPairing(next)))
		})
		next.Name, next.Note, next.Tags, next.Groups, next.Version = s.Name, s.Note, s.Tags, s.Groups, 2
		equal(t, "the next", get(t, db, func(tx *store.Tx) (store.System, error) { return tx.SystemBySerial(s.Tenant, next.Serial) }), next)
		equal(t, "paired", get(t, db, func(tx *store.Tx) ([]store.System, error) { return tx.SystemsByPairedSerial(next.Serial) }), []store.System{next})
		equal(t, "not paired", get(t, db, func(tx *store.Tx) ([]store.System, error) { return tx.SystemsByPairedSerial(serial) }), []store.System{})
		conflicts(t, "pairing", db.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteSystem(s.Tenant, next.ID) }))
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.DeleteSystem(s.Tenant, s.ID), tx.DeleteGroup(s.Tenant, g.ID), tx.CreateSystem(twin))
		})
		next.Groups = []store.Group{h}
		equal(t, "without the group", get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System(s.Tenant, next.ID) }), next)
	})
}

func TestOffers(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		other := newTenant()
		theirs := newSystem(other.ID, serial)
		o, p := newOffer(s), newOffer(theirs)
		p.Created, p.Expires = now.Add(time.Second), now.Add(time.Hour)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateTenant(other), tx.CreateSystem(theirs), tx.CreateOffer(o), tx.CreateOffer(p))
		})
		conflicts(t, "system", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateOffer(newOffer(s)) }))
		offers := func(f func(tx *store.Tx) ([]store.Offer, error)) []store.Offer {
			t.Helper()
			return get(t, db, f)
		}
		equal(t, "of a PBX", offers(func(tx *store.Tx) ([]store.Offer, error) { return tx.OpenOffers(serial) }), []store.Offer{o, p})
		for at, want := range map[time.Time][]store.Offer{
			p.Expires.Add(-time.Millisecond): {}, p.Expires: {p}, o.Expires: {p, o},
		} {
			equal(t, "due", offers(func(tx *store.Tx) ([]store.Offer, error) { return tx.DueOffers(at, 10) }), want)
		}
		equal(t, "due, one", offers(func(tx *store.Tx) ([]store.Offer, error) { return tx.DueOffers(o.Expires, 1) }), []store.Offer{p})
		received, closed := now.Add(time.Second), now.Add(time.Minute)
		update(t, db, func(tx *store.Tx) error {
			for want := range 3 {
				if n, err := tx.AddTry(o.ID); n != want+1 || err != nil {
					t.Errorf("try %d, %v", n, err)
				}
			}
			return errors.Join(tx.SetReceived(o.ID, received), tx.SetReceived(o.ID, closed))
		})
		o.State, o.Received, o.Tries = store.OfferReceived, &received, 3
		equal(t, "received", get(t, db, func(tx *store.Tx) (store.Offer, error) { return tx.OpenOffer(s.Tenant, s.ID) }), o)
		update(t, db, func(tx *store.Tx) error { return tx.CloseOffer(o.ID, store.OfferVoid, closed) })
		o.State, o.Closed, o.TokenSealed, o.Nonce = store.OfferVoid, &closed, nil, nil
		equal(t, "closed", get(t, db, func(tx *store.Tx) (store.Offer, error) { return tx.Offer(o.ID) }), o)
		equal(t, "open", offers(func(tx *store.Tx) ([]store.Offer, error) { return tx.OpenOffers(serial) }), []store.Offer{p})
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.AddTry(o.ID)
			conflicts(t, "closed", err)
			conflicts(t, "closed", tx.SetReceived(o.ID, now))
			conflicts(t, "closed", tx.CloseOffer(o.ID, store.OfferUsed, now))
			if err := tx.CloseOffer(store.NewID[store.OfferID](), store.OfferUsed, now); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			if err := tx.CloseOffer(p.ID, store.OfferOpen, now); !errors.Is(err, store.ErrInvalid) {
				t.Error(err)
			}
			return nil
		})
		again := newOffer(s)
		again.Created = now.Add(time.Hour)
		update(t, db, func(tx *store.Tx) error { return tx.CreateOffer(again) })
		equal(t, "the next", get(t, db, func(tx *store.Tx) (store.Offer, error) { return tx.OpenOffer(s.Tenant, s.ID) }), again)
		update(t, db, func(tx *store.Tx) error { return tx.DeleteSystem(s.Tenant, s.ID) })
		if err := db.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Offer(o.ID)
			return err
		}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the offer of a removed system: %v", err)
		}
	})
}

func TestPairings(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		second, third := newSystem(s.Tenant, "0000000002"), newSystem(s.Tenant, "0000000003")
		p, q := newPairing(s), newPairing(second)
		p.PBXVersion, p.Epoch = 1<<62, 1<<40
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateSystem(second), tx.CreateSystem(third), tx.CreatePairing(p), tx.CreatePairing(q))
		})
		for what, change := range map[string]func(v *store.Pairing){
			"serial": func(v *store.Pairing) { v.Serial = serial },
			"system": func(v *store.Pairing) { v.System = s.ID },
			"offer":  func(v *store.Pairing) { v.Offer = p.Offer },
			"id":     func(v *store.Pairing) { v.ID = p.ID },
		} {
			v := newPairing(third)
			change(&v)
			conflicts(t, what, db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreatePairing(v) }))
		}
		user, password, proved := []byte("user 2"), []byte("password 2"), now.Add(time.Minute)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.SetProved(p.ID, proved), tx.ResealPairing(p.ID, user, password))
		})
		p.UserSealed, p.PasswordSealed, p.Proved = user, password, &proved
		equal(t, "by id", get(t, db, func(tx *store.Tx) (store.Pairing, error) { return tx.Pairing(p.ID) }), p)
		equal(t, "by serial", get(t, db, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) }), p)
		equal(t, "by system", get(t, db, func(tx *store.Tx) (store.Pairing, error) { return tx.SystemPairing(s.Tenant, s.ID) }), p)
		for after, want := range map[identity.Serial][]store.Pairing{"": {q, p}, q.Serial: {p}, p.Serial: {}} {
			equal(t, "after "+string(after), get(t, db, func(tx *store.Tx) ([]store.Pairing, error) { return tx.ActivePairings(after, 10) }), want)
		}
		equal(t, "one", get(t, db, func(tx *store.Tx) ([]store.Pairing, error) { return tx.ActivePairings("", 1) }), []store.Pairing{q})
		update(t, db, func(tx *store.Tx) error { return tx.DeletePairing(p.ID) })
		update(t, db, func(tx *store.Tx) error {
			if _, err := tx.ActivePairing(serial); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a pairing that has ended: %v", err)
			}
			if err := tx.DeletePairing(p.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("ended twice: %v", err)
			}
			return tx.CreatePairing(p)
		})
	})
}

func TestTombstones(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		var all []store.Tombstone
		for i := range 4 {
			all = append(all, store.Tombstone{
				Pairing: store.NewID[store.PairingID](), Serial: identity.Serial(fmt.Sprintf("000000000%d", i/3)),
				Epoch: uint64(i + 1), Reason: "removed", At: now.Add(time.Duration(i) * time.Hour),
			})
		}
		update(t, db, func(tx *store.Tx) error {
			for _, v := range all {
				if err := tx.AddTombstone(v); err != nil {
					return err
				}
			}
			again := all[0]
			again.Reason = "another"
			return tx.AddTombstone(again)
		})
		check := func(want ...store.Tombstone) {
			t.Helper()
			equal(t, "pending", get(t, db, func(tx *store.Tx) ([]store.Tombstone, error) { return tx.PendingTombstones("", 10) }), want)
		}
		check(all...)
		equal(t, "after", get(t, db, func(tx *store.Tx) ([]store.Tombstone, error) { return tx.PendingTombstones(all[1].Pairing, 1) }), all[2:3])
		equal(t, "of a PBX", get(t, db, func(tx *store.Tx) ([]store.Tombstone, error) { return tx.Tombstones("0000000000") }), all[:3])
		for range 2 {
			update(t, db, func(tx *store.Tx) error { return tx.DeleteTombstone(all[3].Pairing) })
		}
		check(all[:3]...)
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.SweepTombstones(all[1].At)
			if n != 1 {
				t.Errorf("%d were swept", n)
			}
			return err
		})
		check(all[1:3]...)
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		var all []store.Event
		update(t, db, func(tx *store.Tx) error {
			all = nil
			for i := range 7 {
				v := store.Event{
					ID: store.NewID[store.EventID](), Tenant: s.Tenant, Epoch: uint64(i), Kind: "kind", Actor: "actor",
					Detail: map[string]string{"n": fmt.Sprint(i), "ü": "\"<"}, At: now.Add(time.Duration(i/3) * time.Hour),
				}
				if i%2 == 0 {
					v.System, v.Detail = s.ID, map[string]string{}
				}
				if err := tx.AddEvent(v); err != nil {
					return err
				}
				all = append([]store.Event{v}, all...)
			}
			return nil
		})
		read := func(f store.EventFilter) (got []store.Event) {
			t.Helper()
			for cursor := ""; ; {
				view(t, db, func(tx *store.Tx) error {
					items, next, err := tx.Events(s.Tenant, f, store.Page{Cursor: cursor, Limit: 2})
					got, cursor = append(got, items...), next
					if len(items) != 2 && next != "" {
						t.Errorf("a page of %d", len(items))
					}
					return err
				})
				if cursor == "" {
					return got
				}
			}
		}
		equal(t, "all", read(store.EventFilter{}), all)
		equal(t, "of the system", read(store.EventFilter{System: s.ID}), []store.Event{all[0], all[2], all[4], all[6]})
		equal(t, "of none", read(store.EventFilter{System: "? "}), []store.Event(nil))
		if err := db.View(t.Context(), func(tx *store.Tx) error {
			_, _, err := tx.Events(s.Tenant, store.EventFilter{}, store.Page{Cursor: "x"})
			return err
		}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("a wrong cursor: %v", err)
		}
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.SweepEvents(now.Add(time.Hour))
			if n != 3 {
				t.Errorf("%d were swept", n)
			}
			// One without an id, of a system that is gone.
			return errors.Join(err, tx.DeleteSystem(s.Tenant, s.ID), tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: "removed", At: now.Add(24 * time.Hour)}))
		})
		got := read(store.EventFilter{})
		if len(got) != 5 || got[0].Kind != "removed" || got[0].ID == "" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		jo, al := newUser(s.Tenant, "jo@example.com"), newUser(s.Tenant, "al@example.com")
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateUser(jo), tx.CreateUser(al)) })
		begin := func(user store.UserID, key, request string, at time.Time) (done *store.Response, err error) {
			err = db.Update(t.Context(), func(tx *store.Tx) (err error) {
				done, err = tx.BeginIdempotent(user, key, []byte(request), at)
				return err
			})
			return done, err
		}
		fresh := func(user store.UserID, key string, at time.Time) {
			t.Helper()
			if done, err := begin(user, key, "request", at); done != nil || err != nil {
				t.Errorf("got %v, %v", done, err)
			}
		}
		fresh(jo.ID, "key", now)
		fresh(al.ID, "key", now)
		fresh(jo.ID, "key 2", now)
		_, err := begin(jo.ID, "key", "request", now.Add(5*time.Minute-time.Millisecond))
		conflicts(t, "running", err)
		_, err = begin(jo.ID, "key", "other", now)
		conflicts(t, "request", err)
		fresh(jo.ID, "key", now.Add(5*time.Minute)) // whoever began it is gone
		_, err = begin(jo.ID, "key", "request", now.Add(9*time.Minute))
		conflicts(t, "running", err)
		body := []byte{0, 1, 255}
		update(t, db, func(tx *store.Tx) error { return tx.FinishIdempotent(jo.ID, "key", 201, body) })
		done, err := begin(jo.ID, "key", "request", now.Add(time.Hour))
		equal(t, fmt.Sprint("done ", err), done, &store.Response{Status: 201, Body: body})
		_, err = begin(jo.ID, "key", "other", now)
		conflicts(t, "request", err)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.AbandonIdempotent(jo.ID, "key"), tx.AbandonIdempotent(jo.ID, "key 2"), tx.AbandonIdempotent(jo.ID, "none"))
		})
		fresh(jo.ID, "key 2", now)
		if done, err := begin(jo.ID, "key", "request", now); done == nil || err != nil {
			t.Errorf("one that is done was abandoned: %v", err)
		}
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.SweepIdempotent(now.Add(time.Minute))
			if n != 2 { // al's and the second of jo's
				t.Errorf("%d were swept", n)
			}
			return err
		})
		if _, err := begin(store.NewID[store.UserID](), "key", "request", now); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("of nobody: %v", err)
		}
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.FinishIdempotent(jo.ID, "none", 200, nil) }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("one that has not begun: %v", err)
		}
		// Of many at once one begins.
		begun := 0
		for _, err := range atOnce(20, func(int) error {
			_, err := begin(jo.ID, "many", "request", now)
			return err
		}) {
			if err == nil {
				begun++
			} else {
				conflicts(t, "running", err)
			}
		}
		if begun != 1 {
			t.Errorf("%d have begun", begun)
		}
	})
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		counts := func(want string) {
			t.Helper()
			got := ""
			view(t, db, func(tx *store.Tx) error {
				for _, key := range []string{"a", "b"} {
					n, last, err := tx.CountAttempts("kind", key, now.Add(time.Minute))
					if err != nil {
						return err
					}
					got += fmt.Sprint(n)
					if !last.IsZero() {
						got += " " + last.Sub(now).String()
					}
					got += ";"
				}
				return nil
			})
			if got != want {
				t.Errorf("counts %s, want %s", got, want)
			}
		}
		counts("0;0;")
		update(t, db, func(tx *store.Tx) error {
			for i := range 4 {
				at := now.Add(time.Duration(i) * time.Minute)
				if err := errors.Join(tx.AddAttempt("kind", "a", at), tx.AddAttempt("kind", "b", at), tx.AddAttempt("other", "a", at)); err != nil {
					return err
				}
			}
			return nil
		})
		counts("3 3m0s;3 3m0s;")
		update(t, db, func(tx *store.Tx) error { return tx.DeleteAttempt("kind", "a", now.Add(3*time.Minute)) })
		counts("2 2m0s;3 3m0s;")
		update(t, db, func(tx *store.Tx) error { return tx.ClearAttempts("kind", "b") })
		counts("2 2m0s;0;")
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.SweepAttempts(now.Add(2 * time.Minute))
			if n != 4 {
				t.Errorf("%d were swept", n)
			}
			return err
		})
		counts("1 2m0s;0;")
	})
}

// What is not kept is named.
func TestInvalid(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	s := fixture(t, db)
	for want, f := range map[string]func(tx *store.Tx) error{
		"ID is not an id":           func(tx *store.Tx) error { return tx.CreateTenant(store.Tenant{Kind: store.KindCustomer, Created: now}) },
		"Kind is none":              func(tx *store.Tx) error { return tx.CreateTenant(store.Tenant{ID: "x", Kind: "king", Created: now}) },
		"Created is missing":        func(tx *store.Tx) error { return tx.CreateTenant(store.Tenant{ID: "x", Kind: store.KindCustomer}) },
		"Email is missing":          func(tx *store.Tx) error { return tx.CreateUser(newUser(s.Tenant, "")) },
		"Language is none":          func(tx *store.Tx) error { return tx.SetUserLanguage(s.Tenant, "x", "it") },
		"PasswordHash is missing":   func(tx *store.Tx) error { return tx.SetPassword(s.Tenant, "x", "") },
		"Expires is missing":        func(tx *store.Tx) error { return tx.PutSession(store.Session{Created: now, LastSeen: now}) },
		"Serial is not ten digits":  func(tx *store.Tx) error { return tx.CreateSystem(newSystem(s.Tenant, "123")) },
		"State is none":             func(tx *store.Tx) error { return tx.SetState(s.Tenant, s.ID, nil, "", "", now) },
		"Name is missing":           func(tx *store.Tx) error { return tx.CreateGroup(store.Group{ID: "x", Tenant: s.Tenant, Created: now}) },
		"Epoch is missing":          func(tx *store.Tx) error { p := newPairing(s); p.Epoch = 0; return tx.CreatePairing(p) },
		"Kind is missing":           func(tx *store.Tx) error { return tx.AddEvent(store.Event{Tenant: s.Tenant, At: now}) },
		"At is missing":             func(tx *store.Tx) error { return tx.AddTombstone(store.Tombstone{Serial: serial}) },
		"status is missing":         func(tx *store.Tx) error { return tx.FinishIdempotent("x", "key", 0, nil) },
		"text is not UTF-8 without": func(tx *store.Tx) error { return tx.AddAttempt("a\x00", "b", now) },
	} {
		err := db.Update(t.Context(), f)
		if !errors.Is(err, store.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.NextEpoch("")
		return err
	}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("the epoch of no serial: %v", err)
	}
}
