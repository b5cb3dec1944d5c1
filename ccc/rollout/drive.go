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

	// The rest is owned by run.
	queue    []store.RolloutDevice // whose turn is next
	filled   time.Time             // when the queue was read
	state    store.RolloutState    // that the queue is of
	inflight map[store.SystemID]bool
	waiting  map[store.SystemID]retry // that did not answer
	ended    chan result
}

// retry is when a system is asked again, and how often it was.
type retry struct {
	at    time.Time
	tries int
}

// result is how a system's turn has ended; err: it is to be tried again.
type result struct {
	device store.RolloutDevice
	err    error
}

// batch is how many systems are read from the store at once.
const batch = 200

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
	for {
		pause, err := d.turn(ctx)
		if errors.Is(err, errOver) && len(d.inflight) == 0 {
			return
		}
		if err != nil && !errors.Is(err, errOver) {
			if ctx.Err() == nil {
				d.s.log.Warn("a rollout waits", "rollout", d.id, "error", err)
			}
			pause = d.s.cfg.Retry
		}
		timer := time.NewTimer(pause)
		select {
		case r := <-d.ended:
			d.end(r)
		case <-d.wake:
			d.filled = time.Time{}
		case <-timer.C:
		case <-ctx.Done():
			for len(d.inflight) > 0 {
				d.end(<-d.ended)
			}
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// errOver: there is nothing more to do, or not for this process.
var errOver = errors.New("nothing to do")

func (d *drive) end(r result) {
	id := r.device.System
	delete(d.inflight, id)
	if r.err == nil {
		delete(d.waiting, id)
		if r.device.State == store.DeviceFailed || r.device.State == store.DeviceRefused {
			d.queue = nil // it may be the one too many
		}
		return
	}
	d.waiting[id] = retry{now().Add(d.s.cfg.Retry), d.waiting[id].tries + 1}
}

// turn looks at the rollout, and begins what is to be begun. It gives how long to wait for
// something to change by itself.
func (d *drive) turn(ctx context.Context) (time.Duration, error) {
	var r store.Rollout
	var counts []store.RingCount
	err := d.s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if r, err = tx.LeasedRollout(d.id, d.s.owner, now()); err == nil && len(d.queue) == 0 {
			counts, err = tx.RingCounts(d.id)
		}
		return err
	})
	if lost, ok := errors.AsType[*store.ConflictError](err); ok && lost.What == "lease" {
		return 0, errOver
	}
	if err != nil {
		return 0, err
	}
	if r.State != d.state {
		// Who waits for one thing is not to be done another to.
		d.state, d.queue = r.State, nil
		return 0, nil
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
	return d.s.cfg.Retry, errOver
}

// begin gives systems of the queue their turn, as many at once as the plan says.
func (d *drive) begin(ctx context.Context, r store.Rollout, do func(context.Context, store.Rollout, store.RolloutDevice, int) (store.RolloutDevice, error)) {
	for len(d.queue) > 0 && len(d.inflight) < r.Plan.Parallel {
		next := d.queue[0]
		d.queue = d.queue[1:]
		if d.inflight[next.System] {
			continue
		}
		d.inflight[next.System] = true
		tries := d.waiting[next.System].tries
		go func() {
			after, err := do(ctx, r, next, tries)
			after.System = next.System
			d.ended <- result{after, err}
		}()
	}
}

// fill reads the queue, where it is empty and there may be something new, and tells whether
// there is anything that waits for a later try.
func (d *drive) fill(ctx context.Context, find func(*store.Tx) ([]store.RolloutDevice, error)) (found int, err error) {
	var all []store.RolloutDevice
	err = d.s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = find(tx)
		return err
	})
	at := now()
	for _, one := range all {
		switch later, waits := d.waiting[one.System]; {
		case d.inflight[one.System] || waits && at.Before(later.at):
		case one.State == store.DeviceOffline && one.Checked && !d.s.cfg.Online(one.Serial):
		default:
			d.queue = append(d.queue, one)
		}
	}
	return len(all), err
}

