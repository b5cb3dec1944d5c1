package dial_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial/dialtest"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const serial = identity.Serial("0123456789")

var echoService = map[string]dialtest.Handler{"echo": dialtest.Echo}

func roundTrip(c net.Conn, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if string(buf) != text {
		return errors.New("echo gives " + string(buf))
	}
	return nil
}

func call(ctx context.Context, d *dial.Dialer) error {
	c, err := d.DialContext(ctx, serial, "echo")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := roundTrip(c, "hello"); err != nil {
		return err
	}
	// Until the device has ended the call too: a caller that does not wait for that
	// can have more calls there than it knows of.
	if err := c.(*dial.Conn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// The whole way, over both transports and with every kind of call.
func TestRealRelay(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{dial.TransportTCP, dial.TransportQUIC, dial.TransportAuto, dial.TransportRace} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			n := dialtest.New(t, 1)
			n.Device(serial, echoService, nil)
			d := n.Dialer("ccc", func(c *dial.Config) { c.Transport = transport })
			for _, inner := range []dial.Inner{dial.Mux, dial.TLS, dial.Raw} {
				c, err := d.Open(t.Context(), dial.Call{Target: d.Device(serial), Service: "echo", Inner: inner})
				if err != nil {
					t.Fatalf("inner %d: %v", inner, err)
				}
				if err := roundTrip(c, "hello"); err != nil {
					t.Errorf("inner %d: %v", inner, err)
				}
				_ = c.CloseWrite()
				if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("inner %d: read after half-close gives %d, %v", inner, n, err)
				}
				_ = c.Close()
			}
			// OwnTLS: the user of the connection speaks TLS with the device itself.
			c, err := d.Open(t.Context(), dial.Call{Target: d.Device(serial), Service: "echo", Inner: dial.OwnTLS})
			if err != nil {
				t.Fatal(err)
			}
			creds := n.CA.Credentials(identity.Service(n.CA.TrustDomain, "ccc"))
			own := tls.Client(c, creds.ClientConfig(d.Device(serial).DNSName(), identity.Exactly(d.Device(serial))))
			if err := roundTrip(own, "own TLS"); err != nil {
				t.Error(err)
			}
			_ = own.Close()

			_, err = d.DialContext(t.Context(), "9999999999", "echo")
			if !errors.Is(err, dial.ErrOffline) {
				t.Errorf("offline device: %v", err)
			}
			_, err = d.DialContext(t.Context(), serial, "nothing")
			if !errors.Is(err, dial.ErrServiceUnknown) {
				t.Errorf("unknown service: %v", err)
			}
			report, err := d.Trace(t.Context(), serial, "echo")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range report.Steps {
				names = append(names, s.Name)
			}
			want := []string{"tcp", "tls", "welcome", "open", "end-to-end", "call"}
			if report.Transport == tunnel.QUIC {
				want = []string{"quic", "welcome", "open", "end-to-end", "call"}
			}
			if !slices.Equal(names, want) {
				t.Errorf("trace steps %v, want %v", names, want)
			}
		})
	}
}

// A device calls the service.
func TestDeviceCallsService(t *testing.T) {
	t.Parallel()
	n := dialtest.New(t, 1)
	a := n.Device(serial, echoService, nil)
	d := n.Dialer("ccc", nil)
	ln, err := d.Listen("events")
	if err != nil {
		t.Fatal(err)
	}
	up := func() bool { return d.Relays()[0].State == dial.LinkUp }
	eventually(t, "the service is connected", up)
	got := make(chan identity.ID, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		got <- c.(*dial.Conn).Caller()
		dialtest.Echo(c)
		_ = c.Close()
	}()
	c, err := a.Dial(t.Context(), "service/ccc", "events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := roundTrip(c, "hello"); err != nil {
		t.Error(err)
	}
	if id := <-got; id != identity.Device(n.CA.TrustDomain, serial) {
		t.Errorf("caller %v", id)
	}
}

// A relay is stopped and comes back at the same address: the device is reached
// again without anybody's doing, and what ran in between failed with a number.
func TestRelayRestart(t *testing.T) {
	t.Parallel()
	n := dialtest.New(t, 1)
	n.Device(serial, echoService, nil)
	d := n.Dialer("ccc", nil)
	c, err := d.DialContext(t.Context(), serial, "echo")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	n.Relays[0].Stop()
	if err := roundTrip(c, "x"); err == nil {
		t.Error("a call outlives its relay")
	}
	if err := call(t.Context(), d); !tunnel.Retryable(err) {
		t.Errorf("call without a relay: %v", err)
	}
	n.Relays[0].Start()
	eventually(t, "the device is reached again", func() bool { return call(t.Context(), d) == nil })
}

// Two relays, one of them is drained and restarted, then the other, under calls
// that never stop: none fails.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	n := dialtest.New(t, 2)
	n.Device(serial, echoService, func(c *agent.Config) { c.Slots = 2 })
	d := n.Dialer("ccc", nil)
	eventually(t, "both relays have the device", func() bool {
		return len(n.Relays[0].Sessions("device/"+string(serial))) > 0 && len(n.Relays[1].Sessions("device/"+string(serial))) > 0
	})
	var calls, failed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				calls.Add(1)
				if err := call(ctx, d); err != nil && ctx.Err() == nil {
					failed.Add(1)
					t.Errorf("call failed: %v", err)
				}
			}
		})
	}
	stop := func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	connected := func() bool {
		return !slices.ContainsFunc(d.Relays(), func(l dial.LinkStatus) bool { return l.State != dial.LinkUp })
	}
	eventually(t, "the service is connected to both", connected)
	for _, r := range n.Relays {
		t.Logf("%s: %+v", r.ID(), r.Drain(t.Context()))
		r.Stop()
		r.Start()
		eventually(t, "the service is connected to both", connected)
	}
	stop()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
}

// eventually polls for a state that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// BenchmarkOpen is a new call with one request, at one device through a relay:
// over the kept session against a TLS handshake per call.
func BenchmarkOpen(b *testing.B) {
	n := dialtest.New(b, 1)
	n.Device(serial, echoService, nil)
	for name, inner := range map[string]dial.Inner{"mux": dial.Mux, "tls": dial.TLS, "raw": dial.Raw} {
		b.Run(name, func(b *testing.B) {
			d := n.Dialer("ccc", nil)
			b.ReportAllocs()
			for b.Loop() {
				c, err := d.Open(b.Context(), dial.Call{Target: d.Device(serial), Service: "echo", Inner: inner})
				if err != nil {
					b.Fatal(err)
				}
				if err := roundTrip(c, "hello"); err != nil {
					b.Fatal(err)
				}
				_ = c.Close()
			}
		})
	}
}
