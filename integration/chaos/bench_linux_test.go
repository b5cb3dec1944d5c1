package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/integration/chaos/link"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// What is measured.
const (
	benchRate = 200e6 // bit/s, each way
	chunk     = 64 << 10
	// loadedConns send requests while the download runs, requestConns after it,
	// requestsEach of requestSize each, one by one.
	loadedConns  = 4
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

type connectFunc = func(context.Context) (net.Conn, error)

// way is a contestant that runs.
type way struct {
	link *link.Link
	// requests and download connect from namespace A to the target in B.
	requests, download connectFunc
}

// contestant is one way to a target in namespace B, started on a line.
type contestant struct {
	name, about string
	start       func(t testing.TB, line link.Config) way
	programs    []string // variables that name the peer's programs
}

// ours is our tunnel over one transport. inner is what runs in the relay's stream:
// dial.Mux is the default and end-to-end encrypted, dial.Bulk too, on TCP connections
// of its own, and dial.Raw is what peers do.
func ours(transport string, inner dial.Inner, tcpCongestion string) func(testing.TB, link.Config) way {
	return func(t testing.TB, line link.Config) way {
		t.Helper()
		s := NewSite(t, SiteConfig{
			Link: line, Transport: transport, Heartbeat: 5 * time.Second, Congestion: congestion(), TunnelCongestion: tcpCongestion,
			Services: map[string]func(net.Conn){"target": target},
		})
		call := dial.Call{Target: identity.Device(s.CA.TrustDomain, Serial), Service: "target"}
		open := func(inner dial.Inner) connectFunc {
			call := call
			call.Inner = inner
			return func(ctx context.Context) (net.Conn, error) {
				c, err := s.Dialer.Open(ctx, call)
				if err != nil {
					return nil, err
				}
				if inner == dial.Bulk && !c.OnData() {
					return nil, errors.Join(errors.New("no data connection"), c.Close())
				}
				return c, nil
			}
		}
		w := way{link: s.Link, requests: open(inner), download: open(inner)}
		if inner == dial.Bulk { // for requests nobody takes it
			w.requests = open(dial.Mux)
		}
		return w
	}
}

// congestion is the congestion control of TCP for all contestants.
func congestion() string { return cmp.Or(os.Getenv("CONGESTION"), "cubic") }

func contestants() []contestant {
	return []contestant{
		{"quic", "ours, QUIC, end-to-end encrypted", ours(agent.TransportQUIC, dial.Mux, ""), nil},
		{"tcp", "ours, TLS over TCP, end-to-end encrypted", ours(agent.TransportTCP, dial.Mux, ""), nil},
		{"bulk", "ours, bulk path beside QUIC, end-to-end encrypted", ours(agent.TransportAuto, dial.Bulk, ""), nil},
		{"quic-raw", "ours, QUIC, decrypted at the relay as by peers", ours(agent.TransportQUIC, dial.Raw, ""), nil},
		{"tcp-raw", "ours, TLS over TCP, decrypted at the relay", ours(agent.TransportTCP, dial.Raw, ""), nil},
		{"tcp-bbr", "as tcp, with tcp_congestion: bbr on relay and agent", ours(agent.TransportTCP, dial.Mux, "bbr"), nil},
		{"bulk-bbr", "as bulk, with the same", ours(agent.TransportAuto, dial.Bulk, "bbr"), nil},
		{"direct", "TCP connections, no tunnel, no encryption", direct, nil},
		{"frp-mux", "frp, TLS over TCP, tcpMux", frp("tcp", true), []string{"FRPS", "FRPC"}},
		{"frp-nomux", "frp, TLS over TCP, a pool of connections", frp("tcp", false), []string{"FRPS", "FRPC"}},
		{"frp-quic", "frp, QUIC", frp("quic", true), []string{"FRPS", "FRPC"}},
		{"chisel", "chisel, SSH over a websocket", chisel, []string{"CHISEL"}},
	}
}

// figures are what one contestant reached on one line.
type figures struct {
	bits          float64 // per second, of one download
	loaded, alone load.Latency
}

// measure downloads, after a while in which the congestion control finds the rate,
// with requests beside it, and then measures requests alone.
func measure(w way, warm, during time.Duration) (f figures, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), warm+during+3*time.Minute)
	defer cancel()
	c, err := open(ctx, w.download, forDownload)
	if err != nil {
		return f, fmt.Errorf("download: %w", err)
	}
	var got atomic.Int64
	ended := make(chan struct{})
	var readErr error // set before ended is closed
	go func() {
		for buf := make([]byte, chunk); ; {
			n, err := c.Read(buf)
			got.Add(int64(n))
			if err != nil {
				readErr = err
				close(ended)
				return
			}
		}
	}()
	pause := func(d time.Duration) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-ended:
			return fmt.Errorf("download: %w", readErr)
		case <-t.C:
			return nil
		}
	}
	stop := make(chan struct{})
	loaded := make(chan error, 1)
	go func() {
		var err error
		f.loaded, err = requests(ctx, w.requests, loadedConns, warm, func(int) bool {
			select {
			case <-stop:
				return false
			default:
				return true
			}
		})
		loaded <- err
	}()
	err = pause(warm)
	before, began := got.Load(), time.Now()
	if err == nil {
		err = pause(during)
	}
	f.bits = float64(got.Load()-before) * 8 / time.Since(began).Seconds()
	close(stop)
	if err == nil {
		err = c.Close()
		<-ended
	}
	if err = errors.Join(err, <-loaded); err != nil {
		return f, err
	}
	f.alone, err = requests(ctx, w.requests, requestConns, 0, func(i int) bool { return i < requestsEach })
	if n := w.link.Counters(link.Both).Overrun; n > 0 {
		err = errors.Join(err, fmt.Errorf("the link was too slow for %d packets: the figures say nothing", n))
	}
	return f, err
}

func open(ctx context.Context, connect connectFunc, kind byte) (net.Conn, error) {
	c, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write([]byte{kind}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// requests measures requests on a number of connections that are open, after warm,
// each connection as long as more says.
func requests(ctx context.Context, connect connectFunc, conns int, warm time.Duration, more func(i int) bool) (load.Latency, error) {
	h := load.NewHistogram()
	errs := make(chan error, conns)
	for range conns {
		go func() { errs <- requestLoop(ctx, connect, h, time.Now().Add(warm), more) }()
	}
	var all []error
	for range conns {
		all = append(all, <-errs)
	}
	return h.Summary(), errors.Join(all...)
}

func requestLoop(ctx context.Context, connect connectFunc, h *load.Histogram, from time.Time, more func(i int) bool) error {
	c, err := open(ctx, connect, forRequests)
	if err != nil {
		return fmt.Errorf("requests: %w", err)
	}
	defer func() { _ = c.Close() }()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	b := make([]byte, requestSize)
	for i := -1; more(i); i++ { // the first one waits for the connection
		begin := time.Now()
		if _, err := c.Write(b); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if i >= 0 && begin.After(from) {
			h.Add(time.Since(begin))
		}
	}
	return nil
}
