// Package store keeps what the control centre knows: tenants, users and what they were
// granted, systems and their sites, groups and tags, offers, pairings, tombstones, events and sessions, in SQLite or in
// PostgreSQL. The SQL, the tables and the behaviour are the same on both; one test
// suite runs on both.
//
//	db, err := store.Open(ctx, store.Config{Path: "/var/lib/ccc/ccc.db"})
//	err = db.Update(ctx, func(tx *store.Tx) error {
//		return tx.CreateTenant(store.Tenant{ID: store.NewID[store.TenantID](), …})
//	})
//
// [DB.View] and [DB.Update] run transactions, in which everything is seen as of one
// moment. Updates behave as if one ran after the other. Times are kept in milliseconds.
//
// Secrets come in sealed (ccc/seal) or hashed; the store only sees bytes. When one is
// erased, SQLite overwrites its page at once and its log within Config.ScrubAfter.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// DB is an open database. It can be used by several goroutines, and SQLite's file by
// several processes, at once.
type DB struct {
	cfg    Config
	read   *sql.DB
	write  *sql.DB   // PostgreSQL: the same as read
	writer *writer   // SQLite: makes the changes on write
	unlock func()    // SQLite: ends the lock that keeps Restore away
	chains [64]turns // PostgreSQL: whose act changes something, by tenant
	erased chan struct{}
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// Open opens the database, makes it where there is none, and brings its tables up to
// date. It fails with [ErrSchema] where a newer program has already done that.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	db := &DB{cfg: cfg, erased: make(chan struct{}, 1)}
	connect := db.openSQLite
	if cfg.Engine == Postgres {
		connect = db.openPostgres
	}
	if err := connect(ctx); err != nil {
		return nil, errors.Join(err, db.closePools())
	}
	db.erased <- struct{}{} // by a process that was killed before it could scrub
	background, stop := context.WithCancel(context.Background())
	db.stop = stop
	db.wg.Go(func() { db.scrubber(background) })
	return db, nil
}

// Close ends all connections. No transaction may run.
func (db *DB) Close() error {
	db.stop()
	db.wg.Wait()
	return db.closePools()
}

func (db *DB) closePools() error {
	var errs []error
	if db.read != nil && db.read != db.write {
		errs = append(errs, db.read.Close())
	}
	if db.write != nil { // last, so that SQLite puts its log into the file
		errs = append(errs, db.write.Close())
	}
	if db.unlock != nil {
		db.unlock()
	}
	return errors.Join(errs...)
}

// View runs f in a transaction that only reads.
func (db *DB) View(ctx context.Context, f func(*Tx) error) error {
	_, err := db.run(ctx, db.read, &sql.TxOptions{ReadOnly: true, Isolation: db.isolation(sql.LevelRepeatableRead)}, f)
	return err
}

// Update runs f in a transaction, which is committed if f returns nil and otherwise
// undone. f may run again, when PostgreSQL cannot let it have happened beside
// others, or SQLite has undone it with another: it sets variables outside of it and
// adds nothing to them. It makes no change outside of the transaction that it waits
// for. An error of the commit leaves open whether the change was made.
//
// What it changes is told of in the audit log, in the same transaction: see [Act].
func (db *DB) Update(ctx context.Context, f func(*Tx) error) error {
	act := ActOf(ctx)
	f, committed := audited(act, f)
	update := func() error {
		err := db.update(ctx, f)
		if err == nil {
			committed()
		}
		return err
	}
	if act == nil {
		return update()
	}
	return db.alone(ctx, act, update)
}

// update runs f until it has succeeded, or cannot.
func (db *DB) update(ctx context.Context, f func(*Tx) error) error {
	var deadline time.Time
	for wait := time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		erased, err := db.change(ctx, f)
		if err == nil && erased {
			select {
			case db.erased <- struct{}{}:
			default:
			}
		}
		if err == nil || !again(err) {
			return err
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(db.cfg.RetryFor)
		} else if time.Now().After(deadline) {
			return fmt.Errorf("given up after %s: %w", db.cfg.RetryFor, err)
		}
		timer := time.NewTimer(rand.N(wait) + wait/2)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (db *DB) change(ctx context.Context, f func(*Tx) error) (erased bool, err error) {
	if db.writer != nil {
		return db.writer.change(ctx, f)
	}
	return db.run(ctx, db.write, &sql.TxOptions{Isolation: sql.LevelSerializable}, f)
}

// isolation: SQLite has one level, which is serializable.
func (db *DB) isolation(level sql.IsolationLevel) sql.IsolationLevel {
	if db.cfg.Engine == SQLite {
		return sql.LevelDefault
	}
	return level
}

func (db *DB) run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, f func(*Tx) error) (erased bool, err error) {
	begun, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return false, explain(err)
	}
	defer begun.Rollback() //nolint:errcheck // after a commit there is nothing to undo
	tx := &Tx{ctx: ctx, tx: begun, engine: db.cfg.Engine}
	if err := f(tx); err != nil {
		return false, err
	}
	if tx.failed != nil {
		return false, tx.failed
	}
	if opts.ReadOnly {
		return false, nil
	}
	err = begun.Commit()
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		err = ctx.Err() // database/sql has rolled back for that, and says so only at times
	}
	if err != nil {
		return false, explain(err)
	}
	return tx.erased, nil
}
