package capacity

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

var update = flag.Bool("update", false, "write the golden files")

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

// TestCost compares with what was computed by hand from the constants of sample.
func TestCost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		demand Demand
		relays float64
		want   Cost
	}{
		{"nothing", Demand{Heartbeat: 20 * time.Second, QUIC: 0.5}, 1, Cost{Memory: 20e6, UDPSockets: 1}},
		{
			// 50 heartbeats a second.
			"QUIC",
			Demand{Devices: 1000, QUIC: 1, Heartbeat: 20 * time.Second},
			1,
			Cost{
				Tunnels: 1000, Memory: 20e6 + 100e6, Idle: 0.025, PacketsIn: 150, PacketsOut: 100, BitsIn: 120e3, BitsOut: 80e3,
				UDPSockets: 1, Conntrack: 1000,
			},
		},
		{
			// 100 heartbeats a second, of two slots.
			"TCP, two slots, callers",
			Demand{Devices: 1000, Slots: 2, Heartbeat: 20 * time.Second, Callers: 3},
			2,
			Cost{
				Tunnels: 2000, Memory: 2*20e6 + 120e6, Idle: 0.02, PacketsIn: 200, PacketsOut: 100, BitsIn: 176e3, BitsOut: 136e3,
				TCPSockets: 2000 + 6, Conntrack: 2000 + 6,
			},
		},
		{
			// 25 heartbeats a second over each transport.
			"mix",
			Demand{Devices: 1000, QUIC: 0.5, Heartbeat: 20 * time.Second, Streams: 100},
			1,
			Cost{
				Tunnels: 1000, Memory: 20e6 + 50e6 + 30e6 + 1e6 + 0.5e6, Idle: 0.0125 + 0.005, PacketsIn: 75 + 50, PacketsOut: 50 + 25,
				BitsIn: 60e3 + 44e3, BitsOut: 40e3 + 34e3, UDPSockets: 1, TCPSockets: 500, Conntrack: 1000,
			},
		},
		{
			// 10 first calls and 30 others a second.
			"calls over QUIC",
			Demand{QUIC: 1, Heartbeat: time.Second, Calls: 40, FirstCalls: 0.25},
			0,
			Cost{
				Calls: 0.04 + 0.009, PacketsIn: 200 + 180, PacketsOut: 220 + 210, BitsIn: 8 * (90e3 + 60e3), BitsOut: 8 * (95e3 + 75e3),
			},
		},
		{
			// A tenth of a GB a second.
			"bulk over TCP",
			Demand{Heartbeat: time.Second, BulkBytes: 100e6},
			0,
			Cost{Bulk: 0.1, PacketsIn: 100e3, PacketsOut: 100e3, BitsIn: 840e6, BitsOut: 840e6},
		},
	} {
		got := sample().Cost(tt.demand, tt.relays)
		g, w := fmt.Sprintf("%.6g", got), fmt.Sprintf("%.6g", tt.want)
		if g != w {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, g, w)
		}
	}
}

// small is a machine that holds few, with round numbers.
func small() Machine {
	return Machine{
		Cores: 2, Speed: 1, Memory: 2.04e9, Link: 1e9, UseCPU: 0.5, UseMemory: 0.5, UseLink: 0.5,
		Tunnels: 5000, Handshakes: 2000, Back: 10 * time.Minute, UDPBuffer: 2048 * 1600, Spare: 1, PriceRelay: 50, PriceTB: 10,
	}
}

