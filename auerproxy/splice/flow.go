package splice

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// MaxChunk is the most bytes of one write, and bulkChunk that of one to or from a
// data connection, which delays nobody else's bytes.
const (
	MaxChunk  = 64 << 10
	bulkChunk = 256 << 10
)

// smallChunk is the buffer of a direction that waits. It holds a typical request
// or a small answer, so that request-response traffic never touches the pool.
const smallChunk = 1 << 10

// large holds the buffers of busy directions, huge those of data connections, small
// those of all.
var (
	large = sync.Pool{New: func() any { b := make([]byte, MaxChunk); return &b }}
	huge  = sync.Pool{New: func() any { b := make([]byte, bulkChunk); return &b }}
	small = sync.Pool{New: func() any { return new([smallChunk]byte) }}
)

// What a direction is doing.
const (
	reading int32 = iota
	limited
	writing
	parked
	ended
)

// flow is one direction of a splice.
type flow struct {
	join     *join
	src, dst Conn
	copy     copier
	live     *atomic.Int64
	limit    func(ctx context.Context, n int) error
	await    func(f func()) bool // nil: it never parks

	phase  atomic.Int32
	last   atomic.Int64 // when bytes last moved or a write began, ns since start
	rested atomic.Int64 // when it last parked, ns since start
	asked  atomic.Bool  // to park, by a read deadline in the past
	n      int64        // bytes written; owned by copy

	cancel func() // guarded by join.mu; ends the wait of a poller; nil without one
}

// move is a copier.
func (f *flow) move(ctx context.Context) error {
	little := small.Get().(*[smallChunk]byte)
	buf := little[:]
	var big *[]byte
	pool := f.pool()
	defer func() {
		small.Put(little)
		if big != nil {
			pool.Put(big)
		}
	}()
	for {
		n, rerr := f.src.Read(buf)
		if n > 0 {
			if err := f.write(ctx, buf[:n]); err != nil {
				return err
			}
			f.touch()
			f.phase.Store(reading)
		}
		switch {
		case rerr == io.EOF: //nolint:errorlint // io.Reader gives io.EOF bare; a wrapped one is a failure
			return nil
		case rerr != nil && f.asked.Load() && errors.Is(rerr, os.ErrDeadlineExceeded):
			return errPark
		case rerr != nil:
			return rerr
		}
		// A full small buffer announces more; a short read says that the source
		// was drained and the next read will wait.
		switch {
		case big == nil && n == smallChunk:
			big = pool.Get().(*[]byte)
			buf = *big
		case big != nil && n <= smallChunk:
			pool.Put(big)
			big, buf = nil, little[:]
		}
	}
}

// pool is where the buffer comes from while the direction is busy. A limiter is
// asked for MaxChunk at most.
func (f *flow) pool() *sync.Pool {
	if f.limit == nil && (onData(f.src) || onData(f.dst)) {
		return &huge
	}
	return &large
}

func onData(c Conn) bool {
	d, ok := c.(interface{ OnData() bool })
	return ok && d.OnData()
}

// add counts bytes that were written.
func (f *flow) add(n int64) {
	if n <= 0 {
		return
	}
	f.n += n
	if f.live != nil {
		f.live.Add(n)
	}
}

// touch notes that something moved.
func (f *flow) touch() { f.last.Store(int64(time.Since(f.join.start))) }

// write waits for the limiter and writes p.
func (f *flow) write(ctx context.Context, p []byte) error {
	if f.limit != nil {
		f.touch()
		f.phase.Store(limited)
		if err := f.limit(ctx, len(p)); err != nil {
			return err
		}
	}
	f.touch()
	f.phase.Store(writing)
	n, err := f.dst.Write(p)
	f.add(int64(n))
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
