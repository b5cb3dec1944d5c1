package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// relays tell what a test says.
type relays struct {
	addrs []string
	tell  chan func(dial.PresenceUpdate)
	fail  chan error
}

func (r *relays) Relays() []dial.LinkStatus {
	var all []dial.LinkStatus
	for _, a := range r.addrs {
		all = append(all, dial.LinkStatus{Relay: a})
	}
	return all
}

func (r *relays) WatchPresence(ctx context.Context, f func(dial.PresenceUpdate)) error {
	for {
		select {
		case r.tell <- f:
		case err := <-r.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// world is a fleet and what it is told.
type world struct {
	t testing.TB
	*fleet.Presence
	relays   *relays
	registry *prometheus.Registry
	stop     func()
}

func newWorld(t testing.TB, change func(*fleet.Config), addrs ...string) *world {
	t.Helper()
	w := &world{t: t, relays: &relays{addrs: addrs, tell: make(chan func(dial.PresenceUpdate)), fail: make(chan error)}}
	w.registry = prometheus.NewRegistry()
	cfg := fleet.Config{Watch: w.relays, Metrics: w.registry}
	if change != nil {
		change(&cfg)
	}
	p, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Presence = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *world) update(u dial.PresenceUpdate) { (<-w.relays.tell)(u) }

// online is a session of a device.
func online(s identity.Serial, id string, epoch uint64) dial.PresenceSession {
	return dial.PresenceSession{
		Device: s, Session: presence.SessionID(id), Epoch: epoch, Online: true, Since: time.Now(), Transport: tunnel.QUIC,
	}
}

// ended is its end.
func ended(s identity.Serial, id string, why tunnel.Code) dial.PresenceSession {
	return dial.PresenceSession{Device: s, Session: presence.SessionID(id), Since: time.Now(), Reason: why}
}

func (w *world) snapshot(addr string, all ...dial.PresenceSession) {
	w.update(dial.PresenceUpdate{Address: addr, Relay: "relay/" + addr, Snapshot: true, Sessions: all})
}

func (w *world) change(addr string, all ...dial.PresenceSession) {
	w.update(dial.PresenceUpdate{Address: addr, Relay: "relay/" + addr, Sessions: all})
}

func (w *world) lost(addr string) {
	w.update(dial.PresenceUpdate{Address: addr, Lost: true, Err: &tunnel.Error{Code: tunnel.CodeUnreachable}})
}

// events collects what a subscriber is told.
type events struct {
	mu  sync.Mutex
	all []string
}

func (w *world) subscribe(ctx context.Context) *events {
	e, c := new(events), w.Subscribe(ctx)
	go func() {
		for c := range c {
			e.mu.Lock()
			switch {
			case c.Resync:
				e.all = append(e.all, "resync")
			default:
				e.all = append(e.all, fmt.Sprintf("%s online=%t moved=%t %s %s", c.Serial, c.Status.Online, c.Moved, c.Status.Relay, c.Status.Reason))
			}
			e.mu.Unlock()
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, "closed")
	}()
	return e
}

func (e *events) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.all, want) {
		t.Errorf("told %q, want %q", e.all, want)
	}
	e.all = nil
}

const (
	one = identity.Serial("0000000001")
	two = identity.Serial("0000000002")
)

// A PBX goes offline after a while without a session, with the time and the reason of
// the last one's end; a short gap is not noticed.
func TestOfflineIsDamped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a")
		e := w.subscribe(t.Context())
		if st, ok := w.Status(one); ok {
			t.Errorf("known before anything was told: %+v", st)
		}
		begin := time.Now()
		w.snapshot("a", online(one, "s1", 1), online(two, "t1", 1))
		e.want(t, "0000000001 online=true moved=true relay/a AUER-0", "0000000002 online=true moved=true relay/a AUER-0")
		if w.Online() != 2 || !w.IsOnline(one) {
			t.Errorf("%d online", w.Online())
		}
		// One is gone for 4 s.
		time.Sleep(time.Hour)
		w.change("a", ended(one, "s1", tunnel.CodeHeartbeatLost))
		time.Sleep(4 * time.Second)
		w.change("a", online(one, "s2", 2))
		time.Sleep(time.Minute)
		e.want(t)
		if st, _ := w.Status(one); !st.Online || !st.Since.Equal(begin) {
			t.Errorf("after a gap: %+v, want online since %s", st, begin)
		}
		// One is gone for longer, and two a little later.
		gone := time.Now()
		w.change("a", ended(one, "s2", tunnel.CodeBlocked))
		time.Sleep(time.Second)
		w.change("a", ended(two, "t1", tunnel.CodeShutdown))
		time.Sleep(4*time.Second - time.Millisecond)
		e.want(t)
		if !w.IsOnline(one) {
			t.Error("offline too soon")
		}
		time.Sleep(time.Millisecond)
		e.want(t, "0000000001 online=false moved=true relay/a AUER-1105")
		if st, ok := w.Status(one); !ok || st.Online || !st.Since.Equal(gone) || st.Reason != tunnel.CodeBlocked || w.Online() != 1 {
			t.Errorf("%+v, %t, %d online; want offline since %s", st, ok, w.Online(), gone)
		}
		time.Sleep(time.Second)
		e.want(t, "0000000002 online=false moved=true relay/a AUER-1205")
		// It is back.
		back := time.Now()
		w.change("a", online(one, "s3", 3))
		e.want(t, "0000000001 online=true moved=true relay/a AUER-0")
		if st, _ := w.Status(one); !st.Online || !st.Since.Equal(back) {
			t.Errorf("back: %+v, want since %s", st, back)
		}
	})
}

