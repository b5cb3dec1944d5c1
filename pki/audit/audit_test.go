package audit

import (
	"errors"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func open(t *testing.T) store.DB {
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

func update(t *testing.T, db store.DB, f func(store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func TestChangesShow(t *testing.T) {
	t.Parallel()
	db := open(t)
	const many = pageSize + 5
	update(t, db, func(tx store.Tx) error {
		for i := range many {
			if err := Append(tx, Entry{Event: EventIssue, Identity: "device/" + strconv.Itoa(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	verifies := func() {
		t.Helper()
		if n, head, err := Verify(t.Context(), db); n != many || head == "" || err != nil {
			t.Errorf("%d entries, head %q, %v", n, head, err)
		}
	}
	verifies()
	at := key(many / 2)
	for name, change := range map[string]func(store.Tx, []byte) error{
		"removed": func(tx store.Tx, _ []byte) error { return tx.Delete(Bucket, at) },
		"edited": func(tx store.Tx, v []byte) error {
			v[len(v)/2] ^= 1
			return tx.Put(Bucket, at, v)
		},
	} {
		var before []byte
		update(t, db, func(tx store.Tx) (err error) {
			if before, err = tx.Get(Bucket, at); err != nil {
				return err
			}
			return change(tx, append([]byte(nil), before...))
		})
		if _, _, err := Verify(t.Context(), db); !errors.Is(err, ErrBroken) {
			t.Errorf("%s entry: %v", name, err)
		}
		update(t, db, func(tx store.Tx) error { return tx.Put(Bucket, at, before) })
		verifies()
	}
}
