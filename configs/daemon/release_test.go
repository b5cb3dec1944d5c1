package daemon

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestWorthCollecting(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, tt := range []struct {
		name                      string
		live, gain, recent, floor uint64
		want                      bool
	}{
		{"nothing", 64 * mib, 0, 0, 0, false},
		{"a burst that has ended", 64 * mib, 64 * mib, 0, 0, true},
		{"a burst that goes on", 64 * mib, 64 * mib, 8 * mib, 0, false},
		{"a trickle", 64 * mib, 64 * mib, 4 * mib, 0, true},
		{"too small a part", 64 * mib, 7 * mib, 0, 0, false},
		{"the floor is not in use", 64 * mib, 7 * mib, 0, 32 * mib, true},
		{"too little", mib / 2, mib / 2, 0, 0, false},
		{"too little beside the floor", 32 * mib, mib / 2, 0, 64 * mib, false},
	} {
		if got := worth(tt.live, tt.gain, tt.recent, tt.floor); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// garbage is what a burst leaves.
var garbage []byte

// Not parallel: it is about the garbage of the whole process.
func TestReleaser(t *testing.T) { //nolint:paralleltest // see above
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no other collection than the test's
	r := newReleaser(0)
	runtime.GC()
	r.due(time.Now())
	garbage = make([]byte, 64<<20)
	garbage = nil
	if r.due(time.Now()) {
		t.Error("a collection in the middle of a burst")
	}
	if !r.due(time.Now()) {
		t.Error("no collection after a burst")
	}
	begin := time.Now()
	r.release()
	took := time.Since(begin)
	if now := begin.Add(costShare * took / 2); r.due(now) || r.next.Before(now) {
		t.Errorf("a collection of %v is followed by another after %v", took, now.Sub(begin))
	}
	garbage = make([]byte, 64<<20)
	garbage = nil
	r.due(r.next)
	if !r.due(r.next) {
		t.Error("no collection after the next burst")
	}
}
