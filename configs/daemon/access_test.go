package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// canary is an address that must not be in any log.
const canary = "198.51.100.77"

// What a component records is written, and the log is open before the first listener
// and after the last one.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, logged := newDaemon(t, Config{AccessLog: accesslog.Config{Dir: dir}})
	peer := netip.MustParseAddr(canary)
	d.AccessLog().Record(peer, accesslog.OK)
	ctx, cancel := context.WithCancel(t.Context())
	opened := false
	err := d.Run(ctx, Component{Name: "listener", Run: func(ctx context.Context) error {
		_, err := os.Stat(filepath.Join(dir, "state"))
		opened = err == nil
		d.AccessLog().Record(peer, accesslog.Refused)
		cancel()
		<-ctx.Done()
		d.AccessLog().Record(peer, accesslog.Failed)
		return nil
	}})
	if err != nil || !opened {
		t.Errorf("%v, opened %v", err, opened)
	}
	var got []accesslog.Class
	for r, err := range (accesslog.Reader{Dir: dir}).Raw(time.Time{}, time.Time{}) {
		if err != nil || r.Address != peer || r.Service != "test" {
			t.Errorf("%+v, %v", r, err)
		}
		got = append(got, r.Class)
	}
	if want := []accesslog.Class{accesslog.OK, accesslog.Refused, accesslog.Failed}; !slices.Equal(got, want) {
		t.Errorf("records %v, want %v", got, want)
	}
	families, err := d.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := fmt.Sprint(families)
	for _, want := range []string{"oldest_raw_seconds", "alarm", "records_total", "troubles"} {
		if !strings.Contains(names, "comtrexx_access_log_"+want) {
			t.Errorf("no metric %s", want)
		}
	}
	if strings.Contains(logged.String(), canary) || strings.Contains(names, canary) {
		t.Error("the address is in the log or in the metrics")
	}
}

