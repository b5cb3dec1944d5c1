package accesslog

import (
	"sync"
	"time"
)

// alarmJump is how far the system's clock may jump forward without an alarm.
const alarmJump = time.Hour

// clock is the log's own, which never goes back. See the package doc.
type clock struct {
	system func() time.Time

	mu     sync.Mutex // guards the fields below
	log    time.Time  // the log's time at the last look
	wall   time.Time  // the system's then
	mono   time.Time  // with a monotonic reading, then
	jumped bool       // since the last call of tookJump
}

// moment is one time by both clocks.
type moment struct {
	wall, log time.Time // UTC, without monotonic readings
}

// newClock goes on from a moment that was saved; the zero value is none. The time
// between is taken from the system's clock, unless that was set back then.
func newClock(system func() time.Time, saved moment) *clock {
	wall := system().UTC().Round(0)
	log := wall
	if !saved.log.IsZero() {
		log = latest(wall, saved.log, saved.log.Add(wall.Sub(saved.wall)))
	}
	return &clock{system: system, log: log, wall: wall, mono: time.Now()}
}

func latest(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if u.After(t) {
			t = u
		}
	}
	return t
}

// now gives the time.
func (c *clock) now() moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono, wall := time.Now(), c.system().UTC().Round(0)
	elapsed := mono.Sub(c.mono)
	if wall.Sub(c.wall)-elapsed > alarmJump {
		c.jumped = true
	}
	c.log = latest(wall, c.log.Add(elapsed))
	c.wall, c.mono = wall, mono
	return moment{wall: wall, log: c.log}
}

// tookJump reports whether the system's clock has jumped forward since the last call.
func (c *clock) tookJump() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.jumped
	c.jumped = false
	return j
}
