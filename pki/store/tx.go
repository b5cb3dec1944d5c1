package store

import (
	"bytes"
	"context"
	"maps"
	"slices"
)

// page is how many entries a scan holds at a time.
const page = 256

// entry is a key of a bucket with its value.
type entry struct{ key, value []byte }

// reader reads in a transaction of one kind of store. What it gives is the
// caller's. A bucket that is not there has no keys.
type reader interface {
	get(b Bucket, key []byte) ([]byte, error)
	// entries gives those with the prefix from key from on, in order, at most a
	// page. from is not before prefix.
	entries(b Bucket, prefix, from []byte) ([]entry, error)
	// last gives the greatest key below before, or of all where that is nil.
	last(b Bucket, before []byte) (key, value []byte, err error)
	// buckets gives the names of all, those without a key among them.
	buckets() ([]Bucket, error)
}

// changes are what a transaction is to make of the store: by bucket and key the new
// value, nil for a key that is to go.
type changes map[Bucket]map[string][]byte

// set gives what undoes it.
func (c changes) set(b Bucket, key string, value []byte) (undo func()) {
	if c[b] == nil {
		c[b] = map[string][]byte{}
	}
	old, had := c[b][key]
	c[b][key] = value
	return func() {
		if had {
			c[b][key] = old
		} else if delete(c[b], key); len(c[b]) == 0 {
			delete(c, b)
		}
	}
}

// layered is a [Tx]: the changes over what a reader gives. Without changes it is
// read-only.
type layered struct {
	ctx     context.Context //nolint:containedctx // a transaction is one call of its DB
	reader  reader
	changes changes
	undo    []func()
}

func (t *layered) Get(b Bucket, key []byte) ([]byte, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	if v, ok := t.changes[b][string(key)]; ok {
		return bytes.Clone(v), nil
	}
	return t.reader.get(b, key)
}

func (t *layered) Put(b Bucket, key, value []byte) error {
	if err := b.check(); err != nil {
		return err
	}
	if len(key) == 0 || len(key) > MaxKey {
		return ErrKey
	}
	if len(value) > MaxValue {
		return ErrValue
	}
	return t.set(b, key, append([]byte{}, value...))
}

func (t *layered) Delete(b Bucket, key []byte) error { return t.set(b, key, nil) }

func (t *layered) set(b Bucket, key, value []byte) error {
	if t.changes == nil {
		return ErrReadOnly
	}
	t.undo = append(t.undo, t.changes.set(b, string(key), value))
	return nil
}

// rollback takes back what was changed through t.
func (t *layered) rollback() {
	for _, undo := range slices.Backward(t.undo) {
		undo()
	}
}

func (t *layered) Scan(b Bucket, prefix, from []byte, f func(key, value []byte) (bool, error)) error {
	at := from
	if bytes.Compare(at, prefix) < 0 {
		at = prefix
	}
	for {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		entries, err := t.reader.entries(b, prefix, at)
		if err != nil {
			return err
		}
		var next []byte // where the page after this one begins
		if len(entries) == page {
			next = following(entries[page-1].key)
		}
		for _, e := range t.merge(b, entries, prefix, at, next) {
			// f may have changed it since.
			if v, ok := t.changes[b][string(e.key)]; ok {
				if v == nil {
					continue
				}
				e.value = bytes.Clone(v)
			}
			if more, err := f(e.key, e.value); err != nil || !more {
				return err
			}
		}
		if next == nil {
			return nil
		}
		at = next
	}
}

// merge adds the keys that were put, with the prefix and from at to before next.
func (t *layered) merge(b Bucket, entries []entry, prefix, at, next []byte) []entry {
	var put []entry
	for k, v := range t.changes[b] {
		key := []byte(k)
		if v != nil && bytes.HasPrefix(key, prefix) && bytes.Compare(key, at) >= 0 && (next == nil || bytes.Compare(key, next) < 0) {
			put = append(put, entry{key, v})
		}
	}
	if put == nil {
		return entries
	}
	byKey := func(a, b entry) int { return bytes.Compare(a.key, b.key) }
	slices.SortFunc(put, byKey)
	added := put[:0]
	for _, e := range put {
		if _, there := slices.BinarySearchFunc(entries, e, byKey); !there {
			added = append(added, e)
		}
	}
	entries = append(entries, added...)
	slices.SortStableFunc(entries, byKey)
	return entries
}

func (t *layered) Last(b Bucket) (key, value []byte, err error) {
	for {
		if err := t.ctx.Err(); err != nil {
			return nil, nil, err
		}
		if key, value, err = t.reader.last(b, key); err != nil {
			return nil, nil, err
		}
		if v, changed := t.changes[b][string(key)]; key == nil || !changed || v != nil {
			break
		}
	}
	for k, v := range t.changes[b] {
		if v != nil && k >= string(key) {
			key, value = []byte(k), bytes.Clone(v)
		}
	}
	return key, value, nil
}

func (t *layered) Buckets() ([]Bucket, error) {
	names, err := t.reader.buckets()
	if err != nil {
		return nil, err
	}
	names = slices.AppendSeq(names, maps.Keys(t.changes))
	slices.Sort(names)
	names = slices.Compact(names)
	var used []Bucket
	for _, name := range names {
		err := t.Scan(name, nil, nil, func([]byte, []byte) (bool, error) {
			used = append(used, name)
			return false, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return used, nil
}

// following is the first key after key.
func following(key []byte) []byte { return append(key[:len(key):len(key)], 0) }
