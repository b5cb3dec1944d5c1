package accesslog

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// shards is the number of buffers that share the calls of Record.
const shards = 8

// restCap is the room of a shard after a quiet time.
const restCap = 256

// buffer takes entries from many goroutines at once, none of which waits for another
// one for longer than that copies an entry.
type buffer struct {
	most  int // entries in a shard
	shard [shards]shard
	lost  atomic.Uint64 // for want of room

	dirty atomic.Bool   // something was put since the last drain
	wake  chan struct{} // told when it becomes dirty
	hurry chan struct{} // told when a shard is half full
}

type shard struct {
	mu      sync.Mutex
	entries []entry  // guarded by mu
	_       [64]byte // another shard is in another cache line
}

func newBuffer(queue int) *buffer {
	b := &buffer{most: queue / shards, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	for i := range b.shard {
		b.shard[i].entries = make([]entry, 0, min(restCap, b.most))
	}
	return b
}

// put takes an entry, or counts it as lost.
func (b *buffer) put(e entry) {
	s := b.lock()
	n := len(s.entries)
	if n < b.most {
		s.entries = append(s.entries, e)
	}
	s.mu.Unlock()
	switch {
	case n >= b.most:
		b.lost.Add(1)
	case n == b.most/2:
		tell(b.hurry)
	}
	if !b.dirty.Load() && b.dirty.CompareAndSwap(false, true) {
		tell(b.wake)
	}
}

// lock locks a shard, one that is free if there is any.
func (b *buffer) lock() *shard {
	first := rand.Uint32()
	for i := range uint32(shards) {
		if s := &b.shard[(first+i)%shards]; s.mu.TryLock() {
			return s
		}
	}
	s := &b.shard[first%shards]
	s.mu.Lock()
	return s
}

// drain appends all entries to dst.
func (b *buffer) drain(dst []entry) []entry {
	b.dirty.Store(false)
	for i := range b.shard {
		s := &b.shard[i]
		s.mu.Lock()
		full := s.entries
		// The next burst finds as much room; after a quiet time that is given back.
		if s.entries = full[:0]; cap(full) > restCap && len(full) < cap(full)/8 {
			s.entries = make([]entry, 0, restCap)
		}
		dst = append(dst, full...)
		clear(full) // an address is in memory only as long as it is needed
		s.mu.Unlock()
	}
	return dst
}

func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
