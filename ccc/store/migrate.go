package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// provider gives what brings the tables up to date. On PostgreSQL it locks out other
// processes; on SQLite its caller does.
func provider(engine Engine, pool *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	dialect := goose.DialectSQLite3
	if engine == Postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // every second, for five minutes
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(dialect, pool, files, opts...)
}

// migrate makes or changes the tables. Those of a newer program it refuses, and older ones
// where they may not be changed.
func migrate(ctx context.Context, engine Engine, pool *sql.DB, change bool) error {
	p, err := provider(engine, pool)
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err == nil && current < target && change {
		if _, err = p.Up(ctx); err == nil {
			current, target, err = p.GetVersions(ctx)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("tables: %w", err)
	case current > target:
		return fmt.Errorf("%w: it has version %d, and this program knows %d; use the newer program, or a backup from before it",
			ErrSchema, current, target)
	case current < target:
		return fmt.Errorf("%w: it has version %d, and this program wants to make it %d; stop the older program that uses it",
			ErrSchema, current, target)
	case change:
		return guard(ctx, engine, pool)
	}
	return nil
}
