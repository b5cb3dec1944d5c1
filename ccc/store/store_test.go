package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What was committed is there after the database was closed and opened again, and
// opening it changes nothing.
func TestRestart(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		tenant, own := populate(t, db, "jo@example.com")
		before := get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System(tenant, own.system) })
		rows := dump(t, cfg)
		for range 2 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = store.Open(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
		after := get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System(tenant, own.system) })
		equal(t, "a system", after, before)
		if got := dump(t, cfg); !reflect.DeepEqual(got, rows) {
			t.Errorf("the rows are\n%v\nand were\n%v", got, rows)
		}
		if err := errors.Join(db.Close(), db.Close()); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		if err := db.View(t.Context(), func(*store.Tx) error { return nil }); err == nil {
			t.Error("a view of a closed database")
		}
	})
}

// The program does not touch tables that it does not know.
func TestSchema(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		pool := raw(t, cfg)
		if _, err := pool.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, true)"); err != nil {
			t.Fatal(err)
		}
		before := dump(t, cfg)
		_, err = store.Open(t.Context(), cfg)
		if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "999999") {
			t.Errorf("of a newer program: %v", err)
		}
		if got := dump(t, cfg); !reflect.DeepEqual(got, before) {
			t.Error("it was changed")
		}
	})
}

func TestOtherPrograms(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	pool := raw(t, cfg)
	if _, err := pool.ExecContext(t.Context(), "CREATE TABLE x (y)"); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), cfg); !errors.Is(err, store.ErrSchema) {
		t.Errorf("the database of another program: %v", err)
	}
	pool = raw(t, cfg)
	var n int
	if err := pool.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil || n != 1 {
		t.Errorf("it has %d tables, %v", n, err)
	}
	text := sqliteConfig(t)
	if err := os.WriteFile(text.Path, []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), text); err == nil {
		t.Error("a text was opened")
	}
	if len(before) == 0 {
		t.Error("the test made no database")
	}
}

// The files are their owner's alone.
func TestModes(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	fixture(t, db)
	for _, end := range []string{"", "-wal", "-shm", ".lock"} {
		if info, err := os.Stat(cfg.Path + end); err != nil || info.Mode() != 0o600 {
			t.Errorf("%q: %v, %v", end, info, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.Path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("readable by everybody: %v", err)
	}
}

// After an error of the database nothing of the transaction remains, whatever its
// function makes of the error.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		a, b := newTenant(), newTenant()
		update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(a) })
		conflicts(t, "id", db.Update(t.Context(), func(tx *store.Tx) error {
			if err := tx.CreateTenant(b); err != nil {
				t.Error(err)
			}
			if err := tx.CreateTenant(a); !errors.Is(err, store.ErrConflict) {
				t.Errorf("got %v", err)
			}
			return nil
		}))
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(b), errUndo) }); !errors.Is(err, errUndo) {
			t.Error(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = db.Update(t.Context(), func(tx *store.Tx) error { panic(tx.CreateTenant(b)) })
		}()
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Update(ctx, func(tx *store.Tx) error {
			defer cancel()
			return tx.CreateTenant(b)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a context that has ended: %v", err)
		}
		equal(t, "the tenants", get(t, db, (*store.Tx).Tenants), []store.Tenant{a})
		// What is answered without an error of the database does not end it.
		update(t, db, func(tx *store.Tx) error {
			if _, err := tx.Tenant(b.ID); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			if err := tx.SetUserDisabled(a.ID, store.NewID[store.UserID](), true); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			return tx.CreateTenant(b)
		})
		// A view changes nothing.
		if err := db.View(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(newTenant()) }); err == nil {
			t.Error("a view has made a tenant")
		}
		if n := len(get(t, db, (*store.Tx).Tenants)); n != 2 {
			t.Errorf("%d tenants", n)
		}
	})
}

// An update that PostgreSQL cannot let have happened beside another runs again.
func TestRunsAgain(t *testing.T) {
	t.Parallel()
	db := open(t, postgresConfig(t))
	s := fixture(t, db)
	runs := 0
	update(t, db, func(tx *store.Tx) error {
		runs++
		if _, err := tx.Epoch(s.Serial); err != nil {
			return err
		}
		if runs == 1 { // one that is beside it
			if err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.NextEpoch(s.Serial)
				return err
			}); err != nil {
				return err
			}
		}
		_, err := tx.NextEpoch(s.Serial)
		return err
	})
	if epoch := get(t, db, func(tx *store.Tx) (uint64, error) { return tx.Epoch(s.Serial) }); runs != 2 || epoch != 2 {
		t.Errorf("%d runs; the epoch is %d", runs, epoch)
	}
}

// A server that was away is found again.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	cfg := postgresConfig(t)
	if err := os.WriteFile(string(cfg.URLFile), []byte(server.URL("postgres")), 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, cfg)
	s := fixture(t, db)
	server.Restart(t, true)
	var err error
	for range 20 { // connections of the pool that are lost
		if err = db.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.System(s.Tenant, s.ID)
			return err
		}); err == nil {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := store.Config{Path: "ccc.db"}
	for _, cfg := range []store.Config{good, {Engine: store.Postgres, URLFile: "url"}} {
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
	for want, cfg := range map[string]store.Config{
		"path: is required":     {},
		"path: has a character": {Path: "x?y"},
		"path: is for SQLite":   {Engine: store.Postgres, URLFile: "url", Path: "x"},
		"url_file: is required": {Engine: store.Postgres},
		"url_file: is for":      {Path: "x", URLFile: "url"},
		"engine: ":              {Engine: "mysql"},
		"max_connections: ":     {Path: "x", MaxConnections: 1001},
		"busy_timeout: ":        {Path: "x", BusyTimeout: -1},
		"retry_for: ":           {Path: "x", RetryFor: 1},
		"scrub_after: ":         {Path: "x", ScrubAfter: -1},
	} {
		err := cfg.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
		if _, opened := store.Open(t.Context(), cfg); opened == nil || opened.Error() != err.Error() {
			t.Errorf("%s: opened: %v", want, opened)
		}
	}
}

// The URL is a secret, because of the password in it.
func TestURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       "is not the URL",
		"mysql://ccc:hunter2@db/ccc":             "is not the URL",
		"postgres://ccc:hunter2@db:port/ccc":     "is not the URL",
		"postgres://ccc:hunter2@db/ccc":          "no sslmode",
		"postgres://ccc:hunter2@/ccc?host=db":    "no sslmode",
		"postgres://ccc:hunter2@/ccc?host=/none": "none",
		"postgres://ccc:hunter2@localhost:1/ccc?sslmode=disable": "refused",
	} {
		file := filepath.Join(t.TempDir(), "url")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(t.Context(), store.Config{Engine: store.Postgres, URLFile: configs.SecretFile(file)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	_, err := store.Open(t.Context(), store.Config{Engine: store.Postgres, URLFile: "/none"})
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "url_file: ") {
		t.Errorf("a missing file: %v", err)
	}
}
