package splice

import (
	"math"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// never is a limit that is not reached: some 290 years.
const never = time.Duration(math.MaxInt64)

// arm starts the timer of the next check, or checks at once if one is running.
func (j *join) arm() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return
	}
	next := max(j.nextLocked(), 0)
	if next == never {
		return
	}
	if j.timer == nil {
		j.timer = time.AfterFunc(next, j.check)
		return
	}
	j.timer.Reset(next)
}

// check ends the splice if a limit is reached, and arms the timer anew if not.
func (j *join) check() {
	now := time.Since(j.start)
	for _, f := range []*flow{&j.ab, &j.ba} {
		if f.phase.Load() == writing && now-f.moved() >= j.write {
			j.fail(tunnel.CodeSlowReader, tunnel.Errorf(tunnel.CodeSlowReader, "a write made no progress for %v", j.write))
			return
		}
	}
	if left, ok := j.idleLeft(now); ok && left <= 0 {
		j.fail(tunnel.CodeStreamIdle, tunnel.Errorf(tunnel.CodeStreamIdle, "nothing moved for %v", j.idleBound()))
		return
	}
	if j.parks() {
		j.quiet(now)
	}
	j.arm()
}

// nextLocked is how long the next check may wait. Directions do not restart the timer
// when they begin a write, which would cost every write; so a check comes at
// least every half write timeout, but while both are parked.
func (j *join) nextLocked() time.Duration {
	now := time.Since(j.start)
	next := never
	if left, ok := j.idleLeft(now); ok {
		next = left
	}
	if j.parks() {
		left := max(j.moved(), j.woke) + j.while - now
		if left <= 0 { // it has been asked to, or could not
			left = parkMost
		}
		next = min(next, left)
	}
	if j.write == never || j.rests() {
		return next
	}
	next = min(next, j.write/2)
	for _, f := range []*flow{&j.ab, &j.ba} {
		if f.phase.Load() == writing {
			next = min(next, f.moved()+j.write-now)
		}
	}
	return next
}

// idleLeft is how long the splice may still carry nothing; not ok where the limit
// does not apply now, because a limiter holds bytes back.
func (j *join) idleLeft(now time.Duration) (left time.Duration, ok bool) {
	bound := j.idleBound()
	if bound == never {
		return 0, false
	}
	if j.ab.phase.Load() == limited || j.ba.phase.Load() == limited {
		return bound, true
	}
	return j.moved() + bound - now, true
}

// idleBound is the limit that applies now.
func (j *join) idleBound() time.Duration {
	if j.ab.phase.Load() == ended || j.ba.phase.Load() == ended {
		return j.halfClosed
	}
	return j.idle
}

// moved is when bytes of the direction last moved, counted from the start.
func (f *flow) moved() time.Duration { return time.Duration(f.last.Load()) }
