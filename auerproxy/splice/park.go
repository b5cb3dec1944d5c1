package splice

import (
	"errors"
	"syscall"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
)

// A direction that waits holds a goroutine, whose stack has the size of the last
// write, and a buffer. After a while it parks: it gives both back, and its source
// calls when there is something to read.
//
//	          a check finds it quiet        Await
//	reading ─────────────────────────► asked ─────► parked
//	   ▲                                 │             │
//	   └──── there is something to read ─┴─────────────┘
//
// Parking and waking cost some microseconds, which no request in a row of requests
// should pay: hence the while. It is short for a splice that is new or has rested, of
// which many open at once and then wait, and long once a look has found it at work or
// a rest was shorter than parkMost.
const (
	parkLeast = 20 * time.Millisecond
	parkMost  = 320 * time.Millisecond
)

// errPark is the end of a copy that is to park.
var errPark = errors.New("parks")

var past = time.Unix(1, 0)

// awaitOf gives the way to park a direction, nil if there is none.
func awaitOf(f *flow, p *Poller) func(f func()) bool {
	switch c := f.src.(type) {
	case tunnel.Awaiter:
		return c.Await
	case syscall.Conn:
		if p != nil {
			return f.poll
		}
		return awaitSocket(c)
	default:
		return nil
	}
}

// poll parks a direction in the poller. What fails the splice cancels the wait: epoll
// says nothing about a socket that is closed here.
func (f *flow) poll(call func()) bool {
	j := f.join
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return false
	}
	cancel, ok := j.poller.wait(f.src.(syscall.Conn), call) //nolint:forcetypeassert // see awaitOf
	f.cancel = cancel
	return ok
}

func (f *flow) cancelWait() {
	f.join.mu.Lock()
	cancel := f.cancel
	f.cancel = nil
	f.join.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// park has the source call when there is something to read; false where there is
// already, or the source cannot tell now.
func (f *flow) park() bool {
	f.asked.Store(false)
	if f.src.SetReadDeadline(time.Time{}) != nil {
		return false // which Read will tell, too
	}
	f.rested.Store(int64(time.Since(f.join.start)))
	f.phase.Store(parked)
	if f.await(f.resume) {
		return true
	}
	f.phase.Store(reading)
	return false
}

// resume goes on in another goroutine.
func (f *flow) resume() {
	stack.Grow()
	f.phase.Store(reading)
	f.join.rested(time.Duration(f.rested.Load()))
	f.join.arm() // a parked splice does without most checks
	f.run()
}

// rested sets the while anew after a rest since then.
func (j *join) rested(since time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.woke = time.Since(j.start)
	if j.woke-since < parkMost {
		j.while = parkMost
	} else {
		j.while = parkLeast
	}
}

// quiet asks the directions that wait to park, if nothing has moved for a while.
func (j *join) quiet(now time.Duration) {
	j.mu.Lock()
	still := now - max(j.moved(), j.woke)
	soon := still < j.while
	if still < j.while/2 {
		j.while = parkMost
	}
	j.mu.Unlock()
	if soon {
		return
	}
	for _, f := range []*flow{&j.ab, &j.ba} {
		if f.await != nil && f.phase.Load() == reading && f.asked.CompareAndSwap(false, true) {
			_ = f.src.SetReadDeadline(past) // fails on a connection that is closed, which its reader sees
		}
	}
}

// parks reports whether a direction may park before long.
func (j *join) parks() bool {
	for _, f := range []*flow{&j.ab, &j.ba} {
		if p := f.phase.Load(); f.await != nil && p != parked && p != ended {
			return true
		}
	}
	return false
}

// rests reports whether no direction has anything to do, and so no write either.
func (j *join) rests() bool {
	a, b := j.ab.phase.Load(), j.ba.phase.Load()
	return (a == parked || a == ended) && (b == parked || b == ended)
}

// moved is when bytes last moved either way, counted from the start.
func (j *join) moved() time.Duration { return max(j.ab.moved(), j.ba.moved()) }
