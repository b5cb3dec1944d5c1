package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// query runs SQL that gives one value.
func query[T any](t *testing.T, url, sql string, args ...any) (v T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPostgresWakeups(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	one, two := openTest(t, cfg), openTest(t, cfg)
	defer one.Close()
	defer two.Close()
	for i := range 3 {
		update(t, one, func(tx Tx) error { return tx.Put(things, []byte("a"), []byte{byte(i)}) })
		<-two.Wakeups()
		update(t, two, func(tx Tx) error { return tx.Put(things, []byte("a"), []byte{byte(i)}) })
		<-one.Wakeups()
	}
	// Only what others changed wakes: of these, y and z.
	cfg = cfg.withDefaults()
	listener := &postgresDB{cfg: cfg, id: "x", wakeups: make(chan struct{}, 10)}
	conn, err := listener.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	listener.wg.Go(func() { listener.follow(ctx, conn) })
	update(t, one, func(tx Tx) error { _, err := tx.Get(things, []byte("a")); return err })
	for _, id := range []string{"x", "y", "x", "x", "z"} {
		pgtest.Exec(t, cfg.URL, fmt.Sprintf("select pg_notify('%s', '%s')", channel(cfg.Schema), id))
	}
	<-listener.wakeups
	<-listener.wakeups
	stop()
	listener.wg.Wait()
	if n := len(listener.wakeups); n != 0 {
		t.Errorf("%d wakeups too many", n)
	}
}

// A listener whose connection is lost wakes when it has one again.
func TestPostgresListenerReturns(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	db, other := openTest(t, cfg), openTest(t, cfg)
	defer db.Close()
	defer other.Close()
	n := query[int](t, cfg.URL, "select count(pg_terminate_backend(pid)) from pg_stat_activity where query = $1",
		"listen "+pgx.Identifier{channel(cfg.Schema)}.Sanitize())
	if n != 2 {
		t.Fatalf("%d listeners", n)
	}
	<-db.Wakeups()
	<-other.Wakeups()
	update(t, other, func(tx Tx) error { return tx.Put(things, []byte("a"), nil) })
	<-db.Wakeups()
}

// killWriter ends the connection that holds the lock.
func killWriter(t *testing.T, cfg PostgresConfig) {
	t.Helper()
	n := query[int](t, cfg.URL, `select count(pg_terminate_backend(pid, 60000)) from pg_locks
		where locktype = 'advisory' and granted and (classid::bigint << 32) + objid::bigint = $1`, lockKey(cfg.Schema))
	if n != 1 {
		t.Errorf("%d connections hold the lock", n)
	}
}

// A connection that is killed in the middle of a change loses nothing, and nothing
// is done twice or in half.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct{ read, write bool }{"before a read": {true, true}, "before the commit": {false, true}, "with nothing to write": {true, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			db := openTest(t, cfg)
			defer db.Close()
			update(t, db, func(tx Tx) error { return tx.Put(things, []byte("count"), []byte(".")) })
			calls := 0
			update(t, db, func(tx Tx) error {
				v, err := tx.Get(things, []byte("count"))
				if err != nil {
					return err
				}
				if f.write {
					if err := errors.Join(tx.Put(things, []byte("count"), append(v, '.')), tx.Put("made", fmt.Append(nil, calls), nil)); err != nil {
						return err
					}
				}
				if calls++; calls == 1 {
					killWriter(t, cfg)
				}
				if f.read {
					_, err = tx.Get(things, []byte("other"))
				}
				return err
			})
			want := "."
			if f.write {
				want = ".."
				if a, b := read(t, db, "made", "0"), read(t, db, "made", "1"); a != nil || b == nil {
					t.Errorf("the first try left %v, the second %v", a != nil, b != nil)
				}
			}
			if v := read(t, db, things, "count"); calls != 2 || string(v) != want {
				t.Errorf("%d calls, count %s", calls, v)
			}
		})
	}
}

// cutConn loses the connection at COMMIT: before the server gets it, or before its
// answer is read.
type cutConn struct {
	net.Conn
	before bool
	cut    *atomic.Bool // done, once
}

func (c cutConn) Write(p []byte) (int, error) {
	if !strings.Contains(string(p), "commit\x00") || !c.cut.CompareAndSwap(false, true) {
		return c.Conn.Write(p)
	}
	if !c.before {
		if n, err := c.Conn.Write(p); err != nil {
			return n, err
		}
		// The answer means that it is done; it is not given on.
		if _, err := c.Conn.Read(make([]byte, 1)); err != nil {
			return 0, err
		}
	}
	_ = c.Conn.Close()
	return len(p), nil
}

