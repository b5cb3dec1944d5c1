package accesslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// opened is a log without a bubble, for tests with a network.
func opened(t *testing.T) (l *Log, finish func() []Record) {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), Service: "test"}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return l, func() []Record {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return collect(t, Reader{Dir: cfg.Dir}.Raw(time.Time{}, time.Time{}))
	}
}

// Each request is noted once, with the class of its status; a connection without one is
// refused. Streaming, taking over and http.ResponseController work as without.
func TestWatch(t *testing.T) {
	t.Parallel()
	l, finish := opened(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "x")
	})
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/limited", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	mux.HandleFunc("/copy", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, strings.NewReader("copied")) })
	release := make(chan struct{})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-release
	})
	mux.HandleFunc("/take", func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		_ = c.Close()
	})
	s := httptest.NewUnstartedServer(mux)
	states := make(chan http.ConnState, 100)
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) { states <- st }
	s.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil)
	l.Watch(s.Config)
	s.EnableHTTP2 = true
	s.StartTLS()
	client := s.Client()
	for _, path := range []string{"/ok", "/silent", "/limited", "/none", "/copy", "/panic"} {
		resp, err := client.Get(s.URL + path)
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	resp, err := client.Get(s.URL + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	_ = resp.Body.Close()
	// HTTP/1.1, which can be taken over.
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{RootCAs: client.Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET /take HTTP/1.1\r\nHost: x\r\n\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "204") {
		t.Errorf("taken over: %q, %v", line, err)
	}
	_ = c.Close()
	// No TLS at all.
	raw, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(raw, "hello, hello, hello, hello\r\n\r\n")
	_, _ = io.Copy(io.Discard, raw)
	_ = raw.Close()
	s.Close()
	counts := map[Class]int{}
	for _, r := range finish() {
		counts[r.Class]++
		if r.Address != netip.MustParseAddr("127.0.0.1") || r.Service != "test" || time.Since(r.Time) > time.Hour {
			t.Errorf("record %+v", r)
		}
	}
	// ok, silent, copy, stream, take; none and no TLS; limited; panic, which the client may
	// have tried again.
	if counts[OK] != 5 || counts[Refused] != 2 || counts[Limited] != 1 || counts[Failed] < 1 {
		t.Errorf("counts: %v", counts)
	}
	close(states)
	if !slices.Contains(slices.Collect(chanSeq(states)), http.StateNew) {
		t.Error("the ConnState that was there is not called")
	}
}

func chanSeq[T any](c <-chan T) func(func(T) bool) {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}

// A log without a directory, and none, do nothing and are in nobody's way.
func TestDisabled(t *testing.T) {
	t.Parallel()
	off, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Log{nil, off} {
		l.Record(addr("198.51.100.7"), OK)
		l.RecordAddr(nil, OK)
		h := http.NotFoundHandler()
		s := &http.Server{Handler: h}
		l.Watch(s)
		if s.ConnState != nil {
			t.Error("a ConnState was set")
		}
		w := httptest.NewRecorder()
		l.Handler(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("status %d", w.Code)
		}
	}
	if err := off.Open(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := off.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := off.Close(); err != nil {
		t.Error(err)
	}
}

func TestAddrOf(t *testing.T) {
	t.Parallel()
	for _, a := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 1}, &net.UDPAddr{IP: net.IPv4(198, 51, 100, 7).To4(), Port: 1}, text("198.51.100.7:80"),
	} {
		if got := AddrOf(a).Unmap(); got != addr("198.51.100.7") {
			t.Errorf("%T: %s", a, got)
		}
	}
	for _, a := range []net.Addr{nil, &net.UnixAddr{Name: "/x", Net: "unix"}, text("x")} {
		if got := AddrOf(a); got.IsValid() {
			t.Errorf("%T: %s", a, got)
		}
	}
}

type text string

func (text) Network() string  { return "x" }
func (t text) String() string { return string(t) }

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for key, c := range map[string]Config{
		"raw_for": {RawFor: MaxRaw + time.Second}, "k": {K: 9}, "rows": {Rows: -1}, "queue": {Queue: 1},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for in, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8::/33": "2001:db8::/33", "10.1.2.3/8": "10.0.0.0/8"} {
		var n Network
		if err := n.UnmarshalText([]byte(in)); err != nil || n.String() != want {
			t.Errorf("%s: %s, %v", in, n, err)
		}
	}
	for _, in := range []string{"", "x", "192.0.2.1/33", "fe80::1%eth0", "192.0.2"} {
		if err := new(Network).UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is a network", in)
		}
	}
	if _, err := New(Config{Dir: "x"}); err == nil {
		t.Error("a log without a service")
	}
}