// A PBX that moves stays online, whichever of the relays tells first, and so does one
// that has a second tunnel.
func TestMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a", "b")
		e := w.subscribe(t.Context())
		begin := time.Now()
		w.snapshot("a", online(one, "s1", 10))
		w.snapshot("b")
		e.want(t, "0000000001 online=true moved=true relay/a AUER-0")
		time.Sleep(time.Hour)
		w.change("b", online(one, "s2", 20))
		w.change("a", ended(one, "s1", tunnel.CodeDraining))
		time.Sleep(time.Hour)
		e.want(t, "0000000001 online=true moved=false relay/b AUER-0")
		// And back, with the end first.
		w.change("b", ended(one, "s2", tunnel.CodeDraining))
		time.Sleep(time.Second)
		w.change("a", online(one, "s3", 30))
		time.Sleep(time.Hour)
		e.want(t, "0000000001 online=true moved=false relay/a AUER-0")
		// An older session, that of a second tunnel, does not show, until it is the last.
		w.change("b", online(one, "s4", 25))
		e.want(t)
		w.change("a", ended(one, "s3", tunnel.CodeHeartbeatLost))
		time.Sleep(time.Hour)
		e.want(t, "0000000001 online=true moved=false relay/b AUER-0")
		if st, _ := w.Status(one); !st.Since.Equal(begin) {
			t.Errorf("%+v, want since %s", st, begin)
		}
		// The round trip and the transport.
		s := online(one, "s4", 25)
		s.RTT, s.Transport = 20*time.Millisecond, tunnel.TCP
		w.change("b", s)
		e.want(t, "0000000001 online=true moved=false relay/b AUER-0")
		w.change("b", s)
		e.want(t)
		if st, _ := w.Status(one); st.RTT != 20*time.Millisecond || st.Transport != tunnel.TCP {
			t.Errorf("%+v", st)
		}
	})
}

// A relay that is lost takes its PBXs along, after a while, and no others; one that is
// soon back takes those that it no longer has.
func TestLostRelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a", "b")
		const both = identity.Serial("0000000003")
		w.snapshot("a", online(one, "s1", 1), online(both, "u1", 1))
		w.snapshot("b", online(two, "t1", 1), online(both, "u2", 2))
		e := w.subscribe(t.Context())
		// Restarted within 4 s; one comes back and the other not.
		w.lost("b")
		time.Sleep(4 * time.Second)
		w.snapshot("b", online(two, "t2", 3), online(both, "u3", 4))
		time.Sleep(time.Hour)
		e.want(t, "0000000003 online=true moved=false relay/a AUER-0", "0000000003 online=true moved=false relay/b AUER-0")
		w.snapshot("b", online(both, "u3", 4))
		time.Sleep(time.Hour)
		e.want(t, "0000000002 online=false moved=true relay/b AUER-1404")
		// Gone.
		w.lost("a")
		w.lost("a")
		time.Sleep(5 * time.Second)
		e.want(t, "0000000001 online=false moved=true relay/a AUER-1208")
		if !w.IsOnline(both) || w.Online() != 1 {
			t.Errorf("%d online, want the one with two relays", w.Online())
		}
		w.snapshot("a", online(one, "s2", 5))
		e.want(t, "0000000001 online=true moved=true relay/a AUER-0")
	})
}

func TestKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a", "b", "c")
		known := func() bool {
			select {
			case <-w.Known():
				return true
			default:
				return false
			}
		}
		w.snapshot("a")
		w.lost("b")
		w.lost("b")
		w.change("a")
		if known() {
			t.Error("known before the last relay has told")
		}
		w.snapshot("c")
		if !w.MayBeOnline(one) {
			t.Error("not worth a call, though a relay is lost that may have it")
		}
		if !known() {
			t.Error("not known though every relay has told")
		}
		w.snapshot("b", online(two, "s1", 1))
		if w.MayBeOnline(one) || !w.MayBeOnline(two) {
			t.Error("all relays have told, and one of them of the other PBX")
		}
	})
}

// Changes that wait become one each; with too many the subscriber looks at all anew.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *fleet.Config) { c.Pending, c.OfflineAfter = 3, time.Millisecond }, "a")
		ctx, cancel := context.WithCancel(t.Context())
		quick, slow := w.subscribe(ctx), w.Subscribe(ctx)
		next := func() fleet.Change {
			synctest.Wait()
			return <-slow
		}
		w.snapshot("a", online("0000000000", "x", 1))
		synctest.Wait() // the first change is on its way, the others wait
		flap := func(serials ...identity.Serial) {
			for _, s := range serials {
				w.change("a", online(s, "s"+string(s), 1))
				time.Sleep(time.Second)
				w.change("a", ended(s, "s"+string(s), tunnel.CodeKicked))
				time.Sleep(time.Second)
			}
		}
		flap(one, two, one)
		for i, want := range []identity.Serial{"0000000000", one, two} {
			if c := next(); c.Serial != want || c.Status.Online != (i == 0) || !c.Moved {
				t.Errorf("told %+v, want %s", c, want)
			}
		}
		w.change("a", online(one, "y", 1))
		synctest.Wait() // on its way
		flap("0000000003", "0000000004", "0000000005", "0000000006")
		w.change("a", online("0000000006", "v", 1))
		if c := next(); c.Serial != one {
			t.Errorf("told %+v, want what was on its way", c)
		}
		if c := next(); !c.Resync || c.Serial != "" {
			t.Errorf("told %+v, want to look anew", c)
		}
		if c := next(); c.Serial != "0000000006" || !c.Status.Online {
			t.Errorf("told %+v, want what came after that", c)
		}
		synctest.Wait()
		select {
		case c := <-slow:
			t.Errorf("told %+v, too", c)
		default:
		}
		quick.mu.Lock()
		if slices.Contains(quick.all, "resync") || len(quick.all) != 1+6+1+8+1 {
			t.Errorf("one that reads is told %q", quick.all)
		}
		quick.all = nil
		quick.mu.Unlock()
		cancel()
		quick.want(t, "closed")
		if _, more := <-slow; more {
			t.Error("the channel is open after its context")
		}
		w.change("a", online(two, "z", 2)) // nobody is told
	})
}

// What is remembered, and what a relay can make the fleet keep, has bounds.
func TestBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *fleet.Config) { c.Remembered, c.PBXs, c.OfflineAfter = 2, 4, time.Second }, "a")
		serial := func(i int) identity.Serial { return identity.Serial(fmt.Sprintf("%010d", i)) }
		var all []dial.PresenceSession
		for i := range 6 {
			all = append(all, online(serial(i), fmt.Sprint("s", i), 1))
		}
		w.snapshot("a", all...)
		if w.Online() != 4 || w.IsOnline(serial(4)) || !w.IsOnline(serial(3)) {
			t.Errorf("%d online, want the first four", w.Online())
		}
		for i := range 3 {
			w.change("a", ended(serial(i), fmt.Sprint("s", i), tunnel.CodeKicked))
			time.Sleep(time.Minute)
		}
		for i, want := range []bool{false, true, true, true} {
			if _, ok := w.Status(serial(i)); ok != want {
				t.Errorf("%d is remembered: %t, want %t", i, ok, want)
			}
		}
		// Of many sessions of one PBX the newest count, and a session has one PBX.
		for i := range 40 {
			w.change("a", online(serial(3), fmt.Sprint("n", i), uint64(2+i))) //nolint:gosec // small
		}
		for i := range 39 {
			w.change("a", ended(serial(3), fmt.Sprint("n", i), tunnel.CodeReplaced))
		}
		w.change("a", online(serial(1), "n39", 99))
		time.Sleep(time.Minute)
		if !w.IsOnline(serial(3)) || w.IsOnline(serial(1)) {
			t.Error("the newest session does not count")
		}
		w.change("a", ended(serial(1), "n39", tunnel.CodeKicked), ended(serial(3), "never", tunnel.CodeKicked))
		time.Sleep(time.Minute)
		if w.IsOnline(serial(3)) || w.Online() != 0 {
			t.Errorf("%d online, want none", w.Online())
		}
	})
}

