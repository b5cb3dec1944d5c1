package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A transaction sees what it changed itself, everywhere.
func TestOwnChanges(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		const many = page + 10
		update(t, db, func(tx Tx) error {
			for i := range many {
				if err := tx.Put(things, fmt.Appendf(nil, "k%04d", 2*i), []byte("old")); err != nil {
					return err
				}
			}
			return nil
		})
		update(t, db, func(tx Tx) error {
			want := map[string]string{}
			for i := range many {
				want[fmt.Sprintf("k%04d", 2*i)] = "old"
			}
			for i := range many {
				key := fmt.Appendf(nil, "k%04d", 2*i+1)
				value := []byte("new")
				if err := tx.Put(things, key, value); err != nil {
					return err
				}
				value[0] = 'X' // what was put is the store's
				want[string(key)] = "new"
			}
			for _, i := range []int{0, 100, 2*many - 1, 2*many - 2} {
				key := fmt.Sprintf("k%04d", i)
				if err := tx.Delete(things, []byte(key)); err != nil {
					return err
				}
				delete(want, key)
			}
			if err := errors.Join(tx.Put(things, []byte("k0002"), []byte("changed")), tx.Put("second", []byte("a"), nil)); err != nil {
				return err
			}
			want["k0002"] = "changed"
			got := map[string]string{}
			var keys []string
			err := tx.Scan(things, []byte("k"), nil, func(k, v []byte) (bool, error) {
				got[string(k)] = string(v)
				keys = append(keys, string(k))
				return true, nil
			})
			if err != nil {
				return err
			}
			if !slices.IsSorted(keys) || len(keys) != len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("a scan gives %d keys, sorted %v, want %d", len(keys), slices.IsSorted(keys), len(want))
			}
			// What a scan deletes before it gets there, it does not see.
			n := 0
			err = tx.Scan(things, []byte("k"), []byte("k0200"), func(k, _ []byte) (bool, error) {
				n++
				return true, tx.Delete(things, append(bytes.TrimSuffix(k, k[4:]), k[4]+1))
			})
			if err != nil || n < (2*many-200)/3 || n > 2*many-200-10 {
				t.Errorf("%d keys while the next were deleted, %v", n, err)
			}
			for i := 2 * many; i >= 10; i-- {
				if err := tx.Delete(things, fmt.Appendf(nil, "k%04d", i)); err != nil {
					return err
				}
			}
			if k, v, err := tx.Last(things); string(k) != "k0009" || string(v) != "new" || err != nil {
				t.Errorf("last is %q=%q, %v", k, v, err)
			}
			if err := tx.Put(things, []byte("k0009a"), []byte("last")); err != nil {
				return err
			}
			if k, v, err := tx.Last(things); string(k) != "k0009a" || string(v) != "last" || err != nil {
				t.Errorf("last is %q=%q, %v", k, v, err)
			}
			if b, err := tx.Buckets(); !slices.Equal(b, []Bucket{"second", things}) || err != nil {
				t.Errorf("buckets %q, %v", b, err)
			}
			return nil
		})
		err := db.View(t.Context(), func(tx Tx) error {
			if k, _, err := tx.Last(things); string(k) != "k0009a" || err != nil {
				t.Errorf("last is %q, %v", k, err)
			}
			if v, err := tx.Get("second", []byte("a")); v == nil || len(v) != 0 || err != nil {
				t.Errorf("an empty value is %#v, %v", v, err)
			}
			if err := tx.Put(things, []byte("a"), nil); !errors.Is(err, ErrReadOnly) {
				t.Errorf("a view can put: %v", err)
			}
			if err := tx.Delete(things, []byte("a")); !errors.Is(err, ErrReadOnly) {
				t.Errorf("a view can delete: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		update(t, db, func(tx Tx) error { return tx.Delete("second", []byte("a")) })
		err = db.View(t.Context(), func(tx Tx) error {
			if b, err := tx.Buckets(); !slices.Equal(b, []Bucket{things}) || err != nil {
				t.Errorf("buckets %q, %v", b, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		for _, b := range []Bucket{"", "Upper", "1st", "_commits", "_loading", "certs_json", `a"b`, "a.b", Bucket(strings.Repeat("a", 59))} {
			if err := db.Update(t.Context(), func(tx Tx) error { return tx.Put(b, []byte("a"), nil) }); !errors.Is(err, ErrBucket) {
				t.Errorf("bucket %q: %v", b, err)
			}
			if v := read(t, db, b, "a"); v != nil {
				t.Errorf("bucket %q has %q", b, v)
			}
		}
		long := Bucket(strings.Repeat("a", 58))
		large := bytes.Repeat([]byte{0xff}, MaxValue)
		update(t, db, func(tx Tx) error {
			if err := tx.Put(things, []byte("a"), append(large, 1)); !errors.Is(err, ErrValue) {
				t.Errorf("a value of more than MaxValue: %v", err)
			}
			return errors.Join(tx.Put(long, []byte("a"), []byte("1")), tx.Put(things, []byte("a"), large))
		})
		if !bytes.Equal(read(t, db, things, "a"), large) || string(read(t, db, long, "a")) != "1" {
			t.Error("the largest are not kept")
		}
	})
}

// A change larger than what goes to a store in one piece is made as a whole.
func TestLargeChange(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		count := func() (n int) {
			err := db.View(t.Context(), func(tx Tx) error {
				return tx.Scan(things, nil, nil, func(_, v []byte) (bool, error) {
					n++
					return len(v) > 0, nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		const many = 2*loadEntries + 1
		for _, last := range []bool{false, true} {
			update(t, db, func(tx Tx) error {
				for i := range many {
					key := fmt.Appendf(nil, "%06d", i)
					var err error
					switch {
					case last && i%2 == 0:
						err = tx.Delete(things, key)
					case i%2000 == 0:
						err = tx.Put(things, key, make([]byte, loadBytes/2))
					default:
						err = tx.Put(things, key, key)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			want := many
			if last {
				want = many / 2
			}
			if n := count(); n != want {
				t.Errorf("%d keys, want %d", n, want)
			}
		}
	})
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Update(ctx, func(tx Tx) error {
			if err := tx.Put(things, []byte("a"), []byte("1")); err != nil {
				return err
			}
			cancel()
			_, err := tx.Get(things, []byte("a"))
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled in the middle: %v", err)
		}
		if err := db.View(ctx, func(tx Tx) error { _, err := tx.Get(things, []byte("a")); return err }); !errors.Is(err, context.Canceled) {
			t.Errorf("view: %v", err)
		}
		// Nobody has to wait for the one who left.
		update(t, db, func(tx Tx) error { return tx.Put(things, []byte("b"), []byte("2")) })
		if a, b := read(t, db, things, "a"), read(t, db, things, "b"); a != nil || string(b) != "2" {
			t.Errorf("a is %q, b is %q", a, b)
		}
		if err := errors.Join(db.Close(), db.Close()); err != nil {
			t.Errorf("close twice: %v", err)
		}
		if err := db.Update(t.Context(), func(Tx) error { return nil }); !errors.Is(err, ErrClosed) {
			t.Errorf("update after close: %v", err)
		}
		if err := db.View(t.Context(), func(Tx) error { return nil }); !errors.Is(err, ErrClosed) {
			t.Errorf("view after close: %v", err)
		}
		if err := Import(t.Context(), db, strings.NewReader("")); !errors.Is(err, ErrClosed) {
			t.Errorf("import after close: %v", err)
		}
	})
}

// A view stays as it is while the store is changed and grows.
func TestViewStays(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		update(t, db, func(tx Tx) error { return tx.Put(things, []byte("a"), []byte("1")) })
		err := db.View(t.Context(), func(tx Tx) error {
			if v, err := tx.Get(things, []byte("a")); string(v) != "1" || err != nil {
				t.Errorf("a is %q, %v", v, err)
			}
			done := make(chan error)
			go func() {
				done <- db.Update(context.WithoutCancel(t.Context()), func(tx Tx) error {
					for i := range 8 {
						if err := tx.Put("large", []byte{byte(i)}, make([]byte, 1<<20)); err != nil {
							return err
						}
					}
					return tx.Put(things, []byte("a"), []byte("2"))
				})
			}()
			if err := <-done; err != nil {
				return err
			}
			if v, err := tx.Get(things, []byte("a")); string(v) != "1" || err != nil {
				t.Errorf("a is %q in the view, %v", v, err)
			}
			if v, err := tx.Get("large", []byte{0}); v != nil || err != nil {
				t.Errorf("the view has a bucket of later: %d bytes, %v", len(v), err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if v := read(t, db, things, "a"); string(v) != "2" {
			t.Errorf("a is %q", v)
		}
	})
}

// A token is used by one of 50 callers, over both handles where there are two.
func TestTokenOnce(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		db := open()
		defer db.Close()
		dbs := []DB{db, db}
		if db.Wakeups() != nil {
			dbs[1] = open()
			defer dbs[1].Close()
		}
		const callers = 50
		race := func(use func(db DB) (bool, error)) int64 {
			var won atomic.Int64
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					ok, err := use(dbs[i%2])
					if err != nil {
						t.Error(err)
					}
					if ok {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			return won.Load()
		}
		ctx := context.WithoutCancel(t.Context())
		n := race(func(db DB) (won bool, err error) {
			err = db.Update(ctx, func(tx Tx) error {
				won = false
				used, err := tx.Get(things, []byte("token"))
				if used != nil || err != nil {
					return err
				}
				won = true
				return tx.Put(things, []byte("token"), []byte("used"))
			})
			return won, err
		})
		if n != 1 {
			t.Errorf("%d callers used the token", n)
		}
		// The test can fail: with the look outside of the change, all win.
		var looked sync.WaitGroup
		looked.Add(callers)
		n = race(func(db DB) (won bool, err error) {
			err = db.View(ctx, func(tx Tx) error {
				used, err := tx.Get(things, []byte("other"))
				won = used == nil
				return err
			})
			looked.Done()
			looked.Wait()
			if err != nil || !won {
				return false, err
			}
			return true, db.Update(ctx, func(tx Tx) error { return tx.Put(things, []byte("other"), []byte("used")) })
		})
		if n != callers {
			t.Errorf("%d callers used a token that nothing guards", n)
		}
	})
}
