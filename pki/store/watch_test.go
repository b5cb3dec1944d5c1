package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// flawed is a store that fails where it is told to.
type flawed struct {
	DB
	at Op
}

var errFlaw = errors.New("the disk is broken")

func (f flawed) Update(ctx context.Context, do func(Tx) error) error {
	if f.at == OpBegin {
		return errFlaw
	}
	return f.DB.Update(ctx, func(tx Tx) error {
		err := do(flawedTx{tx, f.at})
		if err == nil && f.at == OpCommit {
			err = errFlaw
		}
		return err
	})
}

type flawedTx struct {
	Tx
	at Op
}

func (f flawedTx) Get(b Bucket, key []byte) ([]byte, error) {
	if f.at == OpRead {
		return nil, errFlaw
	}
	return f.Tx.Get(b, key)
}

func (f flawedTx) Put(b Bucket, key, value []byte) error {
	if f.at == OpWrite {
		return errFlaw
	}
	return f.Tx.Put(b, key, value)
}

func (f flawedTx) Scan(b Bucket, prefix, from []byte, do func(key, value []byte) (bool, error)) error {
	if f.at == "scan" {
		return errFlaw
	}
	return f.Tx.Scan(b, prefix, from, do)
}

func TestWatch(t *testing.T) {
	t.Parallel()
	db, err := OpenBolt(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	errOwn := errors.New("refused")
	everything := func(tx Tx) error {
		_, err := tx.Get("a", []byte("k"))
		return errors.Join(err, tx.Put("a", []byte("k"), nil), tx.Scan("a", nil, nil, func(_, _ []byte) (bool, error) { return true, nil }))
	}
	for name, c := range map[string]struct {
		at   Op
		do   func(Tx) error
		want string
	}{
		"nothing": {"", everything, "[]"},
		"begin":   {OpBegin, everything, "[begin  map[]]"},
		"read":    {OpRead, everything, "[read a map[]]"},
		"write":   {OpWrite, everything, "[write a map[]]"},
		"scan":    {"scan", everything, "[read a map[]]"},
		"commit":  {OpCommit, everything, "[commit  map[a:true]]"},
		"refusal": {"", func(Tx) error { return errOwn }, "[]"},
		"key":     {"", func(tx Tx) error { return tx.Put("a", nil, nil) }, "[]"},
		"ended":   {"", func(Tx) error { return context.Canceled }, "[]"},
		"within scan": {"", func(tx Tx) error {
			return tx.Scan("a", nil, nil, func(_, _ []byte) (bool, error) { return true, errOwn })
		}, "[]"},
	} {
		if err := db.Update(t.Context(), func(tx Tx) error { return tx.Put("a", []byte("k"), nil) }); err != nil {
			t.Fatal(err)
		}
		var got []string
		w := Watch(flawed{db, c.at}, func(f Failure) { got = append(got, fmt.Sprint(f.Op, " ", f.Bucket, " ", f.Written)) })
		err := w.Update(t.Context(), c.do)
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
		if (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
