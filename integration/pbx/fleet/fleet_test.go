package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const td = identity.DefaultTrustDomain

func credentials(ca *pkitest.CA, n int) []*enrol.Credentials {
	list := make([]*enrol.Credentials, n)
	for i := range list {
		list[i] = ca.Credentials(identity.Device(td, identity.Serial(fmt.Sprintf("%010d", i))))
	}
	return list
}

// background runs f until the test ends.
func background(tb testing.TB, name string, f func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			tb.Errorf("%s: %v", name, err)
		}
	})
}

func startRelay(tb testing.TB, ca *pkitest.CA) *relay.Relay {
	tb.Helper()
	r, err := relay.New(relay.Config{
		Listen: "127.0.0.1:0", Credentials: ca.Credentials(identity.Relay(td, "r1")),
		Policy: []relay.Rule{{Caller: "service/*", Target: "device", Services: []string{"*"}}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	background(tb, "relay", r.Run)
	<-r.Ready()
	return r
}

func TestFleet(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r := startRelay(t, ca)
	const n = 12
	f, err := New(Config{
		Relays: []string{r.Addr()}, Credentials: credentials(ca, n), Transport: TransportMix, Dir: t.TempDir(), PerSocket: 5,
		PBX: pbx.Config{FirstPassword: "first-password"},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "fleet", f.Run)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := f.WaitOnline(ctx, n); err != nil {
		t.Fatal(err)
	}
	if len(r.Sessions("")) != n || len(f.PBXs()) != n {
		t.Errorf("%d sessions of %d PBXs", len(r.Sessions("")), len(f.PBXs()))
	}
	p := f.PBX("0000000007")
	if p == nil || p.Serial() != "0000000007" || f.PBX("9999999999") != nil {
		t.Fatalf("PBX %v", p)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/login", nil)
	req.SetBasicAuth("admin", "first-password")
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Fatalf("log in: %d", w.Code)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/system", nil)
		for _, c := range w.Result().Cookies() {
			req.AddCookie(c)
		}
		system := httptest.NewRecorder()
		p.Handler().ServeHTTP(system, req)
		if strings.Contains(system.Body.String(), `"cpu_percent"`) {
			break // the machine has been measured
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no facts: %s", system.Body)
		}
	}
}

// TestOffAndOn: a PBX that was without power comes back as it was, in the same fleet and
// in the next one.
func TestOffAndOn(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r := startRelay(t, ca)
	const one = identity.Serial("0000000001")
	for name, cfg := range map[string]Config{"memory": {}, "directory": {Dir: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			cfg.Relays, cfg.Credentials, cfg.Seed, cfg.Rate = []string{r.Addr()}, credentials(ca, 3), 7, 1000
			cfg.PBX.CallsPerDay = new(9)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			f, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			life, end := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- f.Run(life) }()
			defer end()
			if err := f.WaitOnline(ctx, 3); err != nil {
				t.Fatal(err)
			}
			first := f.PBX(one)
			made := first.State().Created
			if got := first.State().Settings.CallsPerDay; got != 9 {
				t.Errorf("%d calls a day", got)
			}
			if err := f.Off(ctx, one); err != nil {
				t.Fatal(err)
			}
			if f.IsOnline(one) || f.Online() != 2 || !f.IsOnline("0000000002") {
				t.Errorf("off, %d are online", f.Online())
			}
			if err := f.On(ctx, one); err != nil {
				t.Fatal(err)
			}
			if err := f.WaitOnline(ctx, 3); err != nil {
				t.Fatal(err)
			}
			back := f.PBX(one)
			if back == first || !back.State().Created.Equal(made) || f.PBXs()[1] != back {
				t.Errorf("%p came back as %p of %v, was of %v", first, back, back.State().Created, made)
			}
			if c := f.Counts(); c.Welcomes != 4 || len(c.Lost) > 0 || len(c.Failed) > 0 {
				t.Errorf("%+v", c)
			}
			ctx, over := context.WithCancel(ctx)
			over()
			if err := f.On(ctx, one); !errors.Is(err, context.Canceled) {
				t.Errorf("on twice: %v", err)
			}
			if err := f.Off(ctx, "9999999999"); !errors.Is(err, ErrUnknown) || f.IsOnline("9999999999") {
				t.Errorf("another's: %v", err)
			}
			end()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if f.Online() != 0 {
				t.Errorf("%d online after the end", f.Online())
			}
			if cfg.Dir == "" {
				return
			}
			next, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			again, id := next.PBX(one), next.members[1].cfg.Agent.InstanceID
			if !again.State().Created.Equal(made) || again.Calls(made) != back.Calls(made) || !bytes.Equal(id, f.members[1].cfg.Agent.InstanceID) {
				t.Error("another PBX came back in the next fleet")
			}
			if bytes.Equal(id, next.members[0].cfg.Agent.InstanceID) {
				t.Error("two PBXs have one instance id")
			}
			if err := next.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	one := credentials(ca, 1)
	for want, cfg := range map[string]Config{
		"no credentials": {},
		"transport":      {Credentials: one, Transport: "x"},
		"on a socket":    {Credentials: one, PerSocket: -1},
		"per second":     {Credentials: one, Rate: -1},
		"one serial":     {Credentials: append(one, one...)},
		"not a device":   {Credentials: []*enrol.Credentials{ca.Credentials(identity.Service(td, "ccc"))}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	f, err := New(Config{Credentials: one})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lookEvery)
	defer cancel()
	if err := f.WaitOnline(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("online without a relay: %v", err)
	}
	if err := f.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
}

// heap is what is in use after everything that is not has been collected.
func heap() (bytes uint64) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// BenchmarkIdle tells what an idle PBX takes, with its tunnel and without: heap and
// stacks per PBX in bytes. The relay's share is in the figure with tunnel, as it is in
// the same process.
func BenchmarkIdle(b *testing.B) {
	const n = 500
	for _, transport := range []string{"none", agent.TransportQUIC, agent.TransportTCP} {
		b.Run(transport, func(b *testing.B) {
			ca := pkitest.New(b, td)
			creds := credentials(ca, n)
			cfg := Config{Credentials: creds}
			if transport != "none" {
				cfg.Transport, cfg.Relays = transport, []string{startRelay(b, ca).Addr()}
			}
			for b.Loop() {
				before, goroutines := heap(), runtime.NumGoroutine()
				f, err := New(cfg)
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				go func() { done <- f.Run(ctx) }()
				if transport != "none" {
					if err := f.WaitOnline(ctx, n); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(heap()-before)/n, "B/PBX")
				b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/n, "goroutines/PBX")
				cancel()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