func TestPostgresCommitLost(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"not sent": true, "no answer": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			cfg.RetryFor = time.Minute
			db := openTest(t, cfg)
			defer db.Close()
			var cut atomic.Bool
			db.writer.disconnect()
			db.writer.config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return cutConn{conn, before, &cut}, err
			}
			calls := 0
			update(t, db, func(tx Tx) error {
				calls++
				v, err := tx.Get(things, []byte("count"))
				return errors.Join(err, tx.Put(things, []byte("count"), append(v, '.')))
			})
			want := 1
			if before {
				want = 2
			}
			if v := read(t, db, things, "count"); !cut.Load() || calls != want || string(v) != "." {
				t.Errorf("cut %v, %d calls, count %s", cut.Load(), calls, v)
			}
		})
	}
	t.Run("and the server is away", func(t *testing.T) {
		t.Parallel()
		cfg := testConfig(t)
		cfg.RetryFor = time.Millisecond
		db := openTest(t, cfg)
		defer db.Close()
		var cut atomic.Bool
		away := errors.New("no way there")
		db.writer.disconnect()
		db.writer.config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if cut.Load() {
				return nil, away
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return cutConn{conn, false, &cut}, err
		}
		put := func(tx Tx) error { return tx.Put(things, []byte("a"), []byte("1")) }
		if err := db.Update(t.Context(), put); !errors.Is(err, ErrUncertain) || !strings.Contains(err.Error(), away.Error()) {
			t.Errorf("error %v", err)
		}
		// It is known that this one was not made.
		if err := db.Update(t.Context(), put); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain) {
			t.Errorf("error %v", err)
		}
		if v := read(t, db, things, "a"); string(v) != "1" {
			t.Errorf("a is %q", v)
		}
	})
}

// Changes go on over a restart of the server, orderly or not, and each is made once.
func TestPostgresRestart(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	cfg := PostgresConfig{URL: server.Database(t), RetryFor: time.Minute}
	dbs := []*postgresDB{openTest(t, cfg), openTest(t, cfg)}
	defer dbs[0].Close()
	defer dbs[1].Close()
	const callers = 8
	var (
		wg     sync.WaitGroup
		stop   = make(chan struct{})
		counts [callers]int
		moved  = make(chan struct{}, 1)
	)
	for i := range callers {
		wg.Go(func() {
			for ; ; counts[i]++ {
				select {
				case <-stop:
					return
				case moved <- struct{}{}:
				default:
				}
				err := dbs[i%2].Update(context.WithoutCancel(t.Context()), func(tx Tx) error {
					key := fmt.Appendf(nil, "%d/%d", i, counts[i])
					v, err := tx.Get(things, key)
					if err != nil {
						return err
					}
					total, err := tx.Get(things, []byte("total"))
					return errors.Join(err, tx.Put(things, key, append(v, '.')), tx.Put(things, []byte("total"), append(total, '.')))
				})
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
			}
		})
	}
	for _, crash := range []bool{false, true} {
		for range 4 * callers {
			<-moved // under load
		}
		server.Restart(t, crash)
	}
	for range 4 * callers {
		<-moved
	}
	close(stop)
	wg.Wait()
	total, keys := 0, 0
	for _, n := range counts {
		total += n
	}
	err := dbs[0].View(t.Context(), func(tx Tx) error {
		return tx.Scan(things, nil, nil, func(k, v []byte) (bool, error) {
			switch {
			case string(k) == "total":
				if len(v) != total {
					t.Errorf("%d changes are left of %d", len(v), total)
				}
			case len(v) != 1:
				t.Errorf("%s was changed %d times", k, len(v))
			default:
				keys++
			}
			return true, nil
		})
	})
	if err != nil || keys != total {
		t.Errorf("%d keys of %d changes, %v", keys, total, err)
	}
	t.Logf("%d changes over two restarts", total)
}

// setWriter gives the connection that makes changes another parameter, while no
// change is made.
func setWriter(db *postgresDB, name, value string) {
	db.writer.disconnect()
	db.writer.config.RuntimeParams[name] = value
}

// A process that stops in the middle of a change is no obstacle to others for
// longer than its StatementTimeout, and makes its change when it goes on.
func TestPostgresHanging(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	other := openTest(t, cfg)
	defer other.Close()
	db := openTest(t, cfg)
	defer db.Close()
	setWriter(db, "idle_in_transaction_session_timeout", "300")
	hanging, resume, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		calls := 0
		done <- db.Update(context.WithoutCancel(t.Context()), func(tx Tx) error {
			if calls++; calls == 1 {
				close(hanging)
				<-resume
			}
			v, err := tx.Get(things, []byte("a"))
			return errors.Join(err, tx.Put(things, []byte("a"), append(v, 'x')))
		})
	}()
	<-hanging
	// A caller who leaves while the lock is held elsewhere is gone at once.
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error)
	go func() {
		cancelled <- other.Update(ctx, func(tx Tx) error { return tx.Put(things, []byte("left"), nil) })
	}()
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for the lock: %v", err)
	}
	update(t, other, func(tx Tx) error { return tx.Put(things, []byte("a"), []byte("other ")) })
	close(resume)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if v := read(t, other, things, "a"); string(v) != "other x" {
		t.Errorf("a is %q", v)
	}
	if v := read(t, other, things, "left"); v != nil {
		t.Error("the change of a caller who left was made")
	}
}

