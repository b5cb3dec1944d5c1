package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func open(t testing.TB) store.DB {
	t.Helper()
	db, err := store.OpenBolt(filepath.Join(t.TempDir(), "pki.db"))
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

func update(t testing.TB, db store.DB, f func(store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

const origin = "comtrexx.test/audit"

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// opened gives a log with n entries, one identity each.
func opened(t testing.TB, n int) (*Log, store.DB) {
	t.Helper()
	db := open(t)
	l, err := Open(t.Context(), db, origin, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	add(t, db, 0, n)
	return l, db
}

// add appends the entries from to up to to.
func add(t testing.TB, db store.DB, from, to int) {
	t.Helper()
	update(t, db, func(tx store.Tx) error {
		for i := from; i < to; i++ {
			if err := Append(tx, entryOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func entryOf(i int) Entry {
	n := strconv.Itoa(i)
	return Entry{Event: EventIssue, Identity: "device/" + n, Certificate: "c" + n, SPKI: "s" + n}
}

func signed(t testing.TB, l *Log) Checkpoint {
	t.Helper()
	c, err := l.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func verifies(t testing.TB, l *Log, n uint64) {
	t.Helper()
	if v, err := l.Verify(t.Context()); v.Entries != n || v.Checkpoint.Size != int64(n) || err != nil {
		t.Errorf("%d entries of %d, checkpoint of %d, %v", v.Entries, n, v.Checkpoint.Size, err)
	}
}

// dump copies the rows of the log's buckets.
func dump(t testing.TB, db store.DB) map[store.Bucket]map[string][]byte {
	t.Helper()
	all := map[store.Bucket]map[string][]byte{}
	err := db.View(t.Context(), func(tx store.Tx) error {
		for _, b := range []store.Bucket{Bucket, bucketTree, bucketIdentities, bucketCertificates, bucketState} {
			rows := map[string][]byte{}
			if err := tx.Scan(b, nil, nil, func(k, v []byte) (bool, error) {
				rows[string(k)] = v
				return true, nil
			}); err != nil {
				return err
			}
			all[b] = rows
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// restore makes the log's buckets as they were.
func restore(t testing.TB, db store.DB, all map[store.Bucket]map[string][]byte) {
	t.Helper()
	update(t, db, func(tx store.Tx) error {
		for b, rows := range all {
			if err := tx.Scan(b, nil, nil, func(k, _ []byte) (bool, error) { return true, tx.Delete(b, k) }); err != nil {
				return err
			}
			for k, v := range rows {
				if err := tx.Put(b, []byte(k), v); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// forge rewrites the entry so that it fits into the chain after the one before.
func forge(t testing.TB, e Entry, prev Entry) []byte {
	t.Helper()
	var err error
	e.Seq, e.Prev = prev.Seq+1, prev.Hash
	if e.Hash, err = e.sum(); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func all(t testing.TB, db store.DB) (list []Entry) {
	t.Helper()
	for e, err := range Entries(t.Context(), db, 0) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// What somebody with access to the store may do. Each change is undone, and then the
// log verifies again.
func TestChangesShow(t *testing.T) {
	t.Parallel()
	const many = 2*pageSize + 5
	l, db := opened(t, many)
	verifies(t, l, many)
	list, rows := all(t, db), dump(t, db)
	const at = pageSize + 3 // of list: in the second page
	mid := key(at + 1)
	for name, c := range map[string]struct {
		change  func(store.Tx) error
		appends bool // Append works all the same
	}{
		"removed": {func(tx store.Tx) error { return tx.Delete(Bucket, mid) }, true},
		"edited": {func(tx store.Tx) error {
			data := slices.Clone(rows[Bucket][string(mid)])
			data[len(data)/2] ^= 1
			return tx.Put(Bucket, mid, data)
		}, true},
		"a space": {func(tx store.Tx) error { // JSON that says the same
			return tx.Put(Bucket, mid, append([]byte(" "), rows[Bucket][string(mid)]...))
		}, true},
		"reordered": {func(tx store.Tx) error {
			return errors.Join(tx.Put(Bucket, mid, rows[Bucket][string(key(at+2))]), tx.Put(Bucket, key(at+2), rows[Bucket][string(mid)]))
		}, true},
		"rewritten with its chain": {func(tx store.Tx) error {
			prev := list[at-1]
			for _, e := range list[at:] {
				e.Reason = "nothing to see"
				data := forge(t, e, prev)
				if err := json.Unmarshal(data, &prev); err != nil {
					return err
				}
				if err := tx.Put(Bucket, key(e.Seq), data); err != nil {
					return err
				}
			}
			return nil
		}, false},
		"appended behind the tree's back": {func(tx store.Tx) error {
			return tx.Put(Bucket, key(many+1), forge(t, Entry{Event: EventIssue}, list[many-1]))
		}, false},
		"last one replaced": {func(tx store.Tx) error {
			return tx.Put(Bucket, key(many), forge(t, Entry{Event: EventIssue}, list[many-2]))
		}, false},
		"end cut off":        {func(tx store.Tx) error { return tx.Delete(Bucket, key(many)) }, false},
		"tree's end cut off": {func(tx store.Tx) error { return tx.Delete(bucketTree, key(many)) }, false},
		"both ends cut off": {func(tx store.Tx) error {
			return errors.Join(tx.Delete(Bucket, key(many)), tx.Delete(bucketTree, key(many)))
		}, false},
		"everything gone": {func(tx store.Tx) error {
			for seq := range uint64(many) {
				if err := errors.Join(tx.Delete(Bucket, key(seq+1)), tx.Delete(bucketTree, key(seq+1))); err != nil {
					return err
				}
			}
			return nil
		}, false},
		"tree row lost":    {func(tx store.Tx) error { return tx.Delete(bucketTree, mid) }, true},
		"tree row changed": {func(tx store.Tx) error { return tx.Put(bucketTree, mid, make([]byte, tlog.HashSize)) }, true},
		"hidden from the owner": {func(tx store.Tx) error {
			return tx.Delete(bucketIdentities, indexKey(list[at].Identity, at+1))
		}, true},
		"hidden from proofs": {func(tx store.Tx) error {
			return tx.Delete(bucketCertificates, indexKey(list[at].Certificate, at+1))
		}, true},
		"checkpoint of another key": {func(tx store.Tx) error {
			s, _, err := newSigner(origin, newKey(t))
			if err != nil {
				return err
			}
			root, err := tlog.TreeHash(many, hashes{tx})
			if err != nil {
				return err
			}
			forged, err := s.sign(many, root)
			if err != nil {
				return err
			}
			return tx.Put(bucketState, keyCheckpoint, []byte(forged.Note))
		}, true},
		"checkpoint edited": {func(tx store.Tx) error {
			return tx.Put(bucketState, keyCheckpoint, bytes.Replace(rows[bucketState][string(keyCheckpoint)], []byte("\n5"), []byte("\n4"), 1))
		}, true},
	} {
		update(t, db, c.change)
		if _, err := l.Verify(t.Context()); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: Verify: %v", name, err)
		}
		err := db.Update(t.Context(), func(tx store.Tx) error { return Append(tx, entryOf(many)) })
		if c.appends != (err == nil) || err != nil && !errors.Is(err, ErrBroken) {
			t.Errorf("%s: Append: %v", name, err)
		}
		if _, err := Open(t.Context(), db, origin, l.signer.key); !c.appends && !errors.Is(err, ErrBroken) {
			t.Errorf("%s: Open: %v", name, err)
		}
		restore(t, db, rows)
		verifies(t, l, many)
	}
}

// The texts come from people and peers: one that is too long must not keep an entry
// out of the log.
func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 0)
	long := strings.Repeat("€", maxText)
	update(t, db, func(tx store.Tx) error {
		return Append(tx, Entry{Event: EventRefuse, Identity: "device/1", Reason: long, Actor: long})
	})
	e := all(t, db)[0]
	if want := strings.Repeat("€", maxText/3) + "…"; e.Reason != want || e.Actor != want {
		t.Errorf("%d bytes of %d", len(e.Reason), len(long))
	}
	verifies(t, l, 1)
}

// Two entries that say the same have different hashes.
func TestSalt(t *testing.T) {
	t.Parallel()
	_, db := opened(t, 0)
	add(t, db, 0, 1)
	add(t, db, 0, 1)
	if list := all(t, db); len(list[0].Salt) != 32 || list[0].Salt == list[1].Salt {
		t.Errorf("salts %q and %q", list[0].Salt, list[1].Salt)
	}
}

// A log from before the tree: without tree, indexes, salts and checkpoint.
func TestOldLog(t *testing.T) {
	t.Parallel()
	const many = 2*pageSize + 1
	db, key0 := open(t), newKey(t)
	var prev Entry
	update(t, db, func(tx store.Tx) error {
		prev = Entry{}
		for i := range many {
			data := forge(t, entryOf(i), prev)
			if err := errors.Join(json.Unmarshal(data, &prev), tx.Put(Bucket, key(prev.Seq), data)); err != nil {
				return err
			}
		}
		return nil
	})
	old := dump(t, db)
	if err := db.Update(t.Context(), func(tx store.Tx) error { return Append(tx, entryOf(many)) }); !errors.Is(err, ErrBroken) {
		t.Errorf("appended to a log without its tree: %v", err)
	}
	l, err := Open(t.Context(), db, origin, key0)
	if err != nil {
		t.Fatal(err)
	}
	verifies(t, l, many)
	add(t, db, many, many+3)
	verifies(t, l, many+3)
	if p, err := l.Find(t.Context(), Query{Identity: "device/7"}); err != nil || len(p.Entries) != 1 {
		t.Errorf("by identity: %+v, %v", p, err)
	}

	// A power cut on the way.
	restore(t, db, old)
	update(t, db, func(tx store.Tx) error {
		done, err := growPage(tx)
		if done {
			t.Error("done after one page")
		}
		return err
	})
	if l, err = Open(t.Context(), db, origin, key0); err != nil {
		t.Fatal(err)
	}
	verifies(t, l, many)

	// What is broken is not made whole.
	broken := maps.Clone(old[Bucket])
	delete(broken, string(key(many/2)))
	old[Bucket] = broken
	restore(t, db, old)
	if _, err := Open(t.Context(), db, origin, key0); !errors.Is(err, ErrBroken) {
		t.Errorf("opened a broken log: %v", err)
	}
}

func TestOneKeyForLife(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 3)
	before := signed(t, l)
	again, err := Open(t.Context(), db, origin, l.signer.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := again.Last(t.Context()); err != nil || c != before {
		t.Errorf("%+v, want %+v, %v", c, before, err)
	}
	if _, err := Open(t.Context(), db, origin, newKey(t)); !errors.Is(err, ErrKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Open(t.Context(), db, "elsewhere/audit", l.signer.key); !errors.Is(err, ErrKey) {
		t.Errorf("another origin: %v", err)
	}
	if k, err := KeyOf(t.Context(), db); err != nil || k != l.Key() {
		t.Errorf("key %q, want %q, %v", k, l.Key(), err)
	}
}
