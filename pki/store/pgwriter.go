package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// flushed is how many keys go to the server in one statement.
const flushed = 4096

// postgresWriter makes the changes. All is owned by the group's goroutine.
type postgresWriter struct {
	db     *postgresDB
	config *pgx.ConnConfig
	conn   *pgx.Conn // nil where there is none
	reader *postgresReader
	seq    int64 // of the last change that was sent to be committed
}

func (w *postgresWriter) connect(ctx context.Context) (err error) {
	if w.conn != nil && !w.conn.IsClosed() {
		return nil
	}
	w.conn, err = w.db.cfg.connect(ctx, w.config)
	return err
}

func (w *postgresWriter) disconnect() {
	if w.conn != nil {
		closeConn(w.conn)
		w.conn = nil
	}
}

// exec runs statements without parameters, within the time of one.
func (w *postgresWriter) exec(sql string) (pgconn.CommandTag, error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.db.cfg.opLimit())
	defer cancel()
	return w.conn.Exec(ctx, sql)
}

func (w *postgresWriter) begin() (reader, error) {
	if err := w.lock(); err != nil {
		w.disconnect()
		return nil, explain(err, w.db.cfg.Schema)
	}
	w.reader = &postgresReader{ctx: context.Background(), conn: w.conn, tables: w.db.tables, limit: w.db.cfg.opLimit()}
	return w.reader, nil
}

// lock begins a transaction that has the lock. Every statement after it sees what
// was committed before.
func (w *postgresWriter) lock() error {
	if err := w.connect(context.Background()); err != nil {
		return err
	}
	_, err := w.exec(fmt.Sprintf("begin isolation level read committed read write; select pg_advisory_xact_lock(%d)", lockKey(w.db.cfg.Schema)))
	return lost(w.conn, err)
}

func (w *postgresWriter) broken() error          { return w.reader.err }
func (w *postgresWriter) transient(e error) bool { return transient(e) }

func (w *postgresWriter) rollback() {
	if _, err := w.exec("rollback"); err != nil {
		w.disconnect()
	}
}

func (w *postgresWriter) commit(c changes) error {
	made, err := w.makeTables(c)
	if err == nil {
		w.seq++
		err = w.flush(c)
	}
	if err != nil {
		err = explain(lost(w.conn, err), w.db.cfg.Schema)
		w.rollback()
		return err
	}
	tag, err := w.exec("commit")
	if e, server := errors.AsType[*pgconn.PgError](err); err != nil && (!server || e.Severity != "ERROR") {
		w.disconnect()
		err = w.settle(err)
	} else if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("%w: the server answered COMMIT with %s", errLost, tag)
	}
	if err != nil {
		return explain(err, w.db.cfg.Schema)
	}
	w.db.tables.add(made...)
	return nil
}

// makeTables makes what is missing, and gives the names.
func (w *postgresWriter) makeTables(c changes) (made []Bucket, err error) {
	for b, entries := range c {
		there, err := w.reader.has(b)
		if err != nil {
			return nil, err
		}
		if there {
			continue
		}
		put := slices.ContainsFunc(slices.Collect(maps.Values(entries)), func(v []byte) bool { return v != nil })
		if !put {
			delete(c, b)
			continue
		}
		if _, err := w.exec(tableSQL(w.db.cfg.Schema, b)); err != nil {
			return nil, err
		}
		made = append(made, b)
	}
	return made, nil
}

// flush sends the changes, the notification, and the number of this commit.
func (w *postgresWriter) flush(c changes) error {
	var batch pgx.Batch
	for _, b := range slices.Sorted(maps.Keys(c)) {
		var put, gone, values [][]byte
		for _, key := range slices.Sorted(maps.Keys(c[b])) {
			if v := c[b][key]; v != nil {
				put, values = append(put, []byte(key)), append(values, v)
			} else {
				gone = append(gone, []byte(key))
			}
		}
		table := pgx.Identifier{w.db.cfg.Schema, string(b)}.Sanitize()
		for i := 0; i < len(put); i += flushed {
			end := min(i+flushed, len(put))
			batch.Queue("insert into "+table+" (key, value) select * from unnest($1::bytea[], $2::bytea[]) on conflict (key) do update set value = excluded.value",
				put[i:end], values[i:end])
		}
		for keys := range slices.Chunk(gone, flushed) {
			batch.Queue("delete from "+table+" where key = any($1::bytea[])", keys)
		}
	}
	w.queueEnd(&batch)
	ctx, cancel := context.WithTimeout(context.Background(), w.db.cfg.opLimit())
	defer cancel()
	return w.conn.SendBatch(ctx, &batch).Close()
}

func (w *postgresWriter) queueEnd(batch *pgx.Batch) {
	batch.Queue("select pg_notify($1, $2)", channel(w.db.cfg.Schema), w.db.id)
	batch.Queue("insert into "+pgx.Identifier{w.db.cfg.Schema, "_commits"}.Sanitize()+
		" values ($1, $2, now()) on conflict (writer) do update set seq = excluded.seq, at = excluded.at", w.db.id, w.seq)
}

// settle finds out, over a new connection, whether the commit was made whose answer
// was lost: the transaction has ended as soon as its lock can be had.
func (w *postgresWriter) settle(cause error) error {
	var pause time.Duration
	for begin := time.Now(); ; {
		last, err := w.lastCommit()
		switch {
		case err == nil && last == w.seq:
			return nil
		case err == nil:
			return fmt.Errorf("%w before the change was committed: %w", errLost, cause)
		case time.Since(begin) > w.db.cfg.RetryFor || w.db.group.closing():
			return fmt.Errorf("%w: %w; then %w", ErrUncertain, cause, err)
		}
		time.Sleep(pause)
		pause = min(max(2*pause, 5*time.Millisecond), 500*time.Millisecond)
	}
}

func (w *postgresWriter) lastCommit() (seq int64, err error) {
	if err := w.lock(); err != nil {
		w.disconnect()
		return 0, err
	}
	defer w.rollback()
	ctx, cancel := context.WithTimeout(context.Background(), w.db.cfg.opLimit())
	defer cancel()
	err = w.conn.QueryRow(ctx, "select seq from "+pgx.Identifier{w.db.cfg.Schema, "_commits"}.Sanitize()+" where writer = $1", w.db.id).Scan(&seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return seq, err
}
