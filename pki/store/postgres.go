package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrUnavailable: the database server cannot be reached, or ended the connection.
	ErrUnavailable = errors.New("the PKI's database cannot be reached")
	// ErrDenied: the database server does not let the user in, or not do what the
	// store needs.
	ErrDenied = errors.New("the PKI's database refuses the user")
	// ErrSchema: the schema belongs to somebody else, or to another version.
	ErrSchema = errors.New("the schema cannot be used for the PKI's store")
	// ErrVersion: the database server is too old.
	ErrVersion = errors.New("PostgreSQL is too old")
	// ErrBusy: another process has been changing the store for too long.
	ErrBusy = errors.New("the PKI's database did not answer in time")
	// ErrUncertain: the connection was lost while a change was being committed,
	// and the server could not be asked in time whether it was made.
	ErrUncertain = errors.New("it is not known whether the change was made")
)

const (
	// minServer is the oldest PostgreSQL, as in SHOW server_version_num: 13.0.
	minServer = 130000
	// schemaMark is the comment of a schema that this package made, with the version
	// of what is in it.
	schemaMark    = "PKI store, version "
	schemaVersion = 1
	// keepCommits is how long the row of a process that is gone is kept.
	keepCommits = "7 days"
)

type postgresDB struct {
	cfg    PostgresConfig
	id     string // of this handle; the payload of its notifications
	pool   *pgxpool.Pool
	tables *tables
	group  *group
	writer *postgresWriter

	wakeups chan struct{}
	stop    context.CancelFunc // ends the listener
	wg      sync.WaitGroup     // the listener
	once    sync.Once
}

// OpenPostgres opens the store in a PostgreSQL database, and makes its schema where
// there is none. ctx is for the opening only.
//
// A server that cannot be reached is [ErrUnavailable], a wrong password and missing
// rights [ErrDenied], somebody else's schema [ErrSchema], a server before version 13
// [ErrVersion].
func OpenPostgres(ctx context.Context, cfg PostgresConfig) (DB, error) {
	return openPostgres(ctx, cfg)
}

func openPostgres(ctx context.Context, cfg PostgresConfig) (*postgresDB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	writing, err := cfg.connConfig(writing)
	if err != nil {
		return nil, err
	}
	db := &postgresDB{cfg: cfg, id: rand.Text(), tables: &tables{schema: cfg.Schema}, wakeups: make(chan struct{}, 1)}
	db.writer = &postgresWriter{db: db, id: db.id, config: writing}
	if err := db.writer.prepare(ctx); err != nil {
		db.writer.disconnect()
		return nil, explain(err, cfg.Schema)
	}
	if err := db.start(ctx); err != nil {
		db.writer.disconnect()
		return nil, explain(err, cfg.Schema)
	}
	return db, nil
}

// start opens the pool for views, and begins to listen.
func (db *postgresDB) start(ctx context.Context) error {
	pool, err := pgxpool.ParseConfig(db.cfg.URL)
	if err != nil {
		return errParse
	}
	if pool.ConnConfig, err = db.cfg.connConfig(reading); err != nil {
		return err
	}
	pool.MaxConns = int32(db.cfg.MaxConnections - 2) //nolint:gosec // validated
	pool.MinConns, pool.MinIdleConns = 0, 0
	pool.BeforeConnect = db.cfg.setPassword
	if db.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), pool); err != nil {
		return err
	}
	listener, err := db.listen(ctx)
	if err != nil {
		db.pool.Close()
		return err
	}
	background, stop := context.WithCancel(context.Background())
	db.stop = stop
	db.wg.Go(func() { db.follow(background, listener) })
	db.group = &group{writer: db.writer, max: maxGroup, retryFor: db.cfg.RetryFor}
	return nil
}

func (db *postgresDB) Wakeups() <-chan struct{} { return db.wakeups }

func (db *postgresDB) Close() error {
	db.once.Do(func() {
		db.group.close()
		db.stop()
		db.wg.Wait()
		db.writer.disconnect()
		db.pool.Close()
	})
	return nil
}

func (db *postgresDB) Update(ctx context.Context, f func(Tx) error) error {
	return db.group.update(ctx, f)
}

// viewTries is how often a view is begun; the connections of the pool may all have
// been lost.
const viewTries = 3

func (db *postgresDB) View(ctx context.Context, f func(Tx) error) error { return db.view(ctx, nil, f) }

func (db *postgresDB) Rehearse(ctx context.Context, f func(Tx) error) error {
	return db.view(ctx, changes{}, f)
}

func (db *postgresDB) view(ctx context.Context, c changes, f func(Tx) error) error {
	conn, tx, err := db.beginView(ctx)
	if err != nil {
		return explain(err, db.cfg.Schema)
	}
	defer conn.Release() // closes it where the transaction has not ended
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	reader := &postgresReader{ctx: ctx, conn: conn.Conn(), tables: db.tables}
	return f(&layered{ctx: ctx, reader: reader, changes: c})
}

