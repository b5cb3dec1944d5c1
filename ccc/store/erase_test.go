package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// canary is what the files are searched for: long enough to fill pages of its own too.
func canary(name string, long bool) []byte {
	if long {
		return []byte(strings.Repeat("canary "+name+" ", 1000))
	}
	return []byte("canary " + name)
}

// files gives all that SQLite has on the disk.
func files(t testing.TB, cfg store.Config) []byte {
	t.Helper()
	var all []byte
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		text, err := os.ReadFile(cfg.Path + end)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// shows tells whether the canary is in the files.
func shows(t testing.TB, cfg store.Config, name string) bool {
	t.Helper()
	return bytes.Contains(files(t, cfg), canary(name, false))
}

// secrets puts canaries into the store and gives what erases each.
func secrets(t testing.TB, db *store.DB, long bool) map[string]func(tx *store.Tx) error {
	t.Helper()
	s := fixture(t, db)
	second := newSystem(s.Tenant, "0000000002")
	offer, deleted, pairing := newOffer(s), newOffer(second), newPairing(s)
	offer.TokenSealed, offer.Nonce = canary("token", long), canary("nonce", false)
	deleted.TokenSealed = canary("removed token", long)
	pairing.UserSealed, pairing.PasswordSealed = canary("user", false), canary("password", long)
	user := newUser(s.Tenant, "jo@example.com")
	user.PasswordHash = string(canary("hash", false))
	session := store.Session{TokenHash: store.TokenHash{1}, User: user.ID, Data: canary("session", long), Created: now, LastSeen: now, Expires: now}
	update(t, db, func(tx *store.Tx) error {
		for _, err := range []error{
			tx.CreateSystem(second), tx.CreateOffer(offer), tx.CreateOffer(deleted), tx.CreatePairing(pairing),
			tx.CreateUser(user), tx.PutSession(session),
		} {
			if err != nil {
				return err
			}
		}
		if _, err := tx.BeginIdempotent(user.ID, "key", []byte("request"), now); err != nil {
			return err
		}
		return tx.FinishIdempotent(user.ID, "key", 201, canary("body", long))
	})
	closing := func(tx *store.Tx) error { return tx.CloseOffer(offer.ID, store.OfferUsed, now) }
	pairingGone := func(tx *store.Tx) error { return tx.DeletePairing(pairing.ID) }
	return map[string]func(tx *store.Tx) error{
		"token": closing, "nonce": closing, "user": pairingGone, "password": pairingGone,
		"removed token": func(tx *store.Tx) error { return tx.DeleteSystem(s.Tenant, second.ID) },
		"hash":          func(tx *store.Tx) error { return tx.SetPassword(s.Tenant, user.ID, "another") },
		"session":       func(tx *store.Tx) error { return tx.DeleteSession(session.TokenHash) },
		"body": func(tx *store.Tx) error {
			_, err := tx.SweepIdempotent(now.Add(time.Hour))
			return err
		},
	}
}

// What was erased is in none of SQLite's files, neither of an open database that was
// scrubbed nor of a closed one.
func TestErased(t *testing.T) {
	t.Parallel()
	for _, long := range []bool{false, true} {
		for _, closed := range []bool{false, true} {
			cfg := sqliteConfig(t)
			db, err := store.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			erase := secrets(t, db, long)
			if err := db.Scrub(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name := range erase {
				if !shows(t, cfg, name) {
					t.Errorf("%s is not in the files before it is erased", name)
				}
			}
			for name, f := range erase {
				if err := db.Update(t.Context(), f); err != nil && name != "nonce" && name != "token" && name != "user" && name != "password" {
					t.Errorf("%s: %v", name, err)
				}
			}
			if !closed {
				if err := db.Scrub(t.Context()); err != nil {
					t.Fatal(err)
				}
				for name := range erase {
					if shows(t, cfg, name) {
						t.Errorf("%s is in the files of the open database (long: %v)", name, long)
					}
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			for name := range erase {
				if shows(t, cfg, name) {
					t.Errorf("%s is in the files of the closed database (long: %v)", name, long)
				}
			}
			if !bytes.Contains(files(t, cfg), []byte("Example GmbH")) {
				t.Error("what was not erased is not there either")
			}
		}
	}
}

// An open database scrubs itself after a while, as soon as no view is in the way.
func TestScrubsItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := sqliteConfig(t)
		cfg.ScrubAfter, cfg.BusyTimeout = 5*time.Second, time.Millisecond
		db := open(t, cfg)
		erase := secrets(t, db, true)
		update(t, db, erase["password"])
		if !shows(t, cfg, "password") {
			t.Error("the log of changes does not have it any more; the test shows nothing")
		}
		reading, end := make(chan struct{}), make(chan struct{})
		done := make(chan error)
		go func() {
			done <- db.View(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Tenants()
				close(reading)
				<-end
				return err
			})
		}()
		<-reading
		update(t, db, erase["token"])
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if !shows(t, cfg, "token") {
			t.Error("scrubbed under a view")
		}
		close(end)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		for _, name := range []string{"password", "token"} {
			if shows(t, cfg, name) {
				t.Errorf("%s is still in the files", name)
			}
		}
		if !shows(t, cfg, "session") {
			t.Error("what was not erased is not there either")
		}
	})
}