func TestPredictByHand(t *testing.T) {
	t.Parallel()
	// 10^9 bytes for 10,000 bytes each and more: see the bounds.
	d := Demand{Devices: 20_000, QUIC: 1, Heartbeat: 20 * time.Second}
	p, err := Predict(sample(), d, small())
	if err != nil {
		t.Fatal(err)
	}
	// Memory: 20,000 x 100 kB over 1.02 GB - 20 MB. Processors: 1000 heartbeats/s of
	// 0.5 ms on 1 core. Network: 1000 x 300 x 8 over 0.5 Gbit/s. Tunnels: over 5000.
	// Coming back: 20,000 at 1000/s (2 cores of 2 ms) in 600 s.
	for i, want := range []Bound{{"memory", 2}, {"processors", 0.5}, {"network", 0.0048}, {"limit of tunnels", 4}, {"time to come back", 1. / 30}} {
		if got := p.Bounds[i]; got.Name != want.Name || !near(got.Relays, want.Relays) {
			t.Errorf("bound %+v, want %+v", got, want)
		}
	}
	if p.Needed != 4 || p.Relays != 5 || p.Holds != 5000 {
		t.Errorf("%d needed, %d in all, each holds %d; want 4, 5, 5000", p.Needed, p.Relays, p.Holds)
	}
	if p.Relay.Tunnels != 4000 || p.Worst.Tunnels != 5000 || !near(p.Worst.Memory, 520e6) || p.Relay.UDPSockets != 1 {
		t.Errorf("one of five %+v, one of four %+v", p.Relay, p.Worst)
	}
	if p.Set != (Settings{Files: 4096, Conntrack: 9096, ReceiveBuffer: 2048 * 1600}) {
		t.Errorf("settings %+v", p.Set)
	}
	s := p.Storm
	// 5000 tunnels at 1000/s are faster than the heartbeat by which QUIC notices. 8000
	// packets/s fill 1600 places in 0.2 s.
	if s.LimitedBy != "cpu" || !near(s.Rate, 1000) || s.Restarted != 20*time.Second || s.Moved != 20*time.Second || s.Buffer != 200*time.Millisecond || !near(s.Cores, 2) {
		t.Errorf("%+v", s)
	}
	// 1000 heartbeats/s of 200 bytes are 0.2 MB/s.
	tb := 0.2e6 * month / 1e12
	if !near(p.Money.Relays, 250) || !near(p.Money.TB, tb) || !near(p.Money.Traffic, 10*tb) || !near(p.Money.PerDevice, (250+10*tb)/20_000) {
		t.Errorf("%+v", p.Money)
	}

	// Over TCP nobody waits for a heartbeat, and the relay's limit is below what two
	// cores could do in 1 ms each.
	d.QUIC = 0
	m := small()
	m.Handshakes = 500
	if p, err = Predict(sample(), d, m); err != nil {
		t.Fatal(err)
	}
	if p.Set != (Settings{Files: 9096, Conntrack: 9096}) {
		t.Errorf("settings over TCP %+v", p.Set)
	}
	s = p.Storm
	if s.LimitedBy != "limit" || s.Rate != 500 || s.Restarted != 10*time.Second || s.Moved != 2500*time.Millisecond || s.Buffer != 0 {
		t.Errorf("%+v", s)
	}
}

// TestMoreNeverCostsLess raises each part of the demand.
func TestMoreNeverCostsLess(t *testing.T) {
	t.Parallel()
	for name, raise := range map[string]func(d *Demand, n int){
		"devices": func(d *Demand, n int) { d.Devices = 997 * n },
		"slots":   func(d *Demand, n int) { d.Slots = n },
		"calls":   func(d *Demand, n int) { d.Calls = 37 * float64(n) },
		"first":   func(d *Demand, n int) { d.FirstCalls = float64(n) / 100 },
		"streams": func(d *Demand, n int) { d.Streams = 5003 * n },
		"callers": func(d *Demand, n int) { d.Callers = n },
		"bulk":    func(d *Demand, n int) { d.BulkBytes = 3e6 * float64(n) },
		"beats":   func(d *Demand, n int) { d.Heartbeat = time.Minute / time.Duration(n+1) },
	} {
		for _, mix := range []float64{0, 0.3, 1} {
			var last Prediction
			for n := range 100 {
				d := Demand{Devices: 3000, QUIC: mix, Heartbeat: 20 * time.Second, Calls: 10, BulkBytes: 1e6}
				raise(&d, n)
				p, err := Predict(sample(), d, small())
				if err != nil {
					t.Fatal(err)
				}
				if p.Relays < last.Relays || p.Money.Sum() < last.Money.Sum() || p.Fleet.Memory < last.Fleet.Memory ||
					p.Fleet.Cores() < last.Fleet.Cores() || p.Fleet.PacketsIn < last.Fleet.PacketsIn || p.Fleet.Conntrack < last.Fleet.Conntrack {
					t.Fatalf("%s, %v of QUIC, step %d: less than one step before\n%+v\n%+v", name, mix, n, p, last)
				}
				last = p
			}
		}
	}
}

