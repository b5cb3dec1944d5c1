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

	"golang.org/x/sys/unix"
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
		"cache_size(-16384)", // KiB
		"temp_store(MEMORY)", // what is sorted is on no disk
	} {
		q.Add("_pragma", pragma)
	}
	if readOnly {
		q.Add("_pragma", "query_only(1)")
	}
	return "file:" + (&url.URL{Path: c.Path}).EscapedPath() + "?" + q.Encode()
}

// openSQLite opens one connection for changes, because SQLite makes one at a time, and
// a pool for views, which it does not keep from going on.
func (db *DB) openSQLite(ctx context.Context) error {
	if err := makePrivate(db.cfg.Path); err != nil {
		return err
	}
	release, err := lockFile(db.cfg.Path+".lock", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer release()
	if db.write, err = sql.Open("sqlite", db.cfg.dsn(false)); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	if err := migrate(ctx, SQLite, db.write); err != nil {
		return fmt.Errorf("%s: %w", db.cfg.Path, err)
	}
	if db.read, err = sql.Open("sqlite", db.cfg.dsn(true)); err != nil {
		return err
	}
	db.read.SetMaxOpenConns(db.cfg.MaxConnections)
	db.read.SetMaxIdleConns(db.cfg.MaxConnections)
	return nil
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

// lockFile takes a lock (flock(2)) that ends with the process. Without waiting where how
// has LOCK_NB.
func lockFile(path string, how int) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how) //nolint:gosec // a file descriptor
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
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
