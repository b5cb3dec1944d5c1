//go:build !race

package relay_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TestIdleCallMemory: an idle call through a relay to a target of a real agent holds no
// more than its budget in relay, agent, client and target together, and of goroutines
// only those that its transport cannot do without.
func TestIdleCallMemory(t *testing.T) { //nolint:paralleltest // the memory of the whole process is measured
	for _, tt := range []struct {
		transport  string
		budget     int // a fifth more than the most of six runs
		goroutines int // that each call keeps
	}{
		{agent.TransportTCP, 12_000, 0},
		{agent.TransportQUIC, 19_000, 2},
	} {
		t.Run(tt.transport, func(t *testing.T) { //nolint:paralleltest // as above
			within(t, "call", tt.budget, 2*stack, func(more int) (int, int) { return idleCalls(t, tt.transport, tt.goroutines, more) })
		})
	}
}

// idleCalls opens calls to a target, and gives the heap and stack that each holds when it
// waits, with so many more bytes in each.
func idleCalls(t *testing.T, transport string, goroutines, more int) (calls, held int) {
	t.Helper()
	const (
		n     = 300
		first = 20 // they take what all share
	)
	w := newWorld(t, func(c *relay.Config) {
		c.Entries = []relay.Entry{entryTo(serial, "plain")}
		c.Limits.StreamsPerDevice = n + first
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, stop := w.device(serial, transport, func(c *agent.Config) {
		c.Services = append(c.Services, agent.Service{Name: "plain", Target: ln.Addr().String(), Raw: true, Streams: n + first})
		c.Limits.Streams = n + first
	})
	w.online(identity.Device(td, serial), 1)
	type end struct {
		client, target net.Conn
		pinned         []byte
	}
	ends := make([]end, 0, n+first)
	open := func() {
		c := w.enter(0)
		target, err := ln.Accept()
		if err == nil {
			_, err = target.Write([]byte("x"))
		}
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end{c, target, make([]byte, more)})
	}
	settle := func(most int) {
		t.Helper()
		eventually(t, patience, fmt.Sprintf("at most %d goroutines", most), func() bool { return runtime.NumGoroutine() <= most })
	}
	idle := runtime.NumGoroutine()
	for range first {
		open()
	}
	const spare = 8 // e.g. the poller, and one that has been told something just now
	settle(idle + first*goroutines + spare)
	before := used()
	for range n {
		open()
	}
	settle(idle + (n+first)*goroutines + spare)
	after := used()
	for _, e := range ends {
		_, _ = e.client.Close(), e.target.Close()
	}
	stop()
	w.stop()
	return n, int(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse) / n //nolint:gosec // fits
}