func TestPredictLimits(t *testing.T) {
	t.Parallel()
	// Without a device there is a relay that waits, and a spare one.
	p, err := Predict(sample(), Demand{Heartbeat: time.Second}, small())
	if err != nil {
		t.Fatal(err)
	}
	if p.Needed != 1 || p.Relays != 2 || p.Holds != 0 || p.Money.Relays != 100 || p.Money.PerDevice != 0 || p.Storm.Restarted != 0 || p.Fleet.Memory != 40e6 {
		t.Errorf("no devices: %+v", p)
	}
	// One relay without a spare has nobody who takes its tunnels.
	m := small()
	m.Spare = 0
	if p, err = Predict(sample(), Demand{Devices: 10, Heartbeat: time.Second}, m); err != nil || p.Storm.Moved != 0 || p.Storm.Restarted == 0 {
		t.Errorf("one relay: %+v, %v", p.Storm, err)
	}
	// Constants of a transport that nobody uses do not matter.
	c := sample()
	c.TCP.Memory.Value *= 1000
	c.TCP.Heartbeat.CPU.Value *= 1000
	d := Demand{Devices: 1000, QUIC: 1, Heartbeat: time.Second}
	a, errA := Predict(c, d, small())
	b, errB := Predict(sample(), d, small())
	if errA != nil || errB != nil || a.Fleet != b.Fleet || a.Needed != b.Needed || a.Storm != b.Storm {
		t.Errorf("QUIC alone depends on TCP: %+v, %+v", a, b)
	}
}

func TestPredictRefuses(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*Demand, *Machine){
		"negative number of devices":   func(d *Demand, _ *Machine) { d.Devices = -1 },
		"share of QUIC":                func(d *Demand, _ *Machine) { d.QUIC = 1.1 },
		"share of first calls":         func(d *Demand, _ *Machine) { d.FirstCalls = math.NaN() },
		"heartbeat 0s":                 func(d *Demand, _ *Machine) { d.Heartbeat = 0 },
		"calls -1 per second":          func(d *Demand, _ *Machine) { d.Calls = -1 },
		"bulk +Inf per second":         func(d *Demand, _ *Machine) { d.BulkBytes = math.Inf(1) },
		"cores 0":                      func(_ *Demand, m *Machine) { m.Cores = 0 },
		"used share of the processors": func(_ *Demand, m *Machine) { m.UseCPU = 1.01 },
		"spare relays -1":              func(_ *Demand, m *Machine) { m.Spare = -1 },
		"price of a TB NaN":            func(_ *Demand, m *Machine) { m.PriceTB = math.NaN() },
		"less than a relay without":    func(_ *Demand, m *Machine) { m.Memory = 1e6 },
	} {
		d, m := Demand{Devices: 10, Heartbeat: time.Second}, small()
		if _, err := Predict(sample(), d, m); err != nil {
			t.Fatal(err)
		}
		change(&d, &m)
		if _, err := Predict(sample(), d, m); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
}

func TestParseMix(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"quic": 1, "tcp": 0, "mix": 0.5, "quic=0.8": 0.8, "quic=0": 0, "quic=1": 1} {
		if got, err := ParseMix(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "udp", "0.5", "quic=", "quic=1.1", "quic=-0.1", "quic=NaN", "tcp=0.5"} {
		if got, err := ParseMix(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	d := Demand{
		Devices: 1_000_000, Slots: 2, QUIC: 0.8, Heartbeat: 20 * time.Second, Calls: 116, FirstCalls: 1, Streams: 5000, Callers: 40, BulkBytes: 10e6,
	}
	m := DefaultMachine()
	m.PriceTB = 1
	p, err := Predict(sample(), d, m)
	if err != nil {
		t.Fatal(err)
	}
	check, err := NewCheck(sample(), 1.5)
	if err != nil {
		t.Fatal(err)
	}
	check.Add("memory", "MiB", 100, 120)
	check.Add("CPU of a call", "ms", 0.3, 0.6)
	var text, js, checked bytes.Buffer
	for _, err := range []error{p.Write(&text), cli.WriteJSON(&js, p), check.Write(&checked)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, got := range map[string][]byte{"prediction.txt": text.Bytes(), "prediction.json": js.Bytes(), "check.txt": checked.Bytes()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path) //nolint:gosec // below testdata
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
		}
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 0.012345: "0.0123", 7: "7", 12.34: "12.3", 999: "999", 1234: "1234", 9999: "9999",
		10_000: "10k", 123_456: "123k", 1_234_567: "1.23M", 2e9: "2G", 1.5e13: "15000G",
	} {
		if got := short(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
