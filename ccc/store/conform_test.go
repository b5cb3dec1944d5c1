package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// engines runs a test on each engine, with an empty database.
func engines(t *testing.T, test func(t *testing.T, cfg store.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, sqliteConfig(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, postgresConfig(t))
	})
}

func sqliteConfig(t testing.TB) store.Config {
	t.Helper()
	return store.Config{Path: filepath.Join(t.TempDir(), "ccc.db"), BusyTimeout: time.Minute, ScrubAfter: time.Hour}
}

func postgresConfig(t testing.TB) store.Config {
	t.Helper()
	cfg := storetest.At(t, pgtest.Database(t))
	cfg.RetryFor = time.Minute
	return cfg
}

// databases runs a test on an open database of each engine.
func databases(t *testing.T, test func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, sqliteConfig(t)))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		cfg := storetest.Postgres(t)
		cfg.RetryFor = time.Minute
		test(t, open(t, cfg))
	})
}

// open opens a database. A file that is not there is made without contents.
func open(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	if _, err := os.Stat(cfg.Path); cfg.Engine != store.Postgres && errors.Is(err, fs.ErrNotExist) {
		storetest.Write(t, cfg.Path)
	}
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

// update runs f in a transaction that has to succeed.
func update(t testing.TB, db *store.DB, f func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db *store.DB, f func(tx *store.Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// get reads one value.
func get[T any](t testing.TB, db *store.DB, f func(tx *store.Tx) (T, error)) (v T) {
	t.Helper()
	view(t, db, func(tx *store.Tx) (err error) {
		v, err = f(tx)
		return err
	})
	return v
}

// equal compares and shows both.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// conflicts checks what a conflict is about.
func conflicts(t testing.TB, what string, err error) {
	t.Helper()
	var c *store.ConflictError
	if !errors.Is(err, store.ErrConflict) || !errors.As(err, &c) || c.What != what {
		t.Errorf("got %v, want a conflict of %q", err, what)
	}
}

// now is the time in the tests, at the millisecond.
var now = time.Date(2026, 11, 26, 12, 0, 0, 123e6, time.UTC)

func newTenant() store.Tenant {
	id := store.NewID[store.TenantID]()
	return store.Tenant{ID: id, Kind: store.KindCustomer, Name: "Example", LegalName: "Example GmbH", Brand: "auerswald", Created: now}
}

func newUser(tenant store.TenantID, email string) store.User {
	return store.User{
		ID: store.NewID[store.UserID](), Tenant: tenant, Email: email, Name: "Jo", Roles: []store.Role{store.RoleOwner},
		Language: store.German, PasswordHash: "$argon2id$…", Created: now,
	}
}

func newSystem(tenant store.TenantID, serial identity.Serial) store.System {
	return store.System{
		ID: store.NewID[store.SystemID](), Tenant: tenant, Serial: serial, Name: "PBX " + string(serial),
		State: store.StateOffered, Created: now, StateSince: now, Version: 1, Tags: []string{}, Groups: []store.Group{},
	}
}

func newOffer(s store.System) store.Offer {
	return store.Offer{
		ID: store.NewID[store.OfferID](), System: s.ID, Tenant: s.Tenant, Serial: s.Serial, Created: now,
		Expires: now.Add(24 * time.Hour), State: store.OfferOpen, TokenSealed: []byte("sealed token"), Nonce: []byte("nonce"), Code: "123456",
	}
}

func newPairing(s store.System) store.Pairing {
	return store.Pairing{
		ID: store.NewID[store.PairingID](), System: s.ID, Tenant: s.Tenant, Serial: s.Serial, Epoch: 1,
		UserSealed: []byte("sealed user"), PasswordSealed: []byte("sealed password"), Completion: [32]byte{1, 2, 3},
		Offer: store.NewID[store.OfferID](), PBXVersion: 7, Paired: now,
	}
}

const serial identity.Serial = "0123456789"

// fixture is a tenant with a system.
func fixture(t testing.TB, db *store.DB) store.System {
	t.Helper()
	tenant := newTenant()
	s := newSystem(tenant.ID, serial)
	update(t, db, func(tx *store.Tx) error {
		if err := tx.CreateTenant(tenant); err != nil {
			return err
		}
		return tx.CreateSystem(s)
	})
	return s
}
