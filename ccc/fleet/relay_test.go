package fleet_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial/dialtest"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// log collects the changes of which each PBX's online state is the matter.
type log struct {
	mu    sync.Mutex
	moved map[identity.Serial][]bool
	last  map[identity.Serial]fleet.Status
}

// watchRelays runs a fleet over real relays.
func watchRelays(t *testing.T, n *dialtest.Net, change func(*fleet.Config)) (*fleet.Presence, *log) {
	t.Helper()
	d := n.Dialer("ccc", func(c *dial.Config) { c.Timing.BackoffCap = 200 * time.Millisecond })
	cfg := fleet.Config{Watch: d}
	change(&cfg)
	p, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &log{moved: map[identity.Serial][]bool{}, last: map[identity.Serial]fleet.Status{}}
	changes := p.Subscribe(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	wg.Go(func() {
		for c := range changes {
			l.mu.Lock()
			l.last[c.Serial] = c.Status
			if c.Moved {
				l.moved[c.Serial] = append(l.moved[c.Serial], c.Status.Online)
			}
			l.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	select {
	case <-p.Known():
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing is known")
	}
	return p, l
}

// until waits for a status to be told.
func (l *log) until(t *testing.T, s identity.Serial, what string, ok func(fleet.Status) bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(2 * time.Minute); ; {
		l.mu.Lock()
		st, told := l.last[s]
		l.mu.Unlock()
		if told && ok(st) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not in time: %s is %s, last %+v", s, what, st)
		}
	}
}

func (l *log) moves(s identity.Serial) []bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved[s]
}

// Two real relays. A PBX that moves from one to the other is not offline for a moment;
// when a relay is killed, those that have only it are, and others are not.
func TestRealRelays(t *testing.T) {
	t.Parallel()
	n := dialtest.New(t, 2)
	p, l := watchRelays(t, n, func(c *fleet.Config) { c.OfflineAfter = time.Second })
	// Each knows one of the relays, or both; one knows where it is sent.
	only := func(addrs ...string) func(*agent.Config) {
		return func(c *agent.Config) { c.Relays = addrs }
	}
	const first, second, both = identity.Serial("0000000001"), identity.Serial("0000000002"), identity.Serial("0000000003")
	n.Device(first, nil, only(n.Relays[0].Addr))
	n.Device(second, nil, only(n.Relays[1].Addr))
	n.Device(both, nil, func(c *agent.Config) { c.Slots = 2 })
	for s, relay := range map[identity.Serial]string{first: "relay/r1", second: "relay/r2"} {
		l.until(t, s, "online at "+relay, func(st fleet.Status) bool { return st.Online && st.Relay == relay })
	}
	l.until(t, both, "online at both", func(st fleet.Status) bool {
		at := func(i int) int { return len(n.Relays[i].Sessions("device/" + string(both))) }
		return st.Online && at(0) == 1 && at(1) == 1
	})
	if p.Online() != 3 {
		t.Errorf("%d online", p.Online())
	}
	n.Relays[0].Stop()
	l.until(t, first, "offline", func(st fleet.Status) bool { return !st.Online })
	st, _ := p.Status(first)
	if st.Reason != tunnel.CodeUnreachable && st.Reason != tunnel.CodeShutdown {
		t.Errorf("offline for %s", st.Reason)
	}
	l.until(t, both, "online at the other relay", func(st fleet.Status) bool { return st.Online && st.Relay == "relay/r2" })
	n.Relays[0].Start()
	l.until(t, first, "online", func(st fleet.Status) bool { return st.Online })
	for s, want := range map[identity.Serial]int{first: 3, second: 1, both: 1} {
		if got := l.moves(s); len(got) != want {
			t.Errorf("%s moved %v, want %d times", s, got, want)
		}
	}
}

// A drain moves a PBX to the other relay.
func TestRealMove(t *testing.T) {
	t.Parallel()
	n := dialtest.New(t, 2)
	// Longer than any pause of this machine: what counts is that there is a session.
	p, l := watchRelays(t, n, func(c *fleet.Config) { c.OfflineAfter = time.Minute })
	const s = identity.Serial("0000000001")
	n.Device(s, nil, nil)
	l.until(t, s, "online", func(st fleet.Status) bool { return st.Online })
	before, _ := p.Status(s)
	from, to := n.Relays[0], "relay/r2"
	if before.Relay == to {
		from, to = n.Relays[1], "relay/r1"
	}
	from.Drain(t.Context())
	l.until(t, s, "at "+to, func(st fleet.Status) bool { return st.Online && st.Relay == to })
	from.Stop()
	if got := l.moves(s); len(got) != 1 {
		t.Errorf("moved %v, want only online", got)
	}
	if st, _ := p.Status(s); !st.Since.Equal(before.Since) {
		t.Errorf("online since %s, want %s", st.Since, before.Since)
	}
}

// Two holders of one certificate at different relays, of which each is alone at its own:
// a copy of the credentials, and a copy of a whole disk. A PBX with a tunnel to both
// relays is not taken for two.
func TestRealCopies(t *testing.T) {
	t.Parallel()
	n := dialtest.New(t, 2)
	p, l := watchRelays(t, n, func(c *fleet.Config) { c.OfflineAfter, c.CloneAfter = time.Minute, 300*time.Millisecond })
	const files, disk, alone = identity.Serial("0000000001"), identity.Serial("0000000002"), identity.Serial("0000000003")
	image := agent.NewInstanceID()
	n.Device(alone, nil, func(c *agent.Config) { c.Slots = 2 })
	for _, r := range n.Relays {
		n.Device(files, nil, func(c *agent.Config) { c.Relays = []string{r.Addr} })
		n.Device(disk, nil, func(c *agent.Config) { c.Relays, c.InstanceID = []string{r.Addr}, image })
	}
	for _, s := range []identity.Serial{files, disk} {
		l.until(t, s, "in quarantine", func(st fleet.Status) bool { return !st.Online && st.Reason == tunnel.CodeQuarantined })
		if p.MayBeOnline(s) {
			t.Errorf("%s is worth a call", s)
		}
		for _, r := range n.Relays {
			if got := len(r.Sessions("device/" + string(s))); got != 1 {
				t.Errorf("%s has %d sessions with a relay, want its tunnel", s, got)
			}
		}
	}
	l.until(t, alone, "online at both", func(fleet.Status) bool {
		at := func(i int) int { return len(n.Relays[i].Sessions("device/" + string(alone))) }
		return at(0) == 1 && at(1) == 1
	})
	if !p.MayBeOnline(alone) || p.Online() != 1 || len(l.moves(alone)) != 1 {
		t.Errorf("%d online; the PBX with two tunnels moved %v", p.Online(), l.moves(alone))
	}
}
