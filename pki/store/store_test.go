package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// kinds are the stores that have to behave alike. Each gives a new, empty store,
// and a function that opens the same one again.
var kinds = map[string]func(*testing.T) (open func() DB){
	"bolt": func(t *testing.T) func() DB {
		path := filepath.Join(t.TempDir(), "pki.db")
		return func() DB {
			db, err := OpenBolt(path)
			if err != nil {
				t.Fatal(err)
			}
			return db
		}
	},
	"postgres": func(t *testing.T) func() DB {
		cfg := testConfig(t)
		return func() DB { return openTest(t, cfg) }
	},
}

// testConfig is for a store that the test has alone.
func testConfig(t testing.TB) PostgresConfig {
	t.Helper()
	url, schema := pgtest.Schema(t)
	return PostgresConfig{URL: url, Schema: schema, MaxConnections: 4}
}

func openTest(t testing.TB, cfg PostgresConfig) *postgresDB {
	t.Helper()
	db, err := openPostgres(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func forEachKind(t *testing.T, f func(t *testing.T, open func() DB)) {
	t.Helper()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, make(t))
		})
	}
}

func update(t *testing.T, db DB, f func(Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, db DB, b Bucket, key string) (value []byte) {
	t.Helper()
	err := db.View(t.Context(), func(tx Tx) (err error) {
		value, err = tx.Get(b, []byte(key))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

const things Bucket = "things"

func TestValuesLast(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		if v := read(t, db, things, "a"); v != nil {
			t.Errorf("an empty store has %q", v)
		}
		binary := []byte{0, 1, 0xff, '\n'}
		update(t, db, func(tx Tx) error {
			return errors.Join(tx.Put(things, []byte("a"), []byte("old")), tx.Put(things, []byte("a"), binary),
				tx.Put(things, []byte("empty"), nil), tx.Put(things, []byte("gone"), binary), tx.Delete(things, []byte("gone")),
				tx.Delete(things, []byte("never there")), tx.Delete("no such bucket", []byte("a")))
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open()
		defer db.Close()
		if v := read(t, db, things, "a"); !bytes.Equal(v, binary) {
			t.Errorf("a is %q", v)
		}
		if v := read(t, db, things, "gone"); v != nil {
			t.Errorf("gone is %q", v)
		}
		if v := read(t, db, "no such bucket", "a"); v != nil {
			t.Errorf("another bucket has %q", v)
		}
	})
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		cause := errors.New("no")
		err := db.Update(t.Context(), func(tx Tx) error {
			if err := tx.Put(things, []byte("a"), []byte("1")); err != nil {
				return err
			}
			if v, err := tx.Get(things, []byte("a")); string(v) != "1" || err != nil {
				t.Errorf("a transaction does not see its own change: %q, %v", v, err)
			}
			return cause
		})
		if !errors.Is(err, cause) {
			t.Errorf("error %v", err)
		}
		if v := read(t, db, things, "a"); v != nil {
			t.Errorf("the change was made: %q", v)
		}
		for _, key := range [][]byte{nil, {}, bytes.Repeat([]byte("k"), MaxKey+1)} {
			if err := db.Update(t.Context(), func(tx Tx) error { return tx.Put(things, key, nil) }); !errors.Is(err, ErrKey) {
				t.Errorf("key of %d bytes: %v", len(key), err)
			}
		}
		update(t, db, func(tx Tx) error { return tx.Put(things, bytes.Repeat([]byte("k"), MaxKey), nil) })
	})
}

// A rehearsal sees its own changes, and nobody else does; nor does it wait for a change.
func TestRehearse(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		old, next := []byte("old"), []byte("new")
		update(t, db, func(tx Tx) error { return errors.Join(tx.Put(things, old, old), tx.Put(things, next, old)) })
		rehearsed := func() (keys string) {
			err := db.Rehearse(t.Context(), func(tx Tx) error {
				keys = ""
				return errors.Join(tx.Delete(things, old), tx.Put(things, next, next), tx.Put(things, []byte("other"), old),
					tx.Scan(things, nil, nil, func(k, v []byte) (bool, error) {
						keys += fmt.Sprintf("%s=%s ", k, v)
						return true, nil
					}))
			})
			if err != nil {
				t.Error(err)
			}
			return keys
		}
		const want = "new=new other=old "
		if got := rehearsed(); got != want {
			t.Errorf("the rehearsal saw %q, want %q", got, want)
		}
		if a, b, c := read(t, db, things, "old"), read(t, db, things, "new"), read(t, db, things, "other"); string(a)+string(b) != "oldold" || c != nil {
			t.Errorf("it changed the store: %q, %q, %q", a, b, c)
		}
		update(t, db, func(tx Tx) error {
			if got := rehearsed(); got != want {
				t.Errorf("during a change it saw %q", got)
			}
			return tx.Put(things, next, next)
		})
		if got := read(t, db, things, "new"); string(got) != "new" {
			t.Errorf("the change gave %q", got)
		}
		failed := errors.New("failed")
		if err := db.Rehearse(t.Context(), func(Tx) error { return failed }); !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestScan(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		const many = 2*page + 7
		update(t, db, func(tx Tx) error {
			for i := range many {
				if err := tx.Put(things, fmt.Appendf(nil, "b\x00%04d", i), fmt.Append(nil, i)); err != nil {
					return err
				}
			}
			return errors.Join(tx.Put(things, []byte("a"), nil), tx.Put(things, []byte("b"), nil), tx.Put(things, []byte("b\x01"), nil),
				tx.Put(things, []byte{0xff}, nil), tx.Put(things, []byte{0xff, 0xff}, nil))
		})
		for _, c := range []struct {
			prefix, from string
			limit        int
			want         int
			first        string
		}{
			{"b\x00", "", many + 10, many, "b\x000000"},
			{"b\x00", "b\x000300", many + 10, many - 300, "b\x000300"},
			{"b\x00", "a", many + 10, many, "b\x000000"},
			{"b\x00", "c", many + 10, 0, ""},
			{"", "", many + 10, many + 5, "a"},
			{"b\x00", "", 300, 300, "b\x000000"},
			{"\xff", "", many, 2, "\xff"},
			{"zz", "", many, 0, ""},
		} {
			var keys []string
			err := db.View(t.Context(), func(tx Tx) error {
				return tx.Scan(things, []byte(c.prefix), []byte(c.from), func(k, _ []byte) (bool, error) {
					keys = append(keys, string(k))
					return len(keys) < c.limit, nil
				})
			})
			if err != nil || len(keys) != c.want || (c.want > 0 && keys[0] != c.first) {
				t.Errorf("prefix %q from %q: %d keys, first %q, %v; want %d", c.prefix, c.from, len(keys), keys[:min(1, len(keys))], err, c.want)
			}
			for i := range keys[:max(0, len(keys)-1)] {
				if keys[i] >= keys[i+1] {
					t.Fatalf("not in order: %q before %q", keys[i], keys[i+1])
				}
			}
		}
		// A scan that deletes what it sees.
		update(t, db, func(tx Tx) error {
			return tx.Scan(things, []byte("b\x00"), nil, func(k, _ []byte) (bool, error) { return true, tx.Delete(things, k) })
		})
		left := 0
		err := db.View(t.Context(), func(tx Tx) error {
			if k, _, err := tx.Last(things); string(k) != "\xff\xff" || err != nil {
				t.Errorf("last is %q, %v", k, err)
			}
			if k, _, err := tx.Last("no such bucket"); k != nil || err != nil {
				t.Errorf("last of an empty bucket is %q, %v", k, err)
			}
			return tx.Scan(things, nil, nil, func([]byte, []byte) (bool, error) { left++; return true, nil })
		})
		if err != nil || left != 5 {
			t.Errorf("%d keys are left, %v", left, err)
		}
	})
}

// A scan gives back the error of its function, and stops.
func TestScanError(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		update(t, db, func(tx Tx) error {
			return errors.Join(tx.Put(things, []byte("a"), nil), tx.Put(things, []byte("b"), nil))
		})
		cause, calls := errors.New("no"), 0
		err := db.View(t.Context(), func(tx Tx) error {
			return tx.Scan(things, nil, nil, func([]byte, []byte) (bool, error) { calls++; return true, cause })
		})
		if !errors.Is(err, cause) || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}

// Concurrent read-modify-write must not lose one: this is what one-time tokens and
// rising numbers rest on.
func TestOneWriterAtATime(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		dbs := []DB{db, db}
		if db.Wakeups() != nil { // several processes may have it open
			other := open()
			defer other.Close()
			dbs[1] = other
		}
		const callers, each = 8, 10
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for range each {
					if err := dbs[i%2].Update(context.WithoutCancel(t.Context()), func(tx Tx) error {
						v, err := tx.Get(things, []byte("count"))
						if err != nil {
							return err
						}
						return tx.Put(things, []byte("count"), append(v, '.'))
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := len(read(t, db, things, "count")); n != callers*each {
			t.Errorf("%d changes of %d are left", n, callers*each)
		}
	})
}

func TestBoltInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pki.db")
	db, err := OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBolt(path); !errors.Is(err, ErrInUse) {
		t.Errorf("second opening: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if _, err := OpenBolt(t.TempDir()); err == nil || errors.Is(err, ErrInUse) {
		t.Errorf("a directory: %v", err)
	}
}
