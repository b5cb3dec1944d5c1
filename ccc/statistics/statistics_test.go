package statistics

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve is an admin listener that answers with a text.
func serve(t *testing.T, status int, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path || r.URL.Query().Get("by") != "day" || r.URL.Query().Get("days") != "9" {
			t.Errorf("asked for %s", r.URL)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const good = `{"service":"ara","kept":true,"from":"2026-03-01T00:00:00Z","to":"2026-03-02T10:00:00Z","later":1,
	"totals":[{"time":"2026-03-01T00:00:00Z","class":"ok","count":5,"other":2}],"visitors":[{"day":"2026-03-01T00:00:00Z","service":"ara","visitors":3}],"raw_for":1209600}`

// TestGather: the own counts, those of servers by TCP and by a socket, and what becomes of
// servers that do not say any.
func TestGather(t *testing.T) {
	t.Parallel()
	own, err := accesslog.New(accesslog.Config{Dir: t.TempDir(), Service: "ccc"})
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Open(); err != nil {
		t.Fatal(err)
	}
	own.Record(netip.MustParseAddr("198.51.100.7"), accesslog.OK)
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "s") //nolint:usetesting // short, for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var lc net.ListenConfig
	socket, err := lc.Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(good)) })}
	go func() { _ = s.Serve(socket) }()
	t.Cleanup(func() { _ = s.Close() })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	g, err := New(Config{Own: own, Name: "ccc", Sources: []Source{
		{"tcp", serve(t, http.StatusOK, good)},
		{"socket", "unix:" + filepath.Join(dir, "s")},
		{"older", serve(t, http.StatusNotFound, "404")},
		{"elsewhere", serve(t, http.StatusFound, good)},
		{"other", serve(t, http.StatusOK, "<html>")},
		{"endless", serve(t, http.StatusOK, strings.Repeat(" ", maxAnswer)+good)},
		{"gone", gone.URL},
		{"no socket", "unix:" + filepath.Join(dir, "none")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	all := g.Gather(t.Context(), 9, true)
	want := map[string]Failure{
		"ccc": "", "tcp": "", "socket": "", "older": Unreadable, "elsewhere": Unreadable, "other": Unreadable, "endless": Unreadable,
		"gone": Unreachable, "no socket": Unreachable,
	}
	if len(all) != len(want) {
		t.Fatalf("%d servers", len(all))
	}
	for i, s := range all {
		if failure, ok := want[s.Name]; !ok || s.Failure != failure {
			t.Errorf("%s: %q, want %q", s.Name, s.Failure, failure)
		}
		if i > 0 && i < 3 && (len(s.Summary.Totals) != 1 || s.Summary.Totals[0].Class != accesslog.OK || s.Summary.Visitors[0].Visitors != 3 || s.Summary.RawFor != 1209600) {
			t.Errorf("%s: %+v", s.Name, s.Summary)
		}
	}
	if first := all[0].Summary; len(first.Totals) != 1 || first.Totals[0].Count != 1 || first.Totals[0].Other != 1 {
		t.Errorf("own: %+v", first)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range g.Gather(ended, 9, true)[1:3] {
		if s.Failure != Unreachable {
			t.Errorf("after the end of the request: %s %q", s.Name, s.Failure)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing":     {Config{}, ""},
		"good":        {Config{Sources: []Source{{"a", "http://127.0.0.1:9090"}, {"b", "unix:/run/x"}, {"c", "https://x.test/"}}}, ""},
		"no name":     {Config{Sources: []Source{{" ", "unix:/run/x"}}}, "name"},
		"twice":       {Config{Sources: []Source{{"a", "unix:/run/x"}, {"a", "unix:/run/y"}}}, "twice"},
		"as the own":  {Config{Name: "ccc", Sources: []Source{{"ccc", "unix:/run/x"}}}, "twice"},
		"no socket":   {Config{Sources: []Source{{"a", "unix:"}}}, "address"},
		"no scheme":   {Config{Sources: []Source{{"a", "127.0.0.1:9090"}}}, "address"},
		"with a path": {Config{Sources: []Source{{"a", "http://127.0.0.1:9090/metrics"}}}, "address"},
		"too many":    {Config{Sources: make([]Source, maxSources+1)}, "more than"},
	} {
		err := tt.cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse: what is taken can be shown: it can be written again, and read to the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{good, `{}`, `{"totals":null}`, `{"kept":true}`, `{"totals":[{"class":"ok","count":1,"other":2}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			return // a year that JSON has no form for
		}
		if _, err := Parse(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}
