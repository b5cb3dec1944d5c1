package relay

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRush: it begins with so many handshakes in a window, and ends once, when there
// have been fewer for a while.
func TestRush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var begun, ended atomic.Int64
		r := &rush{least: 10, begin: func() { begun.Add(1) }, end: func() { ended.Add(1) }}
		want := func(what string, b, e int64) {
			t.Helper()
			if synctest.Wait(); begun.Load() != b || ended.Load() != e {
				t.Errorf("%s: begun %d times, ended %d, want %d and %d", what, begun.Load(), ended.Load(), b, e)
			}
		}
		handshakes := func(n int, every time.Duration) {
			for range n {
				r.saw()
				time.Sleep(every)
			}
		}
		handshakes(200, rushWindow/20)
		want("no calls", 0, 0)
		r.callBegins()
		handshakes(100, rushWindow/8)
		want("fewer", 0, 0)
		time.Sleep(rushWindow)
		handshakes(200, rushWindow/20)
		want("a rush", 1, 0)
		time.Sleep(rushHold - rushWindow)
		want("soon after", 1, 0)
		handshakes(20, rushWindow/20)
		time.Sleep(rushHold - rushWindow)
		want("more of it", 1, 0)
		time.Sleep(2 * rushHold)
		want("long after", 1, 1)
		handshakes(20, 0)
		want("another one", 2, 1)
		r.callEnds()
		r.stop()
		r.stop()
		want("the relay stops", 2, 2)
		time.Sleep(2 * rushHold)
		want("nothing is left", 2, 2)
		r.saw()
		r.callBegins()
		r.callEnds()
		handshakes(20, 0)
		want("short calls", 3, 2)
		r.stop()
	})
}

// TestRushProcessors: however many relays of a process have a rush, its processors are
// multiplied once, and all are given back. Not where it is switched off, or the
// environment says how many there are.
func TestRushProcessors(t *testing.T) { //nolint:paralleltest // it looks at the whole process
	t.Setenv("GOMAXPROCS", "")     // as if it were not set
	given := runtime.GOMAXPROCS(0) // by -cpu, or the environment
	t.Cleanup(func() { runtime.GOMAXPROCS(given) })
	runtime.SetDefaultGOMAXPROCS()
	before := runtime.GOMAXPROCS(0)
	a, b, never := newRush(8), newRush(8), newRush(-1)
	t.Setenv("GOMAXPROCS", "7")
	fixed := newRush(8)
	want := func(what string, n int) {
		t.Helper()
		if got := runtime.GOMAXPROCS(0); got != n {
			t.Errorf("%s: %d processors, want %d", what, got, n)
		}
	}
	for _, r := range []*rush{a, b, never, fixed} {
		r.callBegins()
	}
	for _, r := range []*rush{never, fixed} {
		for range 100 {
			r.saw()
		}
	}
	want("off", before)
	a.saw()
	a.saw()
	b.saw()
	b.saw()
	want("two rushes", rushFactor*before)
	a.stop()
	want("one is over", rushFactor*before)
	t.Setenv("GOMAXPROCS", "")
	b.stop()
	want("all are over", before)
}