// The clocks of relays are not ours.
func TestClocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a")
		for _, since := range []time.Time{{}, time.Now().Add(time.Hour)} {
			s := online(one, "s1", 1)
			s.Since = since
			now := time.Now()
			w.snapshot("a", s)
			if st, _ := w.Status(one); !st.Since.Equal(now) {
				t.Errorf("online since %s is shown as %s", since, st.Since)
			}
			s.Online = false
			w.change("a", s)
			time.Sleep(time.Minute)
			if st, _ := w.Status(one); !st.Since.Equal(now) {
				t.Errorf("offline since %s is shown as %s", since, st.Since)
			}
		}
		s := online(one, "s1", 1)
		s.Since = time.Now().Add(-time.Hour)
		w.snapshot("a", s)
		if st, _ := w.Status(one); !st.Since.Equal(s.Since) {
			t.Errorf("online since %s is shown as %s", s.Since, st.Since)
		}
	})
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	r := &relays{tell: make(chan func(dial.PresenceUpdate)), fail: make(chan error, 1)}
	p, err := fleet.New(fleet.Config{Watch: r})
	if err != nil {
		t.Fatal(err)
	}
	r.fail <- dial.ErrClosed
	if err := p.Run(t.Context()); !errors.Is(err, dial.ErrClosed) {
		t.Errorf("run ends with %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	r := &relays{}
	for name, c := range map[string]fleet.Config{
		"offline_after": {OfflineAfter: time.Hour}, "pbxs": {PBXs: -1}, "remembered": {Remembered: -1}, "pending": {Pending: -1}, "watch": {},
	} {
		if name != "watch" {
			c.Watch = r
		}
		if _, err := fleet.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := fleet.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// FuzzUpdates holds the fleet against a simple model: after the damping a PBX is online
// if a relay that is not lost has a session of it.
func FuzzUpdates(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{0x10, 0x31, 0x52, 0xf3, 0x84, 0x10, 0x00, 0xff, 0x21})
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil, "a", "b")
			addrs := []string{"a", "b"}
			type key struct{ addr, id string }
			model := make(map[key]identity.Serial)
			n := map[identity.Serial]int{}
			for i, b := range script {
				addr := addrs[b&1]
				s := identity.Serial(fmt.Sprintf("%010d", b>>1&3))
				id := fmt.Sprintf("%s-%d", s, b>>3&3)
				switch b >> 5 {
				case 0, 1, 2:
					model[key{addr, id}] = s
					w.change(addr, online(s, id, uint64(i))) //nolint:gosec // not negative
				case 3, 4, 5:
					delete(model, key{addr, id})
					w.change(addr, ended(s, id, tunnel.CodeKicked))
				default:
					for k := range model {
						if k.addr == addr {
							delete(model, k)
						}
					}
					if b>>5 == 6 {
						w.lost(addr)
					} else {
						model[key{addr, id}] = s
						w.snapshot(addr, online(s, id, uint64(i))) //nolint:gosec // not negative
					}
				}
				if b&8 == 0 {
					continue
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				clear(n)
				for _, s := range model {
					n[s]++
				}
				for i := range 4 {
					s := identity.Serial(fmt.Sprintf("%010d", i))
					if w.IsOnline(s) != (n[s] > 0) {
						t.Fatalf("%s is online: %t, and has %d sessions", s, w.IsOnline(s), n[s])
					}
				}
				if w.Online() != len(n) {
					t.Fatalf("%d online, want %d", w.Online(), len(n))
				}
			}
			w.stop()
		})
	})
}
