package store

import (
	"context"
	"errors"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// loading is the bucket that holds the buckets of a store that is being filled. Its
// name is none that [Bucket] allows.
var loading = []byte("_loading")

// boltLoader puts entries into buckets inside of loading, in many transactions, as
// one holds in memory all that it changed; commit moves those buckets out. What a
// process left behind that died over it is removed by the next.
type boltLoader struct{ db *boltDB }

func (b *boltDB) loader(context.Context) (loader, error) {
	l := boltLoader{b}
	return l, boltError(b.db.Update(func(tx *bbolt.Tx) error {
		if err := l.clear(tx); err != nil {
			return err
		}
		if err := empty(tx); err != nil {
			return err
		}
		_, err := tx.CreateBucket(loading)
		return err
	}))
}

// empty fails with [ErrNotEmpty], and removes buckets without a key.
func empty(tx *bbolt.Tx) error {
	names, err := boltReader{tx}.buckets()
	if err != nil {
		return err
	}
	for _, name := range names {
		if key, _ := tx.Bucket([]byte(name)).Cursor().First(); key != nil {
			return ErrNotEmpty
		}
		if err := tx.DeleteBucket([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

func (l boltLoader) clear(tx *bbolt.Tx) error {
	err := tx.DeleteBucket(loading)
	if errors.Is(err, berrors.ErrBucketNotFound) {
		return nil
	}
	return err
}

func (l boltLoader) load(_ context.Context, b Bucket, entries []entry) error {
	return l.db.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.Bucket(loading).CreateBucketIfNotExists([]byte(b))
		if err != nil {
			return err
		}
		bucket.FillPercent = 0.9 // they come in order
		for _, e := range entries {
			if err := bucket.Put(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l boltLoader) commit() error {
	return l.db.db.Update(func(tx *bbolt.Tx) error {
		if err := empty(tx); err != nil {
			return err
		}
		from := tx.Bucket(loading)
		var names [][]byte
		err := from.ForEachBucket(func(name []byte) error {
			names = append(names, append([]byte{}, name...))
			return nil
		})
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := tx.MoveBucket(name, from, nil); err != nil {
				return err
			}
		}
		return l.clear(tx)
	})
}

func (l boltLoader) abandon() {
	_ = l.db.db.Update(l.clear) // where it fails, the next loader does it
}
