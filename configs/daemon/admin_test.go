package daemon

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdminEndpoints(t *testing.T) {
	t.Parallel()
	d, _ := newDaemon(t, Config{})
	d.Admin().HandleFunc("GET /sessions", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, []string{"s1"})
	})
	running(t, d, idle("relay"))
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/healthz", "", 200, `"alive"`},
		{"GET", "/readyz", "", 200, `{"ready":true}`},
		{"GET", "/metrics", "", 200, `comtrexx_build_info{`},
		{"GET", "/metrics", "", 200, "\ngo_goroutines "},
		{"GET", "/metrics", "", 200, "\nprocess_open_fds "},
		{"GET", "/debug/pprof/", "", 200, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", "", 200, "goroutine profile"},
		{"GET", "/debug/pprof/cmdline", "", 200, ""},
		{"GET", "/sessions", "", 200, `["s1"]`},
		{"GET", "/log-level", "", 200, `{"level":"info"}`},
		{"PUT", "/log-level", `{"level":"debug"}`, 200, `{"level":"debug"}`},
		{"PUT", "/log-level", `{"level":"loud"}`, 400, "use trace"},
		{"PUT", "/log-level", `loud`, 400, "want"},
		{"PUT", "/log-level", `{"level":"` + strings.Repeat("x", 2000) + `"}`, 400, "want"},
		{"DELETE", "/log-level", "", 405, ""},
		{"GET", "/", "", 404, ""},
	} {
		status, body := request(t, d, tt.method, tt.path, tt.body, nil)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: got %d %.200s, want %d %s", tt.method, tt.path, status, body, tt.status, tt.want)
		}
	}
	if !d.Logger().Named("relay").IsDebug() {
		t.Error("the level of a logger made later has not changed")
	}
}

func TestAdminRefusesBrowsers(t *testing.T) {
	t.Parallel()
	d, _ := newDaemon(t, Config{})
	running(t, d)
	for _, tt := range []struct {
		name, method string
		header       http.Header
		status       int
	}{
		{"rebound name", "GET", http.Header{"Host": {"attacker.example:9090"}}, http.StatusMisdirectedRequest},
		{"localhost", "GET", http.Header{"Host": {"localhost:9090"}}, http.StatusOK},
		{"IPv6", "GET", http.Header{"Host": {"[::1]:9090"}}, http.StatusOK},
		{"IPv6, no port", "GET", http.Header{"Host": {"[::1]"}}, http.StatusOK},
		{"cross-origin change", "PUT", http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		{"change", "PUT", nil, http.StatusOK},
	} {
		if status, body := request(t, d, tt.method, "/log-level", `{"level":"warn"}`, tt.header); status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, status, body, tt.status)
		}
	}
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	d, _ := newDaemon(t, Config{})
	running(t, d, idle("relay"))
	if err := d.Ready(); err != nil {
		t.Fatal(err)
	}
	down := errors.New("no route to the CA")
	d.SetReady("renewal", down)
	status, body := request(t, d, "GET", "/readyz", "", nil)
	if want := `{"ready":false,"not_ready":{"renewal":"no route to the CA"}}` + "\n"; status != 503 || body != want {
		t.Errorf("got %d %s, want 503 %s", status, body, want)
	}
	if err := d.Ready(); !errors.Is(err, down) {
		t.Errorf("Ready gives %v", err)
	}
	d.SetReady("renewal", nil)
	if status, _ := request(t, d, "GET", "/readyz", "", nil); status != 200 {
		t.Errorf("got %d, want 200", status)
	}
}

func TestAdminSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}

	d, _ := newDaemon(t, Config{Admin: AdminConfig{Listen: "unix:" + path}})
	result := running(t, d)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v, %v, want mode 0600", info, err)
	}

	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var nd net.Dialer
		return nd.DialContext(ctx, "unix", path)
	}}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://admin/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}

	// A socket that somebody listens on is not taken away.
	second, _ := newDaemon(t, Config{Admin: AdminConfig{Listen: "unix:" + path}})
	if err := second.Run(t.Context()); err == nil {
		t.Error("a second daemon took the socket")
	}

	d.signals <- os.Interrupt
	if err := <-result; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestAdminPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, _ := newDaemon(t, Config{Admin: AdminConfig{Listen: l.Addr().String()}})
	started := false
	err = d.Run(t.Context(), Component{Name: "relay", Run: func(context.Context) error { started = true; return nil }})
	if err == nil || started {
		t.Errorf("got %v, started %v, want an error before any component", err, started)
	}
}

// TestStreamEndsWithDaemon shows that a handler that streams for ever does not
// hold up the end.
func TestStreamEndsWithDaemon(t *testing.T) {
	t.Parallel()
	d, _ := newDaemon(t, Config{})
	streaming := make(chan struct{})
	d.Admin().HandleFunc("GET /stream", func(_ http.ResponseWriter, r *http.Request) {
		close(streaming)
		<-r.Context().Done()
	})
	result := running(t, d)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+d.AdminAddr().String()+"/stream", nil)
		if err != nil {
			t.Error(err)
			return
		}
		transport := &http.Transport{DisableKeepAlives: true}
		if resp, err := transport.RoundTrip(r); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-streaming
	d.signals <- os.Interrupt
	if err := <-result; err != nil {
		t.Error(err)
	}
	<-done
}
