package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// missingThing wants a change to find nothing.
func missingThing(t *testing.T, db *store.DB, what string, f func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%s: %v, want %v", what, err, store.ErrNotFound)
	}
}

// person is a user of a tenant of his own.
func person(t *testing.T, db *store.DB, email string) store.User {
	t.Helper()
	tenant := newTenant()
	user := newUser(tenant.ID, email)
	update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(tenant), tx.CreateUser(user)) })
	return user
}

func factorsOf(t *testing.T, db *store.DB, user store.UserID) store.Factors {
	t.Helper()
	return get(t, db, func(tx *store.Tx) (store.Factors, error) { return tx.Factors(user) })
}

func TestFactors(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		own := person(t, db, "jo@example.com")
		other := person(t, db, "other@example.com")
		do := func(f func(tx *store.Tx) error) {
			t.Helper()
			update(t, db, f)
		}
		secret := store.TOTP{User: own.ID, Pending: true, Sealed: []byte("sealed"), Created: now}
		do(func(tx *store.Tx) error { return tx.PutTOTP(secret) })
		equal(t, "a pending secret", get(t, db, func(tx *store.Tx) (store.TOTP, error) { return tx.TOTP(own.ID, true) }), secret)
		equal(t, "factors", factorsOf(t, db, own.ID), store.Factors{})
		missingThing(t, db, "a code of a pending secret", func(tx *store.Tx) error { return tx.UseTOTP(own.ID, 7) })
		secret.Pending, secret.LastStep = false, 5
		do(func(tx *store.Tx) error { return tx.PutTOTP(secret) })
		do(func(tx *store.Tx) error { return tx.UseTOTP(own.ID, 7) })
		for _, step := range []int64{7, 6} {
			missingThing(t, db, "a step that is used", func(tx *store.Tx) error { return tx.UseTOTP(own.ID, step) })
		}
		do(func(tx *store.Tx) error { return tx.UseTOTP(own.ID, 8) })

		codes := []store.TokenHash{{1}, {2}, {3}}
		do(func(tx *store.Tx) error {
			return errors.Join(tx.SetRecoveryCodes(own.ID, []store.TokenHash{{9}}), tx.SetRecoveryCodes(own.ID, codes), tx.SetRecoveryCodes(other.ID, codes))
		})
		missingThing(t, db, "a replaced code", func(tx *store.Tx) error { return tx.UseRecoveryCode(own.ID, store.TokenHash{9}) })
		do(func(tx *store.Tx) error { return tx.UseRecoveryCode(own.ID, codes[0]) })
		missingThing(t, db, "a used code", func(tx *store.Tx) error { return tx.UseRecoveryCode(own.ID, codes[0]) })

		key := store.Passkey{ID: store.NewID[store.PasskeyID](), User: own.ID, Credential: []byte("c"), Name: "Key", Data: []byte("{}"), Created: now}
		do(func(tx *store.Tx) error { return tx.CreatePasskey(key) })
		twice := key
		twice.ID, twice.User = store.NewID[store.PasskeyID](), other.ID
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreatePasskey(twice) }); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a credential twice: %v", err)
		}
		for what, f := range map[string]func(tx *store.Tx) error{
			"rename": func(tx *store.Tx) error { return tx.RenamePasskey(other.ID, key.ID, "x") },
			"use":    func(tx *store.Tx) error { return tx.UsePasskey(other.ID, key.ID, nil, now) },
			"delete": func(tx *store.Tx) error { return tx.DeletePasskey(other.ID, key.ID) },
		} {
			missingThing(t, db, what+" another's key", f)
		}
		key.Name, key.Data, key.LastUsed = "Other", []byte("{1}"), &now
		do(func(tx *store.Tx) error {
			return errors.Join(tx.RenamePasskey(own.ID, key.ID, key.Name), tx.UsePasskey(own.ID, key.ID, key.Data, now))
		})
		equal(t, "the keys", get(t, db, func(tx *store.Tx) ([]store.Passkey, error) { return tx.Passkeys(own.ID) }), []store.Passkey{key})
		equal(t, "factors", factorsOf(t, db, own.ID), store.Factors{TOTP: true, Passkeys: 1, Recovery: 2})
		do(func(tx *store.Tx) error { return tx.DeleteFactors(own.ID) })
		equal(t, "factors after the end", factorsOf(t, db, own.ID), store.Factors{})
		equal(t, "another's factors", factorsOf(t, db, other.ID), store.Factors{Recovery: 3})
	})
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		take := func(holder byte, kind string, at time.Time) ([]byte, error) {
			var data []byte
			err := db.Update(t.Context(), func(tx *store.Tx) (err error) {
				data, err = tx.TakeChallenge(store.TokenHash{holder}, kind, at)
				return err
			})
			return data, err
		}
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			return errors.Join(
				tx.PutChallenge(store.TokenHash{1}, "add", []byte("old"), now), tx.PutChallenge(store.TokenHash{1}, "sign-in", []byte("new"), now.Add(time.Minute)),
				tx.PutChallenge(store.TokenHash{2}, "add", []byte("late"), now),
			)
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := take(1, "add", now); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("of another kind: %v", err)
		}
		if _, err := take(2, "add", now); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("expired: %v", err)
		}
		if data, err := take(1, "sign-in", now); err != nil || string(data) != "new" {
			t.Errorf("got %q, %v", data, err)
		}
		if _, err := take(1, "sign-in", now); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the second time: %v", err)
		}
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			n, err := tx.SweepChallenges(now)
			if n != 1 {
				t.Errorf("swept %d", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAPITokens(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		own := person(t, db, "jo@example.com")
		other := person(t, db, "other@example.com")
		v := store.APIToken{
			ID: store.NewID[store.APITokenID](), Tenant: own.Tenant, User: own.ID, For: other.Tenant, Hash: store.TokenHash{7}, Name: "Backup",
			Scopes: []string{"systems:read", "labels:write"}, Second: true, Created: now, Expires: now.Add(time.Hour),
		}
		wrong := v
		wrong.Tenant = other.Tenant
		missingThing(t, db, "a token of another tenant's user", func(tx *store.Tx) error { return tx.CreateAPIToken(wrong) })
		update(t, db, func(tx *store.Tx) error { return tx.CreateAPIToken(v) })
		equal(t, "by hash", get(t, db, func(tx *store.Tx) (store.APIToken, error) { return tx.APITokenByHash(v.Hash) }), v)
		v.LastUsed = &now
		update(t, db, func(tx *store.Tx) error { return tx.UseAPIToken(v.ID, now) })
		equal(t, "the tokens", get(t, db, func(tx *store.Tx) ([]store.APIToken, error) { return tx.APITokens(own.ID) }), []store.APIToken{v})
		missingThing(t, db, "another's token", func(tx *store.Tx) error { return tx.DeleteAPIToken(other.ID, v.ID) })
		sweep := func(before time.Time) (n int) {
			t.Helper()
			if err := db.Update(t.Context(), func(tx *store.Tx) (err error) {
				n, err = tx.SweepAPITokens(before)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := sweep(v.Expires); n != 0 {
			t.Errorf("swept %d that have not expired", n)
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteAPIToken(own.ID, v.ID) })
		missingThing(t, db, "a removed token", func(tx *store.Tx) error { return tx.DeleteAPIToken(own.ID, v.ID) })
		update(t, db, func(tx *store.Tx) error { return tx.CreateAPIToken(v) })
		if n := sweep(v.Expires.Add(time.Second)); n != 1 {
			t.Errorf("swept %d, want the expired one", n)
		}
	})
}