// A lock that does not come is an error that says so.
func TestPostgresBusy(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	db := openTest(t, cfg)
	defer db.Close()
	setWriter(db, "statement_timeout", "100")
	conn, err := pgx.Connect(t.Context(), cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "select pg_advisory_lock($1)", lockKey(cfg.Schema)); err != nil {
		t.Fatal(err)
	}
	put := func(tx Tx) error { return tx.Put(things, []byte("a"), []byte("1")) }
	if err := db.Update(t.Context(), put); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v", err)
	}
	if v := read(t, db, things, "a"); v != nil { // views do not wait
		t.Errorf("a is %q", v)
	}
	if _, err := conn.Exec(t.Context(), "select pg_advisory_unlock($1)", lockKey(cfg.Schema)); err != nil {
		t.Fatal(err)
	}
	setWriter(db, "statement_timeout", "0")
	update(t, db, put)
}

func TestPostgresViews(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	db := openTest(t, cfg)
	defer db.Close()
	update(t, db, func(tx Tx) error {
		return errors.Join(
			tx.Put("certs", []byte("0a"), []byte(`{"identity":"device/0123456789"}`)),
			tx.Put("certs", []byte("0b\x00\xff"), []byte{0, 0xff}),
			tx.Put("certs", []byte("0c"), []byte(`{"a":"\u0000"}`)), // JSON, but none that jsonb can hold
			tx.Put("certs", []byte("0d"), []byte(`{"a":`)),
			tx.Put("certs", []byte("0e"), nil))
	})
	got := query[string](t, cfg.URL, `select string_agg(key || '=' || coalesce(value->>'identity', 'none'), ' ' order by key)
		from `+cfg.Schema+`.certs_json`)
	if want := `0a=device/0123456789 0b\000\377=none 0c=none 0d=none 0e=none`; got != want {
		t.Errorf("the view gives %s, want %s", got, want)
	}
}

func TestPostgresErrors(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `create role secret login password 'right'; create role stranger login; create role owner login;
		create schema foreign_schema; create schema tables; create table tables.a (b int); create schema newer; comment on schema newer is 'PKI store, version 2'; create table newer.a (b int);
		create schema owned authorization owner`)
	as := func(user string) string { return strings.Replace(url, "postgres@", user+"@", 1) }
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	set := func(f func(*PostgresConfig)) PostgresConfig {
		cfg := PostgresConfig{URL: url}
		f(&cfg)
		return cfg
	}
	for name, c := range map[string]struct {
		cfg  PostgresConfig
		want error
		text string
	}{
		"nobody there":       {set(func(c *PostgresConfig) { c.URL = "postgres://pki@/pki?host=/nonexistent" }), ErrUnavailable, "/nonexistent"},
		"no such database":   {set(func(c *PostgresConfig) { c.URL = strings.Replace(url, "@/", "@/none_", 1) }), ErrUnavailable, "createdb"},
		"no password":        {set(func(c *PostgresConfig) { c.URL = as("secret") }), ErrDenied, "password_file"},
		"wrong password":     {set(func(c *PostgresConfig) { c.URL = as("secret"); c.PasswordFile = configs.SecretFile(file("hunter2")) }), ErrDenied, "password_file"},
		"no password file":   {set(func(c *PostgresConfig) { c.URL = as("secret"); c.PasswordFile = "/nonexistent/file" }), os.ErrNotExist, "/nonexistent/file"},
		"may make no schema": {set(func(c *PostgresConfig) { c.URL = as("stranger") }), ErrDenied, "CREATE"},
		"another's schema":   {set(func(c *PostgresConfig) { c.URL = as("stranger"); c.Schema = "foreign_schema" }), ErrSchema, "belongs to postgres"},
		"a schema in use":    {set(func(c *PostgresConfig) { c.Schema = "tables" }), ErrSchema, "has tables"},
		"a newer schema":     {set(func(c *PostgresConfig) { c.Schema = "newer" }), ErrSchema, "newer"},
	} {
		_, err := OpenPostgres(t.Context(), c.cfg)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is in the error: %v", name, err)
		}
	}
	pgtest.Exec(t, url, "grant create on database "+url[strings.Index(url, "@/")+2:strings.Index(url, "?")]+" to secret")
	for name, cfg := range map[string]PostgresConfig{
		"right password": set(func(c *PostgresConfig) { c.URL = as("secret"); c.PasswordFile = configs.SecretFile(file("right\n")) }),
		"empty schema":   set(func(c *PostgresConfig) { c.URL = as("owner"); c.Schema = "owned" }),
		"once more":      set(func(c *PostgresConfig) { c.URL = as("owner"); c.Schema = "owned" }),
	} {
		db, err := OpenPostgres(t.Context(), cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		update(t, db, func(tx Tx) error { return tx.Put(things, []byte("a"), nil) })
		_ = read(t, db, things, "a")
		_ = db.Close()
	}
	if err := checkServer(129999, "12.9"); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "12.9") {
		t.Errorf("an old server: %v", err)
	}
	if err := checkServer(130000, "13.0"); err != nil {
		t.Errorf("the oldest server: %v", err)
	}
}
