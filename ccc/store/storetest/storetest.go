// Package storetest gives tests databases of the control centre, on each engine, that have
// their tables and nothing in them. The tables are made once for each test process and
// engine, and copied from then on: making them takes longer than most tests.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// SQLite gives the configuration of a database in a file of the test's own.
func SQLite(t testing.TB) store.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ccc.db")
	Write(t, path)
	return store.Config{Path: path}
}

// Write makes the file of a database.
func Write(t testing.TB, path string) {
	t.Helper()
	text, err := file()
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Postgres gives the configuration of a database on the server that the test process
// shares. Without PostgreSQL the test is skipped.
func Postgres(t testing.TB) store.Config {
	t.Helper()
	return At(t, pgtest.Copy(t, template(t)))
}

// At gives the configuration of PostgreSQL's database at the URL.
func At(t testing.TB, url string) store.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(path, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return store.Config{Engine: store.Postgres, URLFile: configs.SecretFile(path)}
}

// file is that of a closed database of SQLite.
var file = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ccc-store-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "ccc.db")
	if err := makeTables(store.Config{Path: path}); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// postgres is the URL of a database to which nobody is connected; empty: not made yet.
var postgres struct {
	sync.Mutex
	url string
}

func template(t testing.TB) string {
	t.Helper()
	postgres.Lock()
	defer postgres.Unlock()
	if postgres.url == "" {
		url := pgtest.Database(t)
		if err := makeTables(At(t, url)); err != nil {
			t.Fatal(err)
		}
		postgres.url = url
	}
	return postgres.url
}

// makeTables leaves a database with all of it in its file.
func makeTables(cfg store.Config) error {
	db, err := store.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	return db.Close()
}
