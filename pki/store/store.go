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
// there. [Export], [Import] and [Copy] take a whole store from one kind to the
// other, and into a backup. The package is not covered by the compatibility promise.
//
// # How a change is made
//
// Changes that wait at the same time share one commit: each function runs alone, in
// the goroutine of its caller, and sees what those before it did; one that fails
// leaves no trace; then all are made durable at once. With eight callers that is
// several times as many changes a second as with a commit for each (see
// BenchmarkUpdateParallel), as the disk, or the way to the database server, is what
// takes the time. A caller only learns how his change ended after the commit.
//
// # PostgreSQL
//
// Everything is in a schema of its own: a table for each bucket, with columns key
// and value of type bytea, and for people a view beside it, such as certs_json, with
// the value as jsonb (null where it is not JSON). Views may be read, tables must not
// be changed. A transaction that changes something first takes an advisory lock, so
// that there is one at a time in the database, and tells the other processes by NOTIFY. A
// pool between (PgBouncer) must be in session mode.
//
// Changes begin again when the server ends them, and when the connection is lost
// before COMMIT was sent. Where it is lost after that, the server is asked, over a new
// connection, whether it was made; only where there is no answer for
// [PostgresConfig].RetryFor, the caller gets [ErrUncertain].
package store

import (
	"context"
	"errors"
	"regexp"
	"strings"
)

// ErrInUse: another process has the store's file open.
var ErrInUse = errors.New("another process has the PKI's store open")

// ErrKey: a key is empty or longer than [MaxKey].
var ErrKey = errors.New("unusable key")

// ErrValue: a value is longer than [MaxValue].
var ErrValue = errors.New("value too long")

// ErrBucket: the name of a bucket that something is put into is not usable.
var ErrBucket = errors.New("unusable name of a bucket")

// ErrReadOnly: a change in [DB.View].
var ErrReadOnly = errors.New("a view of the store cannot change it")

// ErrClosed: the store was closed.
var ErrClosed = errors.New("the store is closed")

// MaxKey bounds the keys, in bytes. PostgreSQL's index would take 2,700.
const MaxKey = 1024

// MaxValue bounds the values, in bytes, so that an import knows what it may have to
// hold.
const MaxValue = 16 << 20

// Bucket is a set of keys with values. It names a table: lower-case letters, digits
// and _, beginning with a letter, at most 58 characters, and not ending in _json.
type Bucket string

var bucketName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,57}$`)

// viewSuffix is what the name of a bucket's view has after it.
const viewSuffix = "_json"

func (b Bucket) check() error {
	if !bucketName.MatchString(string(b)) || strings.HasSuffix(string(b), viewSuffix) {
		return ErrBucket
	}
	return nil
}

// DB is an open store. All methods are safe for concurrent use.
type DB interface {
	// View gives f an unchanging picture of the store. It calls f once.
	View(ctx context.Context, f func(Tx) error) error
	// Update makes the changes of f if it returns nil, and none otherwise. f
	// must not call Update or View, and may be called more than once, of which
	// the last counts: it must set what it gives to its caller, not add to it.
	// Where ctx ends before f is called, or before it is called again, the
	// change is not made; after that its end is waited for.
	Update(ctx context.Context, f func(Tx) error) error
	// Rehearse is Update on a picture of the store, whose changes are thrown away. It
	// shows what Update would do now, without anybody having to wait: for work that
	// follows from a decision and takes long, such as a signature. The decision
	// counts only when Update makes it again. It calls f once.
	Rehearse(ctx context.Context, f func(Tx) error) error
	// Wakeups receives after another process has changed the store. It is a
	// hint: one that is missed has to be made good by looking now and then. It is
	// nil where no other process can.
	Wakeups() <-chan struct{}
	// Close waits for the transactions that run.
	Close() error
}

// Tx is a transaction. Its values belong to the caller. It must not be used after
// the function that it was given to.
type Tx interface {
	// Get gives nil where there is no such key, and never nil where there is.
	Get(b Bucket, key []byte) ([]byte, error)
	// Put fails with [ErrBucket], [ErrKey] or [ErrValue] for what cannot be kept.
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
	// Buckets gives those that have a key, in order.
	Buckets() ([]Bucket, error)
}

// checkEntry tells whether a store may have the entry.
func checkEntry(b Bucket, key, value []byte) error {
	if err := b.check(); err != nil {
		return err
	}
	if len(key) == 0 || len(key) > MaxKey {
		return ErrKey
	}
	if len(value) > MaxValue {
		return ErrValue
	}
	return nil
}
