package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// What the tests in package store_test see of the package.
var (
	SortKey     = sortKey
	Fold        = fold
	ParseCursor = parseCursor
	Again       = again
)

// What bounds a group and what a connection keeps.
const (
	GroupSize     = groupSize
	MaxStatements = maxStatements
)

// LoseGroup does to the transaction what SQLite does after some errors: all of it is
// undone, whatever its savepoints are.
func (t *Tx) LoseGroup() error {
	_, err := t.exec(rollback)
	return err
}

// Nested runs a query while the rows of the same query are read, and gives what both read.
func (t *Tx) Nested(query string) (outer, inner []int, err error) {
	outer, err = rows(t, func(s scanner) (int, error) {
		var err error
		if inner == nil {
			inner, err = rows(t, value[int], query)
		}
		n, err2 := value[int](s)
		return n, errors.Join(err, err2)
	}, query)
	return outer, inner, err
}

// Statements tells how many the connection keeps that is used next.
func (db *DB) Statements(ctx context.Context) (n int, err error) {
	c, err := db.read.Conn(ctx)
	if err != nil {
		return 0, err
	}
	err = c.Raw(func(c any) error {
		n = len(c.(*conn).statements) //nolint:forcetypeassert // of SQLite's pool
		return nil
	})
	return n, errors.Join(err, c.Close())
}

// Erased tells whether the transaction has erased a secret.
func (t *Tx) Erased() bool { return t.erased }

// Plan gives how the engine finds the rows of a query. PostgreSQL is kept from what it does
// with tables as small as those of a test, which is to read and sort all of them; so it is
// called in a transaction of its own.
func (t *Tx) Plan(query string, args ...any) ([]string, error) {
	if t.engine == Postgres {
		for _, off := range []string{"enable_seqscan", "enable_sort", "enable_bitmapscan"} {
			if _, err := t.exec("SET LOCAL " + off + " = off"); err != nil {
				return nil, err
			}
		}
		return rows(t, value[string], "EXPLAIN "+query, args...)
	}
	return rows(t, func(s scanner) (step string, err error) {
		var id, parent, unused int
		err = s.Scan(&id, &parent, &unused, &step)
		return step, err
	}, "EXPLAIN QUERY PLAN "+query, args...)
}

// AuditQuery gives the query of [Tx.AuditEntries].
func AuditQuery(t *Tx, tenant TenantID, f AuditFilter, p Page) (string, []any, error) {
	return t.auditQuery(tenant, f, p)
}

// AuditSinceQuery finds the first entry of a tenant since a time.
const AuditSinceQuery = auditSince

// HistoryLengthsQuery is the query of [Tx.HistoryLengths].
const HistoryLengthsQuery = historyLengths

// Epoch gives the number of the last ownership of a PBX; 0 where it had none.
func (t *Tx) Epoch(serial identity.Serial) (uint64, error) {
	epoch, err := row(t, value[uint64], "SELECT epoch FROM ownership WHERE serial = $1", serial)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return epoch, err
}

// SystemsByPairedSerial gives the systems, of whatever tenant, that have a living pairing
// with the PBX: one or none.
func (t *Tx) SystemsByPairedSerial(serial identity.Serial) ([]System, error) {
	return t.systems("SELECT "+systemColumns+" FROM systems WHERE id IN (SELECT system_id FROM pairings WHERE serial = $1)", serial)
}

// MigrateTo makes the tables of an older program in an empty database.
func MigrateTo(ctx context.Context, engine Engine, pool *sql.DB, version int64) error {
	p, err := provider(engine, pool)
	if err == nil {
		_, err = p.UpTo(ctx, version)
	}
	if err == nil && engine != Postgres {
		_, err = pool.ExecContext(ctx, "PRAGMA application_id = "+strconv.Itoa(applicationID))
	}
	return err
}

// MigrateDown takes the tables back to those of an older program.
func MigrateDown(ctx context.Context, engine Engine, pool *sql.DB, version int64) error {
	p, err := provider(engine, pool)
	if err == nil {
		_, err = p.DownTo(ctx, version)
	}
	return err
}

// Setting gives a setting of PostgreSQL.
func Setting(t *Tx, name string) (string, error) {
	return row(t, value[string], "SELECT current_setting($1)", name)
}

// RightsQuery gives the query of [Tx.Rights].
func (t *Tx) RightsQuery(user UserID, home, tenant TenantID, now time.Time) (string, []any) {
	return rightsQuery(user, home, tenant, now)
}
