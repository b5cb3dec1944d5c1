package link

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a device in memory: what is sent is read, what is written is got.
type wire struct {
	sent chan []byte
	mu   sync.Mutex
	got  []arrival // guarded by mu
}

type arrival struct {
	at     time.Time
	number uint32
	n      int
}

func (w *wire) Read(b []byte) (int, error) {
	p, ok := <-w.sent
	if !ok {
		return 0, io.EOF
	}
	return copy(b, p), nil
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, arrival{time.Now(), binary.BigEndian.Uint32(b[20:]), len(b)})
	return len(b), nil
}

func (w *wire) arrivals() []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

// numbered is an IPv4 packet in so far as the line looks at it.
func numbered(i, n int) []byte {
	p := make([]byte, n)
	p[0] = 0x45
	binary.BigEndian.PutUint32(p[20:], uint32(i)) //nolint:gosec // small
	return p
}

// carry sends packets through a line in virtual time and gives what arrives. Each
// is sent gap after the one before.
func carry(t *testing.T, cfg Config, count, size int, gap time.Duration) (got []arrival, c Counters) {
	t.Helper()
	from, to := &wire{sent: make(chan []byte)}, &wire{}
	l := newLine(from, to, newShaper(cfg, 1))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.read(); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { l.write(ctx) })
	for i := range count {
		from.sent <- numbered(i, size)
		time.Sleep(gap)
	}
	time.Sleep(time.Hour) // virtual
	cancel()
	close(from.sent)
	wg.Wait()
	return to.arrivals(), l.counters()
}

func TestLineRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		// 2000 packets of 1250 bytes at 100 Mbit/s take 0.1 ms each, 200 ms in all.
		got, c := carry(t, Config{Rate: 100e6, Queue: 3 << 20, Delay: 50 * time.Millisecond}, 2000, 1250, 0)
		if len(got) != 2000 || c.Passed != 2000 || c.Bytes != 2000*1250 || c.QueueFull != 0 {
			t.Fatalf("%d packets arrive, %+v", len(got), c)
		}
		for i, a := range got {
			want := time.Duration(i+1)*100*time.Microsecond + 50*time.Millisecond
			if a.number != uint32(i) || a.at.Sub(begin) != want { //nolint:gosec // small
				t.Fatalf("packet %d is number %d and arrives after %s, want %s", i, a.number, a.at.Sub(begin), want)
			}
		}
		// Offered twice the rate, half of it passes, and what the queue holds.
		got, c = carry(t, Config{Rate: 100e6, Queue: 12_500}, 2000, 1250, 50*time.Microsecond)
		if len(got) < 1000 || len(got) > 1012 || c.QueueFull != uint64(2000-len(got)) { //nolint:gosec // not negative
			t.Errorf("%d packets of 2000 arrive at twice the rate, %+v", len(got), c)
		}
	})
}

// The writer sleeps until the head of the line; a packet that goes before it wakes it.
func TestLineWakesForEarlierPacket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := &wire{sent: make(chan []byte)}, &wire{}
		l := newLine(from, to, newShaper(Config{Reorder: 1, ReorderBy: time.Minute}, 1))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = l.read() })
		wg.Go(func() { l.write(ctx) })
		from.sent <- numbered(1, 100)
		synctest.Wait()
		if err := l.change(func(c *Config) { *c = Config{} }); err != nil {
			t.Fatal(err)
		}
		from.sent <- []byte{0x60, 0, 0, 0} // IPv6 does not pass
		from.sent <- numbered(2, 100)
		synctest.Wait()
		if got := to.arrivals(); len(got) != 1 || got[0].number != 2 {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := to.arrivals(); len(got) != 2 || got[1].number != 1 || l.counters().Reordered != 1 {
			t.Errorf("%+v, %+v", got, l.counters())
		}
		if err := l.change(func(c *Config) { c.Loss = 2 }); err == nil {
			t.Error("a loss of 2 is taken")
		}
		cancel()
		close(from.sent)
		wg.Wait()
	})
}

func BenchmarkShaper(b *testing.B) {
	s := newShaper(Config{Delay: 100 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Rate: 1e9}, 1)
	now := start
	batch := make([]*packet, 0, batchSize)
	var free []*packet
	for b.Loop() {
		now = now.Add(12 * time.Microsecond)
		var p *packet
		if n := len(free); n > 0 {
			p, free = free[n-1], free[:n-1]
		} else {
			p = new(packet)
		}
		p.n = 1500
		if s.add(now, p) != underWay {
			free = append(free, p)
		}
		free = append(free, s.due(now, batch[:0])...)
	}
}
