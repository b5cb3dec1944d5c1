package capacity

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// Measured is what one fleet of one transport did to its relay.
type Measured struct {
	Tunnels   float64
	Heartbeat float64 // seconds
	// Loaded is the relay's resident memory right after all have connected, Memory the
	// same with the garbage collected and after some idle time, in bytes.
	Loaded, Memory float64
	// Idle is a time in which there were heartbeats only.
	Idle Window
	// Handshakes are those of the first connect.
	Handshakes Window
	// FirstCalls made an end-to-end session each, Calls used one, and Bulk counts the
	// bytes of payload.
	FirstCalls, Calls, Bulk Window
	// StreamMemory is by how much the memory in use grew with Streams idle streams,
	// in bytes.
	StreamMemory, Streams float64
}

// Window is a time in which something happened a number of times.
type Window struct {
	Count   float64
	Seconds float64
	// CPU is the relay's processor time, in seconds.
	CPU float64
	// Traffic as the devices saw it.
	Traffic load.Traffic
}

// without takes out what an idle fleet does in the same time.
func (w Window) without(idle Window) counted {
	n := counted{count: w.Count, cpu: w.CPU}
	n.packetsIn, n.packetsOut = float64(w.Traffic.PacketsIn), float64(w.Traffic.PacketsOut)
	n.bytesIn, n.bytesOut = float64(w.Traffic.BytesIn), float64(w.Traffic.BytesOut)
	if idle.Seconds > 0 {
		f := w.Seconds / idle.Seconds
		n.cpu -= f * idle.CPU
		n.packetsIn -= f * float64(idle.Traffic.PacketsIn)
		n.packetsOut -= f * float64(idle.Traffic.PacketsOut)
		n.bytesIn -= f * float64(idle.Traffic.BytesIn)
		n.bytesOut -= f * float64(idle.Traffic.BytesOut)
	}
	for _, v := range []*float64{&n.cpu, &n.packetsIn, &n.packetsOut, &n.bytesIn, &n.bytesOut} {
		*v = max(0, *v)
	}
	return n
}

// counted is what happened in a window, as the devices saw it, the idle part taken out.
type counted struct{ count, cpu, packetsIn, packetsOut, bytesIn, bytesOut float64 }

// PerEvent gives the processor time for one of the window's events, without what
// an idle fleet takes.
func (m Measured) PerEvent(w Window) float64 {
	n := w.without(m.Idle)
	if n.count == 0 {
		return 0
	}
	return n.cpu / n.count
}

// ErrMeasured: something was not measured, so that there is no constant for it.
var ErrMeasured = errors.New("not measured")

// The packets of bulk over TCP on a network cannot be counted on the loopback, whose
// packets are larger. They are computed for an MTU of 1500 bytes, with an
// acknowledgement for every second one.
const (
	tcpPayload = 1448.0
	tcpAcks    = 1.5
	tcpHeader  = 52.0
)