// Everything that erases a secret makes the database scrub itself.
func TestScrubsAfterEach(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"token", "removed token", "password", "hash", "body"} {
		synctest.Test(t, func(t *testing.T) {
			cfg := sqliteConfig(t)
			cfg.ScrubAfter = 5 * time.Second
			db := open(t, cfg)
			erase := secrets(t, db, true)
			time.Sleep(6 * time.Second) // the one after the start
			synctest.Wait()
			update(t, db, erase[name])
			time.Sleep(5*time.Second - time.Millisecond)
			synctest.Wait()
			if !shows(t, cfg, name) {
				t.Errorf("%s is not in the files before they are scrubbed", name)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if shows(t, cfg, name) {
				t.Errorf("%s is still in the files", name)
			}
		})
	}
}

// Rows that move between pages when others come and go leave nothing behind either.
func TestErasedAmongMany(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	db := open(t, cfg)
	tenant := newTenant()
	random := rand.New(rand.NewPCG(1, 2))
	secret := func(id store.PairingID) []byte {
		return []byte(strings.Repeat("<"+string(id)+">", 1+random.IntN(30)))
	}
	alive := map[store.PairingID]bool{}
	var all []store.PairingID
	update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(tenant) })
	rounds := 10
	if raceDetector {
		rounds = 2
	}
	for round := range rounds {
		update(t, db, func(tx *store.Tx) error {
			for i := range 100 {
				s := newSystem(tenant.ID, identity.Serial(fmt.Sprintf("%05d%05d", round, i)))
				p := newPairing(s)
				p.UserSealed, p.PasswordSealed = secret(p.ID), secret(p.ID)
				if err := errors.Join(tx.CreateSystem(s), tx.CreatePairing(p)); err != nil {
					return err
				}
				all, alive[p.ID] = append(all, p.ID), true
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			for _, id := range all {
				if !alive[id] {
					continue
				}
				switch random.IntN(3) {
				case 0:
					alive[id] = false
					if err := tx.DeletePairing(id); err != nil {
						return err
					}
				case 1: // of another length
					if err := tx.ResealPairing(id, secret(id), secret(id)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := db.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := files(t, cfg)
	erased := 0
	for _, id := range all {
		if got := bytes.Contains(text, []byte("<"+string(id)+">")); got != alive[id] {
			t.Errorf("%s: in the files: %v, alive: %v", id, got, alive[id])
		}
		if !alive[id] {
			erased++
		}
	}
	if erased < 30*rounds {
		t.Errorf("only %d of %d were erased", erased, len(all))
	}
}