func (db *postgresDB) beginView(ctx context.Context) (conn *pgxpool.Conn, tx pgx.Tx, err error) {
	for range viewTries {
		if conn, err = db.pool.Acquire(ctx); err != nil {
			switch {
			case ctx.Err() != nil:
				err = ctx.Err()
			case db.group.closing():
				err = ErrClosed
			}
			return nil, nil, err
		}
		tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err == nil {
			return conn, tx, nil
		}
		err = lost(conn.Conn(), err)
		conn.Release()
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if !transient(err) {
			break
		}
	}
	return nil, nil, err
}

// lockKey is the advisory lock that a change takes, and channel is what
// notifications go over.
func lockKey(schema string) int64 {
	sum := sha256.Sum256([]byte("comtrexx pki store " + schema))
	return int64(binary.BigEndian.Uint64(sum[:])) //nolint:gosec // any 64 bits
}

func channel(schema string) string { return "pki_store_" + schema }

// prepare connects, and makes the schema or checks it.
func (w *postgresWriter) prepare(ctx context.Context) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	var (
		number int
		text   string
	)
	err := w.conn.QueryRow(ctx, "select current_setting('server_version_num')::int, current_setting('server_version')").Scan(&number, &text)
	if err != nil {
		return err
	}
	if err := checkServer(number, text); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", lockKey(w.db.cfg.Schema)); err != nil {
			return err
		}
		return makeSchema(ctx, tx, w.db.cfg.Schema)
	})
}

func checkServer(number int, version string) error {
	if number < minServer {
		return fmt.Errorf("%w: the server has version %s; 13 is needed", ErrVersion, version)
	}
	return nil
}

func makeSchema(ctx context.Context, tx pgx.Tx, schema string) error {
	var (
		owner, user, comment string
		mine                 bool
		objects              int
	)
	err := tx.QueryRow(ctx, `select pg_get_userbyid(nspowner), current_user, coalesce(obj_description(oid, 'pg_namespace'), ''),
		pg_has_role(nspowner, 'USAGE'), (select count(*) from pg_class where relnamespace = n.oid)
		from pg_namespace n where nspname = $1`, schema).Scan(&owner, &user, &comment, &mine, &objects)
	switch mark := schemaMark + strconv.Itoa(schemaVersion); {
	case errors.Is(err, pgx.ErrNoRows):
		if _, err := tx.Exec(ctx, "create schema "+pgx.Identifier{schema}.Sanitize()); err != nil {
			return err
		}
	case err != nil:
		return err
	case !mine:
		return fmt.Errorf("%w: %s belongs to %s, and the store's user is %s; make that user its owner, or choose another schema",
			ErrSchema, schema, owner, user)
	case comment == mark:
		_, err := tx.Exec(ctx, "delete from "+pgx.Identifier{schema, "_commits"}.Sanitize()+" where at < now() - interval '"+keepCommits+"'")
		return err
	case objects > 0:
		return fmt.Errorf("%w: %s has tables, but not the comment %q; choose another schema", ErrSchema, schema, mark)
	}
	_, err = tx.Exec(ctx, schemaSQL(schema))
	return err
}

// schemaSQL makes in the schema what is not a bucket: the function of the views,
// and for each process the number of the last change that it made, by which
// postgresWriter.settle knows a lost commit.
func schemaSQL(schema string) string {
	s := pgx.Identifier{schema}.Sanitize()
	return fmt.Sprintf(`
comment on schema %[1]s is '%[2]s';
create table %[1]s._commits (writer text primary key, seq bigint not null, at timestamptz not null);
create function %[1]s._json(value bytea) returns jsonb language plpgsql immutable strict as $$
begin
	return pg_catalog.convert_from(value, 'UTF8')::pg_catalog.jsonb;
exception when others then
	return null;
end $$;
`, s, schemaMark+strconv.Itoa(schemaVersion))
}

// tableSQL makes the table of a bucket and the view beside it. The view shows keys
// in PostgreSQL's escape format, as they may be binary.
func tableSQL(schema string, b Bucket) string {
	return fmt.Sprintf(`
create table if not exists %[2]s (key bytea primary key, value bytea not null);
create or replace view %[3]s as select pg_catalog.encode(key, 'escape') as key, %[1]s._json(value) as value from %[2]s;
`, pgx.Identifier{schema}.Sanitize(), pgx.Identifier{schema, string(b)}.Sanitize(),
		pgx.Identifier{schema, string(b) + viewSuffix}.Sanitize())
}

// tables knows which buckets have a table. There is no way back: tables stay.
type tables struct {
	schema string
	mu     sync.Mutex
	known  map[Bucket]bool
}

func (t *tables) has(b Bucket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[b]
}

func (t *tables) add(buckets ...Bucket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[Bucket]bool{}
	}
	for _, b := range buckets {
		t.known[b] = true
	}
}

// opLimit bounds an exchange with a server that does not answer at all; one that
// does ends statements itself.
func (c PostgresConfig) opLimit() time.Duration { return c.StatementTimeout + c.ConnectTimeout }