// checking reads systems that were not read yet.
func (d *drive) checking(ctx context.Context, r store.Rollout) (time.Duration, error) {
	found := 1
	if len(d.queue) == 0 {
		var err error
		found, err = d.fill(ctx, func(tx *store.Tx) ([]store.RolloutDevice, error) {
			return tx.UncheckedDevices(d.id, batch+len(d.inflight)+len(d.waiting))
		})
		if err != nil {
			return 0, err
		}
	}
	if found == 0 && len(d.inflight) == 0 {
		r.State = store.RolloutReady
		return 0, d.set(ctx, r, store.RolloutChecking)
	}
	d.begin(ctx, r, d.s.check)
	return d.s.cfg.Retry, nil
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

// numbers of a ring.
type numbers struct{ open, offline, ended, failed, all int }

// tally counts a ring. What failed before the start does not count as failed.
func tally(counts []store.RingCount, ring int) (n numbers) {
	for _, c := range counts {
		if c.Ring != ring {
			continue
		}
		n.all += c.Systems
		switch c.State {
		case store.DevicePending, store.DeviceRunning:
			n.open += c.Systems
		case store.DeviceOffline:
			n.offline += c.Systems
		case store.DeviceDone, store.DeviceUnchanged:
			n.ended += c.Systems
		case store.DeviceFailed, store.DeviceRefused:
			if c.Tried {
				n.failed += c.Systems
			}
		case store.DeviceConflict, store.DeviceRolledBack:
		}
	}
	return n
}

// tooMany tells whether a ring halts the rollout.
func tooMany(p store.RolloutPlan, n numbers, forgiven int) bool {
	failed := n.failed - forgiven
	return failed > p.MaxFailures || p.MaxPercent > 0 && failed*100 > p.MaxPercent*n.all
}

// noneGood tells whether all of a ring have had their turn and none is as it is to be.
func (n numbers) noneGood() bool { return n.all > 0 && n.open+n.offline+n.ended == 0 }

// last gives the number of the last ring.
func last(counts []store.RingCount) (ring int) {
	for _, c := range counts {
		ring = max(ring, c.Ring)
	}
	return ring
}

// running takes the ring's systems, and then the next ring.
func (d *drive) running(ctx context.Context, r store.Rollout, counts []store.RingCount) (time.Duration, error) {
	at := now()
	over := r.Deadline != nil && !at.Before(*r.Deadline)
	if counts == nil && !over {
		d.begin(ctx, r, d.s.apply)
		return d.s.cfg.Retry, nil
	}
	n := tally(counts, r.Ring)
	switch {
	case tooMany(r.Plan, n, r.Forgiven), r.Ring < last(counts) && len(d.inflight) == 0 && n.noneGood() && r.Forgiven < n.all:
		r.State, r.Reason = store.RolloutHalted, "failures"
		d.queue = nil
		return 0, d.set(ctx, r, store.RolloutRunning)
	case over && len(d.inflight) > 0:
		d.queue = nil
		return d.s.cfg.Retry, nil
	case over:
		r.State, r.Reason, r.Ended, d.queue = store.RolloutStopped, "deadline", &at, nil
		return 0, d.set(ctx, r, store.RolloutRunning)
	case at.Before(r.NotBefore):
		return min(r.NotBefore.Sub(at), r.Deadline.Sub(at)), nil
	case n.open == 0 && len(d.inflight) == 0 && (n.offline == 0 || n.ended > 0 && r.Ring < last(counts)):
		if r.Ring < last(counts) {
			return 0, d.nextRing(ctx, r, at)
		}
		r.State, r.Ended = store.RolloutDone, &at
		return 0, d.set(ctx, r, store.RolloutRunning)
	case !open(r.Plan.Window, at):
		return min(time.Minute, r.Deadline.Sub(at)), nil
	}
	if _, err := d.fill(ctx, func(tx *store.Tx) ([]store.RolloutDevice, error) { return d.due(tx, r, at) }); err != nil {
		return 0, err
	}
	// One after the other where each may be the one too many.
	d.queue = d.queue[:min(len(d.queue), r.Plan.Parallel)]
	d.begin(ctx, r, d.s.apply)
	return d.s.cfg.Retry, nil
}

// due gives systems of the ring whose turn it is. Those that were offline are many, maybe, and
// are looked at now and then.
func (d *drive) due(tx *store.Tx, r store.Rollout, at time.Time) ([]store.RolloutDevice, error) {
	all, err := tx.DueDevices(d.id, r.Ring, batch+len(d.inflight)+len(d.waiting), store.DevicePending, store.DeviceRunning)
	if err != nil || at.Sub(d.filled) < d.s.cfg.Retry {
		return all, err
	}
	d.filled = at
	offline, err := tx.DueDevices(d.id, r.Ring, store.MaxPage, store.DeviceOffline)
	return append(all, offline...), err
}

func (d *drive) nextRing(ctx context.Context, r store.Rollout, at time.Time) error {
	err := d.s.cfg.update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LeasedRollout(d.id, d.s.owner, at); err != nil {
			return err
		}
		return tx.NextRing(d.id, r.Ring+1, at.Add(r.Plan.Pause))
	})
	d.s.cfg.Notify(r.Tenant)
	return err
}

// reverting sets back what was written.
func (d *drive) reverting(ctx context.Context, r store.Rollout) (time.Duration, error) {
	at := now()
	over := r.Deadline != nil && !at.Before(*r.Deadline)
	found := 1
	if over {
		d.queue = nil
	} else if len(d.queue) == 0 {
		var err error
		found, err = d.fill(ctx, func(tx *store.Tx) ([]store.RolloutDevice, error) { return tx.WrittenDevices(d.id, store.MaxPage) })
		if err != nil {
			return 0, err
		}
	}
	if (found == 0 || over) && len(d.inflight) == 0 {
		r.State, r.Ended = store.RolloutReverted, &at
		if over {
			r.Reason = "deadline"
		}
		return 0, d.set(ctx, r, store.RolloutReverting)
	}
	d.begin(ctx, r, d.s.revert)
	return d.s.cfg.Retry, nil
}
