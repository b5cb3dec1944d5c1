package relay_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	td     = identity.DefaultTrustDomain
	serial = identity.Serial("0123456789")
)

// world is a relay, and what a test connects to it.
type world struct {
	t       testing.TB
	ca      *pkitest.CA
	relay   *relay.Relay
	cfg     relay.Config
	metrics *prometheus.Registry
	addr    string
	stop    func() // stops the relay
}

func testLogger() hclog.Logger {
	if os.Getenv("AUER_TEST_LOG") == "" {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug})
}

// newWorld starts a relay that lets ccc open web on devices, and devices open
// pairing on ccc.
func newWorld(t testing.TB, change func(*relay.Config)) *world {
	t.Helper()
	ca := pkitest.New(t, td)
	w := &world{t: t, ca: ca, metrics: prometheus.NewRegistry()}
	w.cfg = relay.Config{
		Listen: "127.0.0.1:0", StateDir: t.TempDir(), Metrics: w.metrics, Logger: testLogger().Named("relay"),
		Credentials: ca.CredentialsWith(ca.Issue(identity.Relay(td, "r1"), pkitest.Loopback())),
		Policy: []relay.Rule{
			{Caller: "service/ccc", Target: "device", Services: []string{"web", "echo"}},
			{Caller: "service/ara", Target: "device", Services: []string{"web"}, Serials: []string{"09*"}},
			{Caller: "device", Target: "service/ccc", Services: []string{"pairing"}},
		},
	}
	if change != nil {
		change(&w.cfg)
	}
	w.start()
	return w
}

// start starts the relay, at the address of its predecessor if there was one.
func (w *world) start() {
	w.t.Helper()
	if w.addr != "" {
		w.cfg.Listen = w.addr
		w.cfg.Metrics = prometheus.NewRegistry()
	}
	r, err := relay.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.relay = r
	w.stop = run(w.t, r.Run)
	select {
	case <-r.Ready():
	case <-time.After(10 * time.Second):
		w.t.Fatal("the relay does not get ready")
	}
	w.addr = r.Addr()
}

// run runs a component until the test ends or stop is called.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("a component does not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

// device starts an agent with the services web (HTTP, says its serial) and echo.
func (w *world) device(s identity.Serial, transport string, change func(*agent.Config)) (*agent.Agent, func()) {
	w.t.Helper()
	cfg := agent.Config{
		Relays: []string{w.addr}, Credentials: w.ca.Credentials(identity.Device(td, s)), Transport: transport,
		Services: []agent.Service{{Name: "web"}, {Name: "echo"}},
		Timing:   agent.Timing{BackoffBase: 50 * time.Millisecond, BackoffCap: 200 * time.Millisecond, Stable: 100 * time.Millisecond},
		Logger:   testLogger().Named("agent"),
	}
	if change != nil {
		change(&cfg)
	}
	a, err := agent.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	web, err := a.Listen("web")
	if err != nil {
		w.t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			n, _ := io.Copy(io.Discard, req.Body)
			_, _ = fmt.Fprintf(rw, "%d bytes", n)
			return
		}
		_, _ = fmt.Fprintf(rw, "I am %s", s)
	})}
	go func() { _ = srv.Serve(web) }()
	echo, err := a.Listen("echo")
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
				if cw, ok := c.(interface{ CloseWrite() error }); ok {
					_ = cw.CloseWrite()
				}
			}()
		}
	}()
	stop := run(w.t, a.Run)
	return a, func() {
		stop()
		_ = srv.Close()
	}
}

// online waits until the relay holds n sessions of the endpoint.
func (w *world) online(id identity.ID, n int) []relay.SessionInfo {
	w.t.Helper()
	var list []relay.SessionInfo
	eventually(w.t, patience, fmt.Sprintf("%d sessions of %s", n, id.Path()), func() bool {
		list = w.relay.Sessions(id.Path())
		return len(list) == n
	})
	return list
}

// eventually polls for a state that another goroutine brings about.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// dialer makes a caller's dialer.
func (w *world) dialer(name string, change func(*dial.Config)) *dial.Dialer {
	w.t.Helper()
	cfg := dial.Config{Relays: []string{w.addr}, Credentials: w.ca.Credentials(identity.Service(td, name)), Logger: testLogger().Named("dial")}
	if change != nil {
		change(&cfg)
	}
	d, err := dial.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			w.t.Errorf("close dialer: %v", err)
		}
	})
	return d
}

func timeout(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func readAll(t testing.TB, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
