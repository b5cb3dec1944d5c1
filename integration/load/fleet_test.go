package load

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a relay in this process.
// patience bounds every wait, also on a machine that has other work to do.
const patience = 2 * time.Minute

type world struct {
	t    *testing.T
	cfg  relay.Config
	addr string
	stop func()

	certs Certificates
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca := pkitest.New(t, td)
	w := &world{t: t, certs: FromCA(ca, 1), cfg: relay.Config{
		Listen: "127.0.0.1:0", StateDir: t.TempDir(), Credentials: ca.CredentialsWith(ca.Issue(identity.Relay(td, "r1"), pkitest.Loopback())),
		Policy: []relay.Rule{{Caller: "service/" + CallerName, Target: "device", Services: []string{ServiceWeb, ServiceEcho}}},
	}}
	w.start()
	return w
}

// start starts the relay, at the address of its predecessor if there was one.
func (w *world) start() {
	w.t.Helper()
	r, err := relay.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.stop = background(w.t, r.Run)
	select {
	case <-r.Ready():
	case <-time.After(patience):
		w.t.Fatal("the relay does not get ready")
	}
	w.addr, w.cfg.Listen = r.Addr(), r.Addr()
}

// background runs a component until the test ends or stop is called.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
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
		case <-time.After(30 * time.Second):
			t.Error("a component does not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

// fleet makes a fleet and runs it.
func (w *world) fleet(change func(*FleetConfig)) *Fleet {
	w.t.Helper()
	cfg := FleetConfig{
		Devices: 30, Relays: []string{w.addr}, Certificates: w.certs, Transport: TransportMix, Seed: 1, DevicesPerSocket: 10,
		Agent: agent.Config{Timing: agent.Timing{BackoffBase: 50 * time.Millisecond, BackoffCap: 200 * time.Millisecond}},
	}
	if change != nil {
		change(&cfg)
	}
	f, err := NewFleet(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	background(w.t, f.Run)
	return f
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestFleetConnectsAndAnswers(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{agent.TransportQUIC, agent.TransportTCP, TransportMix} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.fleet(func(c *FleetConfig) { c.Transport, c.Connecting = transport, 4 })
			if err := f.WaitOnline(within(t, patience), 30); err != nil {
				t.Fatalf("%v: %+v", err, f.Counts())
			}
			if c := f.Counts(); c.Welcomes != 30 || c.Devices != 30 || len(c.Lost) > 0 {
				t.Errorf("%+v", c)
			}
			if l := f.Connected(); l.Count != 30 || l.P50 <= 0 || f.ConnectTime() < l.P50 {
				t.Errorf("connect times %+v, in all %s", l, f.ConnectTime())
			}

			c, err := NewCaller(CallerConfig{Relays: []string{w.addr}, Certificates: w.certs, Serials: f.Serials()[:5], Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			res := Run(t.Context(), Plan{Model: Model{Kind: Open, Rate: 100, Arrivals: Constant}, Duration: 300 * time.Millisecond}, c.Call)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if res.Calls != 30 || res.Failed != 0 {
				t.Errorf("%d calls, %d failed, want 30 and none: %s", res.Calls, res.Failed, res.FirstError)
			}
			first := res.Latency["web, first"].Count + res.Latency["echo, first"].Count
			if first < 1 || first > 10 {
				t.Errorf("%d first calls to 2 services of 5 devices", first)
			}
		})
	}
}

// After Warm no call has to make an end-to-end session.
func TestWarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet(func(c *FleetConfig) { c.Devices = 4 })
	if err := f.WaitOnline(within(t, patience), 4); err != nil {
		t.Fatal(err)
	}
	offline, _ := FromCA(pkitest.New(t, td), 99).Serials(1)
	for _, tt := range []struct {
		name    string
		serials []identity.Serial
		good    bool
	}{{"online", f.Serials(), true}, {"one offline", append(f.Serials(), offline...), false}} {
		c, err := NewCaller(CallerConfig{Relays: []string{w.addr}, Certificates: w.certs, Serials: tt.serials})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Warm(within(t, patience)); (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, err)
		}
		for n := uint64(0); tt.good && n < 20; n++ {
			kind, err := c.Call(within(t, patience), n)
			if err != nil || kind != ServiceWeb && kind != ServiceEcho {
				t.Errorf("call %d: %q, %v", n, kind, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCallsThatFailAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Nobody of these is online.
	serials, _ := FromCA(pkitest.New(t, td), 99).Serials(3)
	c, err := NewCaller(CallerConfig{Relays: []string{w.addr}, Certificates: w.certs, Serials: serials})
	if err != nil {
		t.Fatal(err)
	}
	res := Run(t.Context(), Plan{Model: Model{Kind: Open, Rate: 20, Arrivals: Constant}, Duration: 500 * time.Millisecond}, c.Call)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if res.Calls != 10 || res.Errors["AUER-1301"] != 10 {
		t.Errorf("%d calls, %v, want 10 times AUER-1301", res.Calls, res.Errors)
	}
}

func TestFleetComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet(nil)
	if err := f.WaitOnline(within(t, patience), 30); err != nil {
		t.Fatal(err)
	}
	if got := f.Comeback(); got != (Comeback{}) {
		t.Errorf("before a mark: %+v", got)
	}
	f.Mark()
	w.stop()
	w.start()
	if err := f.WaitBack(within(t, patience)); err != nil {
		t.Fatalf("%v: %+v", err, f.Counts())
	}
	got, c := f.Comeback(), f.Counts()
	if got.Back != 30 || got.SinceMark.Count != 30 || got.SinceLoss.Count != 30 || got.Elapsed < got.SinceMark.P50 {
		t.Errorf("%+v", got)
	}
	lost := 0
	for _, n := range c.Lost {
		lost += n
	}
	if lost < 30 || c.Welcomes < 60 {
		t.Errorf("%+v", c)
	}
	// Marks are independent of one another.
	f.Mark()
	if c := f.Counts(); c.Back != 0 || f.Comeback().Back != 0 {
		t.Errorf("after another mark: %+v", c)
	}
}

func TestChurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet(func(c *FleetConfig) { c.Devices = 10 })
	if err := f.WaitOnline(within(t, patience), 10); err != nil {
		t.Fatal(err)
	}
	f.Mark()
	ctx, cancel := context.WithCancel(within(t, patience))
	churned := make(chan struct{})
	go func() {
		defer close(churned)
		f.Churn(ctx, 100)
	}()
	if err := f.wait(ctx, func() bool { return f.count.Back >= 5 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-churned
	if err := f.WaitOnline(within(t, patience), 10); err != nil {
		t.Fatal(err)
	}
	if c := f.Counts(); len(c.Lost) > 0 {
		t.Errorf("a restart counts as a lost session: %+v", c)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet(func(c *FleetConfig) { c.Devices = 10 })
	if err := f.WaitOnline(within(t, patience), 10); err != nil {
		t.Fatal(err)
	}
	f.Mark()
	f.Restart()
	if err := f.WaitBack(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if c := f.Counts(); c.Welcomes < 20 || len(c.Lost) > 0 {
		t.Errorf("got %+v, want a second session of each device, and none lost", c)
	}
}

func TestFleetRefuses(t *testing.T) {
	t.Parallel()
	certs := FromCA(pkitest.New(t, td), 1)
	good := FleetConfig{Devices: 1, Relays: []string{"127.0.0.1:1"}, Certificates: certs}
	for says, change := range map[string]func(*FleetConfig){
		"0 devices":           func(c *FleetConfig) { c.Devices = 0 },
		"no relay":            func(c *FleetConfig) { c.Relays = nil },
		"no certificates":     func(c *FleetConfig) { c.Certificates = nil },
		`transport "pigeon"`:  func(c *FleetConfig) { c.Transport = "pigeon" },
		"a negative number":   func(c *FleetConfig) { c.ConnectRate = -1 },
		"too few device cert": func(c *FleetConfig) { c.Certificates = FromDir(t.TempDir(), td) },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewFleet(cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %s", err, says)
		}
	}
	if _, err := NewFleet(good); err != nil {
		t.Error(err)
	}
}
