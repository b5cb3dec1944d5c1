package store

import (
	"context"
	"errors"
)

// Op is what a store could not do.
type Op string

// The operations that [Watch] tells of.
const (
	OpBegin  Op = "begin" // of a transaction
	OpRead   Op = "read"
	OpWrite  Op = "write"
	OpCommit Op = "commit"
)

// Failure is one failure of a store.
type Failure struct {
	Op Op
	// Bucket of a read or a write.
	Bucket Bucket
	// Written are the buckets that were written in the transaction that failed to
	// commit.
	Written map[Bucket]bool
}

// Watch calls failed for every failure of the store itself. What the functions in
// its transactions refuse, what cannot be kept and ended contexts are none.
// failed must not use the store.
func Watch(db DB, failed func(Failure)) DB { return watched{db, failed} }

type watched struct {
	DB
	failed func(Failure)
}

func (w watched) View(ctx context.Context, f func(Tx) error) error { return w.run(ctx, w.DB.View, f) }

func (w watched) Update(ctx context.Context, f func(Tx) error) error {
	return w.run(ctx, w.DB.Update, f)
}

func (w watched) run(ctx context.Context, do func(context.Context, func(Tx) error) error, f func(Tx) error) error {
	began, ran := false, false // as of the last try
	var written map[Bucket]bool
	err := do(ctx, func(tx Tx) error {
		began, ran, written = true, false, make(map[Bucket]bool)
		err := f(watchedTx{tx, w.failed, written})
		ran = err == nil
		return err
	})
	switch {
	case !counts(err):
	case !began:
		w.failed(Failure{Op: OpBegin})
	case ran:
		w.failed(Failure{Op: OpCommit, Written: written})
	}
	return err
}

// counts tells whether the error is the store's.
func counts(err error) bool {
	for _, own := range []error{ErrKey, ErrValue, ErrBucket, ErrReadOnly, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, own) {
			return false
		}
	}
	return err != nil
}

type watchedTx struct {
	Tx
	failed  func(Failure)
	written map[Bucket]bool
}

func (t watchedTx) note(op Op, b Bucket, err error) {
	if counts(err) {
		t.failed(Failure{Op: op, Bucket: b})
	}
}

func (t watchedTx) Get(b Bucket, key []byte) ([]byte, error) {
	v, err := t.Tx.Get(b, key)
	t.note(OpRead, b, err)
	return v, err
}

func (t watchedTx) Last(b Bucket) (key, value []byte, err error) {
	key, value, err = t.Tx.Last(b)
	t.note(OpRead, b, err)
	return key, value, err
}

func (t watchedTx) Put(b Bucket, key, value []byte) error {
	t.written[b] = true
	err := t.Tx.Put(b, key, value)
	t.note(OpWrite, b, err)
	return err
}

func (t watchedTx) Delete(b Bucket, key []byte) error {
	t.written[b] = true
	err := t.Tx.Delete(b, key)
	t.note(OpWrite, b, err)
	return err
}

func (t watchedTx) Scan(b Bucket, prefix, from []byte, f func(key, value []byte) (bool, error)) error {
	var own error // of f, which is not the store's
	err := t.Tx.Scan(b, prefix, from, func(k, v []byte) (bool, error) {
		more, err := f(k, v)
		own = err
		return more, err
	})
	if own == nil {
		t.note(OpRead, b, err)
	}
	return err
}
