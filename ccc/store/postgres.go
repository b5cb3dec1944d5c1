package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// statementTimeout bounds what a statement may take, and how long a transaction may do
// nothing: a process that hangs must not keep others from their changes.
const statementTimeout = "60000" // ms

func (db *DB) openPostgres(ctx context.Context) error {
	conn, err := db.cfg.url()
	if err != nil {
		return err
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = 10 * time.Second
	}
	for key, v := range map[string]string{
		"application_name":                    "ccc",
		"statement_timeout":                   statementTimeout,
		"idle_in_transaction_session_timeout": statementTimeout,
	} {
		if _, has := conn.RuntimeParams[key]; !has {
			conn.RuntimeParams[key] = v
		}
	}
	db.read = stdlib.OpenDB(*conn)
	db.write = db.read
	db.read.SetMaxOpenConns(db.cfg.MaxConnections)
	db.read.SetMaxIdleConns(db.cfg.MaxConnections)
	return migratePostgres(ctx, conn)
}

// migratePostgres brings the tables up to date over connections of its own: an index over
// years of the audit log takes as long as it takes.
func migratePostgres(ctx context.Context, conn *pgx.ConnConfig) error {
	patient := conn.Copy()
	for _, key := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
		patient.RuntimeParams[key] = "0"
	}
	pool := stdlib.OpenDB(*patient)
	return errors.Join(migrate(ctx, Postgres, pool, true), pool.Close())
}
