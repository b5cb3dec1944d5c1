package link

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// packet is one IP packet under way. Packets are used again and again.
type packet struct {
	at   time.Time // when it arrives
	seq  uint64    // keeps the order of those that arrive at the same time
	late bool      // held back
	n    int
	buf  [deviceMTU + 36]byte // 36: no allocation class is smaller
}

// udp reads the protocol of an IPv4 packet (RFC 791 §3.1).
func (p *packet) udp() bool {
	const protocolAt, protocolUDP = 9, 17
	return p.n > protocolAt && p.buf[protocolAt] == protocolUDP
}

func (p *packet) data() []byte { return p.buf[:p.n] }

// fate says what the shaper did with a packet.
type fate int

const (
	underWay fate = iota
	dropped
	tooBig
)

// shaper decides when packets of one direction arrive, if at all. It has no clock
// and no goroutine: the line that owns it tells the time, which never goes back.
type shaper struct {
	given   Config // as it was set
	cfg     Config // the same with defaults
	rng     *rand.Rand
	free    time.Time // when the rate has sent all that it took
	last    time.Time // when the latest packet in order arrives
	seq     uint64
	waiting arrivals
	held    int // bytes in waiting
	count   Counters
}

func newShaper(cfg Config, stream uint64) *shaper {
	return &shaper{given: cfg, cfg: cfg.withDefaults(), rng: rand.New(rand.NewPCG(cfg.Seed, stream))} //nolint:gosec // repeatable on purpose
}

// set changes what happens to later packets. A cut also loses those under way.
func (s *shaper) set(cfg Config) (lost []*packet) {
	s.given, s.cfg = cfg, cfg.withDefaults()
	if s.cfg.Rate == 0 {
		s.free = time.Time{}
	}
	if s.cfg.Cut {
		lost, s.waiting, s.held = s.waiting, nil, 0
		s.count.Cut += uint64(len(lost))
	}
	return lost
}

// add takes a packet that was sent now. It belongs to the shaper if it is under
// way, and to the caller otherwise.
func (s *shaper) add(now time.Time, p *packet) fate {
	// Drawn for every packet, so that a packet's luck does not depend on that of
	// others or on changes of the configuration.
	loss, jitter, reorder := s.rng.Float64(), s.rng.Float64(), s.rng.Float64()
	switch {
	case s.cfg.Cut, s.cfg.BlockUDP && p.udp():
		s.count.Cut++
		return dropped
	case p.n > s.cfg.MTU:
		s.count.TooBig++
		return tooBig
	case s.held+p.n > maxHeld:
		s.count.QueueFull++
		return dropped
	}
	sent := now
	if s.cfg.Rate > 0 {
		// What still waits is what the rate has not sent yet.
		if queued := s.free.Sub(now).Seconds() * s.cfg.Rate / 8; queued+float64(p.n) > float64(s.cfg.Queue) {
			s.count.QueueFull++
			return dropped
		}
		if s.free.Before(now) {
			s.free = now
		}
		s.free = s.free.Add(time.Duration(float64(p.n) * 8 / s.cfg.Rate * float64(time.Second)))
		sent = s.free
	}
	if loss < s.cfg.Loss {
		s.count.Lost++
		return dropped
	}
	p.at = sent.Add(s.cfg.Delay + time.Duration(jitter*float64(s.cfg.Jitter)))
	if p.at.Before(s.last) {
		p.at = s.last // a shorter delay, or less jitter, lets nobody overtake
	}
	if p.late = reorder < s.cfg.Reorder; p.late {
		p.at = p.at.Add(s.cfg.ReorderBy)
	} else {
		s.last = p.at
	}
	s.seq++
	p.seq = s.seq
	s.held += p.n
	heap.Push(&s.waiting, p)
	return underWay
}

// next is when the next packet arrives; false where none is under way.
func (s *shaper) next() (time.Time, bool) {
	if len(s.waiting) == 0 {
		return time.Time{}, false
	}
	return s.waiting[0].at, true
}

// due appends the packets that have arrived by now, up to the capacity of batch.
func (s *shaper) due(now time.Time, batch []*packet) []*packet {
	for len(batch) < cap(batch) && len(s.waiting) > 0 && !s.waiting[0].at.After(now) {
		p := heap.Pop(&s.waiting).(*packet)
		s.held -= p.n
		s.count.Passed++
		s.count.Bytes += uint64(p.n) //nolint:gosec // at most the MTU
		if p.late {
			s.count.Reordered++
		}
		batch = append(batch, p)
	}
	return batch
}

// arrivals is a heap of packets by the time of their arrival.
type arrivals []*packet

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}
	return a[i].seq < a[j].seq
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *arrivals) Push(x any) { *a = append(*a, x.(*packet)) }

// Pop implements heap.Interface.
func (a *arrivals) Pop() any {
	last := len(*a) - 1
	p := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return p
}
