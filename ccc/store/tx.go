package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Tx is a transaction. It is used by one goroutine, and not after the function that
// it was given to has returned.
//
// A method whose first argument is a [TenantID] sees that tenant's things alone: the id
// of another tenant's is answered with [ErrNotFound], as is one of nothing. The
// others are for the service itself; what they give is not shown to a user before its
// Tenant was looked at.
//
// After an error that the database reports (a conflict, a reference to nothing, a lost
// connection) the transaction is given up, whatever its function returns.
type Tx struct {
	ctx    context.Context
	tx     querier
	engine Engine
	failed error // the engine gives up the transaction
	erased bool  // a secret was erased

	// For the audit log.
	changed bool
	made    []making
	noted   []noted
}

// querier is a transaction of the driver, or the connection that has one.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// args makes the arguments of a statement the same for both engines: text is UTF-8
// without NUL, an id is one. In a transaction that is given up there are no more
// statements.
func (t *Tx) args(args []any) ([]any, error) {
	if t.failed != nil {
		return nil, t.failed
	}
	for i, a := range args {
		switch a := a.(type) {
		case interface{ isID() }:
			if !wellFormed(reflect.ValueOf(a).String()) {
				return nil, ErrNotFound
			}
		case time.Time:
			args[i] = millis(a)
			continue
		case uint64:
			args[i] = int64(a) //nolint:gosec // counters, far below 2^63
			continue
		case []byte:
			if a == nil {
				args[i] = []byte{} // nil would be NULL
			}
			continue
		}
		if v := reflect.ValueOf(args[i]); v.Kind() == reflect.String {
			if s := v.String(); !utf8.ValidString(s) || strings.Contains(s, "\x00") {
				return nil, &InvalidError{Field: "text", Problem: "is not UTF-8 without NUL"}
			}
			args[i] = v.String()
		}
	}
	return args, nil
}

// fail is called with every error of the engine, after which the transaction is given up:
// PostgreSQL would take no further statement.
func (t *Tx) fail(err error) error {
	err = explain(err)
	if t.failed == nil {
		t.failed = err
	}
	return err
}

// exec runs a statement and gives the number of rows that it changed.
func (t *Tx) exec(query string, args ...any) (int64, error) {
	args, err := t.args(args)
	if err != nil {
		return 0, err
	}
	res, err := t.tx.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, t.fail(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, t.fail(err)
	}
	t.changed = t.changed || n > 0
	return n, nil
}

// change is an exec that has to change a row.
func (t *Tx) change(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// sweep is an exec whose number of rows is wanted as int.
func (t *Tx) sweep(query string, args ...any) (int, error) {
	n, err := t.exec(query, args...)
	return int(n), err
}

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }

// rows reads all rows of a query.
func rows[T any](t *Tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	args, err := t.args(args)
	if err != nil {
		return nil, err
	}
	r, err := t.tx.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, t.fail(err)
	}
	defer r.Close()
	all := []T{}
	for r.Next() {
		one, err := scan(r)
		if err != nil {
			return nil, t.fail(err)
		}
		all = append(all, one)
	}
	if err := r.Err(); err != nil {
		return nil, t.fail(err)
	}
	return all, nil
}

// row reads the one row of a query; none is ErrNotFound.
func row[T any](t *Tx, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	all, err := rows(t, scan, query, args...)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return all[0], nil
}

// value scans a row of one column.
func value[T any](s scanner) (v T, err error) {
	err = s.Scan(&v)
	return v, err
}

// list gives the SQL for "one of the texts in the JSON list that parameter is".
// Parameters are as in "$3"; a list may be longer than the engines take parameters.
func (t *Tx) list(parameter string) string {
	if t.engine == Postgres {
		return "(SELECT jsonb_array_elements_text(" + parameter + "::jsonb))"
	}
	return "(SELECT value FROM json_each(" + parameter + "))"
}

// listOf gives the argument for it.
func listOf[T ~string](values []T) string {
	if values == nil {
		values = []T{}
	}
	text, _ := json.Marshal(values) // texts have JSON
	return string(text)
}

// millis is how a time is kept; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is a time as it is kept, for Scan.
type moment struct{ time.Time }

// Scan reads it.
func (m *moment) Scan(v any) error {
	ms, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time is kept as %T, want an integer", v)
	}
	if ms != 0 {
		m.Time = time.UnixMilli(ms).UTC()
	}
	return nil
}

// pointer gives nil for never.
func (m moment) pointer() *time.Time {
	if m.IsZero() {
		return nil
	}
	return &m.Time
}

// blob reads bytes; none are nil, which SQLite and PostgreSQL do not agree on.
type blob struct{ to *[]byte }

// Scan reads them.
func (b blob) Scan(v any) error {
	text, ok := v.([]byte)
	if !ok && v != nil {
		return fmt.Errorf("bytes are kept as %T", v)
	}
	*b.to = append([]byte(nil), text...) // the driver's own
	return nil
}

// moments gives a time that may be missing.
func moments(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// checks collects what is wrong with the values of a new thing.
type checks struct{ err error }

func (c *checks) fail(field, problem string) {
	if c.err == nil {
		c.err = &InvalidError{Field: field, Problem: problem}
	}
}

func (c *checks) id(field, id string) {
	if !wellFormed(id) {
		c.fail(field, "is not an id")
	}
}

func (c *checks) serial(s identity.Serial) {
	if _, err := identity.ParseSerial(string(s)); err != nil {
		c.fail("Serial", "is not ten digits")
	}
}

func (c *checks) time(field string, t time.Time) {
	if t.IsZero() {
		c.fail(field, "is missing")
	}
}

// oneOf checks a value with a few known ones.
func oneOf[T ~string](c *checks, field string, v T, known ...T) {
	if !slices.Contains(known, v) {
		c.fail(field, "is none of the known values")
	}
}
