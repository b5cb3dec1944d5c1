package store

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresReader reads in a transaction.
type postgresReader struct {
	ctx    context.Context //nolint:containedctx // it is the transaction's
	conn   *pgx.Conn
	tables *tables
	limit  time.Duration   // of one statement; 0: that of ctx
	absent map[Bucket]bool // not there in this transaction
	err    error           // the first; the transaction has failed
}

// query calls scan with each row, of no more than two columns.
func (r *postgresReader) query(sql string, args []any, scan func(row pgx.CollectableRow) error) error {
	if r.err != nil {
		return r.err
	}
	ctx := r.ctx
	if r.limit != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.limit)
		defer cancel()
	}
	rows, err := r.conn.Query(ctx, sql, args...)
	if err == nil {
		for err == nil && rows.Next() {
			err = scan(rows)
		}
		rows.Close()
		if err == nil {
			err = rows.Err()
		}
	}
	switch {
	case err == nil:
	case r.ctx.Err() != nil:
		r.err = r.ctx.Err()
	default:
		r.err = explain(lost(r.conn, err), r.tables.schema)
	}
	return r.err
}

// has tells whether the bucket has a table.
func (r *postgresReader) has(b Bucket) (bool, error) {
	if r.tables.has(b) {
		return true, nil
	}
	if b.check() != nil || r.absent[b] {
		return false, nil
	}
	there := false
	err := r.query("select to_regclass($1) is not null", []any{r.table(b)}, func(row pgx.CollectableRow) error { return row.Scan(&there) })
	if err != nil {
		return false, err
	}
	if there {
		r.tables.add(b)
		return true, nil
	}
	if r.absent == nil {
		r.absent = map[Bucket]bool{}
	}
	r.absent[b] = true
	return false, nil
}

func (r *postgresReader) table(b Bucket) string {
	return pgx.Identifier{r.tables.schema, string(b)}.Sanitize()
}

// rows gives the entries of a bucket that a query, which goes on after the name of
// the table, finds.
func (r *postgresReader) rows(b Bucket, rest string, args ...any) (entries []entry, err error) {
	if there, err := r.has(b); !there || err != nil {
		return nil, err
	}
	err = r.query("select key, value from "+r.table(b)+rest, args, func(row pgx.CollectableRow) error {
		var e entry
		err := row.Scan(&e.key, &e.value)
		entries = append(entries, e)
		return err
	})
	return entries, err
}

func first(entries []entry, err error) (key, value []byte, _ error) {
	if err != nil || len(entries) == 0 {
		return nil, nil, err
	}
	return entries[0].key, entries[0].value, nil
}

func (r *postgresReader) get(b Bucket, key []byte) ([]byte, error) {
	_, value, err := first(r.rows(b, " where key = $1", key))
	return value, err
}

func (r *postgresReader) entries(b Bucket, prefix, from []byte) ([]entry, error) {
	if from == nil {
		from = []byte{}
	}
	if end := after(prefix); end != nil {
		return r.rows(b, " where key >= $1 and key < $2 order by key limit $3", from, end, page)
	}
	return r.rows(b, " where key >= $1 order by key limit $2", from, page)
}

func (r *postgresReader) last(b Bucket, before []byte) (key, value []byte, err error) {
	if before != nil {
		return first(r.rows(b, " where key < $1 order by key desc limit 1", before))
	}
	return first(r.rows(b, " order by key desc limit 1"))
}

func (r *postgresReader) buckets() (names []Bucket, err error) {
	err = r.query("select relname::text from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = $1 and relkind = 'r'",
		[]any{r.tables.schema}, func(row pgx.CollectableRow) error {
			var name string
			if err := row.Scan(&name); err != nil {
				return err
			}
			if b := Bucket(name); b.check() == nil {
				names = append(names, b)
			}
			return nil
		})
	return names, err
}

// after is the first key after all with the prefix; nil where there is none.
func after(prefix []byte) []byte {
	end := bytes.TrimRight(prefix, "\xff")
	if len(end) == 0 {
		return nil
	}
	end = bytes.Clone(end)
	end[len(end)-1]++
	return end
}
