package capacity

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Demand is what a fleet asks for.
type Demand struct {
	// Devices is how many there are, and Slots how many tunnels each holds; 0: 1.
	Devices int `json:"devices"`
	Slots   int `json:"slots"`
	// QUIC is the share of the tunnels that use it, from 0 to 1; the others use TCP.
	QUIC float64 `json:"quic_share"`
	// Heartbeat is the time between two of a device.
	Heartbeat time.Duration `json:"heartbeat_ns"`
	// Calls per second of the whole fleet, and the share of them that are the first
	// to their device, from 0 to 1.
	Calls      float64 `json:"calls_per_second"`
	FirstCalls float64 `json:"first_calls_share"`
	// Streams are the idle end-to-end sessions that callers keep, in the whole fleet.
	Streams int `json:"streams"`
	// Callers are the sessions of callers; each needs a connection to every relay.
	Callers int `json:"callers"`
	// BulkBytes is payload per second in the whole fleet, both directions together.
	BulkBytes float64 `json:"bulk_bytes_per_second"`
}

// Validate reports every value that cannot be used.
func (d Demand) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("demand: "+format, args...)) }
	if d.Devices < 0 || d.Slots < 0 || d.Streams < 0 || d.Callers < 0 {
		bad("a negative number of devices, slots, streams or callers")
	}
	for name, share := range map[string]float64{"QUIC": d.QUIC, "first calls": d.FirstCalls} {
		if !(share >= 0 && share <= 1) {
			bad("share of %s %v, want 0 to 1", name, share)
		}
	}
	for name, rate := range map[string]float64{"calls": d.Calls, "bulk": d.BulkBytes} {
		if !(rate >= 0) || math.IsInf(rate, 0) {
			bad("%s %v per second, want a number from 0", name, rate)
		}
	}
	if d.Heartbeat <= 0 {
		bad("heartbeat %s, want more than 0", d.Heartbeat)
	}
	return errors.Join(errs...)
}

// Tunnels is how many the fleet holds.
func (d Demand) Tunnels() float64 { return float64(d.Devices) * float64(max(1, d.Slots)) }

// ErrMix: the text is not a mix of transports.
var ErrMix = errors.New("not a mix of transports")

// ParseMix reads the share of QUIC: "quic", "tcp", "mix" (half of each, as in a
// simulated fleet), or "quic=0.8".
func ParseMix(s string) (float64, error) {
	switch s {
	case "quic":
		return 1, nil
	case "tcp":
		return 0, nil
	case "mix":
		return 0.5, nil
	}
	text, ok := strings.CutPrefix(s, "quic=")
	share, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !(share >= 0 && share <= 1) {
		return 0, fmt.Errorf("%q is %w: want quic, tcp, mix, or quic=0.8 with a share from 0 to 1", s, ErrMix)
	}
	return share, nil
}
