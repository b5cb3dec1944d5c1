package acmesrv

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/smallstep/nosql/database"

	pkistore "github.com/comtrexx-cloud/comtrexx/pki/store"
)

// NewStorage lets smallstep keep what it knows in the PKI's store, which stays open.
// Unlike its own PostgreSQL driver, CmpAndSwap is atomic where there was no value
// before, too, over all processes. A table is a bucket of the same name in lower case that
// begins with acme_; it is there when something is in it. An empty value is none:
// smallstep swaps a list that has become empty for nothing, and expects not to find
// it then.
func NewStorage(db pkistore.DB) database.DB { return storage{db} }

type storage struct{ db pkistore.DB }

func (storage) Open(string, ...database.Option) error { return database.ErrOpNotSupported }
func (storage) Close() error                          { return nil }
func (storage) CreateTable([]byte) error              { return nil }

// bucket of a table of smallstep's, such as "nonces" or "acme_keyID_accountID_index".
func bucket(table []byte) pkistore.Bucket {
	const prefix = "acme_"
	return pkistore.Bucket(prefix + strings.TrimPrefix(strings.ToLower(string(table)), prefix))
}

// The interface has no context. The store bounds its waiting by itself.

func (s storage) view(f func(pkistore.Tx) error) error {
	return s.db.View(context.Background(), f)
}

func (s storage) update(f func(pkistore.Tx) error) error {
	return s.db.Update(context.Background(), f)
}

func (s storage) Get(table, key []byte) (value []byte, err error) {
	err = s.view(func(tx pkistore.Tx) error {
		value, err = find(tx, table, key)
		return err
	})
	return value, err
}

// find fails with [database.ErrNotFound].
func find(tx pkistore.Tx, table, key []byte) ([]byte, error) {
	value, err := tx.Get(bucket(table), key)
	if err == nil && value == nil {
		return nil, fmt.Errorf("%s/%s: %w", table, key, database.ErrNotFound)
	}
	return value, err
}

func (s storage) Set(table, key, value []byte) error {
	return s.update(func(tx pkistore.Tx) error { return put(tx, table, key, value) })
}

func put(tx pkistore.Tx, table, key, value []byte) error {
	if len(value) == 0 {
		return tx.Delete(bucket(table), key)
	}
	return tx.Put(bucket(table), key, value)
}

func (s storage) Del(table, key []byte) error { return s.Set(table, key, nil) }

func (s storage) CmpAndSwap(table, key, old, next []byte) (value []byte, swapped bool, err error) {
	err = s.update(func(tx pkistore.Tx) error {
		value, swapped, err = swap(tx, table, key, old, next)
		return err
	})
	return value, swapped && err == nil, err
}

// swap gives the value that is there afterwards.
func swap(tx pkistore.Tx, table, key, old, next []byte) (value []byte, swapped bool, err error) {
	value, err = tx.Get(bucket(table), key)
	if err != nil || !bytes.Equal(value, old) {
		return value, false, err
	}
	return next, true, put(tx, table, key, next)
}

func (s storage) List(table []byte) (entries []*database.Entry, err error) {
	err = s.view(func(tx pkistore.Tx) error {
		return tx.Scan(bucket(table), nil, nil, func(key, value []byte) (bool, error) {
			entries = append(entries, &database.Entry{Bucket: table, Key: key, Value: value})
			return true, nil
		})
	})
	return entries, err
}

// Update makes all of it or, where something fails, nothing. A value to get that is
// not there is a failure.
func (s storage) Update(t *database.Tx) error {
	return s.update(func(tx pkistore.Tx) error {
		for _, o := range t.Operations {
			if err := operate(tx, o); err != nil {
				return fmt.Errorf("%s: %w", o.Cmd, err)
			}
		}
		return nil
	})
}

func operate(tx pkistore.Tx, o *database.TxEntry) (err error) {
	switch o.Cmd {
	case database.CreateTable:
		return nil
	case database.DeleteTable:
		return empty(tx, o.Bucket)
	case database.Get:
		o.Result, err = find(tx, o.Bucket, o.Key)
		return err
	case database.Set:
		return put(tx, o.Bucket, o.Key, o.Value)
	case database.Delete:
		return tx.Delete(bucket(o.Bucket), o.Key)
	case database.CmpAndSwap:
		o.Result, o.Swapped, err = swap(tx, o.Bucket, o.Key, o.CmpValue, o.Value)
		return err
	default:
		return database.ErrOpNotSupported
	}
}

func (s storage) DeleteTable(table []byte) error {
	return s.update(func(tx pkistore.Tx) error { return empty(tx, table) })
}

func empty(tx pkistore.Tx, table []byte) error {
	b := bucket(table)
	return tx.Scan(b, nil, nil, func(key, _ []byte) (bool, error) { return true, tx.Delete(b, key) })
}
