package facts

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serial = "0123456789"

func sample() Facts {
	return Facts{
		Time:   time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Host:   Host{Name: "<pbx>", System: "debian 12", Kernel: "6.1 x86_64", Uptime: 90061},
		CPU:    CPU{Cores: 2, Percent: 12.5, Load: 0.5},
		Memory: Space{Total: 2 << 30, Used: 1 << 30, Percent: 50},
		Disk:   Space{Total: 10 << 30, Used: 1 << 30, Percent: 10},
	}
}

// measured is a server that has measured once.
func measured(f Facts, err error) *Server {
	s := New(Config{Serial: serial})
	f.Serial = serial
	s.publish(f, err)
	return s
}

func get(t *testing.T, s http.Handler, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestPage(t *testing.T) {
	t.Parallel()
	w := get(t, measured(sample(), nil), "/", http.Header{agent.HeaderCaller: {"spiffe://comtrexx.test/service/ccc"}})
	body := w.Body.String()
	for _, want := range []string{
		"Device 0123456789", "2026-03-01 12:00:00 UTC", "12 %", "1.0 GiB</span> of 2.0 GiB", "1 d 1 h",
		"spiffe://comtrexx.test/service/ccc", "&lt;pbx&gt;",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, foreign := range []string{"http://", "https://", "//cdn", "<pbx>"} {
		if strings.Contains(body, foreign) {
			t.Errorf("the page holds %q", foreign)
		}
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	other := get(t, measured(sample(), nil), "/", nil)
	if !strings.Contains(other.Body.String(), "came past the agent") {
		t.Error("without a caller the page does not say so")
	}
	if other.Header().Get("Content-Security-Policy") == w.Header().Get("Content-Security-Policy") {
		t.Error("two pages have the same nonce")
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	w := get(t, measured(sample(), nil), "/facts.json", http.Header{
		agent.HeaderCaller: {"spiffe://comtrexx.test/service/ccc"}, agent.HeaderRequestID: {"00ff"}, agent.HeaderPurpose: {"test"},
	})
	var got Facts
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := sample()
	want.Serial, want.Call = serial, Call{"spiffe://comtrexx.test/service/ccc", "00ff", "test"}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	good, failed, fresh := measured(sample(), nil), measured(Facts{}, errors.New("no /proc")), New(Config{Serial: serial})
	for _, tt := range []struct {
		name         string
		server       *Server
		method, path string
		want         int
	}{
		{"page", good, "GET", "/", 200},
		{"head", good, "HEAD", "/facts.json", 200},
		{"unknown path", good, "GET", "/x", 404},
		{"post", good, "POST", "/", 405},
		{"not measured", fresh, "GET", "/", 503},
		{"failed", failed, "GET", "/facts.json", 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			tt.server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil))
			if w.Code != tt.want {
				t.Errorf("got %d, want %d: %s", w.Code, tt.want, w.Body)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := measured(sample(), nil)
	srv := httptest.NewServer(s)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	next := func() (e struct {
		CPU   CPU
		Shown map[string]string
	},
	) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
		t.Fatalf("no further event: %v", lines.Err())
		return e
	}
	if e := next(); e.CPU.Percent != 12.5 || e.Shown["cpu"] != "12 %" {
		t.Errorf("first event %+v", e)
	}
	s.publish(Facts{}, errors.New("skipped"))
	second := sample()
	second.CPU.Percent = 99
	s.publish(second, nil)
	if e := next(); e.CPU.Percent != 99 {
		t.Errorf("second event %+v", e)
	}
}

// TestShownElements: every text of an event has its element in the page.
func TestShownElements(t *testing.T) {
	t.Parallel()
	for id := range show(sample()) {
		if !strings.Contains(pageText, `id="`+id+`"`) {
			t.Errorf("the page has no element %q", id)
		}
	}
}

func TestRunMeasuresEachInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var calls atomic.Int64
		s := New(Config{Serial: serial, Interval: time.Minute, Measure: func(context.Context) (Facts, error) {
			if calls.Add(1) == 2 {
				return Facts{}, errors.New("once")
			}
			return sample(), nil
		}})
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		for i, wantErr := range []bool{false, true, false} {
			synctest.Wait()
			f, _, err := s.read()
			if (err != nil) != wantErr || calls.Load() != int64(i+1) {
				t.Errorf("measurement %d: error %v, %d calls", i, err, calls.Load())
			}
			if f.Serial != serial {
				t.Errorf("measurement %d is of %q", i, f.Serial)
			}
			time.Sleep(time.Minute)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestThisMachine(t *testing.T) {
	t.Parallel()
	m := new(meter)
	f, err := m.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Memory.Total == 0 || f.Memory.Used == 0 || f.Disk.Total == 0 || f.CPU.Cores == 0 || f.Host.Kernel == "" || f.Host.Uptime == 0 {
		t.Errorf("implausible: %+v", f)
	}
	if f.CPU.Percent != 0 {
		t.Errorf("the first measurement knows the processor's past: %v", f.CPU.Percent)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	before := cpu.TimesStat{User: 10, Idle: 100, Iowait: 5, Guest: 10}
	for _, tt := range []struct {
		name string
		now  cpu.TimesStat
		want float64
	}{
		{"half", cpu.TimesStat{User: 15, Idle: 104, Iowait: 6, Guest: 15}, 50},
		{"idle", cpu.TimesStat{User: 10, Idle: 110, Iowait: 5, Guest: 10}, 0},
		{"no time passed", before, 0},
		{"clock went back", cpu.TimesStat{User: 1, Idle: 1}, 0},
	} {
		if got := busy(before, tt.now); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := busy(cpu.TimesStat{}, before); got != 0 {
		t.Errorf("without a reading before: %v", got)
	}
}
