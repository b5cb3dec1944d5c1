// Package store keeps what the PKI knows: ordered buckets of keys and values, read
// and changed in transactions.
//
// There are two kinds of store with the same behaviour. [OpenBolt] has everything
// in one file, for one process; [OpenPostgres] has it in a PostgreSQL database, for
// several processes at once. In both, one change at a time is made, over all
// processes, and it is made as a whole or not at all. So whatever is decided inside
// one [DB.Update] holds: a one-time token is used once, a number that rises has no
// twin, and a certificate never exists without its line in the audit log.
//
// Keys sort bytewise. What keys and values mean is for the packages that put them
// there. The package is not covered by the compatibility promise.
package store

import (
	"context"
	"errors"
	"slices"
)

// ErrInUse: another process has the store's file open.
var ErrInUse = errors.New("another process has the PKI's store open")

// ErrKey: a key is empty or longer than [MaxKey].
var ErrKey = errors.New("unusable key")

// MaxKey bounds the keys, in bytes. PostgreSQL's index would take 2,700.
const MaxKey = 1024

// Bucket is a set of keys with values. Use a lower-case word: it names a table.
type Bucket string

// DB is an open store. All methods are safe for concurrent use.
type DB interface {
	// View gives f an unchanging picture of the store.
	View(ctx context.Context, f func(Tx) error) error
	// Update makes the changes of f if it returns nil, and none otherwise. f
	// must not call Update or View, and may be called more than once, of which
	// the last counts: it must set what it gives to its caller, not add to it.
	Update(ctx context.Context, f func(Tx) error) error
	// Wakeups receives after another process has changed the store. It is a
	// hint: one that is missed has to be made good by looking now and then. It is
	// nil where no other process can.
	Wakeups() <-chan struct{}
	Close() error
}

// Tx is a transaction. Its values belong to the caller. It must not be used after
// the function that it was given to.
type Tx interface {
	// Get gives nil where there is no such key.
	Get(b Bucket, key []byte) ([]byte, error)
	// Put fails with [ErrKey] for a key that cannot be kept.
	Put(b Bucket, key, value []byte) error
	// Delete does nothing where there is no such key.
	Delete(b Bucket, key []byte) error
	// Scan calls f with every key that begins with prefix, in order, beginning at
	// the first that is at or after from (nil means the first of all), until f
	// gives false or an error. f may change the store; whether the scan then sees
	// a key that was put is not defined.
	Scan(b Bucket, prefix, from []byte, f func(key, value []byte) (more bool, err error)) error
	// Last gives the greatest key, nil in an empty bucket.
	Last(b Bucket) (key, value []byte, err error)
}

// page is how many entries a scan holds at a time.
const page = 256

func checkKey(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return ErrKey
	}
	return nil
}

// following is the first key after key.
func following(key []byte) []byte { return append(slices.Clip(key), 0) }
