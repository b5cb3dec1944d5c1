// Package splice joins two connections: what arrives on one is written to the
// other, both ways, until both ways have ended.
//
// The rules, each of which some relay got wrong once:
//
//   - End of one direction is end of that direction only. A reads io.EOF, B gets
//     CloseWrite, and B's answer still flows.
//   - An error, other than io.EOF, on either side ends both directions at once:
//     both connections are reset. A splice that waits for the other direction
//     holds its unread bytes, which hold the session's flow-control credit, which
//     stalls the other streams of that session.
//   - A reader that takes nothing blocks its own splice only, for a bounded time.
//   - A splice that waits for bytes holds 2 x 1 KiB of buffer; the 64 KiB that a
//     busy direction uses come from a pool. One that has waited for a while holds no
//     buffer, and no goroutine of its own for a side that is a [tunnel.Awaiter] or has a
//     [Poller]; another socket keeps one of the smallest stack.
//
// A connection may have the methods CloseWrite() error and Reset(tunnel.Code), as
// a [tunnel.Stream] has. Without CloseWrite the end of the other side closes it
// altogether; without Reset an error closes it. One whose OnData() bool reports true
// runs on a data connection (package bulk), and gets writes of up to 256 KiB.
package splice

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
)

// Conn is one side of a splice.
type Conn = net.Conn

// Limits that a zero value in [Options] stands for.
const (
	DefaultIdleTimeout       = time.Hour
	DefaultHalfClosedTimeout = 2 * time.Minute
	DefaultWriteTimeout      = 30 * time.Second
)

// Options bounds a splice. In each duration 0 stands for the default and a
// negative value for no bound.
type Options struct {
	// IdleTimeout ends a splice that carried no byte either way for so long, with
	// [tunnel.CodeStreamIdle].
	IdleTimeout time.Duration
	// HalfClosedTimeout takes the place of IdleTimeout, if shorter, once one
	// direction has ended.
	HalfClosedTimeout time.Duration
	// WriteTimeout ends a splice with [tunnel.CodeSlowReader] when one write of up
	// to 64 KiB takes longer. It is noticed after 1 to 1.5 times WriteTimeout. At
	// 30 s a line of less than about 2 KiB/s counts as stuck.
	WriteTimeout time.Duration

	// AtoB and BtoA, where set, are raised by the bytes written as they are
	// written. Several splices may share a counter.
	AtoB, BtoA *atomic.Int64

	// LimitAtoB and LimitBtoA, where set, are called before n bytes are written,
	// n at most [MaxChunk], and may wait; (*rate.Limiter).WaitN of
	// golang.org/x/time/rate fits if its burst is at least MaxChunk. An error ends
	// the splice. The time spent in them is not idle time.
	LimitAtoB, LimitBtoA func(ctx context.Context, n int) error

	// Poller, where set, waits for those sides that are sockets. Nobody but the splice
	// may then close them: to end it from outside, close or reset the other side.
	Poller *Poller
}

// Result says how a splice went.
type Result struct {
	// AtoB and BtoA count the bytes written to b and to a.
	AtoB, BtoA int64
	// Reason is CodeOK when both directions ended with io.EOF, the code with which
	// both sides were reset otherwise: a code of a peer is handed on, any other
	// error is [tunnel.CodeReset].
	Reason tunnel.Code
	// Err is the first error, nil with CodeOK.
	Err error
}

// Join copies both ways between a and b until both ways have ended, then closes
// both. To end it from outside, close or reset a or b. Nobody else may set their read
// deadlines.
func Join(a, b Conn, o Options) Result {
	j := newJoin(socket.Wrap(a), socket.Wrap(b), o)
	j.ab.copy, j.ba.copy = j.ab.move, j.ba.move
	j.mayPark(o.Poller)
	return j.wait()
}

// Start is [Join] without a goroutine that waits for the end. It copies from a to b in
// the caller's goroutine and returns when that direction ends or first parks; done gets
// the result in the last goroutine of the splice, after which nothing of it is left.
func Start(a, b Conn, o Options, done func(Result)) {
	j := newJoin(socket.Wrap(a), socket.Wrap(b), o)
	j.ab.copy, j.ba.copy = j.ab.move, j.ba.move
	j.mayPark(o.Poller)
	j.done = done
	j.arm()
	go j.ba.begin()
	j.ab.run()
}

// copier moves the bytes of one direction until its source ends, which gives nil,
// or something fails.
type copier func(ctx context.Context) error

