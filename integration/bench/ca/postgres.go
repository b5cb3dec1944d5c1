package ca

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/procfs"
)

// database is where the store in PostgreSQL is.
type database struct {
	url, schema string
	// postmaster is the process of the server that starts all others, if it is on
	// this machine; else 0, and its processor time is not seen.
	postmaster int
}

// openDatabase looks at the server, and names a schema that the store makes.
func openDatabase(ctx context.Context, url string) (*database, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	var pid int
	err = conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	db := &database{url: url, schema: fmt.Sprintf("bench_ca_%d", os.Getpid()), postmaster: postmaster(pid)}
	return db, errors.Join(err, conn.Close(ctx))
}

// postmaster gives the parent of a process of the server, 0 where there is no such
// process here.
func postmaster(backend int) int {
	p, err := procfs.NewProc(backend)
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil || stat.Comm != "postgres" {
		return 0
	}
	return stat.PPID
}

// drop takes the schema away.
func (db *database) drop(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, db.url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "drop schema if exists "+pgx.Identifier{db.schema}.Sanitize()+" cascade")
	return errors.Join(err, conn.Close(ctx))
}
