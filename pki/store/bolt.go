package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long a process waits for another that has the file open.
const lockWait = 2 * time.Second

// mapped is how much of the file is mapped from the beginning: address space, not
// memory. Beyond it, a change that makes the file larger waits until no view, such
// as an export, is open.
const mapped = 16 << 30

type boltDB struct {
	db    *bbolt.DB
	group *group
}

// OpenBolt opens the store in one file, and makes it where there is none. It fails
// with [ErrInUse] where another process has it open.
func OpenBolt(path string) (DB, error) {
	opts := &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType}
	if strconv.IntSize == 64 {
		size := int64(mapped)
		opts.InitialMmapSize = int(size)
	}
	db, err := bbolt.Open(path, 0o600, opts)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &boltDB{db, &group{writer: &boltWriter{db: db}, max: maxGroup}}, nil
}

func (b *boltDB) Close() error {
	b.group.close()
	return b.db.Close()
}

func (b *boltDB) Wakeups() <-chan struct{} { return nil }

func (b *boltDB) View(ctx context.Context, f func(Tx) error) error { return b.view(ctx, nil, f) }

func (b *boltDB) Rehearse(ctx context.Context, f func(Tx) error) error {
	return b.view(ctx, changes{}, f)
}

func (b *boltDB) view(ctx context.Context, c changes, f func(Tx) error) error {
	err := b.db.View(func(tx *bbolt.Tx) error { return f(&layered{ctx: ctx, reader: boltReader{tx}, changes: c}) })
	return boltError(err)
}

func (b *boltDB) Update(ctx context.Context, f func(Tx) error) error { return b.group.update(ctx, f) }

// boltError keeps the library's errors inside where there is one of this package.
func boltError(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

type boltWriter struct {
	db *bbolt.DB
	tx *bbolt.Tx
}

func (w *boltWriter) begin() (_ reader, err error) {
	w.tx, err = w.db.Begin(true)
	return boltReader{w.tx}, boltError(err)
}

func (w *boltWriter) broken() error        { return nil }
func (w *boltWriter) rollback()            { _ = w.tx.Rollback() }
func (w *boltWriter) transient(error) bool { return false }

func (w *boltWriter) commit(c changes) error {
	if err := w.apply(c); err != nil {
		w.rollback()
		return err
	}
	return w.tx.Commit()
}

func (w *boltWriter) apply(c changes) error {
	for name, entries := range c {
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			if err := w.set(name, []byte(key), entries[key]); err != nil {
				return fmt.Errorf("change %s: %w", name, err)
			}
		}
	}
	return nil
}

func (w *boltWriter) set(name Bucket, key, value []byte) error {
	if value == nil {
		if b := w.tx.Bucket([]byte(name)); b != nil {
			return b.Delete(key)
		}
		return nil
	}
	b, err := w.tx.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return err
	}
	return b.Put(key, value)
}

type boltReader struct{ tx *bbolt.Tx }

func (r boltReader) get(b Bucket, key []byte) ([]byte, error) {
	bucket := r.tx.Bucket([]byte(b))
	if bucket == nil {
		return nil, nil
	}
	return bytes.Clone(bucket.Get(key)), nil
}

func (r boltReader) entries(b Bucket, prefix, from []byte) (entries []entry, err error) {
	bucket := r.tx.Bucket([]byte(b))
	if bucket == nil {
		return nil, nil
	}
	cursor := bucket.Cursor()
	for k, v := cursor.Seek(from); k != nil && bytes.HasPrefix(k, prefix) && len(entries) < page; k, v = cursor.Next() {
		entries = append(entries, entry{bytes.Clone(k), bytes.Clone(v)})
	}
	return entries, nil
}

func (r boltReader) last(b Bucket, before []byte) (key, value []byte, err error) {
	bucket := r.tx.Bucket([]byte(b))
	if bucket == nil {
		return nil, nil, nil
	}
	cursor := bucket.Cursor()
	if before == nil {
		key, value = cursor.Last()
	} else if k, _ := cursor.Seek(before); k == nil {
		key, value = cursor.Last()
	} else {
		key, value = cursor.Prev()
	}
	return bytes.Clone(key), bytes.Clone(value), nil
}

func (r boltReader) buckets() (names []Bucket, err error) {
	err = r.tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if Bucket(name).check() == nil {
			names = append(names, Bucket(name))
		}
		return nil
	})
	return names, err
}