func newJoin(a, b Conn, o Options) *join {
	ctx, cancel := context.Background(), func() {}
	if o.LimitAtoB != nil || o.LimitBtoA != nil {
		ctx, cancel = context.WithCancel(ctx)
	}
	start := time.Now()
	j := &join{
		ab:     flow{src: a, dst: b, live: o.AtoB, limit: o.LimitAtoB},
		ba:     flow{src: b, dst: a, live: o.BtoA, limit: o.LimitBtoA},
		idle:   orDefault(o.IdleTimeout, DefaultIdleTimeout),
		write:  orDefault(o.WriteTimeout, DefaultWriteTimeout),
		start:  start,
		ctx:    ctx,
		cancel: cancel,
		poller: o.Poller,
		while:  parkLeast,
	}
	j.ab.join, j.ba.join = j, j
	j.halfClosed = min(j.idle, orDefault(o.HalfClosedTimeout, DefaultHalfClosedTimeout))
	j.left.Store(2)
	return j
}

// wait runs the splice, one direction in the caller's goroutine.
func (j *join) wait() Result {
	ended := make(chan Result, 1)
	j.done = func(r Result) { ended <- r }
	j.arm()
	go j.ba.begin()
	j.ab.run()
	return <-ended
}

// mayPark has directions park that can.
func (j *join) mayPark(p *Poller) {
	j.ab.await, j.ba.await = awaitOf(&j.ab, p), awaitOf(&j.ba, p)
}

func orDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return never
	default:
		return d
	}
}

// join is one running splice.
type join struct {
	ab, ba                  flow
	idle, halfClosed, write time.Duration
	start                   time.Time
	ctx                     context.Context //nolint:containedctx // the life of the waits in limiters
	cancel                  func()          // ends them
	done                    func(Result)    // called at the end
	left                    atomic.Int32    // directions that have not ended
	poller                  *Poller

	mu     sync.Mutex    // guards what follows
	while  time.Duration // how long nothing moves before directions park
	woke   time.Duration // when a direction last woke, counted from the start
	timer  *time.Timer   // next check of the limits; nil without one
	over   bool          // failed or finished: no check and no failure any more
	reason tunnel.Code
	err    error
}

// fail ends both directions with the first error. Later ones are its echo.
func (j *join) fail(code tunnel.Code, err error) {
	j.mu.Lock()
	if j.over {
		j.mu.Unlock()
		return
	}
	j.over, j.reason, j.err = true, code, err
	j.mu.Unlock()
	j.cancel()
	Reset(j.ab.src, code)
	Reset(j.ba.src, code)
	j.ab.cancelWait()
	j.ba.cancelWait()
}

// finish stops the checks.
func (j *join) finish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over = true
	if j.timer != nil {
		j.timer.Stop()
	}
	j.cancel()
}

// complete closes both sides after the end of both directions.
func (j *join) complete() {
	j.finish()
	_ = j.ab.src.Close()
	_ = j.ba.src.Close()
	j.done(Result{AtoB: j.ab.n, BtoA: j.ba.n, Reason: j.reason, Err: j.err})
}

// begin is run in a new goroutine.
func (f *flow) begin() {
	stack.Grow()
	f.run()
}

// run copies one direction until it ends or parks.
func (f *flow) run() {
	err := f.copy(f.join.ctx)
	for errors.Is(err, errPark) {
		if f.park() {
			return
		}
		err = f.copy(f.join.ctx)
	}
	f.join.end(f, err)
	if f.join.left.Add(-1) == 0 {
		f.join.complete()
	}
}

// end ends one direction.
func (j *join) end(f *flow, err error) {
	other := &j.ab
	if f == other {
		other = &j.ba
	}
	f.phase.Store(ended)
	if err == nil {
		// Where both directions have ended, Join closes both sides at once, which
		// says the same and spares a system call and a frame.
		if other.phase.Load() == ended {
			return
		}
		// An end that does not arrive matters only to a peer that still talks.
		if err = closeWrite(f.dst); err == nil || other.phase.Load() == ended {
			f.touch()
			j.arm()
			return
		}
	}
	j.fail(CodeOf(err), err)
}

// CodeOf is what the other side is told about an error: the number of a peer, and
// [tunnel.CodeReset] for all else.
func CodeOf(err error) tunnel.Code {
	if e, ok := errors.AsType[*tunnel.Error](err); ok && e.Code != tunnel.CodeOK {
		return e.Code
	}
	return tunnel.CodeReset
}

func closeWrite(c Conn) error {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Close()
}

// Reset gives a connection up, with the code where it can tell one.
func Reset(c Conn, code tunnel.Code) {
	if r, ok := c.(interface{ Reset(code tunnel.Code) }); ok {
		r.Reset(code)
		return
	}
	_ = c.Close()
}
