package load

import (
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

func TestTraffic(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{agent.TransportQUIC, agent.TransportTCP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			if transport == agent.TransportTCP && !countsTCP {
				t.Skip("TCP_INFO is Linux's")
			}
			w := newWorld(t)
			f := w.fleet(func(c *FleetConfig) { c.Devices, c.Transport = 5, transport })
			if err := f.WaitOnline(within(t, 30*time.Second), 5); err != nil {
				t.Fatalf("%v: %+v", err, f.Counts())
			}
			// A handshake is two flights at least, of which each has a certificate.
			first := f.Traffic()
			const packets, size = 5 * 3, 5 * 1000
			if first.PacketsIn < packets || first.PacketsOut < packets || first.BytesIn < size || first.BytesOut < size {
				t.Errorf("%+v, want at least %d packets and %d bytes each way", first, packets, size)
			}
			if first.BytesOut > 1e6 || first.PacketsOut > 1000 {
				t.Errorf("%+v for five handshakes", first)
			}
			// Heartbeats follow by themselves.
			deadline := time.After(30 * time.Second)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				if d := f.Traffic().Sub(first); d.PacketsIn > 0 && d.PacketsOut > 0 && d.BytesIn > 0 && d.BytesOut > 0 {
					return
				}
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("no heartbeats: %+v after %+v", f.Traffic(), first)
				}
			}
		})
	}
}

// A fleet that does not run yet has sent nothing.
func TestTrafficBeforeRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, err := NewFleet(FleetConfig{Devices: 1, Relays: []string{w.addr}, Certificates: w.certs})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Traffic(); got != (Traffic{}) {
		t.Errorf("%+v", got)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet(func(c *FleetConfig) { c.Devices = 2 })
	if err := f.WaitOnline(within(t, 30*time.Second), 2); err != nil {
		t.Fatalf("%v: %+v", err, f.Counts())
	}
	c, err := NewCaller(CallerConfig{Relays: []string{w.addr}, Certificates: w.certs, Serials: f.Serials()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	before := f.Traffic()
	const n = 3 << 20
	for _, serial := range f.Serials() {
		if err := c.Bulk(within(t, 30*time.Second), serial, n); err != nil {
			t.Fatal(err)
		}
	}
	if d := f.Traffic().Sub(before); d.BytesIn < n || d.BytesOut < n {
		t.Errorf("%+v, want at least %d bytes each way", d, n)
	}
	if err := c.Bulk(within(t, 30*time.Second), "9999999999", n); err == nil {
		t.Error("bulk to a device that does not exist")
	}
}

func TestUDPBufferPerPacket(t *testing.T) {
	t.Parallel()
	for _, payload := range []int{100, 1200} {
		each, err := UDPBufferPerPacket(payload)
		// The buffer that the kernel gives is up to twice what was asked for.
		if err != nil || each < float64(payload)/2 || each > 64<<10 {
			t.Errorf("%d bytes of payload take %v bytes, %v", payload, each, err)
		}
	}
}
