package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// dsn gives the name by which the driver opens the file.
func (c Config) dsn(readOnly bool) string {
	q := url.Values{"_txlock": {"immediate"}} // a change that begins as a view could not go on beside another
	for _, pragma := range []string{
		"busy_timeout(" + strconv.FormatInt(c.BusyTimeout.Milliseconds(), 10) + ")", // first: the next one may wait
		"journal_mode(WAL)",
		"synchronous(FULL)", // what was answered is on the disk
		"foreign_keys(1)",
		"secure_delete(1)",
		"trusted_schema(0)",
		"temp_store(MEMORY)", // what is sorted is on no disk
	} {
		q.Add("_pragma", pragma)
	}
	if readOnly {
		// A view's connection forgets its pages whenever another has made a change. Mapped
		// into memory the file would be mapped anew then, which costs more than to read it.
		q.Add("_pragma", "query_only(1)")
		q.Add("_pragma", "cache_size(-8192)") // KiB
	} else {
		q.Add("_pragma", "cache_size(-16384)")
	}
	return "file:" + (&url.URL{Path: c.Path}).EscapedPath() + "?" + q.Encode()
}

// openSQLite opens one connection for changes, because SQLite makes one at a time, and
// a pool for views, which it does not keep from going on.
func (db *DB) openSQLite(ctx context.Context) error {
	path := db.cfg.Path
	if err := makePrivate(path); err != nil {
		return err
	}
	lock, alone, err := lockShared(path)
	if err != nil {
		return err
	}
	db.unlock = lock.release
	if db.write, err = openPool(db.cfg.dsn(false), 1); err != nil {
		return err
	}
	err = mark(ctx, db.write)
	if err == nil {
		err = migrate(ctx, SQLite, db.write, alone)
	}
	if err == nil {
		err = lock.share()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	db.writer = &writer{pool: db.write}
	db.read, err = openPool(db.cfg.dsn(true), db.cfg.MaxConnections)
	return err
}

func openPool(dsn string, connections int) (*sql.DB, error) {
	c, err := newConnector(dsn)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool, nil
}

const driverName = "sqlite"

// applicationID in SQLite's file says that it is one of this program: "CCC1".
const applicationID = 0x43434331

// mark marks an empty database, and refuses that of another program.
func mark(ctx context.Context, pool *sql.DB) error {
	var id, objects int
	if err := pool.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if id == applicationID {
		return nil
	}
	if err := pool.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&objects); err != nil {
		return err
	}
	if id != 0 || objects > 0 {
		return fmt.Errorf("%w: it is the database of another program", ErrSchema)
	}
	_, err := pool.ExecContext(ctx, "PRAGMA application_id = "+strconv.Itoa(applicationID))
	return err
}

// makePrivate makes the file, so that others than its owner cannot read it. SQLite
// gives the files beside it the same mode.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s has mode %04o, so that everybody can open it; run chmod o= on it", path, info.Mode().Perm())
	}
	return nil
}

// Scrub overwrites what was erased, where SQLite's log of changes still has it. A view
// that is running at the same time, of this or another process, can keep it from
// that; then it fails. On PostgreSQL it does nothing.
func (db *DB) Scrub(ctx context.Context) error {
	if db.cfg.Engine != SQLite {
		return nil
	}
	var busy, frames, done int
	err := db.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done)
	if err == nil && busy != 0 {
		err = errors.New("a view is running")
	}
	if err != nil {
		return fmt.Errorf("scrub %s-wal: %w", db.cfg.Path, err)
	}
	return nil
}

// scrubber calls Scrub a while after secrets were erased.
func (db *DB) scrubber(ctx context.Context) {
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-db.erased:
			timer.Reset(db.cfg.ScrubAfter)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := db.Scrub(ctx); err != nil && ctx.Err() == nil {
			db.cfg.Logger.Warn("erased secrets are still in the log of changes; trying again", "err", err)
			select {
			case db.erased <- struct{}{}:
			default:
			}
		}
	}
}
