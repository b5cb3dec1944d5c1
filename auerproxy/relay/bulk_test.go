package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// bulkWorld is a relay with a device whose service echo takes data connections.
func bulkWorld(t *testing.T, change func(*relay.Config), device func(*agent.Config)) *world {
	t.Helper()
	w := newWorld(t, change)
	w.device(serial, agent.TransportAuto, func(c *agent.Config) {
		c.Services[1].Bulk = true
		if device != nil {
			device(c)
		}
	})
	w.online(identity.Device(td, serial), 1)
	return w
}

// bulkCall opens a bulk call to echo, which must or must not get a data connection.
func (w *world) bulkCall(d *dial.Dialer, onData bool) *dial.Conn {
	w.t.Helper()
	c, err := d.Open(timeout(w.t, 10*time.Second), dial.Call{Target: d.Device(serial), Service: "echo", Inner: dial.Bulk})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if c.OnData() != onData {
		w.t.Fatalf("on a data connection: %t, want %t", c.OnData(), onData)
	}
	return c
}

func TestBulkCall(t *testing.T) {
	t.Parallel()
	w := bulkWorld(t, nil, nil)
	c := w.bulkCall(w.dialer("ccc", nil), true)
	data := make([]byte, 5<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes back, %v", len(got), err)
	}
	_ = c.Close()
	eventually(t, 10*time.Second, "the end of the call", func() bool {
		return counter(t, w, "auerproxy_streams_ended_total", "ok") == 1
	})
	for direction, least := range map[string]float64{"to_target": 5 << 20, "to_caller": 5 << 20} {
		if n := counter(t, w, "auerproxy_stream_bytes_total", direction); n < least {
			t.Errorf("%.0f bytes counted %s, want %.0f and a handshake", n, direction, least)
		}
	}
	if n := counter(t, w, "auerproxy_bulk_calls_total", "joined"); n != 1 {
		t.Errorf("%.0f calls joined", n)
	}
}

// TestBulkFallsBack: without a data connection on one side, or with one that
// breaks at once, the call runs in the tunnel.
func TestBulkFallsBack(t *testing.T) {
	t.Parallel()
	noTCP := errors.New("TCP is blocked here")
	for name, tt := range map[string]struct {
		relay  func(*relay.Config)
		device func(*agent.Config)
		caller func(*dial.Config)
	}{
		"relay without": {relay: func(c *relay.Config) { c.DisableBulk = true }},
		"service without": {device: func(c *agent.Config) {
			c.Services[1].Bulk = false
		}},
		"device on UDP only": {device: func(c *agent.Config) { c.Transport = agent.TransportQUIC }},
		"caller on UDP only": {caller: func(c *dial.Config) { c.Transport = dial.TransportQUIC }},
		"TCP blocked at the device": {device: func(c *agent.Config) {
			c.TCP = &muxtun.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, noTCP }}
		}},
		"TCP blocked at the caller": {caller: func(c *dial.Config) {
			c.TCP = &muxtun.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, noTCP }}
		}},
		"broken behind the ticket at the caller": {caller: func(c *dial.Config) {
			c.Transport = dial.TransportRace
			c.TCP = &muxtun.Dialer{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return &breaksAfter{Conn: conn, writes: 1}, err
			}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := bulkWorld(t, tt.relay, tt.device)
			c := w.bulkCall(w.dialer("ccc", tt.caller), false)
			if _, err := io.WriteString(c, "in the tunnel"); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, c); got != "in the tunnel" {
				t.Errorf("echo is %q", got)
			}
		})
	}
}

// breaksAfter breaks after some writes.
type breaksAfter struct {
	net.Conn
	writes int
}

func (b *breaksAfter) Write(p []byte) (int, error) {
	if b.writes--; b.writes < 0 {
		_ = b.Conn.Close()
		return 0, errors.New("broken")
	}
	return b.Conn.Write(p)
}

