package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/integration/chaos/link"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// What the benchmark does.
const (
	benchRate = 200e6 // bit/s, each way
	// warmUp lets the congestion control find the rate.
	warmUp = 3 * time.Second
	chunk  = 64 << 10
	// requestConns send requestsEach requests of requestSize each, one by one.
	requestConns = 32
	requestsEach = 12
	requestSize  = 64
)

// The first byte of a connection says what it is for.
const (
	forRequests = 'r'
	forDownload = 'd'
)

// target is what all contestants reach: it answers requests, or sends all it can.
func target(c net.Conn) {
	var kind [1]byte
	if _, err := io.ReadFull(c, kind[:]); err != nil {
		return
	}
	if kind[0] == forRequests {
		Echo(c)
		return
	}
	for b := make([]byte, chunk); ; {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// contestant is one way to a target in namespace B. start gives how to connect to it.
type contestant struct {
	name  string
	start func(b *testing.B, cfg link.Config) (*link.Link, func(context.Context) (net.Conn, error))
}

// ours is our tunnel over one transport. inner is what runs in the relay's stream:
// dial.Mux is the default and end-to-end encrypted, dial.Raw what peers do.
func ours(transport string, inner dial.Inner) func(*testing.B, link.Config) (*link.Link, func(context.Context) (net.Conn, error)) {
	return func(b *testing.B, cfg link.Config) (*link.Link, func(context.Context) (net.Conn, error)) {
		b.Helper()
		s := NewSite(b, SiteConfig{
			Transport: transport, Heartbeat: 5 * time.Second, Congestion: congestion(),
			Services: map[string]func(net.Conn){"target": target},
		})
		shape(b, s.Link, cfg)
		call := dial.Call{Target: identity.Device(s.CA.TrustDomain, Serial), Service: "target", Inner: inner}
		return s.Link, func(ctx context.Context) (net.Conn, error) { return s.Dialer.Open(ctx, call) }
	}
}

// shape sets what a contestant that has started on a perfect line measures on.
func shape(b *testing.B, l *link.Link, cfg link.Config) {
	b.Helper()
	if err := l.Set(link.Both, cfg); err != nil {
		b.Fatal(err)
	}
}

// congestion is the congestion control of TCP for all contestants.
func congestion() string { return cmp.Or(os.Getenv("CONGESTION"), "cubic") }

func BenchmarkLink(b *testing.B) {
	contestants := []contestant{
		{"quic", ours(agent.TransportQUIC, dial.Mux)},
		{"tcp", ours(agent.TransportTCP, dial.Mux)},
		{"quic-raw", ours(agent.TransportQUIC, dial.Raw)},
		{"tcp-raw", ours(agent.TransportTCP, dial.Raw)},
		{"direct", direct},
		{"frp-mux", frp("tcp", true)},
		{"frp-nomux", frp("tcp", false)},
		{"frp-quic", frp("quic", true)},
		{"chisel", chisel},
	}
	for _, rtt := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		for _, percent := range []float64{0, 1, 5} {
			cfg := link.Config{Delay: rtt / 2, Loss: percent / 100, Rate: benchRate, Seed: 1}
			for _, c := range contestants {
				b.Run(fmt.Sprintf("rtt=%s/loss=%g/%s", rtt, percent, c.name), func(b *testing.B) {
					l, connect := c.start(b, cfg)
					measure(b, l, connect)
				})
			}
		}
	}
}

// measure downloads for the time of the benchmark, and sends requests afterwards.
func measure(b *testing.B, l *link.Link, connect func(context.Context) (net.Conn, error)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c, err := open(ctx, connect, forDownload)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, chunk)
	for begin := time.Now(); time.Since(begin) < warmUp; {
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(chunk)
	b.ResetTimer()
	for b.Loop() {
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)*chunk*8/1e6/b.Elapsed().Seconds(), "Mbit/s")
	if err := c.Close(); err != nil {
		b.Error(err)
	}
	latency, err := requests(ctx, connect)
	if err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(latency.P50.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latency.P99.Microseconds())/1000, "p99-ms")
	if n := l.Counters(link.Both).Overrun; n > 0 {
		b.Errorf("the link was too slow for %d packets: the figures say nothing", n)
	}
}

func open(ctx context.Context, connect func(context.Context) (net.Conn, error), kind byte) (net.Conn, error) {
	c, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write([]byte{kind}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// requests measures requests on connections that are open.
func requests(ctx context.Context, connect func(context.Context) (net.Conn, error)) (load.Latency, error) {
	h := load.NewHistogram()
	errs := make(chan error, requestConns)
	var wg sync.WaitGroup
	for range requestConns {
		wg.Go(func() { errs <- requestLoop(ctx, connect, h) })
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return h.Summary(), errors.Join(all...)
}

func requestLoop(ctx context.Context, connect func(context.Context) (net.Conn, error), h *load.Histogram) error {
	c, err := open(ctx, connect, forRequests)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	b := make([]byte, requestSize)
	for i := range requestsEach + 1 {
		begin := time.Now()
		if _, err := c.Write(b); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if i > 0 { // the first one waits for the connection
			h.Add(time.Since(begin))
		}
	}
	return nil
}
