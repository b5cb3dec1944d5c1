package load

import (
	"context"
	"time"
)

// comeback measures how devices come back after something that ended their
// sessions. It is guarded by Fleet.mu.
type comeback struct {
	number    int // of marks so far
	at        time.Time
	sinceMark *Histogram
	sinceLoss *Histogram
	last      time.Time
}

// note takes a device's new session, and reports whether it is its first one
// since the mark.
func (c *comeback) note(d *device, now time.Time) bool {
	if c.number == d.mark {
		return false
	}
	d.mark = c.number
	c.last = now
	c.sinceMark.Add(now.Sub(c.at))
	if d.lost.After(c.at) {
		c.sinceLoss.Add(now.Sub(d.lost))
	}
	return true
}

// Comeback says how the devices came back after a [Fleet.Mark].
type Comeback struct {
	// Back is how many devices got a new session.
	Back int `json:"back"`
	// Elapsed is the time from the mark to the last of these sessions.
	Elapsed time.Duration `json:"elapsed_ns"`
	// SinceMark counts from the mark, SinceLoss from when the device noticed that
	// its session was gone.
	SinceMark Latency `json:"since_mark"`
	SinceLoss Latency `json:"since_loss"`
}

// Mark begins to measure how long each device takes to get a new session, e.g.
// just before the relay is killed.
func (f *Fleet) Mark() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.Back = 0
	f.back = comeback{number: f.back.number + 1, at: time.Now(), sinceMark: NewHistogram(), sinceLoss: NewHistogram()}
}

// WaitBack waits until every device has got a new session since the last mark.
func (f *Fleet) WaitBack(ctx context.Context) error {
	return f.wait(ctx, func() bool { return f.count.Back == len(f.devices) })
}

// Comeback gives the result since the last mark; it is zero without one.
func (f *Fleet) Comeback() Comeback {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.back.number == 0 {
		return Comeback{}
	}
	c := Comeback{Back: f.count.Back, SinceMark: f.back.sinceMark.Summary(), SinceLoss: f.back.sinceLoss.Summary()}
	if !f.back.last.IsZero() {
		c.Elapsed = f.back.last.Sub(f.back.at)
	}
	return c
}

// Connected gives the times from the start of a device to its first welcome.
func (f *Fleet) Connected() Latency { return f.connect.Summary() }

// Churn restarts devices at a rate per second, drawn by the seed, until ctx ends.
// Between the two the device is offline, as one that loses power.
func (f *Fleet) Churn(ctx context.Context, perSecond float64) {
	rng := newRand(f.cfg.Seed, streamChurn)
	for sleep(ctx, time.Duration(rng.ExpFloat64()/perSecond*float64(time.Second))) {
		f.mu.Lock()
		restart := f.devices[rng.IntN(len(f.devices))].restart
		f.mu.Unlock()
		if restart != nil {
			restart()
		}
	}
}

// Restart restarts all devices that run at once, as after a power cut.
func (f *Fleet) Restart() {
	f.mu.Lock()
	list := make([]context.CancelFunc, 0, len(f.devices))
	for _, d := range f.devices {
		if d.restart != nil {
			list = append(list, d.restart)
		}
	}
	f.mu.Unlock()
	for _, restart := range list {
		restart()
	}
}

// ConnectTime is the time from the start of the first device to the newest first
// welcome of a device.
func (f *Fleet) ConnectTime() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(0, f.newest.Sub(f.started))
}
