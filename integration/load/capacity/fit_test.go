package capacity

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

func TestSlope(t *testing.T) {
	t.Parallel()
	// 100 without any, 3 each: a ratio at 10 would say 13.
	each, base, err := Slope(Point{10, 130}, Point{30, 190})
	if err != nil || each != 3 || base != 100 {
		t.Errorf("%v, %v, %v, want 3 and 100", each, base, err)
	}
	// What is there without any cannot be less than nothing.
	if each, base, err = Slope(Point{10, 10}, Point{20, 30}); err != nil || each != 2 || base != 0 {
		t.Errorf("%v, %v, %v, want 2 and 0", each, base, err)
	}
	for _, tt := range [][2]Point{{{10, 5}, {20, 5}}, {{10, 5}, {20, 4}}, {{10, 5}, {10, 6}}, {{20, 5}, {10, 6}}} {
		if each, _, err := Slope(tt[0], tt[1]); !errors.Is(err, ErrSlope) {
			t.Errorf("%v: %v, %v, want ErrSlope", tt, each, err)
		}
	}
}

// measured are fleets from which the constants follow by hand.
func measured() (small, large, settled Measured) {
	small = Measured{
		Tunnels: 100, Heartbeat: 10, Memory: 30e6, Loaded: 31e6,
		// 10 heartbeats/s for 20 s, 100 ms/s beside what the relay does anyway.
		Idle:       Window{Count: 200, Seconds: 20, CPU: 2, Traffic: load.Traffic{PacketsIn: 400, PacketsOut: 600, BytesIn: 40e3, BytesOut: 60e3}},
		Handshakes: Window{Count: 100, Seconds: 1, CPU: 0.3, Traffic: load.Traffic{PacketsIn: 900, PacketsOut: 800, BytesIn: 700e3, BytesOut: 500e3}},
		// 2 s take 0.2 s of the idle fleet's CPU, 40 packets in, 60 out, 4 and 6 kB.
		FirstCalls: Window{Count: 50, Seconds: 2, CPU: 0.3, Traffic: load.Traffic{PacketsIn: 540, PacketsOut: 460, BytesIn: 104e3, BytesOut: 56e3}},
		Calls:      Window{Count: 1000, Seconds: 2, CPU: 0.5, Traffic: load.Traffic{PacketsIn: 2040, PacketsOut: 3060, BytesIn: 1004e3, BytesOut: 1506e3}},
		Bulk:       Window{Count: 2e9, Seconds: 2, CPU: 4.2, Traffic: load.Traffic{PacketsIn: 900_040, PacketsOut: 900_060, BytesIn: 1_100_004_000, BytesOut: 1_100_006_000}},

		StreamMemory: 1e6, Streams: 50,
	}
	large = Measured{
		Tunnels: 300, Heartbeat: 10, Memory: 50e6, Loaded: 53e6,
		Idle:       Window{Count: 600, Seconds: 20, CPU: 2.4},
		Handshakes: Window{Count: 300, Seconds: 2, CPU: 0.6},
	}
	settled = Measured{Tunnels: 50, Heartbeat: 1, Idle: Window{
		Count: 500, Seconds: 10, CPU: 1, Traffic: load.Traffic{PacketsIn: 1000, PacketsOut: 1500, BytesIn: 100e3, BytesOut: 150e3},
	}}
	return small, large, settled
}