// Fit gives the constants of a transport, and the memory of a relay without tunnels,
// from fleets of two sizes: memory and heartbeats as the slope, the rest from the
// small one. The packets of heartbeats are those of a third fleet, which was given the
// time to find its path MTU: until then most packets are probes. Source says how it
// was measured.
func Fit(transport string, small, large, settled Measured, source string) (t Transport, base float64, err error) {
	for name, w := range map[string]Window{
		"handshakes": small.Handshakes, "more handshakes": large.Handshakes, "idle": small.Idle, "idle with more": large.Idle,
		"settled heartbeats": settled.Idle,
		"first calls":        small.FirstCalls, "calls": small.Calls, "bulk": small.Bulk,
	} {
		if w.Count == 0 || w.Seconds == 0 {
			err = errors.Join(err, fmt.Errorf("%s over %s: %w", name, transport, ErrMeasured))
		}
	}
	if small.Streams == 0 {
		err = errors.Join(err, fmt.Errorf("streams over %s: %w", transport, ErrMeasured))
	}
	if err != nil {
		return Transport{}, 0, err
	}
	f := fit{source: fmt.Sprintf("%s, over %s", source, transport)}
	memory, base, err := Slope(Point{small.Tunnels, small.Memory}, Point{large.Tunnels, large.Memory})
	if err != nil {
		return Transport{}, 0, fmt.Errorf("memory over %s: %w", transport, err)
	}
	t.Memory = f.constant(memory, bytesEach, "slope between %g and %g tunnels", small.Tunnels, large.Tunnels)
	// What is garbage may come and go; less than none is noise.
	garbage := (large.Loaded - large.Memory - small.Loaded + small.Memory) / (large.Tunnels - small.Tunnels)
	t.Garbage = f.constant(max(0, garbage), bytesEach, "slope between %g and %g tunnels", small.Tunnels, large.Tunnels)
	t.StreamMemory = f.constant(max(0, small.StreamMemory)/small.Streams, bytesEach, "%g streams, garbage collected", small.Streams)

	beat, _, err := Slope(
		Point{small.Tunnels / small.Heartbeat, small.Idle.CPU / small.Idle.Seconds},
		Point{large.Tunnels / large.Heartbeat, large.Idle.CPU / large.Idle.Seconds},
	)
	if err != nil {
		return Transport{}, 0, fmt.Errorf("heartbeats over %s: %w", transport, err)
	}
	t.Heartbeat = f.event(settled.Idle.without(Window{}), false, "%g tunnels, heartbeat %g s, path MTU found", settled.Tunnels, settled.Heartbeat)
	t.Heartbeat.CPU = f.constant(beat, secondsEach, "slope between %g and %g tunnels, heartbeat %g s", small.Tunnels, large.Tunnels, large.Heartbeat)
	t.Handshake = f.event(small.Handshakes.without(Window{}), false, "%g tunnels", small.Tunnels)
	t.Handshake.CPU = f.constant(large.Handshakes.CPU/large.Handshakes.Count, secondsEach, "%g tunnels, %.0f of them a second",
		large.Tunnels, large.Handshakes.Count/large.Handshakes.Seconds)
	t.FirstCall = f.event(small.FirstCalls.without(small.Idle), true, "%g calls; packets of the caller's side taken to be as many as the device's", small.FirstCalls.Count)
	t.Call = f.event(small.Calls.without(small.Idle), true, "%g calls; packets of the caller's side taken to be as many as the device's", small.Calls.Count)
	t.Bulk = f.bulk(transport, small.Bulk.without(small.Idle))
	return t, base, nil
}

type fit struct{ source string }

func (f fit) constant(value float64, unit, how string, args ...any) Constant {
	return NewConstant(value, unit, f.source+": "+fmt.Sprintf(how, args...))
}

// NewConstant makes a constant of four significant digits: no measurement here is
// better.
func NewConstant(value float64, unit, source string) Constant {
	return Constant{Value: digits(value), Unit: unit, Source: source}
}

// event gives the constants of an event at the relay. What a device sends comes in;
// where the event is a call, the relay also has what it passes on to the caller.
func (f fit) event(n counted, call bool, how string, args ...any) Event {
	in, out, bytesIn, bytesOut := n.packetsOut, n.packetsIn, n.bytesOut, n.bytesIn
	if call {
		in, out, bytesIn, bytesOut = in+out, in+out, bytesIn+bytesOut, bytesIn+bytesOut
	}
	each := func(v float64, unit string) Constant { return f.constant(v/n.count, unit, how, args...) }
	return Event{
		CPU:       each(n.cpu, secondsEach),
		PacketsIn: each(in, packetsEach), PacketsOut: each(out, packetsEach),
		BytesIn: each(bytesIn, bytesEach), BytesOut: each(bytesOut, bytesEach),
	}
}

// bulk gives the constants for 10^9 bytes; the window counts bytes. The relay
// receives from both sides what the device receives and sends in all.
func (f fit) bulk(transport string, n counted) Bulk {
	gb := n.count / 1e9
	wire := (n.bytesIn + n.bytesOut) / gb
	b := Bulk{
		CPU:     f.constant(n.cpu/gb, secondsPerGB, "%.3g GB, there and back", gb),
		Packets: f.constant((n.packetsIn+n.packetsOut)/gb, packetsPerGB, "%.3g GB, there and back", gb),
		Bytes:   f.constant(wire, bytesPerGB, "%.3g GB, there and back", gb),
	}
	if transport == "tcp" {
		packets := wire / tcpPayload * tcpAcks
		b.Packets = f.constant(packets, packetsPerGB, "computed from the bytes for an MTU of 1500")
		b.Bytes = f.constant(wire+packets*tcpHeader, bytesPerGB, "the bytes with computed headers")
	}
	return b
}

// digits rounds to four significant digits.
func digits(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return v
}
