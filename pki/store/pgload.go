package store

import (
	"context"
	"crypto/rand"

	"github.com/jackc/pgx/v5"
)

// postgresLoader fills the store in one transaction, on a connection of its own.
type postgresLoader struct {
	db   *postgresDB
	w    *postgresWriter
	made map[Bucket]bool
}

func (db *postgresDB) loader(ctx context.Context) (loader, error) {
	if db.group.closing() {
		return nil, ErrClosed
	}
	config := db.writer.config.Copy()
	// The source may be slow.
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	l := &postgresLoader{db, &postgresWriter{db: db, id: rand.Text(), config: config}, map[Bucket]bool{}}
	if err := l.begin(ctx); err != nil {
		l.w.disconnect()
		return nil, explain(err, db.cfg.Schema)
	}
	return l, nil
}

func (l *postgresLoader) begin(ctx context.Context) error {
	if err := l.w.connect(ctx); err != nil {
		return err
	}
	r, err := l.w.begin()
	if err != nil {
		return err
	}
	used, err := (&layered{ctx: ctx, reader: r}).Buckets()
	if err == nil && used != nil {
		err = ErrNotEmpty
	}
	return err
}

func (l *postgresLoader) load(ctx context.Context, b Bucket, entries []entry) error {
	if !l.made[b] {
		l.made[b] = true
		if _, err := l.w.makeTables(changes{b: {string(entries[0].key): entries[0].value}}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, l.db.cfg.opLimit())
	defer cancel()
	_, err := l.w.conn.CopyFrom(ctx, pgx.Identifier{l.db.cfg.Schema, string(b)}, []string{"key", "value"},
		pgx.CopyFromSlice(len(entries), func(i int) ([]any, error) { return []any{entries[i].key, entries[i].value}, nil }))
	return explain(lost(l.w.conn, err), l.db.cfg.Schema)
}

func (l *postgresLoader) commit() error { return l.w.commit(changes{}) }
func (l *postgresLoader) abandon()      { l.w.disconnect() }
