package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logBuffer takes a log from several goroutines.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newDaemon makes a daemon whose signals and exit are the test's.
func newDaemon(t *testing.T, cfg Config) (*Daemon, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	cfg.Output = log
	if cfg.Admin.Listen == "" {
		cfg.Admin.Listen = "127.0.0.1:0"
	}
	d, err := New(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	d.signals = make(chan os.Signal, 2)
	d.exit = func(code int) { t.Errorf("exit(%d)", code) }
	return d, log
}

// running runs a daemon for the length of a test, which is to be ended by it.
func running(t *testing.T, d *Daemon, components ...Component) (result <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	res, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		res <- d.Run(ctx, components...)
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-d.Started():
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("not started")
	}
	return res
}

// idle is a component that works until it is told to stop.
func idle(name string) Component {
	return Component{Name: name, Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
}

// request calls the admin listener.
func request(t *testing.T, d *Daemon, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.AdminAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	if h := header.Get("Host"); h != "" {
		r.Host = h
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  Config
		key  string // "" = good
	}{
		{"zero", Config{}, ""},
		{"default", Default(), ""},
		{"IPv6 loopback", Config{Admin: AdminConfig{Listen: "[::1]:0"}}, ""},
		{"localhost", Config{Admin: AdminConfig{Listen: "localhost:0"}}, ""},
		{"socket", Config{Admin: AdminConfig{Listen: "unix:/run/x.sock"}}, ""},
		{"remote, allowed", Config{Admin: AdminConfig{Listen: ":9090", AllowRemote: true}}, ""},
		{"every address", Config{Admin: AdminConfig{Listen: ":9090"}}, "admin.listen"},
		{"remote", Config{Admin: AdminConfig{Listen: "192.0.2.1:9090"}}, "admin.listen"},
		{"name", Config{Admin: AdminConfig{Listen: "localhost.example.com:9090"}}, "admin.listen"},
		{"no port", Config{Admin: AdminConfig{Listen: "127.0.0.1"}}, "admin.listen"},
		{"no socket", Config{Admin: AdminConfig{Listen: "unix:"}}, "admin.listen"},
		{"level", Config{Log: LogConfig{Level: "loud"}}, "log.level"},
		{"format", Config{Log: LogConfig{Format: "xml"}}, "log.format"},
		{"timeout", Config{ShutdownTimeout: -1}, "shutdown_timeout"},
		{"GC of the runtime", Config{GCPercent: -1}, ""},
		{"GC percent below zero", Config{GCPercent: -2}, "gc_percent"},
		{"GC percent too high", Config{GCPercent: 1001}, "gc_percent"},
		{"no heap floor", Config{HeapFloor: -1}, ""},
		{"heap floor below zero", Config{HeapFloor: -2}, "heap_floor"},
		{"heap floor too high", Config{HeapFloor: 1 << 40}, "heap_floor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.cfg.Validate()
			if tt.key == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e, ok := errors.AsType[*configs.KeyError](err); !ok || e.Key != tt.key {
				t.Errorf("got %v, want an error of %s", err, tt.key)
			}
			if _, err := New(tt.cfg, "test"); err == nil {
				t.Error("New accepts it")
			}
		})
	}
}

// TestConfigKeys shows that the keys work inline in a program's file.
func TestConfigKeys(t *testing.T) {
	t.Parallel()
	cfg := struct {
		Config `yaml:",inline"`
	}{Default()}
	err := configs.Load(&cfg, configs.Source{Set: []string{
		"log.level=debug", "log.format=json", "admin.listen=unix:/x", "admin.allow_remote=true", "shutdown_timeout=3s", "heap_floor=4096", "gc_percent=80",
		"keep_memory=true", "access_log.dir=/x", "access_log.raw_for=24h", "access_log.k=20", "access_log.show=192.0.2.1,2001:db8::/32",
	}})
	want := Config{
		Log:             LogConfig{Level: "debug", Format: "json"},
		Admin:           AdminConfig{Listen: "unix:/x", AllowRemote: true},
		ShutdownTimeout: 3 * time.Second,
		AccessLog:       accesslog.Default(),
		GCPercent:       80,
		HeapFloor:       4096,
		KeepMemory:      true,
	}
	want.AccessLog.Dir, want.AccessLog.RawFor, want.AccessLog.K = "/x", 24*time.Hour, 20
	want.AccessLog.Show = []accesslog.Network{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, {Prefix: netip.MustParsePrefix("2001:db8::/32")}}
	if err != nil || !reflect.DeepEqual(cfg.Config, want) {
		t.Errorf("got %+v, %v", cfg.Config, err)
	}
	err = configs.Load(&cfg, configs.Source{Set: []string{"access_log.raw_for=337h"}})
	if err == nil || !strings.HasPrefix(err.Error(), "--set access_log.raw_for: is not between 1h") {
		t.Errorf("got %v", err)
	}
	err = configs.Load(&cfg, configs.Source{Set: []string{"log.level=loud"}})
	if err == nil || !strings.HasPrefix(err.Error(), "--set log.level: is not a level") {
		t.Errorf("got %v", err)
	}
}

func TestLogging(t *testing.T) {
	t.Parallel()
	d, log := newDaemon(t, Config{Log: LogConfig{Level: "warn", Format: "json"}})
	d.Logger().Named("relay").Info("not seen")
	d.Slog().Info("not seen either")
	d.Logger().Named("relay").Warn("from hclog", "session", 7)
	d.Slog().Warn("from slog", "session", 8)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %q, want two lines", lines)
	}
	for i, want := range []map[string]any{
		{"@module": "test.relay", "@level": "warn", "@message": "from hclog", "session": 7.0},
		{"@module": "test", "@level": "warn", "@message": "from slog", "session": 8.0},
	} {
		var got map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s is %v, want %v", k, got[k], v)
			}
		}
	}
}
