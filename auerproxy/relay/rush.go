package relay

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A rush is when many handshakes come in. Each computes for a millisecond, and the
// packets of everybody else wait for them: the runtime looks at the network when it
// has nothing to run, or every 10 ms. So while there is a rush the runtime gets more
// processors than the machine has. Then one of its threads waits for the network in
// the kernel, which shares the processors fairly between it and those that compute.
// Where there are no calls, or no rush, that would only cost switches between threads.
type rush struct {
	least int    // so many handshakes in a rushWindow are one; 0: never
	begin func() // gives the runtime more processors
	end   func() // takes them away

	open, made atomic.Int64 // calls that are open, and that there have been

	mu    sync.Mutex
	since time.Time   // guarded by mu; when the window began
	count int         // guarded by mu; handshakes in it
	calls int64       // guarded by mu; made when it began
	last  time.Time   // guarded by mu; when there were enough of them
	timer *time.Timer // guarded by mu; runs in a rush
}

const (
	rushWindow = 250 * time.Millisecond
	// rushHold is how long after the last full window a rush is over.
	rushHold = 2 * time.Second
	// rushFactor is how many processors the runtime has in a rush, for each of the
	// machine's.
	rushFactor = 4
)

// newRush makes one for so many handshakes a second; none where it is negative, or
// the environment says how many processors there are.
func newRush(perSecond float64) *rush {
	r := &rush{begin: moreProcessors, end: fewerProcessors}
	if perSecond > 0 && os.Getenv("GOMAXPROCS") == "" {
		r.least = max(1, int(perSecond*rushWindow.Seconds()))
	}
	return r
}

// callBegins and callEnds count a call.
func (r *rush) callBegins() {
	r.open.Add(1)
	r.made.Add(1)
}

func (r *rush) callEnds() { r.open.Add(-1) }

// saw counts a handshake.
func (r *rush) saw() {
	if r.least == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.since) >= rushWindow {
		r.since, r.count, r.calls = now, 0, r.made.Load()
	}
	if r.count++; r.count < r.least || r.open.Load() == 0 && r.calls == r.made.Load() {
		return
	}
	r.last = now
	if r.timer == nil {
		r.timer = time.AfterFunc(rushHold, r.look)
		r.begin()
	}
}

// look ends a rush that is over.
func (r *rush) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer == nil {
		return
	}
	if left := rushHold - time.Since(r.last); left > 0 {
		r.timer.Reset(left)
		return
	}
	r.stopLocked()
}

// stop ends a rush, if there is one.
func (r *rush) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.stopLocked()
	}
}

func (r *rush) stopLocked() {
	r.timer.Stop()
	r.timer = nil
	r.end()
}

// rushes are those of all relays of the process.
var rushes struct {
	mu sync.Mutex
	n  int // guarded by mu
}

func moreProcessors() {
	rushes.mu.Lock()
	defer rushes.mu.Unlock()
	if rushes.n++; rushes.n == 1 {
		runtime.GOMAXPROCS(rushFactor * runtime.GOMAXPROCS(0))
	}
}

// fewerProcessors leaves the number to the runtime again, which follows the bounds of
// its control group.
func fewerProcessors() {
	rushes.mu.Lock()
	defer rushes.mu.Unlock()
	if rushes.n--; rushes.n == 0 {
		runtime.SetDefaultGOMAXPROCS()
	}
}
