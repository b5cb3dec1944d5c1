package link

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// batchSize is how many packets are written between two looks at the clock.
const batchSize = 64

// line carries the packets of one direction. One goroutine reads and one writes.
type line struct {
	from, to io.ReadWriter // one packet a call
	mu       sync.Mutex
	shaper   *shaper       // guarded by mu
	wake     chan struct{} // the next arrival is earlier than it was
	packets  sync.Pool
}

func newLine(from, to io.ReadWriter, s *shaper) *line {
	return &line{from: from, to: to, shaper: s, wake: make(chan struct{}, 1), packets: sync.Pool{New: func() any { return new(packet) }}}
}

// change sets what f makes of the configuration.
func (l *line) change(f func(*Config)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cfg := l.shaper.given
	f(&cfg)
	if err := cfg.Validate(); err != nil {
		return err
	}
	for _, p := range l.shaper.set(cfg) {
		l.packets.Put(p)
	}
	return nil
}

func (l *line) counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shaper.count
}

// read takes packets until the device is closed.
func (l *line) read() error {
	for {
		p := l.packets.Get().(*packet)
		n, err := l.from.Read(p.buf[:])
		if errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if n == 0 || p.buf[0]>>4 != 4 {
			l.packets.Put(p) // IPv6 announces itself on every interface
			continue
		}
		p.n = n
		if err := l.take(p); err != nil {
			return err
		}
	}
}

// take hands a packet to the shaper.
func (l *line) take(p *packet) error {
	l.mu.Lock()
	fate := l.shaper.add(time.Now(), p)
	first := fate == underWay && l.shaper.waiting[0] == p
	mtu, silent := l.shaper.cfg.MTU, l.shaper.cfg.BlackHole
	l.mu.Unlock()
	switch {
	case first:
		select {
		case l.wake <- struct{}{}:
		default: // it is awake already, or about to be
		}
	case fate == tooBig && !silent:
		var err error
		if answer := fragmentationNeeded(p.data(), mtu); answer != nil {
			_, err = l.from.Write(answer)
		}
		l.packets.Put(p)
		if errors.Is(err, os.ErrClosed) {
			return nil // the next read says so
		}
		return err
	case fate != underWay:
		l.packets.Put(p)
	}
	return nil
}

// write delivers packets when they have arrived, until ctx ends.
func (l *line) write(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	batch := make([]*packet, 0, batchSize)
	for ctx.Err() == nil {
		l.mu.Lock()
		batch = l.shaper.due(time.Now(), batch[:0])
		next, some := l.shaper.next()
		l.mu.Unlock()
		if len(batch) > 0 {
			l.deliver(batch)
			continue // more may have arrived meanwhile
		}
		if some {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-l.wake:
		case <-ctx.Done():
		}
	}
}

func (l *line) deliver(batch []*packet) {
	var refused uint64
	for _, p := range batch {
		// A device that is down takes nothing; that is the packet's end, not the
		// line's.
		if _, err := l.to.Write(p.data()); err != nil {
			refused++
		}
		l.packets.Put(p)
	}
	if refused > 0 {
		l.mu.Lock()
		l.shaper.count.Refused += refused
		l.mu.Unlock()
	}
}
