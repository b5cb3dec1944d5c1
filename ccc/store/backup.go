package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Backup writes a copy of SQLite's database, as of one moment, to a file of its own that
// only its owner can read. Changes go on meanwhile. The copy has none of what was
// erased before, and is in place, on the disk, when Backup returns without an error; it
// takes the place of a file that has the name.
//
// A copy is as secret as the database: names, e-mail addresses and password hashes can be
// read in it. What is sealed needs the key files, which belong elsewhere. For PostgreSQL
// it fails with [errors.ErrUnsupported]: use pg_dump.
func Backup(ctx context.Context, db *DB, path string) (err error) {
	if db.cfg.Engine != SQLite {
		return fmt.Errorf("%w: this is for SQLite; make a copy of PostgreSQL's database with: pg_dump --format=custom", errors.ErrUnsupported)
	}
	if same(path, db.cfg.Path) {
		return fmt.Errorf("%s is the database itself", path)
	}
	temp, err := create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temp.remove()) }()
	cfg := db.cfg
	source, err := sql.Open(driverName, cfg.dsn(false)) // a connection of its own: the writer goes on
	if err != nil {
		return err
	}
	defer source.Close()
	if _, err := source.ExecContext(ctx, "VACUUM INTO $1", temp.name); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return temp.place(path)
}

// epochGap is what epochs jump by at a restore: far more than a PBX has owners in the
// time since the backup.
const epochGap = 1 << 20

// Restore makes the database of cfg from a file that [Backup] wrote, which it leaves as it
// is. It looks through all of it first, and fails with [ErrSchema] where it is not one of
// this program or of a newer one, with [ErrInUse] while the database is open, and with
// [os.ErrExist] where there is a database, unless force is set.
//
// What must not come back does not: sessions, API tokens, recovery codes and idempotency
// keys are gone, open offers of pairings and of hand-overs have expired, staff who have
// entered a tenant without being let in are out again, and the epochs of ownership go on
// above all that were given since the backup. Pairings made since are unknown; their PBXs
// learn that when they connect. Users, roles, grants to tenants, passwords, passkeys and
// apps for codes are as they were at the backup, so that what was taken away since has
// to be taken away again.
func Restore(ctx context.Context, cfg Config, backup string, force bool) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	if cfg.Engine != SQLite {
		return fmt.Errorf("%w: this is for SQLite; restore PostgreSQL's database with: pg_restore", errors.ErrUnsupported)
	}
	if same(backup, cfg.Path) {
		return fmt.Errorf("%s is the database itself", backup)
	}
	lock, err := lockAlone(cfg.Path)
	if err != nil {
		return err
	}
	defer lock.release()
	if info, err := os.Stat(cfg.Path); err == nil && info.Size() > 0 && !force {
		return fmt.Errorf("%s: %w; it would be overwritten", cfg.Path, os.ErrExist)
	}
	temp, err := create(cfg.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temp.remove()) }()
	if err := temp.copy(backup); err != nil {
		return err
	}
	if err := check(ctx, cfg, temp.name, time.Now()); err != nil {
		return fmt.Errorf("%s: %w", backup, err)
	}
	// The log of the database that was there is none of the new one's.
	for _, name := range []string{cfg.Path + "-wal", cfg.Path + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return temp.place(cfg.Path)
}

// check looks through the copy of a backup, brings its tables up to date and takes out
// what must not come back.
func check(ctx context.Context, cfg Config, path string, now time.Time) error {
	cfg.Path = path
	pool, err := sql.Open(driverName, cfg.dsn(false))
	if err != nil {
		return err
	}
	defer pool.Close() // which puts the log into the file
	pool.SetMaxOpenConns(1)
	var id int
	if err := pool.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	if id != applicationID {
		return fmt.Errorf("%w: it is no backup of this program", ErrSchema)
	}
	var result string
	if err := pool.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("it is damaged: %s", result)
	}
	if err := migrate(ctx, SQLite, pool, true); err != nil {
		return err
	}
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{sql: "DELETE FROM sessions"},
		{sql: "DELETE FROM idempotency"},
		{sql: "DELETE FROM attempts"},
		{sql: "DELETE FROM challenges"},
		{sql: "DELETE FROM api_tokens"},     // some may have been revoked since
		{sql: "DELETE FROM recovery_codes"}, // some may have been used or replaced since
		{"UPDATE break_glass SET ended = min(expires, $1) WHERE ended = 0", []any{millis(now)}},
		{"UPDATE handovers SET state = $1, decided = $2 WHERE state = $3", []any{string(HandoverExpired), millis(now), string(HandoverOffered)}},
		{"UPDATE offers SET expires = $1 WHERE expires > $1 AND state IN " + open, []any{millis(now)}},
		{`INSERT INTO ownership (serial, epoch) SELECT '', coalesce(max(epoch), 0) + $1 FROM ownership WHERE true
			ON CONFLICT (serial) DO UPDATE SET epoch = excluded.epoch`, []any{epochGap}},
	} {
		if _, err := pool.ExecContext(ctx, q.sql, q.args...); err != nil {
			return err
		}
	}
	return nil
}

// temporary is a file that gets its place when all of it is there.
type temporary struct{ name string }

// create makes an empty one, beside where it will be, that only its owner can read.
func create(beside string) (temporary, error) {
	f, err := os.CreateTemp(filepath.Dir(beside), filepath.Base(beside)+".*.tmp")
	if err != nil {
		return temporary{}, err
	}
	return temporary{f.Name()}, f.Close()
}

// copy fills it with what another file has.
func (t temporary) copy(from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(t.name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// place gives it its name, after what is in it has come to the disk.
func (t temporary) place(path string) error {
	if err := toDisk(t.name); err != nil {
		return err
	}
	if err := os.Rename(t.name, path); err != nil {
		return err
	}
	return toDisk(filepath.Dir(path))
}

// toDisk waits until a file or directory is on the disk.
func toDisk(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// remove removes what is left of it.
func (t temporary) remove() error {
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(t.name + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// same tells whether two names are of one file.
func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
