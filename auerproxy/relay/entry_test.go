package relay_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// entryTo is an entry on a free port.
func entryTo(s identity.Serial, service string) relay.Entry {
	return relay.Entry{Listen: "127.0.0.1:0", Target: identity.Device(td, s).Path(), Service: service}
}

// entryWorld starts a relay whose entry 0 leads to echo on the usual device.
func entryWorld(t testing.TB, change func(*relay.Config)) *world {
	t.Helper()
	return newWorld(t, func(c *relay.Config) {
		c.Entries = []relay.Entry{entryTo(serial, "echo")}
		if change != nil {
			change(c)
		}
	})
}

// rawDevice starts a device that takes raw streams for echo, and waits for it.
func (w *world) rawDevice(s identity.Serial, transport string, change func(*agent.Config)) (stop func()) {
	w.t.Helper()
	_, stop = w.device(s, transport, func(c *agent.Config) {
		c.Services[1].Raw = true
		if change != nil {
			change(c)
		}
	})
	w.online(identity.Device(td, s), 1)
	return stop
}

// enter connects to an entry.
func (w *world) enter(i int) *net.TCPConn {
	w.t.Helper()
	c, err := w.tryEnter(i)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) tryEnter(i int) (*net.TCPConn, error) {
	c, err := new(net.Dialer).DialContext(timeout(w.t, patience), "tcp", w.relay.Status().Entries[i].Address)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn), nil
}

// wantReset waits for the relay to cut a connection.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read gives %d bytes and %v, want a reset", n, err)
	}
}

// wantRefused connects and waits for the reset, which may come first.
func (w *world) wantRefused(t *testing.T, i int) {
	t.Helper()
	c, err := w.tryEnter(i)
	if err == nil {
		wantReset(t, c)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connect to entry %d: %v", i, err)
	}
}

// wantCount waits for the number of connections that ended up with a code.
func (w *world) wantCount(code tunnel.Code, n float64) {
	w.t.Helper()
	eventually(w.t, patience, "connections counted as "+code.Info().Name, func() bool {
		return counter(w.t, w, "auerproxy_entry_connections_total", code.Info().Name) == n
	})
}

func TestEntryReachesTheDevice(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{agent.TransportQUIC, agent.TransportTCP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			w := entryWorld(t, nil)
			w.rawDevice(serial, transport, nil)
			c := w.enter(0)
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			// The end of one direction is not the end of the other.
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, c); got != "hello" {
				t.Errorf("echo is %q", got)
			}
			w.wantCount(tunnel.CodeOK, 1)
			if n := counter(t, w, "auerproxy_opens_total", "ok"); n != 1 {
				t.Errorf("%v opens counted, want 1", n)
			}
			eventually(t, patience, "the bytes counted", func() bool { return counter(t, w, "auerproxy_stream_bytes_total") == 10 })

			w.stop()
			rec := w.streamRecord()
			if rec.Caller != "relay/r1" || rec.Target != "device/"+string(serial) || rec.Service != "echo" ||
				rec.ToTarget != 5 || rec.ToCaller != 5 || rec.Reason != "ok" || len(rec.Request) != 2*tunnel.IDLen {
				t.Errorf("the record is %+v", rec)
			}
		})
	}
}

type streamRecord struct {
	Kind, Caller, Target, Service, Request, Reason string

	ToTarget int64 `json:"to_target"`
	ToCaller int64 `json:"to_caller"`
}

// streamRecord gives the only stream's record of a relay that was stopped.
func (w *world) streamRecord() streamRecord {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.cfg.StateDir, "records", "*.jsonl"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("records: %v, %v", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var rec streamRecord
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			w.t.Fatal(err)
		}
		if rec.Kind == "stream" {
			return rec
		}
	}
	w.t.Fatal("no record of a stream")
	return streamRecord{}
}

func TestEntryThatCannotBeOpenedIsResetAtOnce(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, func(c *relay.Config) {
		c.Entries = append(c.Entries,
			entryTo(serial, "web"),        // not raw on the device
			entryTo(serial, "nope"),       // no service of the device
			entryTo("0888888888", "echo"), // its list has no place for a relay
			entryTo("0777777777", "echo"), // never online
		)
	})
	w.wantRefused(t, 0)
	w.wantCount(tunnel.CodeNotReachable, 1)

	w.rawDevice(serial, agent.TransportTCP, nil)
	w.rawDevice("0888888888", agent.TransportTCP, func(c *agent.Config) { c.Services[1].Allow = []string{"ccc"} })
	for i := 1; i < 5; i++ {
		w.wantRefused(t, i)
	}
	w.wantCount(tunnel.CodeRefusedByDevice, 2)
	w.wantCount(tunnel.CodeServiceUnknown, 1)
	w.wantCount(tunnel.CodeNotReachable, 2)
	ping(t, w.enter(0)) // the positive control
}

func TestEntryStreamsPerDevice(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, func(c *relay.Config) { c.Limits.StreamsPerDevice = 1 })
	w.rawDevice(serial, agent.TransportTCP, nil)
	first := w.enter(0)
	ping(t, first)
	w.wantRefused(t, 0)
	w.wantCount(tunnel.CodeTooManyStreams, 1)
	_ = first.Close()
	eventually(t, patience, "the first stream's end", func() bool {
		return w.relay.Sessions("device/" + string(serial))[0].StreamsTo == 0
	})
	ping(t, w.enter(0))
}

