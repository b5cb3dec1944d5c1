//go:build !race

package relay_test

import (
	"fmt"
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
		{agent.TransportTCP, 90 << 10},
		{agent.TransportQUIC, 160 << 10},
	} {
		transport, budget := tt.transport, tt.budget
		t.Run(transport, func(t *testing.T) { //nolint:paralleltest // as above
			sessions, held := idleMemory(t, transport, 0)
			t.Logf("%d bytes for each of %d pairs", held, sessions)
			if held > budget {
				t.Errorf("an idle pair of sessions holds %d bytes, want at most %d", held, budget)
			}
			if _, held := idleMemory(t, transport, pinned); held <= budget {
				t.Errorf("with %d bytes more in each, an idle pair of sessions holds %d bytes, which the budget of %d does not notice", pinned, held, budget)
			}
		})
	}
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
	dial := func(serial identity.Serial) tunnel.Session {
		cfg := w.ca.Credentials(identity.Device(td, serial)).ClientConfig("localhost", nil, tunnel.ALPN)
		var d tunnel.Dialer = &muxtun.Dialer{Config: muxtun.Config{TLS: cfg}}
		if transport == agent.TransportQUIC {
			d = &quictun.Dialer{Config: quictun.Config{TLS: cfg, MaxIdleTimeout: time.Minute, DisableGRO: true}}
		}
		s, err := d.Dial(ctx, w.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tunnel.Connect(ctx, s, newHello()); err != nil {
			t.Fatal(err)
		}
		return s
	}
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
		ends = append(ends, end{dial(identity.Serial(fmt.Sprintf("%010d", i))), make([]byte, more)})
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