func TestFit(t *testing.T) {
	t.Parallel()
	small, large, settled := measured()
	got, base, err := Fit("quic", small, large, settled, "measured by hand")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		got, want float64
	}{
		{"base", base, 20e6},
		{"memory", got.Memory.Value, 100e3},
		{"garbage", got.Garbage.Value, 10e3},
		{"stream memory", got.StreamMemory.Value, 20e3},
		// 10 and 30 heartbeats/s take 100 and 120 ms/s.
		{"heartbeat CPU", got.Heartbeat.CPU.Value, 1e-3},
		{"heartbeat packets in", got.Heartbeat.PacketsIn.Value, 3},
		{"heartbeat packets out", got.Heartbeat.PacketsOut.Value, 2},
		{"heartbeat bytes in", got.Heartbeat.BytesIn.Value, 300},
		{"handshake CPU", got.Handshake.CPU.Value, 2e-3},
		{"handshake packets in", got.Handshake.PacketsIn.Value, 8},
		{"handshake bytes out", got.Handshake.BytesOut.Value, 7000},
		{"first call CPU", got.FirstCall.CPU.Value, 2e-3},
		{"first call packets in", got.FirstCall.PacketsIn.Value, 18},
		{"first call bytes out", got.FirstCall.BytesOut.Value, 3000},
		{"call CPU", got.Call.CPU.Value, 300e-6},
		{"call packets out", got.Call.PacketsOut.Value, 5},
		{"bulk CPU", got.Bulk.CPU.Value, 2},
		{"bulk packets", got.Bulk.Packets.Value, 900e3},
		{"bulk bytes", got.Bulk.Bytes.Value, 1.1e9},
	} {
		if !near(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	c := sample()
	c.QUIC = got
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if s := got.Memory.Source; s != "measured by hand, over quic: slope between 100 and 300 tunnels" {
		t.Errorf("source %q", s)
	}
	// The loopback's segments over TCP are no packets of a network.
	got, _, err = Fit("tcp", small, large, settled, "x")
	if want := digits(1.1e9 / 1448 * 1.5); err != nil || got.Bulk.Packets.Value != want || got.Bulk.Bytes.Value != digits(1.1e9+1.1e9/1448*1.5*52) {
		t.Errorf("bulk over TCP %+v, %v, want %v packets", got.Bulk, err, want)
	}
}

func TestFitNeedsEverything(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(small, large, settled *Measured){
		"first calls":        func(s, _, _ *Measured) { s.FirstCalls = Window{} },
		"calls":              func(s, _, _ *Measured) { s.Calls.Count = 0 },
		"bulk":               func(s, _, _ *Measured) { s.Bulk.Seconds = 0 },
		"streams":            func(s, _, _ *Measured) { s.Streams = 0 },
		"more handshakes":    func(_, l, _ *Measured) { l.Handshakes = Window{} },
		"settled heartbeats": func(_, _, s *Measured) { s.Idle = Window{} },
	} {
		small, large, settled := measured()
		change(&small, &large, &settled)
		if _, _, err := Fit("quic", small, large, settled, "x"); !errors.Is(err, ErrMeasured) || !strings.Contains(err.Error(), name+" over quic") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	for _, change := range []func(large *Measured){
		func(l *Measured) { l.Memory = 29e6 }, func(l *Measured) { l.Idle.CPU = 1 },
	} {
		small, large, settled := measured()
		change(&large)
		if _, _, err := Fit("quic", small, large, settled, "x"); !errors.Is(err, ErrSlope) {
			t.Errorf("%v, want ErrSlope", err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if _, err := NewCheck(sample(), 0.5); !errors.Is(err, ErrFactor) {
		t.Errorf("factor 0.5: %v", err)
	}
	c, err := NewCheck(sample(), 2)
	if err != nil {
		t.Fatal(err)
	}
	c.Add("twice", "", 10, 20)
	c.Add("half", "", 10, 5)
	c.Add("nothing", "", 0, 0)
	if off := c.Off(); len(off) > 0 {
		t.Errorf("within the factor, but off: %+v", off)
	}
	c.Add("more", "", 10, 20.1)
	c.Add("less", "", 10, 4.9)
	c.Add("gone", "", 10, 0)
	c.Add("out of nothing", "", 0, 1)
	if off := c.Off(); len(off) != 4 || off[0].What != "more" {
		t.Errorf("off: %+v", off)
	}
}

// A fleet that costs exactly what was predicted has the ratio 1 everywhere.
func TestCompareAgrees(t *testing.T) {
	t.Parallel()
	small, large, settled := measured()
	quic, base, err := Fit("quic", small, large, settled, "x")
	if err != nil {
		t.Fatal(err)
	}
	k := sample()
	k.QUIC, k.Base.Value = quic, base
	k.QUIC.Handshake.CPU.Value = 3e-3
	// The small fleet has settled, and its relay does nothing beside heartbeats.
	small.Idle.CPU = 200 * 1e-3
	for _, w := range []*Window{&small.FirstCalls, &small.Calls, &small.Bulk} {
		w.CPU -= 0.18 // what the idle relay of measured took beside that in 2 s
	}
	c, err := NewCheck(k, 1.0001)
	if err != nil {
		t.Fatal(err)
	}
	c.Compare(k, Demand{Devices: 100, QUIC: 1, Heartbeat: 10 * time.Second}, small)
	if off := c.Off(); len(off) > 0 || len(c.Lines) != 13 {
		t.Errorf("%d lines, off: %+v", len(c.Lines), off)
	}
}
