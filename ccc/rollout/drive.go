package rollout

import (
	"context"
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// drive works on one rollout, as long as this process has its lease.
type drive struct {
	s    *Service
	id   store.RolloutID
	wake chan struct{} // something was said to it; has room for one
	away absent        // who is waited for

	// The rest is owned by run.
	work     context.Context // of what goes on at systems; ends with the lease
	state    store.RolloutState
	ring     int  // that it works on
	recount  bool // the numbers of the ring may have changed
	known    bool // what is to be done was read, and is in the fields below
	read     time.Time
	queue    []turn // whose turn is next
	inflight map[store.SystemID]bool
	waiting  map[store.SystemID]retry // that did not answer
	retryAt  time.Time                // of the first of them; zero: there is none
	ended    chan result
}

// turn is a system whose turn it is; tries: how often it has not answered.
type turn struct {
	device store.RolloutDevice
	tries  int
}

// retry is when a system is asked again.
type retry struct {
	turn
	at time.Time
}

// result is how a system's turn has ended; err: it is to be tried again. under is the state
// in which it was begun.
type result struct {
	turn
	err   error
	under store.RolloutState
}

func newDrive(s *Service, r store.Rollout) *drive {
	return &drive{
		s: s, id: r.ID, wake: make(chan struct{}, 1), inflight: map[store.SystemID]bool{}, waiting: map[store.SystemID]retry{}, ended: make(chan result),
	}
}

func (d *drive) look() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run goes on until there is nothing to do, or the lease is lost, or ctx ends. What was begun
// at systems has ended when it returns.
func (d *drive) run(ctx context.Context) {
	work, cancel := context.WithCancel(ctx)
	d.work = work
	defer func() {
		cancel()
		for len(d.inflight) > 0 {
			d.end(<-d.ended)
		}
	}()
	for {
		pause, err := d.turn(ctx)
		switch {
		case err == nil:
		case errors.Is(err, errLost), errors.Is(err, errOver) && len(d.inflight) == 0:
			return
		case errors.Is(err, errOver):
		case ctx.Err() == nil:
			d.s.log.Warn("a rollout waits", "rollout", d.id, "error", err)
			pause = d.s.cfg.Retry
		}
		timer := time.NewTimer(pause)
		select {
		case r := <-d.ended:
			d.end(r)
		case <-d.wake:
			d.recount = true
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

var (
	// errOver: there is nothing more to do.
	errOver = errors.New("nothing to do")
	// errLost: another process may work on it.
	errLost = errors.New("the lease is lost")
)

// patience is how many times the first wait is the longest one before a next try.
const patience = 64

func (d *drive) end(r result) {
	id := r.device.System
	delete(d.inflight, id)
	switch {
	case r.under != d.state:
		// What is to be done now was read without it.
		d.known, d.recount = false, true
	case errors.Is(r.err, errAway), r.err == nil && r.device.State == store.DeviceOffline && d.state == store.RolloutRunning:
		d.await(r.turn)
	case r.err != nil:
		at := now().Add(d.s.cfg.Retry * time.Duration(min(1<<min(r.tries, 30), patience)))
		if errors.Is(r.err, errUnanswered) {
			r.tries++
		}
		d.waiting[id] = retry{r.turn, at}
		if d.retryAt.IsZero() || at.Before(d.retryAt) {
			d.retryAt = at
		}
	case r.device.State == store.DeviceFailed, r.device.State == store.DeviceRefused:
		d.recount = true // it may be the one too many
	}
}

// await has a system's turn be when it is back, which it may be already.
func (d *drive) await(t turn) {
	d.away.add(t)
	if d.s.cfg.Online(t.device.Serial) && d.away.back(t.device.Serial) {
		d.look()
	}
}

// idle tells whether nobody has his turn, or will have it by itself.
func (d *drive) idle() bool { return len(d.queue)+len(d.inflight)+len(d.waiting) == 0 }

// forget drops what was to be done: it is read again. What goes on at systems ends by itself.
func (d *drive) forget() {
	d.known, d.recount, d.queue, d.retryAt = false, true, nil, time.Time{}
	clear(d.waiting)
	d.away.clear()
}

// turn looks at the rollout, and begins what is to be begun. It gives how long to wait for
// something to change by itself.
func (d *drive) turn(ctx context.Context) (time.Duration, error) {
	var r store.Rollout
	var counts []store.RingCount
	d.ready()
	err := d.s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		counts = nil
		if r, err = tx.LeasedRollout(d.id, d.s.owner, now()); err == nil && r.State == store.RolloutRunning && (d.recount || d.idle()) {
			counts, err = tx.RingCounts(d.id)
		}
		return err
	})
	if lost, ok := errors.AsType[*store.ConflictError](err); ok && lost.What == "lease" {
		return 0, errLost
	}
	if err != nil {
		return 0, err
	}
	if r.State != d.state || r.Ring != d.ring {
		// Who waits for one thing is not to be done another to.
		d.state, d.ring = r.State, r.Ring
		d.forget()
		return 0, nil
	}
	if counts != nil {
		d.recount = false
	}
	switch r.State {
	case store.RolloutChecking:
		return d.checking(ctx, r)
	case store.RolloutRunning:
		return d.running(ctx, r, counts)
	case store.RolloutReverting:
		return d.reverting(ctx, r)
	case store.RolloutReady, store.RolloutPaused, store.RolloutHalted, store.RolloutStopped, store.RolloutDone, store.RolloutReverted:
	}
	d.queue = nil
	return d.s.cfg.Lease, errOver
}

// ready gives those their turn next who are back, or whose wait is over.
func (d *drive) ready() {
	d.queue = append(d.queue, d.away.came()...)
	at := now()
	if d.retryAt.IsZero() || at.Before(d.retryAt) {
		return
	}
	d.retryAt = time.Time{}
	for id, w := range d.waiting {
		switch {
		case !at.Before(w.at):
			delete(d.waiting, id)
			d.queue = append(d.queue, w.turn)
		case d.retryAt.IsZero() || w.at.Before(d.retryAt):
			d.retryAt = w.at
		}
	}
}

// begin gives systems of the queue their turn, as many at once as the plan says.
func (d *drive) begin(r store.Rollout, do func(context.Context, store.Rollout, store.RolloutDevice, int) (store.RolloutDevice, error)) {
	for len(d.queue) > 0 && len(d.inflight) < r.Plan.Parallel {
		next := d.queue[0]
		d.queue = d.queue[1:]
		if d.inflight[next.device.System] {
			continue
		}
		d.inflight[next.device.System] = true
		go func() {
			after, err := do(d.work, r, next.device, next.tries)
			after.System, after.Serial = next.device.System, next.device.Serial
			d.ended <- result{turn{after, next.tries}, err, r.State}
		}()
	}
}

// fill reads what is to be done where that is not known, or all that was known is over, and
// tells whether there is anything. What was over and is still to be done is read again after
// a while; open says that there is something besides who is waited for.
func (d *drive) fill(ctx context.Context, open bool, find func(tx *store.Tx, limit int) ([]store.RolloutDevice, error)) (more bool, err error) {
	if d.known && (!d.idle() || d.away.any() && !open) {
		return true, nil
	}
	at, limit := now(), store.MaxPage
	if again := d.read.Add(d.s.cfg.Retry); d.known && at.Before(again) {
		limit, d.retryAt = 1, again
	}
	var all []store.RolloutDevice
	err = d.s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = find(tx, limit)
		return err
	})
	if err != nil || limit == 1 {
		return len(all) > 0, err
	}
	d.known, d.read = true, at
	d.away.clear()
	for _, one := range all {
		switch {
		case d.inflight[one.System]:
		case one.State == store.DeviceOffline && d.state != store.RolloutChecking:
			d.await(turn{device: one})
		default:
			d.queue = append(d.queue, turn{device: one})
		}
	}
	d.ready()
	return len(all) > 0, nil
}