func TestEntryIdle(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, func(c *relay.Config) { c.Limits.StreamIdle = 2 * time.Second })
	w.rawDevice(serial, agent.TransportQUIC, nil)
	c := w.enter(0)
	ping(t, c)
	wantReset(t, c)
	eventually(t, patience, "the end counted", func() bool {
		return counter(t, w, "auerproxy_streams_ended_total", "stream_idle") == 1
	})
}

func TestEntrySlowReader(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, func(c *relay.Config) { c.Limits.SlowReader = 200 * time.Millisecond })
	w.rawDevice(serial, agent.TransportTCP, nil)
	other, c := w.enter(0), w.enter(0)
	buf := make([]byte, 64<<10)
	for err := error(nil); err == nil; _, err = c.Write(buf) { // never reads
	}
	eventually(t, patience, "the end counted", func() bool {
		return counter(t, w, "auerproxy_streams_ended_total", "slow_reader") == 1
	})
	ping(t, other)
}

func TestEntryBytesPerSecond(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, func(c *relay.Config) { c.Limits.BytesPerSecond = 4 * splice.MaxChunk })
	w.rawDevice(serial, agent.TransportTCP, nil)
	c := w.enter(0)
	start := time.Now()
	go func() { _, _ = c.Write(make([]byte, 3*splice.MaxChunk)) }()
	if _, err := io.ReadFull(c, make([]byte, 3*splice.MaxChunk)); err != nil {
		t.Fatal(err)
	}
	// The burst is one chunk; a quarter of a second for each of the others.
	if took := time.Since(start); took < 450*time.Millisecond {
		t.Errorf("three chunks in %s at four per second", took)
	}
}

func TestEntryOfABlockedDevice(t *testing.T) {
	t.Parallel()
	const other = identity.Serial("0987654321")
	w := entryWorld(t, func(c *relay.Config) { c.Entries = append(c.Entries, entryTo(other, "echo")) })
	w.rawDevice(serial, agent.TransportQUIC, nil)
	w.rawDevice(other, agent.TransportTCP, nil)
	cut, kept := w.enter(0), w.enter(1)
	ping(t, cut)
	ping(t, kept)
	w.relay.SetBlocks(blocks.NewList(1, identity.Device(td, serial).Path()))
	wantReset(t, cut)
	w.online(identity.Device(td, serial), 0)
	w.wantRefused(t, 0)
	ping(t, kept)
	ping(t, w.enter(1))
}

// While the relay is emptied an entry is served as long as its device is there.
func TestEntryDrain(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, func(c *relay.Config) { c.Drain.Deadline = 2 * time.Second })
	w.rawDevice(serial, agent.TransportTCP, nil) // has nowhere to go
	c := w.enter(0)
	ping(t, c)
	drained := make(chan relay.Drained)
	go func() { drained <- w.relay.Drain(context.Background()) }()
	eventually(t, patience, "the drain's start", func() bool {
		return w.relay.Sessions("device/" + string(serial))[0].Leaving
	})
	ping(t, c)
	<-drained
	wantReset(t, c)
	w.online(identity.Device(td, serial), 0) // until then an open may find the session that is ending
	w.wantRefused(t, 0)
	w.wantCount(tunnel.CodeDraining, 1)
}

func TestEntryEndsWithTheRelay(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, nil)
	w.rawDevice(serial, agent.TransportQUIC, nil)
	c := w.enter(0)
	ping(t, c)
	addr := w.relay.Status().Entries[0].Address
	w.stop()
	wantReset(t, c)
	if c, err := new(net.Dialer).DialContext(timeout(t, patience), "tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the entry still listens")
	}
}

// An entry is a permission for its own connections only.
func TestEntryGivesNobodyElseARight(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, nil)
	w.rawDevice(serial, agent.TransportTCP, nil)
	ping(t, w.enter(0))
	d := w.dialer("ara", func(c *dial.Config) { c.Transport = dial.TransportTCP })
	if _, err := d.DialContext(timeout(t, patience), serial, "echo"); tunnel.CodeOf(err) != tunnel.CodePolicyDenied {
		t.Errorf("ara to echo: %v, want %s", err, tunnel.CodePolicyDenied)
	}
	if err := callEcho(w.dialer("ccc", nil), serial); err != nil {
		t.Errorf("ccc to echo: %v", err)
	}
}

func TestEntryAddressInUse(t *testing.T) {
	t.Parallel()
	w := entryWorld(t, nil)
	cfg := w.cfg
	cfg.Listen, cfg.StateDir, cfg.Metrics = "127.0.0.1:0", t.TempDir(), prometheus.NewRegistry()
	cfg.Entries = []relay.Entry{entryTo(serial, "echo"), {
		Listen: w.relay.Status().Entries[0].Address, Target: "device/" + string(serial), Service: "echo",
	}}
	r, err := relay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Run(timeout(t, patience))
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "entries[1].listen") {
		t.Errorf("got %v, want entries[1].listen and address in use", err)
	}
}
