// Package pgtest runs a real PostgreSQL for tests: the one that Debian installs,
// with data of its own that is thrown away, reached over a Unix socket. A test is
// skipped where there is none. The system's own server is left alone.
//
// [New] gives each test a database on one server that the whole test process shares;
// [Start] a server of its own to a test that stops it. A server ends with the test
// process, however that ends.
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
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL.
type Server struct {
	bin, dir  string
	as        *syscall.Credential // nil: the user of the test
	hold      io.WriteCloser      // the server runs until it is closed
	done      chan struct{}       // closed when it has ended
	databases atomic.Int64
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

// New gives the URL of a new, empty database, whose superuser is called postgres,
// on the server that the test process shares.
func New(t testing.TB) string {
	t.Helper()
	s, err := shared()
	check(t, err)
	return s.NewDatabase(t)
}

// Start gives a server to the test alone.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := create()
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

// NewDatabase makes an empty database and gives its URL.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := "t" + strconv.FormatInt(s.databases.Add(1), 10)
	Exec(t, s.URL("postgres"), "create database "+name)
	return s.URL(name)
}

// URL of a database for the superuser.
func (s *Server) URL(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(s.dir)
}

// Exec runs SQL, several statements if need be, in the database at the URL.
func Exec(t testing.TB, url, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

// programs gives the newest of Debian's.
func programs() (dir string, err error) {
	if runtime.GOOS == "windows" {
		return "", errNone
	}
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

// create makes the data directory.
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
	cmd := s.command("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", s.data())
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	// The role secret, where a test makes it, has to give a password.
	hba := "local all secret scram-sha-256\nlocal all all trust\n"
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }
func (s *Server) log() string  { return filepath.Join(s.dir, "log") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...) //nolint:noctx // it ends with its standard input
	if filepath.IsAbs(program) {
		cmd.Path = program
	}
	cmd.Dir = s.dir
	// A group of its own: an interrupt from the terminal is for the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	return cmd
}

// guard runs the server in $1 until a signal for it comes over standard input; the
// end of that is the end of the test process, or of the need for the server.
const guard = `
"$0/postgres" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200 >>"$1/log" 2>&1 &
if read -r signal; then
	kill -"$signal" $!
	wait $!
else
	kill -QUIT $!
	wait $!
	rm -rf "$1"
fi`

// start starts the server and waits until it can be used.
func (s *Server) start() error {
	cmd := s.command("/bin/sh", "-c", guard, s.bin, s.dir)
	cmd.Args[0] = "sh"
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	s.hold, s.done = stdin, done
	go func() { _ = cmd.Wait(); close(done) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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
	<-s.done
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
	<-s.done
	_ = s.hold.Close()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}
