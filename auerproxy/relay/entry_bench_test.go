package relay_test

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// go test -run '^$' -bench EntryRequest -count 6 ./auerproxy/relay
// go test -run '^$' -bench EntryOpen -benchtime 3000x -count 3 ./auerproxy/relay
//
// An open leaves two ports of the machine in TIME_WAIT for a minute, of usually
// 28,000: with more opens a minute, connects fail and streams are refused.

// benchConns is how many connections run at once.
const benchConns = 32

// benchEntry is a relay with an entry, and a device that forwards it to a local
// TCP server which echoes.
func benchEntry(b *testing.B, transport string) *world {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var conns sync.WaitGroup
	b.Cleanup(func() { // after the end of relay and device
		_ = ln.Close()
		conns.Wait()
	})
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = c.Close() }()
				buf := make([]byte, 4<<10)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	w := entryWorld(b, func(c *relay.Config) { c.Limits.StreamsPerDevice = 4096 })
	a, err := agent.New(agent.Config{
		Relays: []string{w.addr}, Credentials: w.ca.Credentials(identity.Device(td, serial)), Transport: transport,
		Services: []agent.Service{{Name: "echo", Raw: true, Target: ln.Addr().String(), Streams: 4096}},
		Limits:   agent.Limits{Streams: 4096},
	})
	if err != nil {
		b.Fatal(err)
	}
	run(b, a.Run)
	w.online(identity.Device(td, serial), 1)
	ping(b, w.enter(0))
	b.SetParallelism(max(benchConns/runtime.GOMAXPROCS(0), 1))
	b.ReportAllocs()
	return w
}

func overBoth(b *testing.B, f func(b *testing.B, w *world)) {
	b.Helper()
	for _, transport := range []string{agent.TransportTCP, agent.TransportQUIC} {
		b.Run(transport, func(b *testing.B) { f(b, benchEntry(b, transport)) })
	}
}

// BenchmarkEntryOpen connects, asks once, and closes.
func BenchmarkEntryOpen(b *testing.B) {
	overBoth(b, func(b *testing.B, w *world) {
		addr := w.relay.Status().Entries[0].Address
		b.RunParallel(func(pb *testing.PB) {
			buf := make([]byte, 64)
			for pb.Next() {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					b.Error(err)
					return
				}
				if err := ask(c, buf); err != nil {
					b.Error(err)
				}
				_ = c.Close()
			}
		})
	})
}

// BenchmarkEntryRequest asks again and again on connections that stay.
func BenchmarkEntryRequest(b *testing.B) {
	overBoth(b, func(b *testing.B, w *world) {
		addr := w.relay.Status().Entries[0].Address
		b.RunParallel(func(pb *testing.PB) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			buf := make([]byte, 64)
			for pb.Next() {
				if err := ask(c, buf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// ask sends buf and reads as many bytes back.
func ask(c net.Conn, buf []byte) error {
	if _, err := c.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buf)
	return err
}

// BenchmarkEntryIdle is the memory and the goroutines of a connection that was
// used once and waits: relay, device, and the benchmark's own two ends.
func BenchmarkEntryIdle(b *testing.B) {
	overBoth(b, func(b *testing.B, w *world) {
		const conns = 500
		for b.Loop() {
			before, goroutines := used(), runtime.NumGoroutine()
			open := make([]net.Conn, conns)
			for i := range open {
				open[i] = w.enter(0)
				ping(b, open[i])
			}
			after := used()
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/conns, "heap-B/conn")
			b.ReportMetric(float64(after.StackInuse-before.StackInuse)/conns, "stack-B/conn")
			b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/conns, "goroutines/conn")
			for _, c := range open {
				_ = c.Close()
			}
		}
	})
}

// used is the memory in use after garbage and spare stack are gone.
func used() runtime.MemStats {
	for range 3 { // each collection halves a stack that is too large
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}
