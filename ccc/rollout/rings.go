package rollout

import (
	"context"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

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

// running takes the ring's systems, and then the next ring. There are counts where they may
// have changed.
func (d *drive) running(ctx context.Context, r store.Rollout, counts []store.RingCount) (time.Duration, error) {
	at, n := now(), numbers{}
	if counts != nil {
		n = tally(counts, r.Ring)
		last := last(counts)
		quiet := len(d.inflight) == 0
		switch {
		case tooMany(r.Plan, n, r.Forgiven), r.Ring < last && quiet && n.noneGood() && r.Forgiven < n.all:
			r.State, r.Reason, r.Stood = store.RolloutHalted, "failures", &at
			return 0, d.set(ctx, r, store.RolloutRunning)
		case n.open > 0 || !quiet || at.Before(r.NotBefore) || n.offline > 0 && (n.ended == 0 || r.Ring == last):
		case r.Ring < last:
			return 0, d.nextRing(ctx, r, at)
		default:
			r.State, r.Ended = store.RolloutDone, &at
			return 0, d.set(ctx, r, store.RolloutRunning)
		}
	}
	switch {
	case r.Deadline != nil && !at.Before(*r.Deadline):
		d.queue = nil
		if len(d.inflight) == 0 {
			r.State, r.Reason, r.Ended = store.RolloutStopped, reasonDeadline, &at
			return 0, d.set(ctx, r, store.RolloutRunning)
		}
	case at.Before(r.NotBefore):
		return min(r.NotBefore.Sub(at), d.pause(at, r)), nil
	case !open(r.Plan.Window, at):
		return min(time.Minute, d.pause(at, r)), nil
	default:
		if _, err := d.fill(ctx, n.open > 0, func(tx *store.Tx, limit int) ([]store.RolloutDevice, error) { return d.due(tx, r, limit) }); err != nil {
			return 0, err
		}
		d.begin(r, d.s.apply)
	}
	return d.pause(at, r), nil
}

// due gives systems of the ring whose turn it is or will be; first those that a process which
// was killed has begun.
func (d *drive) due(tx *store.Tx, r store.Rollout, limit int) (all []store.RolloutDevice, err error) {
	for _, state := range []store.RolloutDeviceState{store.DeviceRunning, store.DevicePending, store.DeviceOffline} {
		some, err := tx.DueDevices(d.id, r.Ring, limit, state)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
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
	more := false
	if over {
		d.queue = nil
	} else {
		var err error
		more, err = d.fill(ctx, false, func(tx *store.Tx, limit int) ([]store.RolloutDevice, error) { return tx.WrittenDevices(d.id, limit) })
		if err != nil {
			return 0, err
		}
	}
	if !more && len(d.inflight) == 0 {
		r.State, r.Ended = store.RolloutReverted, &at
		if over {
			r.Reason = reasonDeadline
		}
		return 0, d.set(ctx, r, store.RolloutReverting)
	}
	d.begin(r, d.s.revert)
	return d.pause(at, r), nil
}
