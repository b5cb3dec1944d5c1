package link

import (
	"errors"
	"fmt"
	"time"
)

// Config says how a link treats packets, in both directions until [Link.Set] or
// [Link.Change] makes them different. The zero value is a perfect line.
type Config struct {
	// Delay is the time from end to end, one way. A round trip takes two of them.
	Delay time.Duration `yaml:"delay"`
	// Jitter is the most that a packet takes longer than Delay; drawn uniformly
	// from 0. It does not change the order of packets.
	Jitter time.Duration `yaml:"jitter"`
	// Loss is the share of packets that get lost, from 0 to 1. They use up the
	// rate all the same, as on a radio line.
	Loss float64 `yaml:"loss"`
	// Reorder is the share of packets that are overtaken, from 0 to 1, which is
	// those that arrive ReorderBy later than they would have.
	Reorder float64 `yaml:"reorder"`
	// ReorderBy is how much later. Default 1 ms.
	ReorderBy time.Duration `yaml:"reorder_by"`
	// Rate is how many bits per second pass, IP headers included. 0: no limit.
	Rate float64 `yaml:"rate"`
	// Queue is how many bytes wait for the rate at most; more are dropped at its
	// tail. Default: what the rate carries in 100 ms, and at least 16 KiB.
	Queue int `yaml:"queue"`
	// MTU is the largest packet that passes, in bytes with the IP header. The
	// devices themselves have 1500, so senders learn of a smaller one as from a
	// router on the path, by ICMP "fragmentation needed" (RFC 1191 §4). 0: 1500.
	MTU int `yaml:"mtu"`
	// BlackHole keeps the ICMP messages back: packets that are too big vanish.
	BlackHole bool `yaml:"black_hole"`
	// BlockUDP loses what is UDP, as many a firewall does.
	BlockUDP bool `yaml:"block_udp"`
	// Cut loses everything, what is under way included.
	Cut bool `yaml:"cut"`

	// Seed decides what is drawn. It counts in [New] only.
	Seed uint64 `yaml:"seed"`
}

// Bounds of a link.
const (
	deviceMTU = 1500
	// minMTU is what every IPv4 host must take (RFC 791 §3.2).
	minMTU = 68
	// maxHeld bounds the bytes that are under way in one direction: 250 ms at
	// 2 Gbit/s. More are dropped as from a full queue.
	maxHeld = 64 << 20
	// minQueue lets some packets wait on the slowest line.
	minQueue         = 16 << 10
	queueTime        = 100 * time.Millisecond
	defaultReorderBy = time.Millisecond
)

// Validate reports every value that cannot be used.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("link: "+format, args...)) }
	if c.Delay < 0 || c.Jitter < 0 || c.ReorderBy < 0 {
		bad("delay %s, jitter %s, reorder_by %s: negative", c.Delay, c.Jitter, c.ReorderBy)
	}
	// Written so that NaN is out of range too.
	if !(c.Loss >= 0 && c.Loss <= 1) || !(c.Reorder >= 0 && c.Reorder <= 1) {
		bad("loss %g, reorder %g: want 0 to 1", c.Loss, c.Reorder)
	}
	if !(c.Rate == 0 || c.Rate >= 1) || c.Queue < 0 {
		bad("rate %g, queue %d: want 0 or at least 1", c.Rate, c.Queue)
	}
	if c.MTU != 0 && (c.MTU < minMTU || c.MTU > deviceMTU) {
		bad("mtu %d, want %d to %d", c.MTU, minMTU, deviceMTU)
	}
	return errors.Join(errs...)
}

// withDefaults gives a copy in which what was left out is filled in.
func (c Config) withDefaults() Config {
	if c.MTU == 0 {
		c.MTU = deviceMTU
	}
	if c.Queue == 0 {
		c.Queue = max(minQueue, int(c.Rate/8*queueTime.Seconds()))
	}
	if c.ReorderBy == 0 {
		c.ReorderBy = defaultReorderBy
	}
	return c
}

// Direction is one way through a link, or both.
type Direction uint8

// The directions. AToB is what A sends.
const (
	AToB Direction = 1 << iota
	BToA
	Both = AToB | BToA
)

// Counters tell what became of the packets of one direction.
type Counters struct {
	// Passed are the packets that arrived, Bytes their bytes with IP header.
	Passed, Bytes uint64
	// The packets that were not, by reason: Config.Loss, a cut or BlockUDP, the MTU,
	// and a full queue.
	Lost, Cut, TooBig, QueueFull uint64
	// Reordered are those of Passed that were held back to be overtaken.
	Reordered uint64
	// Refused are those of Passed that the receiving device did not take.
	Refused uint64
	// Overrun are the packets that the kernel dropped because the link did not
	// read them in time. Anything but 0 spoils a measurement.
	Overrun uint64
}
