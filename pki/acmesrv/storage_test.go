package acmesrv

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/smallstep/certificates/acme"
	acmedb "github.com/smallstep/certificates/acme/db/nosql"
	"github.com/smallstep/nosql/database"

	pkistore "github.com/comtrexx-cloud/comtrexx/pki/store"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// stores gives two handles of one new store; of bbolt, which has no other, twice
// the same.
var stores = map[string]func(*testing.T) [2]pkistore.DB{
	"bolt": func(t *testing.T) [2]pkistore.DB {
		db, err := pkistore.OpenBolt(filepath.Join(t.TempDir(), "pki.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return [2]pkistore.DB{db, db}
	},
	"postgres": func(t *testing.T) (dbs [2]pkistore.DB) {
		url, schema := pgtest.Schema(t)
		for i := range dbs {
			db, err := pkistore.OpenPostgres(t.Context(), pkistore.PostgresConfig{URL: url, Schema: schema})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			dbs[i] = db
		}
		return dbs
	},
}

func forEachStore(t *testing.T, f func(t *testing.T, dbs [2]pkistore.DB)) {
	t.Helper()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t))
		})
	}
}

// winners gives how many of 50 concurrent callers over both handles f is true for.
func winners(t *testing.T, dbs [2]pkistore.DB, f func(database.DB) (bool, error)) int {
	t.Helper()
	var won atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range 50 {
		wg.Go(func() {
			<-start
			ok, err := f(NewStorage(dbs[i%2]))
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load())
}

var table, key = []byte("used_ott"), []byte("token")

func TestStorageSwapIsAtomic(t *testing.T) {
	t.Parallel()
	forEachStore(t, func(t *testing.T, dbs [2]pkistore.DB) {
		n := winners(t, dbs, func(db database.DB) (bool, error) {
			_, swapped, err := db.CmpAndSwap(table, key, nil, []byte("used"))
			return swapped, err
		})
		if n != 1 {
			t.Errorf("%d callers used the token", n)
		}
		// The same with a look and a change that are not one: several win.
		var looked sync.WaitGroup
		looked.Add(50)
		n = winners(t, dbs, func(db database.DB) (bool, error) {
			_, err := db.Get(table, []byte("another"))
			looked.Done()
			looked.Wait()
			if !errors.Is(err, database.ErrNotFound) {
				return false, err
			}
			return true, db.Set(table, []byte("another"), []byte("used"))
		})
		if n < 2 {
			t.Errorf("the test cannot fail: %d callers", n)
		}
	})
}

func TestStorageNonceOnce(t *testing.T) {
	t.Parallel()
	forEachStore(t, func(t *testing.T, dbs [2]pkistore.DB) {
		db, err := acmedb.New(NewStorage(dbs[0]))
		if err != nil {
			t.Fatal(err)
		}
		nonce, err := db.CreateNonce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := winners(t, dbs, func(db database.DB) (bool, error) {
			inner, err := acmedb.New(db)
			if err != nil {
				return false, err
			}
			err = inner.DeleteNonce(t.Context(), nonce)
			if e := (*acme.Error)(nil); errors.As(err, &e) && e.Status == 400 {
				return false, nil
			}
			return err == nil, err
		})
		if n != 1 {
			t.Errorf("%d callers used the nonce", n)
		}
	})
}

// What smallstep expects of a database, as its own drivers give it.
func TestStorage(t *testing.T) {
	t.Parallel()
	forEachStore(t, func(t *testing.T, dbs [2]pkistore.DB) {
		db := NewStorage(dbs[0])
		table := []byte("acme_keyID_accountID_index")
		if err := db.CreateTable(table); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Get(table, key); !database.IsErrNotFound(err) {
			t.Errorf("nothing there: %v", err)
		}
		for i, c := range []struct {
			old, next, value string
			swapped          bool
		}{
			{"wrong", "1", "", false},
			{"", "1", "1", true},
			{"", "2", "1", false},
			{"1", "2", "2", true},
			{"2", "", "", true}, // gone
			{"", "3", "3", true},
		} {
			value, swapped, err := db.CmpAndSwap(table, key, []byte(c.old), []byte(c.next))
			if string(value) != c.value || swapped != c.swapped || err != nil {
				t.Errorf("swap %d: %q, %v, %v", i, value, swapped, err)
			}
		}
		if err := errors.Join(db.Set(table, []byte("b"), []byte("4")), db.Set(table, []byte("c"), []byte("5")), db.Del(table, []byte("c"))); err != nil {
			t.Fatal(err)
		}
		entries, err := db.List(table)
		if err != nil || len(entries) != 2 || string(entries[0].Key) != "b" || string(entries[1].Value) != "3" {
			t.Errorf("list: %v, %v", entries, err)
		}

		all := &database.Tx{}
		all.Get(table, key)
		all.Set(table, []byte("d"), []byte("6"))
		all.Cas(table, []byte("e"), []byte("7"))
		all.Del(table, []byte("b"))
		if err := db.Update(all); err != nil || string(all.Operations[0].Result) != "3" || !all.Operations[2].Swapped {
			t.Errorf("update: %v", err)
		}
		failing := &database.Tx{}
		failing.Set(table, []byte("f"), []byte("8"))
		failing.Get(table, []byte("b"))
		if err := db.Update(failing); !database.IsErrNotFound(err) {
			t.Errorf("update that gets what is not there: %v", err)
		}
		failing = &database.Tx{}
		failing.Set(table, []byte("f"), []byte("8"))
		failing.Cmp(table, key, []byte("3"))
		if err := db.Update(failing); !database.IsErrOpNotSupported(err) {
			t.Errorf("update that compares: %v", err)
		}
		var left bytes.Buffer
		entries, err = db.List(table)
		for _, e := range entries {
			fmt.Fprintf(&left, "%s=%s ", e.Key, e.Value)
		}
		if err != nil || left.String() != "d=6 e=7 token=3 " {
			t.Errorf("left: %s, %v", &left, err)
		}
		err = dbs[1].View(t.Context(), func(tx pkistore.Tx) error {
			buckets, err := tx.Buckets()
			if len(buckets) != 1 || buckets[0] != "acme_keyid_accountid_index" {
				t.Errorf("buckets %q", buckets)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := db.DeleteTable(table); err != nil {
			t.Error(err)
		}
		if entries, err := db.List(table); len(entries) != 0 || err != nil {
			t.Errorf("after deleting: %v, %v", entries, err)
		}
	})
}