// TestBulkIsCut: what cuts a call in the tunnel cuts its data connections, and the
// other side learns the number.
func TestBulkIsCut(t *testing.T) {
	t.Parallel()
	device := identity.Device(td, serial)
	for name, tt := range map[string]struct {
		relay func(*relay.Config)
		cut   func(w *world, c *dial.Conn)
		want  []tunnel.Code
	}{
		"blocked": {cut: func(w *world, _ *dial.Conn) { w.relay.SetBlocks(blocks.NewList(1, device.Path())) }},
		"kicked":  {cut: func(w *world, _ *dial.Conn) { w.relay.Kick(device) }},
		"caller kicked": {
			cut:  func(w *world, _ *dial.Conn) { w.relay.Kick(identity.Service(td, "ccc")) },
			want: []tunnel.Code{tunnel.CodeSessionLost},
		},
		"idle": {
			relay: func(c *relay.Config) { c.Limits.StreamIdle = 300 * time.Millisecond },
			cut:   func(*world, *dial.Conn) {}, want: []tunnel.Code{tunnel.CodeStreamIdle},
		},
		"relay stopped": {cut: func(w *world, _ *dial.Conn) { w.stop() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := bulkWorld(t, tt.relay, nil)
			c := w.bulkCall(w.dialer("ccc", nil), true)
			ping(t, c)
			tt.cut(w, c)
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err := c.Read(make([]byte, 1))
			e, ok := errors.AsType[*tunnel.Error](err)
			if !ok {
				t.Fatalf("the cut call reads %v", err)
			}
			for _, want := range tt.want {
				if e.Code != want {
					t.Errorf("cut with %v, want %s", err, want)
				}
			}
		})
	}
}

// TestBulkReset: a reset by the caller ends the device's side with its number, and
// never looks like the end.
func TestBulkReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) {
		c.Policy = append(c.Policy, relay.Rule{Caller: "service/lab", Target: "device", Services: []string{"sink"}})
	})
	a, _ := w.device(serial, agent.TransportAuto, func(c *agent.Config) {
		c.Services = append(c.Services, agent.Service{Name: "sink", Bulk: true})
	})
	sink, err := a.Listen("sink")
	if err != nil {
		t.Fatal(err)
	}
	w.online(identity.Device(td, serial), 1)
	ends := make(chan error, 1)
	go func() {
		for {
			c, err := sink.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Write([]byte{0})
				_, err := io.Copy(io.Discard, c)
				_ = c.Close()
				ends <- err
			}()
		}
	}()
	d := w.dialer("lab", nil)
	for i := range 20 {
		c, err := d.Open(timeout(t, 10*time.Second), dial.Call{Target: d.Device(serial), Service: "sink", Inner: dial.Bulk})
		if err != nil {
			t.Fatal(err)
		}
		if !c.OnData() {
			t.Fatal("no data connection")
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // the service has it
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, i<<12)); err != nil {
			t.Fatal(err)
		}
		c.Reset(tunnel.CodeCancelled)
		if e, ok := errors.AsType[*tunnel.Error](<-ends); !ok || e.Code != tunnel.CodeCancelled {
			t.Errorf("the reset arrives as %v", e)
		}
	}
}

func TestBulkBytesPerSecond(t *testing.T) {
	t.Parallel()
	w := bulkWorld(t, func(c *relay.Config) { c.Limits.BytesPerSecond = 4 * splice.MaxChunk }, nil)
	c := w.bulkCall(w.dialer("ccc", nil), true)
	start := time.Now()
	go func() { _, _ = c.Write(make([]byte, 4*splice.MaxChunk)) }()
	if _, err := io.ReadFull(c, make([]byte, 4*splice.MaxChunk)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 450*time.Millisecond {
		t.Errorf("four chunks in %s at four per second", took)
	}
}

// TestDataConnectionNeedsATicket: the port takes nothing else, and a ticket once.
func TestDataConnectionNeedsATicket(t *testing.T) {
	t.Parallel()
	w := bulkWorld(t, func(c *relay.Config) { c.Limits.HandshakeTimeout = 2 * time.Second }, nil)
	connect := func() net.Conn {
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	if err := bulk.Open(t.Context(), connect(), bulk.NewTicket()); err == nil {
		t.Error("a ticket that nobody gave was taken")
	}
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "AUD2" + string(make([]byte, bulk.TicketLen)), "AUD1 and no more", "\x00"} {
		c := connect()
		_, _ = io.WriteString(c, text)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v", strconv.Quote(text), n, err)
		}
	}
	ping(t, w.bulkCall(w.dialer("ccc", nil), true)) // the control: with a ticket
}
