package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// bareSession is a session of a device of which only the relay's side exists.
type bareSession struct {
	tunnel.Session
	peer identity.ID
}

func (s bareSession) Peer() identity.ID                      { return s.peer }
func (bareSession) Transport() tunnel.Transport              { return tunnel.TCP }
func (bareSession) CloseWithError(tunnel.Code, string) error { return nil }
func (bareSession) Err() error                               { return nil }
func (bareSession) RemoteAddr() net.Addr                     { return nil }

// fleet is a relay that ccc may watch, and some devices that only it knows.
type fleet struct {
	relay *Relay
	ca    *pkitest.CA
	all   []*session
	next  int // serial
}

func newFleet(t testing.TB, n int, change func(*Config)) *fleet {
	t.Helper()
	ca := pkitest.New(t, td)
	cfg := Config{
		Listen:      "127.0.0.1:0",
		Credentials: ca.CredentialsWith(ca.Issue(identity.Relay(td, "r1"), pkitest.Loopback())),
		Policy:      []Rule{{Caller: "service/ccc", Target: "relay", Services: []string{"presence"}}},
		Metrics:     prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	f := &fleet{relay: r, ca: ca}
	for range n {
		f.appear(t)
	}
	return f
}

// appear registers a session of another device.
func (f *fleet) appear(t testing.TB) {
	t.Helper()
	id := identity.Device(td, identity.Serial(fmt.Sprintf("%010d", f.next)))
	f.next++
	s := f.relay.newSession(bareSession{peer: id}, nil, &tunnel.Hello{InstanceId: tunnel.NewID(), BootId: tunnel.NewID()})
	if err := f.relay.register(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	f.all = append(f.all, s)
}

// vanish ends the session that has been there longest.
func (f *fleet) vanish() {
	f.relay.unregister(f.all[0], &tunnel.Error{Code: tunnel.CodeHeartbeatLost})
	f.all = f.all[1:]
}

func (f *fleet) dialer(t testing.TB) *dial.Dialer {
	t.Helper()
	d, err := dial.New(dial.Config{
		Relays: []string{f.relay.Addr()}, Credentials: f.ca.Credentials(identity.Service(td, "ccc")), Transport: dial.TransportTCP,
		Timing: dial.Timing{BackoffCap: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// watcher opens a watch of which nobody reads what it is told.
func (f *fleet) watcher(t *testing.T, service string) tunnel.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	creds := f.ca.Credentials(identity.Service(td, service))
	d := muxtun.Dialer{Config: muxtun.Config{
		TLS: creds.ClientConfig(identity.RelayDNSName(td), nil, tunnel.ALPN), StreamWindow: 256 << 10, MaxStreamWindow: 256 << 10,
	}}
	s, err := d.Dial(ctx, f.relay.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") })
	if _, _, err := tunnel.Connect(ctx, s, &tunnel.Hello{InstanceId: tunnel.NewID(), BootId: tunnel.NewID()}); err != nil {
		t.Fatal(err)
	}
	st, _, err := tunnel.Open(ctx, s, &tunnel.Preamble{Target: "relay/r1", Service: presence.Service})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// readAll reads a watch to its end.
func readAll(st tunnel.Stream) (told int, err error) {
	r := presence.NewReader(st)
	for {
		part, _, err := r.Read()
		if err != nil {
			return told, err
		}
		told += len(part)
	}
}

// A watcher that does not read is cut, once too many changes wait for it and once it
// takes nothing for too long; one that need not read is not.
func TestSlowWatcherIsCut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change  func(*Config)
		changes int
	}{
		"queue": {func(c *Config) { c.Presence.Queue, c.Limits.SlowReader = 100, time.Hour }, 101},
		"time":  {func(c *Config) { c.Limits.SlowReader = 2 * time.Second }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const devices = 12_000 // 600 kB, more than twice what the window of its stream takes
			f := newFleet(t, devices, func(c *Config) {
				c.Policy = append(c.Policy, Rule{Caller: "service/ara", Target: "relay", Services: []string{"presence"}, Serials: []string{"000000000*"}})
				tt.change(c)
			})
			slow, control := f.watcher(t, "ccc"), f.watcher(t, "ara")
			// It is stuck in its snapshot; these changes are not about the control's.
			own := f.all[:10]
			f.all = f.all[10:]
			for range tt.changes {
				f.vanish()
			}
			counted := func() float64 {
				return testutil.ToFloat64(f.relay.metrics.drops.WithLabelValues("presence_slow"))
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(30 * time.Second); counted() == 0 && time.Now().Before(end); {
				<-tick.C
			}
			told, err := readAll(slow)
			if tunnel.CodeOf(err) != tunnel.CodeSlowReader || told >= devices {
				t.Errorf("told of %d and ended with %v, want %s before the end of the snapshot", told, err, tunnel.CodeSlowReader)
			}
			r := presence.NewReader(control)
			if part, _, err := r.Read(); err != nil || len(part) != 10 {
				t.Errorf("the control is told %v, %v", part, err)
			}
			if _, complete, err := r.Read(); err != nil || !complete {
				t.Errorf("the control's snapshot ends with %t, %v", complete, err)
			}
			f.vanish() // not its own
			f.all = own
			f.vanish()
			if part, _, err := r.Read(); err != nil || len(part) != 1 || part[0].Device != "0000000000" || part[0].Online {
				t.Errorf("the control is told %v, %v", part, err)
			}
			if n := counted(); n != 1 {
				t.Errorf("%v watchers counted as slow", n)
			}
		})
	}
}

// watched watches until the test ends.
func watched(t testing.TB, d *dial.Dialer, f func(dial.PresenceUpdate)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.WatchPresence(ctx, f); !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ends with %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// Changes of one session that wait become one, and a relay whom nobody watches keeps
// none.
func TestWatchCoalesces(t *testing.T) {
	t.Parallel()
	w := &watch{see: []patterns{nil}, limit: 2, wake: make(chan struct{}, 1), at: make(map[presence.SessionID]int), cut: func() { t.Error("cut") }}
	for range 100 {
		w.add(presence.Session{Device: "0000000001", Session: "a", Online: true})
		w.add(presence.Session{Device: "0000000002", Session: "b", Online: true})
		w.add(presence.Session{Device: "0000000001", Session: "a", Reason: tunnel.CodeKicked})
	}
	got, dismissed := w.take(nil)
	if len(got) != 2 || got[0].Online || got[0].Reason != tunnel.CodeKicked || got[1].Session != "b" || dismissed {
		t.Errorf("taken %v, %t", got, dismissed)
	}
	if got, _ = w.take(got); len(got) != 0 {
		t.Errorf("taken again: %v", got)
	}
}

// A round trip is told when it has changed by something.
func TestShownRTT(t *testing.T) {
	t.Parallel()
	var r shownRTT
	since := time.Now().Add(-time.Hour)
	for i, tt := range []struct {
		measured, shown time.Duration
	}{
		{20 * time.Millisecond, 20 * time.Millisecond},
		{21 * time.Millisecond, 20 * time.Millisecond},
		{25 * time.Millisecond, 25 * time.Millisecond},
		{24 * time.Millisecond, 25 * time.Millisecond},
		{100 * time.Microsecond, 100 * time.Microsecond},
		{900 * time.Microsecond, 100 * time.Microsecond},
	} {
		r.at.Store(0)
		r.measured(since, tt.measured)
		if got := time.Duration(r.value.Load()); got != tt.shown {
			t.Errorf("%d: %s is shown, want %s", i, got, tt.shown)
		}
		if changed := r.at.Load() >= int64(time.Hour); changed != (tt.measured == tt.shown) {
			t.Errorf("%d: told anew %t", i, changed)
		}
	}
}

// BenchmarkPresence is a watcher over TCP and TLS that gets the snapshot of 10,000
// devices, and then changes of which each is an end or a beginning.
func BenchmarkPresence(b *testing.B) {
	const devices = 10_000
	b.Run("snapshot", func(b *testing.B) {
		f := newFleet(b, devices, nil)
		d := f.dialer(b)
		for b.Loop() {
			ctx, cancel := context.WithCancel(context.Background())
			if err := d.WatchPresence(ctx, func(u dial.PresenceUpdate) {
				if len(u.Sessions) == devices {
					cancel()
				}
			}); !errors.Is(err, context.Canceled) {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/devices, "µs/device")
	})
	b.Run("changes", func(b *testing.B) {
		f := newFleet(b, devices, nil)
		told, sum := make(chan int, 1024), 0
		watched(b, f.dialer(b), func(u dial.PresenceUpdate) { told <- len(u.Sessions) })
		<-told
		b.ResetTimer()
		for i := range b.N {
			if i%2 == 0 {
				f.vanish()
			} else {
				f.appear(b)
			}
			// As many as may wait, at most.
			for ; i-sum > 10_000; sum += <-told {
			}
		}
		for ; sum < b.N; sum += <-told {
		}
	})
	b.Run("unwatched", func(b *testing.B) {
		f := newFleet(b, devices, nil)
		for i := 0; b.Loop(); i++ {
			if i%2 == 0 {
				f.vanish()
			} else {
				f.appear(b)
			}
		}
	})
	b.Run("memory", func(b *testing.B) {
		f := newFleet(b, devices, nil)
		d := f.dialer(b)
		told := make(chan int, 1024)
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc + m.StackInuse
		}
		before := heap()
		watched(b, d, func(u dial.PresenceUpdate) { told <- len(u.Sessions) })
		<-told
		held := (float64(heap()) - float64(before)) / devices
		for b.Loop() {
		}
		b.ReportMetric(held, "held-bytes/device")
	})
}
