// Package pgtest runs a real PostgreSQL for tests: the one that Debian installs,
// with data of its own that is thrown away, reached over a Unix socket. A test is
// skipped where there is none. The system's own server is left alone.
//
// [Schema] gives each test a schema on one server that the whole test process shares,
// [Database] a database on it, which takes longer; [Start] gives a server of its own
// to a test that stops it. A server ends with the test process, however that ends.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Server is a running PostgreSQL.
type Server struct {
	bin, dir string
	as       *syscall.Credential // nil: the user of the test
	settings []string
	hold     io.WriteCloser // the server runs until it is closed
	wait     func() error   // until it has ended
	names    atomic.Int64
}

// shared starts the server of the process once.
var shared = sync.OnceValues(func() (*Server, error) {
	s, err := create()
	if err != nil {
		return nil, err
	}
	return s, s.start()
})

// errNone: the test is skipped.
var errNone = errors.New("no PostgreSQL on this machine")

// Schema gives the URL of a database on the server that the test process shares, and
// the name of a schema that is not there yet, for this test alone.
func Schema(t testing.TB) (url, schema string) {
	t.Helper()
	s, err := shared()
	check(t, err)
	return s.URL("postgres"), s.name()
}

// Database gives the URL of a new, empty database on the server that the test
// process shares.
func Database(t testing.TB) string {
	t.Helper()
	s, err := shared()
	check(t, err)
	return s.Database(t)
}

// Copy gives the URL of a new database with what is in another of the server that the
// test process shares, to which nobody is connected.
func Copy(t testing.TB, from string) string {
	t.Helper()
	s, err := shared()
	check(t, err)
	source, err := pgx.ParseConfig(from)
	if err != nil {
		t.Fatal(err)
	}
	name := s.name()
	const inUse = "55006" // by one that is on its way out, for which the server waits 5 s each time
	for end := time.Now().Add(startWait); ; {
		err := try(t, s.URL("postgres"), "create database "+name+" template "+source.Database)
		if err == nil {
			return s.URL(name)
		}
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != inUse || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// Start gives a server to the test alone. Settings are as in "fsync=on"; without
// any, the server writes to the disk when it likes.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := create()
	if err == nil {
		s.settings = settings
	}
	check(t, err)
	check(t, s.start())
	t.Cleanup(s.Stop)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Database makes an empty database and gives its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := s.name()
	Exec(t, s.URL("postgres"), "create database "+name)
	return s.URL(name)
}

// name gives one that was not given before.
func (s *Server) name() string { return "t" + strconv.FormatInt(s.names.Add(1), 10) }

// URL of a database for the superuser, who is called postgres.
func (s *Server) URL(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(s.dir)
}

// Exec runs SQL, several statements if need be, in the database at the URL.
func Exec(t testing.TB, url, sql string) {
	t.Helper()
	if err := try(t, url, sql); err != nil {
		t.Fatal(err)
	}
}

func try(t testing.TB, url, sql string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// programs gives the newest of Debian's.
func programs() (dir string, err error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(dirs) == 0 {
		return "", fmt.Errorf("%w: no /usr/lib/postgresql/*/bin/initdb (apt-get install postgresql)", errNone)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	return filepath.Dir(slices.MaxFunc(dirs, func(a, b string) int { return version(a) - version(b) })), nil
}

// unprivileged gives whom the server has to run as: it refuses root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w that could run: it refuses root, and there is no user postgres or nobody", errNone)
}

// create makes the directory that everything is in.
func create() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	// Not below TMPDIR: the name of a socket is short, and the parents must let
	// the other user through.
	dir, err := os.MkdirTemp("/tmp", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, as: as}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return s, nil
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// guard makes the data directory in $1 where there is none, and runs the server, with
// further arguments, until a signal for it comes over standard input; the end of
// that is the end of the test process, or of the need for the server. The role
// secret, where a test makes it, has to give a password.
const guard = `
bin=$0 dir=$1
shift
if [ ! -d "$dir/data" ]; then
	"$bin/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C "$dir/data" >>"$dir/log" 2>&1
	printf 'local all secret scram-sha-256\nlocal all all trust\n' >"$dir/data/pg_hba.conf"
fi
"$bin/postgres" -D "$dir/data" -k "$dir" "$@" >>"$dir/log" 2>&1 &
if read -r signal; then
	kill -"$signal" $!
	wait $!
else
	kill -QUIT $!
	wait $!
	rm -rf "$dir"
fi`

// startWait is how long a server is waited for, on a machine with much else to do.
const startWait = 3 * time.Minute

// start starts the server and waits until it can be used.
func (s *Server) start() error {
	args := []string{"-c", guard, s.bin, s.dir}
	for _, setting := range append([]string{"listen_addresses=", "max_connections=200", "fsync=off"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command("/bin/sh", args...) //nolint:noctx // it ends with its standard input
	cmd.Dir = s.dir
	// A group of its own: an interrupt from the terminal is for the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.hold, s.wait = stdin, cmd.Wait
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			log, _ := os.ReadFile(s.log())
			return fmt.Errorf("PostgreSQL does not start: %w: %s", err, log)
		}
	}
}

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	_ = s.hold.Close()
	_ = s.wait() // what it was ended by is no error
}

// Restart ends the server and starts it again. With crash it has no time to end
// anything, and recovers from its log.
func (s *Server) Restart(t testing.TB, crash bool) {
	t.Helper()
	signal := "INT"
	if crash {
		signal = "QUIT"
	}
	if _, err := io.WriteString(s.hold, signal+"\n"); err != nil {
		t.Fatal(err)
	}
	_ = s.wait()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}
