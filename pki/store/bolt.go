package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long a process waits for another that has the file open.
const lockWait = 2 * time.Second

type boltDB struct{ db *bbolt.DB }

// OpenBolt opens the store in one file, and makes it where there is none. It fails
// with [ErrInUse] where another process has it open.
func OpenBolt(path string) (DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return boltDB{db}, nil
}

func (b boltDB) Close() error             { return b.db.Close() }
func (b boltDB) Wakeups() <-chan struct{} { return nil }

func (b boltDB) View(ctx context.Context, f func(Tx) error) error {
	return b.db.View(func(tx *bbolt.Tx) error { return f(boltTx{ctx, tx}) })
}

func (b boltDB) Update(ctx context.Context, f func(Tx) error) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return f(boltTx{ctx, tx}) })
}

type boltTx struct {
	ctx context.Context //nolint:containedctx // a transaction is one call of its DB
	tx  *bbolt.Tx
}

func (t boltTx) Get(b Bucket, key []byte) ([]byte, error) {
	bucket := t.tx.Bucket([]byte(b))
	if bucket == nil {
		return nil, nil
	}
	return bytes.Clone(bucket.Get(key)), nil
}

func (t boltTx) Put(b Bucket, key, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	bucket, err := t.tx.CreateBucketIfNotExists([]byte(b))
	if err != nil {
		return err
	}
	return bucket.Put(key, value)
}

func (t boltTx) Delete(b Bucket, key []byte) error {
	if bucket := t.tx.Bucket([]byte(b)); bucket != nil {
		return bucket.Delete(key)
	}
	return nil
}

func (t boltTx) Last(b Bucket) (key, value []byte, err error) {
	if bucket := t.tx.Bucket([]byte(b)); bucket != nil {
		key, value = bucket.Cursor().Last()
	}
	return bytes.Clone(key), bytes.Clone(value), nil
}

func (t boltTx) Scan(b Bucket, prefix, from []byte, f func(key, value []byte) (bool, error)) error {
	bucket := t.tx.Bucket([]byte(b))
	if bucket == nil {
		return nil
	}
	type entry struct{ key, value []byte }
	at := from
	if bytes.Compare(at, prefix) < 0 {
		at = prefix
	}
	for {
		// A page is copied first: bbolt allows no change while a cursor is in use.
		var entries []entry
		cursor := bucket.Cursor()
		for k, v := cursor.Seek(at); k != nil && bytes.HasPrefix(k, prefix) && len(entries) < page; k, v = cursor.Next() {
			entries = append(entries, entry{bytes.Clone(k), bytes.Clone(v)})
		}
		for _, e := range entries {
			if more, err := f(e.key, e.value); err != nil || !more {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
		at = following(entries[len(entries)-1].key)
	}
}