// pause is how long nothing changes that nobody tells of.
func (d *drive) pause(at time.Time, r store.Rollout) time.Duration {
	next := at.Add(d.s.cfg.Lease)
	if !d.retryAt.IsZero() && d.retryAt.Before(next) {
		next = d.retryAt
	}
	if r.Deadline != nil && r.Deadline.After(at) && r.Deadline.Before(next) {
		next = *r.Deadline
	}
	return max(next.Sub(at), 0)
}

// checking reads systems that were not read yet.
func (d *drive) checking(ctx context.Context, r store.Rollout) (time.Duration, error) {
	more, err := d.fill(ctx, true, func(tx *store.Tx, limit int) ([]store.RolloutDevice, error) { return tx.UncheckedDevices(d.id, limit) })
	if err != nil {
		return 0, err
	}
	if !more && len(d.inflight) == 0 {
		r.State = store.RolloutReady
		return 0, d.set(ctx, r, store.RolloutChecking)
	}
	d.begin(r, d.s.check)
	return d.pause(now(), r), nil
}

// set takes the rollout to another state, if nobody else has, and looks again at once.
func (d *drive) set(ctx context.Context, r store.Rollout, from store.RolloutState) error {
	err := d.s.cfg.update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LeasedRollout(d.id, d.s.owner, now()); err != nil {
			return err
		}
		return tx.SetRollout(r.Tenant, r, from)
	})
	if errors.Is(err, store.ErrConflict) {
		err = nil // it is looked at again
	}
	d.s.cfg.Notify(r.Tenant)
	return err
}