// A directory that another process has keeps the program from serving.
func TestAccessLogInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other, err := accesslog.New(accesslog.Config{Dir: dir, Service: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Open(); err != nil {
		t.Fatal(err)
	}
	d, _ := newDaemon(t, Config{AccessLog: accesslog.Config{Dir: dir}})
	ran := false
	err = d.Run(t.Context(), Component{Name: "x", Run: func(context.Context) error { ran = true; return nil }})
	if !errors.Is(err, accesslog.ErrInUse) || ran || d.AdminAddr() != nil {
		t.Errorf("%v, ran %v, admin %v", err, ran, d.AdminAddr())
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// Nothing that is logged in any way holds an address, except those that may be shown.
func TestLogIsRedacted(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		d, logged := newDaemon(t, Config{Log: LogConfig{Format: format}, AccessLog: accesslog.Config{
			Show: []accesslog.Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}},
		}})
		peer := &net.TCPAddr{IP: net.ParseIP(canary), Port: 40123}
		d.Logger().Named("a").Info("from "+canary, "peer", peer, "own", "192.0.2.7")
		d.Slog().Info("slog", "peer", peer, "error", &net.OpError{Op: "read", Net: "tcp", Source: peer, Err: errors.New("x")})
		server := d.newAdminServer()
		server.ErrorLog.Printf("http: TLS handshake error from %s: EOF", peer)
		server.ErrorLog.Printf("http: panic serving %s: %v", peer, errors.New(canary))
		if text := logged.String(); strings.Contains(text, canary) || strings.Count(text, accesslog.Mark) < 6 || !strings.Contains(text, "192.0.2.7") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

// child is set in the process that TestCatchOutput starts.
const child = "DAEMON_TEST_CHILD"

// Standard error of a whole process: what a library prints, an address in a panic, and
// the end of the process by it. The control is the same process without CatchOutput.
func TestCatchOutput(t *testing.T) {
	if how := os.Getenv(child); how != "" {
		runChild(how, os.Getenv(child+"_DIR"))
	}
	t.Parallel()
	dir := t.TempDir()
	run := func(how string) (stderr string, code int) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCatchOutput$")
		cmd.Env = append(os.Environ(), child+"="+how, child+"_DIR="+dir, "GOTRACEBACK=all")
		var out bytes.Buffer
		cmd.Stderr = &out
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return out.String(), exit.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.String(), 0
	}
	if text, code := run("control"); code != 2 || strings.Count(text, canary) < 2 {
		t.Errorf("control: code %d, %s", code, text)
	}
	if text, code := run("panic"); code != 2 || strings.Contains(text, canary) || !strings.Contains(text, "from "+accesslog.Mark) || !strings.Contains(text, "library "+accesslog.Mark) {
		t.Errorf("code %d, %s", code, text)
	}
	text, code := run("again")
	// What is printed after restore is as it is.
	before, ok := strings.CutSuffix(text, "error: "+canary+"\n")
	if !ok || code != 0 || strings.Contains(before, canary) || !strings.Contains(before, "panic: peer "+accesslog.Mark) || !strings.Contains(before, "runChild") {
		t.Errorf("the next start: code %d, %s", code, text)
	}
	if text, _ := run("again"); strings.Contains(text, "panic") {
		t.Errorf("told twice: %s", text)
	}
}

func runChild(how, dir string) {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	cfg := Config{Admin: AdminConfig{Listen: "127.0.0.1:0"}, AccessLog: accesslog.Config{Dir: dir}}
	d, err := New(cfg, "test")
	check(err)
	restore := func() {}
	if how != "control" {
		restore, err = d.CatchOutput()
		check(err)
	}
	d.Logger().Info("from " + canary)
	_, _ = fmt.Fprintln(os.Stderr, "library "+canary)
	if how == "again" {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-d.Started()
			cancel()
		}()
		check(d.Run(ctx))
	}
	restore()
	switch how {
	case "again":
		_, _ = fmt.Fprintln(os.Stderr, "error: "+canary)
		os.Exit(0)
	case "panic":
		_, err = d.CatchOutput()
		check(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		panic("peer " + canary)
	}()
	<-done
}

// The commands print what is in the log, as a table and as JSON.
func TestLogsCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := accesslog.New(accesslog.Config{Dir: dir, Service: "ara"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		l.Record(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), accesslog.OK)
	}
	l.Record(netip.MustParseAddr("2001:db8::1"), accesslog.Refused)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(dir string, args ...string) (string, int) {
		app := cli.New(cli.Program{Name: "ara"})
		app.AddCommand(LogsCommand(app, func() (Config, error) { return Config{AccessLog: accesslog.Config{Dir: dir}}, nil }))
		var out, failed bytes.Buffer
		app.SetOut(&out)
		app.SetErr(&failed)
		app.SetArgs(append([]string{"logs"}, args...))
		code := cli.Main(t.Context(), app.Command)
		return out.String() + failed.String(), code
	}
	for _, tt := range []struct {
		args string
		want []string
		not  string
	}{
		{"raw", []string{"TIME", "198.51.100.7", "2001:db8::1", "refused"}, "x"},
		{"raw --class refused", []string{"2001:db8::1"}, "198.51"},
		{"raw --network 198.51.100.0/30", []string{"198.51.100.3"}, "198.51.100.4"},
		{"raw --network 2001:db8::1 --json", []string{`"address":"2001:db8::1","service":"ara","class":"refused"`}, "198.51"},
		{"stats", []string{"198.51.0.0/16  12", "other          1"}, "198.51.100"},
		{"stats --by month --json", []string{`"prefix": "198.51.0.0/16"`, `"count": 12`}, "198.51.100"},
		{"visitors --since 48h", []string{"ara      13"}, "198.51"},
		{"visitors --since 48h --json", []string{`"visitors": 13`}, "198.51"},
		{"sweeps", []string{"FOUND"}, "198.51"},
		{"sweeps --json", []string{`"found": 0`, `"hash"`}, "198.51"},
		{"raw --help", []string{"ara logs raw --class refused --network"}, "%"},
		{"stats --help", []string{"ara logs stats --since 8760h --by month --json"}, "%"},
	} {
		text, code := run(dir, strings.Fields(tt.args)...)
		if code != 0 || strings.Contains(text, tt.not) {
			t.Errorf("%s: code %d\n%s", tt.args, code, text)
		}
		for _, w := range tt.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in\n%s", tt.args, w, text)
			}
		}
	}
	for args, want := range map[string]int{"stats --by week": cli.ExitUsage, "raw --class good": cli.ExitUsage, "raw --network x": cli.ExitUsage, "raw x": cli.ExitUsage} {
		if text, code := run(dir, strings.Fields(args)...); code != want {
			t.Errorf("%s: code %d\n%s", args, code, text)
		}
	}
	if text, code := run("", "raw"); code != cli.ExitConfig || !strings.Contains(text, "access_log.dir") {
		t.Errorf("without a log: code %d\n%s", code, text)
	}
	if text, code := run(filepath.Join(dir, "none"), "raw"); code != cli.ExitFailed || !strings.Contains(text, "serve") {
		t.Errorf("before the first start: code %d\n%s", code, text)
	}
}
