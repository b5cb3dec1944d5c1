package history

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial/dialtest"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// line is the way of a PBX to a relay, which can be cut.
type line struct {
	ln net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex
	down  bool                  // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{ln: ln, to: to, conns: map[net.Conn]struct{}{}}
	l.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.wg.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		l.cut(true)
		l.wg.Wait()
	})
	return l
}

func (l *line) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return
	}
	l.conns[c], l.conns[far] = struct{}{}, struct{}{}
	l.mu.Unlock()
	l.wg.Go(func() {
		_, _ = io.Copy(far, c)
		_ = far.Close()
	})
	_, _ = io.Copy(c, far)
}

// cut ends what runs on the line without a word; down: nothing new runs on it.
func (l *line) cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for c := range l.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(l.conns)
}

// mend lets the line carry again.
func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// pbx runs the program of a PBX until stop is called.
func pbx(t *testing.T, n *dialtest.Net, serial identity.Serial, instance []byte, relays ...string) (stop func()) {
	t.Helper()
	a, err := agent.New(agent.Config{
		Relays: relays, Transport: agent.TransportTCP, InstanceID: instance,
		Credentials: n.CA.Credentials(identity.Device(n.CA.TrustDomain, serial)),
		Timing:      agent.Timing{BackoffBase: 50 * time.Millisecond, BackoffCap: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// TestRealReasons has two real relays, the real fleet and PBXs that end in every way that
// there is, and looks what is written of each.
func TestRealReasons(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	const drained, cut, killed, restarted, blocked = identity.Serial("0000000001"), identity.Serial("0000000002"),
		identity.Serial("0000000003"), identity.Serial("0000000004"), identity.Serial("0000000005")
	tenant, systems := owner(t, db, drained, cut, killed, restarted, blocked)
	n := dialtest.New(t, 2)
	p, err := fleet.New(fleet.Config{OfflineAfter: 50 * time.Millisecond, Watch: n.Dialer("ccc", func(c *dial.Config) { c.Timing.BackoffCap = 100 * time.Millisecond })})
	if err != nil {
		t.Fatal(err)
	}
	_, stopRecorder := run(t, Config{Store: db, Fleet: p})
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- p.Run(ctx) }()
	t.Cleanup(func() {
		stopRecorder()
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	history := func(s identity.Serial) func() string {
		return func() string { return written(t, db, tenant, systems[s]) }
	}
	a, b := n.Relays[0], n.Relays[1]
	weak := map[identity.Serial]*line{cut: newLine(t, b.Addr), killed: newLine(t, b.Addr)}
	id := agent.NewInstanceID()
	pbx(t, n, drained, nil, a.Addr)
	pbx(t, n, cut, nil, weak[cut].ln.Addr().String())
	off := pbx(t, n, killed, id, weak[killed].ln.Addr().String())
	farewell := pbx(t, n, restarted, id, b.Addr)
	pbx(t, n, blocked, nil, b.Addr)
	begin := map[identity.Serial]string{}
	for s := range systems {
		until(t, func() string { begin[s] = history(s)(); return begin[s] }, func(got string) bool {
			return got == "online" || got == "offline unknown, online"
		})
	}
	want := func(s identity.Serial, then string) {
		t.Helper()
		until(t, history(s), is(begin[s]+then))
	}
	// The relay is emptied, and the PBX knows no other.
	a.Drain(t.Context())
	want(drained, ", offline relay_drain")
	// The line breaks, and the PBX runs on.
	weak[cut].cut(true)
	want(cut, ", offline lost")
	weak[cut].mend()
	want(cut, ", offline network, online")
	// The power goes: no farewell reaches the relay, and the program begins anew.
	weak[killed].cut(true)
	want(killed, ", offline lost")
	off()
	weak[killed].mend()
	pbx(t, n, killed, id, weak[killed].ln.Addr().String())
	want(killed, ", offline power, online")
	// It is restarted as it should be.
	farewell()
	want(restarted, ", offline shutdown")
	pbx(t, n, restarted, id, b.Addr)
	want(restarted, ", offline restart, online")
	// Its certificate is blocked.
	for _, r := range n.Relays {
		r.SetBlocks(blocks.NewList(1, identity.Device(n.CA.TrustDomain, blocked).Path()))
	}
	want(blocked, ", offline certificate_blocked")
	// The rest has gone on, and a relay that stops says so.
	want(cut, ", offline network, online")
	b.Stop()
	until(t, history(cut), func(got string) bool {
		return got == begin[cut]+", offline network, online, offline relay_drain" || got == begin[cut]+", offline network, online, offline relay_lost"
	})
}
