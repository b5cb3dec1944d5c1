//go:build !race

package relay_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// pinned is what a session must not hold unseen, e.g. a buffer of a splice or the
// stack of a handshake.
const pinned = 64 << 10

// TestIdleSessionMemory: an idle session holds no more heap and stack than its
// budget. Both ends are in this process, so that it is that of the pair; the peer's
// is the bare session, without an agent. What a process takes beyond that, which
// is garbage and holes in the heap, sim run measures.
func TestIdleSessionMemory(t *testing.T) { //nolint:paralleltest // the memory of the whole process is measured
	for _, tt := range []struct {
		transport string
		budget    int // a fifth more than the most of six runs
	}{
		{agent.TransportTCP, 74_000},
		{agent.TransportQUIC, 145_000},
	} {
		transport, budget := tt.transport, tt.budget
		t.Run(transport, func(t *testing.T) { //nolint:paralleltest // as above
			within(t, "pair of sessions", budget, pinned, func(more int) (int, int) { return idleMemory(t, transport, more) })
		})
	}
}

// dial makes a welcomed session of a device, without an agent.
func (w *world) dial(ctx context.Context, transport string, s identity.Serial) tunnel.Session {
	w.t.Helper()
	cfg := w.ca.Credentials(identity.Device(td, s)).ClientConfig("localhost", nil, tunnel.ALPN)
	var d tunnel.Dialer = &muxtun.Dialer{Config: muxtun.Config{TLS: cfg}}
	if transport == agent.TransportQUIC {
		d = &quictun.Dialer{Config: quictun.Config{TLS: cfg, MaxIdleTimeout: time.Minute, DisableGRO: true}}
	}
	session, err := d.Dial(ctx, w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := tunnel.Connect(ctx, session, newHello()); err != nil {
		w.t.Fatal(err)
	}
	return session
}

// idleMemory opens sessions to a relay and gives the heap and stack that each of
// them holds, with so many more bytes in each.
func idleMemory(t *testing.T, transport string, more int) (sessions, held int) {
	t.Helper()
	const (
		n     = 200
		first = 20 // they take what all share, caches and pools for example
	)
	w := newWorld(t, func(c *relay.Config) {
		c.Heartbeat = time.Minute
		c.Limits.HandshakesPerSecond, c.Limits.HandshakeBurst = 10_000, 10_000
	})
	ctx := timeout(t, 30*time.Second)
	type end struct {
		tunnel.Session
		pinned []byte
	}
	ends := make([]end, 0, n+first)
	defer func() {
		for _, e := range ends {
			_ = e.CloseWithError(tunnel.CodeShutdown, "")
		}
		w.stop()
	}()
	open := func(i int) {
		ends = append(ends, end{w.dial(ctx, transport, identity.Serial(fmt.Sprintf("%010d", i))), make([]byte, more)})
	}
	for i := range first {
		open(n + i)
	}
	before := used()
	for i := range n {
		open(i)
	}
	after := used()
	return n, int(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse) / n //nolint:gosec // fits
}

// within holds what each of many idle things holds against a budget, which has to notice so
// many bytes more.
func within(t *testing.T, what string, budget, more int, measure func(more int) (n, held int)) {
	t.Helper()
	n, held := measure(0)
	t.Logf("%d bytes for each of %d: an idle %s", held, n, what)
	if held > budget {
		t.Errorf("an idle %s holds %d bytes, want at most %d", what, held, budget)
	}
	if _, held := measure(more); held <= budget {
		t.Errorf("with %d bytes more, an idle %s holds %d bytes, which the budget of %d does not notice", more, what, held, budget)
	}
}

// stack is what an idle connection must not hold unseen: that of a goroutine which has
// written once.
const stack = 8 << 10

// TestIdleConnectionMemory: a connection in a tunnel that was used once and waits holds
// no more heap and stack than its budget. The relay's side of it counts, and besides
// the device's bare stream and the client's bare socket.
func TestIdleConnectionMemory(t *testing.T) { //nolint:paralleltest // as above
	for _, tt := range []struct {
		transport  string
		budget     int // a fifth more than the most of nine runs, alone and after others
		goroutines int // that each connection keeps
	}{
		{agent.TransportTCP, 8_900, 0},
		{agent.TransportQUIC, 14_000, 1},
	} {
		t.Run(tt.transport, func(t *testing.T) { //nolint:paralleltest // as above
			within(t, "connection", tt.budget, stack, func(more int) (int, int) { return idleConnections(t, tt.transport, tt.goroutines, more) })
		})
	}
}

// idleConnections opens connections to an entry, and gives the heap and stack that each
// holds when it waits, with so many more bytes in each.
func idleConnections(t *testing.T, transport string, goroutines, more int) (conns, held int) {
	t.Helper()
	const (
		n     = 900
		first = 20 // they take what all share
	)
	w := entryWorld(t, func(c *relay.Config) {
		c.Heartbeat = time.Minute
		c.Limits.StreamsPerDevice = n + first
	})
	device := w.bareDevice(transport)
	type end struct {
		net.Conn
		pinned []byte
	}
	ends := make([]end, 0, n+first)
	open := func() {
		c := w.enter(0)
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end{c, make([]byte, more)})
	}
	// Connections wait a moment before they give anything back.
	settle := func(most int) {
		t.Helper()
		eventually(t, patience, fmt.Sprintf("at most %d goroutines", most), func() bool { return runtime.NumGoroutine() <= most })
	}
	idle := runtime.NumGoroutine()
	for range first {
		open()
	}
	const spare = 5 // e.g. one that has been told something just now
	settle(idle + first*goroutines + spare)
	before := used()
	for range n {
		open()
	}
	settle(idle + (n+first)*goroutines + spare)
	after := used()
	for _, e := range ends {
		_ = e.Close()
	}
	_ = device.CloseWithError(tunnel.CodeShutdown, "")
	w.stop()
	return n, int(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse) / n //nolint:gosec // fits
}

// bareDevice is a session of the usual device that takes every stream, says a byte, and
// keeps it.
func (w *world) bareDevice(transport string) tunnel.Session {
	w.t.Helper()
	ctx := timeout(w.t, time.Minute)
	s := w.dial(ctx, transport, serial)
	go func() {
		for {
			st, err := s.Accept(ctx)
			if err != nil {
				return
			}
			_, err = tunnel.ReadPreamble(st, time.Minute)
			if err == nil {
				err = tunnel.WriteAck(st)
			}
			if err == nil {
				_, err = st.Write([]byte("x"))
			}
			if err != nil {
				st.Reset(tunnel.CodeInternal)
			}
		}
	}()
	return s
}
