package fleet_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func manySessions(n int) []dial.PresenceSession {
	all := make([]dial.PresenceSession, n)
	for i := range all {
		all[i] = online(identity.Serial(fmt.Sprintf("%010d", i)), fmt.Sprintf("%032x", i), 1)
	}
	return all
}

// BenchmarkFleet is 10,000 PBXs: their snapshot, one that goes and comes with a
// subscriber, a look at one, and the memory of each.
func BenchmarkFleet(b *testing.B) {
	const n = 10_000
	b.Run("snapshot", func(b *testing.B) {
		w := newWorld(b, nil, "a")
		all := manySessions(n)
		for b.Loop() {
			w.snapshot("a", all...)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/pbx")
		w.stop()
	})
	b.Run("change", func(b *testing.B) {
		w := newWorld(b, func(c *fleet.Config) { c.OfflineAfter = time.Nanosecond }, "a")
		all := manySessions(n)
		w.snapshot("a", all...)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for range w.Subscribe(ctx) { //nolint:revive // read, as a subscriber does
			}
		}()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s := all[i%n]
			w.change("a", dial.PresenceSession{Device: s.Device, Session: s.Session, Reason: tunnel.CodeHeartbeatLost})
			w.change("a", s)
		}
		cancel()
		w.stop()
	})
	b.Run("status", func(b *testing.B) {
		w := newWorld(b, nil, "a")
		all := manySessions(n)
		w.snapshot("a", all...)
		for i := 0; b.Loop(); i++ {
			if st, ok := w.Status(all[i%n].Device); !ok || !st.Online {
				b.Fatal("not online")
			}
		}
		w.stop()
	})
	b.Run("memory", func(b *testing.B) {
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		w := newWorld(b, nil, "a")
		before := heap()
		w.snapshot("a", manySessions(n)...)
		held := (float64(heap()) - float64(before)) / n
		for b.Loop() {
			w.Online()
		}
		b.ReportMetric(held, "held-bytes/pbx")
		w.stop()
	})
}
