package link

import (
	"math"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func sized(n int) *packet { return &packet{n: n} }

// send adds count packets of n bytes now and gives those that were taken.
func send(s *shaper, now time.Time, count, n int) (sent []*packet) {
	for range count {
		if p := sized(n); s.add(now, p) == underWay {
			sent = append(sent, p)
		}
	}
	return sent
}

// drain gives everything that is under way, in the order of its arrival.
func drain(s *shaper) (all []*packet) {
	for len(s.waiting) > 0 {
		all = append(all, s.due(start.Add(1000*time.Hour), make([]*packet, 0, 16))...)
	}
	return all
}

func TestDelay(t *testing.T) {
	t.Parallel()
	s := newShaper(Config{Delay: 25 * time.Millisecond}, 1)
	send(s, start, 1, 100)
	send(s, start.Add(time.Millisecond), 1, 100)
	batch := make([]*packet, 0, 10)
	if got := s.due(start.Add(25*time.Millisecond-1), batch); len(got) != 0 {
		t.Errorf("%d packets are early", len(got))
	}
	if got := s.due(start.Add(25*time.Millisecond), batch); len(got) != 1 {
		t.Errorf("%d packets after the delay, want 1", len(got))
	}
	if at, ok := s.next(); !ok || !at.Equal(start.Add(26*time.Millisecond)) {
		t.Errorf("the next one arrives at %s, %t", at.Sub(start), ok)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	// 1000 bytes take 1 ms. 50 of them wait; the 51st finds the queue full.
	s := newShaper(Config{Rate: 8e6, Queue: 50_000, Delay: 10 * time.Millisecond}, 1)
	if got := len(send(s, start, 60, 1000)); got != 50 || s.count.QueueFull != 10 {
		t.Errorf("%d packets are taken and %d refused, want 50 and 10", got, s.count.QueueFull)
	}
	for i, p := range drain(s) {
		if want := time.Duration(i+1)*time.Millisecond + 10*time.Millisecond; p.at.Sub(start) != want {
			t.Fatalf("packet %d arrives after %s, want %s", i, p.at.Sub(start), want)
		}
	}
	// The queue is empty again when the rate has sent it, not when it has arrived.
	if got := len(send(s, start.Add(50*time.Millisecond), 60, 1000)); got != 50 {
		t.Errorf("%d packets are taken, want 50", got)
	}
	if got := len(send(s, start.Add(60*time.Millisecond), 60, 1000)); got != 10 {
		t.Errorf("%d packets are taken 10 ms later, want 10", got)
	}
	// An idle line saves nothing up.
	drain(s)
	later := start.Add(time.Hour)
	send(s, later, 1, 1000)
	if at, _ := s.next(); !at.Equal(later.Add(11 * time.Millisecond)) {
		t.Errorf("a packet on an idle line takes %s, want 11ms", at.Sub(later))
	}
}

func TestJitterKeepsOrder(t *testing.T) {
	t.Parallel()
	const delay, jitter = 20 * time.Millisecond, 10 * time.Millisecond
	s := newShaper(Config{Delay: delay, Jitter: jitter}, 1)
	times := make(map[time.Duration]bool)
	var last time.Time
	for i := range 1000 {
		now := start.Add(time.Duration(i) * jitter)
		p := sized(100)
		s.add(now, p)
		if d := p.at.Sub(now); d < delay || d > delay+jitter {
			t.Fatalf("packet %d takes %s", i, d)
		}
		if p.at.Before(last) {
			t.Fatalf("packet %d overtakes", i)
		}
		last = p.at
		times[p.at.Sub(now)] = true
	}
	if len(times) < 900 {
		t.Errorf("only %d different times", len(times))
	}
}

func TestLossFollowsSeed(t *testing.T) {
	t.Parallel()
	pattern := func(seed, stream uint64, loss float64) string {
		s := newShaper(Config{Loss: loss, Seed: seed}, stream)
		var b strings.Builder
		for range 1000 {
			b.WriteByte("-x"[min(1, int(s.add(start, sized(100))))])
		}
		return b.String()
	}
	if got := pattern(1, 1, 0.05); strings.Count(got, "x") < 30 || strings.Count(got, "x") > 70 {
		t.Errorf("%d of 1000 packets are lost at 5 %%", strings.Count(got, "x"))
	}
	if first := pattern(1, 1, 0.05); first != pattern(1, 1, 0.05) {
		t.Error("the same seed loses other packets")
	}
	if pattern(1, 1, 0.05) == pattern(2, 1, 0.05) || pattern(1, 1, 0.05) == pattern(1, 2, 0.05) {
		t.Error("another seed, or direction, loses the same packets")
	}
	for loss, want := range map[float64]int{0: 0, 1: 1000} {
		if got := strings.Count(pattern(1, 1, loss), "x"); got != want {
			t.Errorf("%d of 1000 packets are lost at %g, want %d", got, loss, want)
		}
	}
}

func TestReorder(t *testing.T) {
	t.Parallel()
	overtaken := func(share float64) (n int, held uint64) {
		s := newShaper(Config{Reorder: share, Delay: time.Millisecond}, 1)
		for i := range 1000 {
			s.add(start.Add(time.Duration(i)*time.Microsecond), sized(100))
		}
		var highest uint64
		for _, p := range drain(s) {
			if p.seq < highest {
				n++
			}
			if p.late {
				held++
			}
			highest = max(highest, p.seq)
		}
		return n, held
	}
	if n, _ := overtaken(0.5); n < 100 {
		t.Errorf("%d of 1000 packets are overtaken at 50 %%", n)
	}
	if n, held := overtaken(0); n != 0 || held != 0 {
		t.Errorf("%d packets are overtaken and %d held back at 0", n, held)
	}
}

func TestBlockUDP(t *testing.T) {
	t.Parallel()
	s := newShaper(Config{BlockUDP: true}, 1)
	for protocol, want := range map[byte]fate{1: underWay, 6: underWay, 17: dropped} {
		p := sized(100)
		p.buf[9] = protocol
		if got := s.add(start, p); got != want {
			t.Errorf("protocol %d: fate %d, want %d", protocol, got, want)
		}
	}
	if s.count.Cut != 1 {
		t.Errorf("counters %+v", s.count)
	}
}

func TestMTUAndCut(t *testing.T) {
	t.Parallel()
	s := newShaper(Config{MTU: 1280, Delay: time.Second}, 1)
	if s.add(start, sized(1280)) != underWay || s.add(start, sized(1281)) != tooBig || s.count.TooBig != 1 {
		t.Errorf("1280 and 1281 bytes at MTU 1280: %+v", s.count)
	}
	// A cut loses what is under way and what comes; what comes after it passes.
	if lost := s.set(Config{Cut: true}); len(lost) != 1 {
		t.Errorf("the cut loses %d packets under way, want 1", len(lost))
	}
	if s.add(start, sized(100)) != dropped || s.count.Cut != 2 || s.held != 0 {
		t.Errorf("during a cut: %+v, %d bytes held", s.count, s.held)
	}
	s.set(Config{})
	if s.add(start, sized(100)) != underWay {
		t.Error("nothing passes after a cut")
	}
}

// Without a rate the delay alone decides how much is under way.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := newShaper(Config{Delay: time.Hour}, 1)
	s.held = maxHeld - 1500
	if got := len(send(s, start, 3, 1000)); got != 1 || s.count.QueueFull != 2 {
		t.Errorf("%d packets are taken, %+v", got, s.count)
	}
}

func TestChangeKeepsLuck(t *testing.T) {
	t.Parallel()
	a, b := newShaper(Config{Loss: 0.5}, 1), newShaper(Config{Cut: true}, 1)
	send(a, start, 10, 100)
	send(b, start, 10, 100)
	b.set(Config{Loss: 0.5})
	for i := range 100 {
		if a.add(start, sized(100)) != b.add(start, sized(100)) {
			t.Fatalf("packet %d fares otherwise after a cut", i+10)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := []Config{{}, {Delay: time.Second, Loss: 1, Reorder: 1, Rate: 1, Queue: 1, MTU: minMTU}, {MTU: deviceMTU}}
	for _, c := range good {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	bad := []Config{
		{Delay: -1},
		{Jitter: -1},
		{ReorderBy: -1},
		{Loss: -0.1},
		{Loss: 1.1},
		{Loss: math.NaN()},
		{Reorder: 2},
		{Rate: -1},
		{Rate: 0.5},
		{Rate: math.NaN()},
		{Queue: -1},
		{MTU: 67},
		{MTU: 1501},
		{MTU: -1},
	}
	for _, c := range bad {
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
