package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const (
	// pairingsPage is how many pairings are read at once.
	pairingsPage = 1000
	// refreshEvery is how often the pairings are read anew, so that a change that
	// nobody told of, such as one of another process, is seen.
	refreshEvery = time.Minute
	// sweepEvery is how often answers that were kept for repeats are removed.
	sweepEvery = time.Minute
)

// Run tells readers about pairings and presence until ctx ends, and removes what was kept
// for repeats. It is to run once, beside [API.Handler].
func (a *API) Run(ctx context.Context) error {
	changes := a.cfg.Fleet.Subscribe(ctx)
	if err := a.refresh(ctx); err != nil {
		return err
	}
	close(a.ready)
	refresh, sweep := time.NewTicker(refreshEvery), time.NewTicker(sweepEvery)
	defer refresh.Stop()
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c, open := <-changes:
			if !open {
				changes = nil // ctx ends
				continue
			}
			a.presenceChanged(ctx, c)
		case <-a.changes.wake:
			err = a.pairingChanged(ctx)
		case <-refresh.C:
			err = a.refresh(ctx)
		case <-sweep.C:
			err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				_, err := tx.SweepIdempotent(time.Now().Add(-a.cfg.Limits.Idempotency))
				return err
			})
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("the store did not answer; it is asked again", "error", err)
		}
	}
}

// Ready is closed when Run has read the pairings.
func (a *API) Ready() <-chan struct{} { return a.ready }

// Drain ends the streams of live events, whose clients then look for another server or
// come back. It returns at once.
func (a *API) Drain(context.Context) error {
	a.close.Do(func() { close(a.closing) })
	return nil
}

// refresh reads which PBX is paired as what.
func (a *API) refresh(ctx context.Context) error {
	var all []store.Pairing
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all = nil
		var after identity.Serial
		for {
			some, err := tx.ActivePairings(after, pairingsPage)
			if err != nil {
				return err
			}
			all = append(all, some...)
			if len(some) < pairingsPage {
				return nil
			}
			after = some[len(some)-1].Serial
		}
	})
	if err == nil {
		a.paired.replace(all)
	}
	return err
}

// presenceChanged tells the tenant that a PBX is paired with; no other learns of it.
func (a *API) presenceChanged(ctx context.Context, c fleet.Change) {
	if c.Resync {
		a.hub.reset()
		return
	}
	at, ok := a.paired.find(c.Serial)
	if !ok {
		return
	}
	if c.Moved && !c.Status.Online {
		a.lastSeen(ctx, at, c.Status.Since)
	}
	a.hub.publish(at.tenant,
		notice{subject: subject{eventPresence, at.system}},
		notice{subject: subject{event: eventSummary}})
}

// PairingChanged takes what the pairing service has done, for Run to tell. It is that
// service's Notify, and does not block.
func (a *API) PairingChanged(c pairing.Change) { a.changes.add(c) }

// changes wait for Run.
type changes struct {
	wake chan struct{} // has room for one

	mu  sync.Mutex // guards all
	all []pairing.Change
}

func (q *changes) add(c pairing.Change) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, c)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *changes) take() []pairing.Change {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.all
	q.all = nil
	return all
}

// pairingChanged tells readers of what waits.
func (a *API) pairingChanged(ctx context.Context) error {
	all := a.changes.take()
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for _, c := range all {
			p, err := tx.SystemPairing(c.Tenant, c.System)
			switch {
			case err == nil:
				a.paired.set(c.System, &p)
			case errors.Is(err, store.ErrNotFound):
				a.paired.set(c.System, nil)
			default:
				return err
			}
		}
		return nil
	})
	for _, c := range all {
		a.hub.publish(c.Tenant, notices(c)...)
	}
	return err
}

// notices are the live events of a change.
func notices(c pairing.Change) []notice {
	total := notice{subject: subject{event: eventSummary}}
	switch c.Kind {
	case pairing.ChangeRemoved:
		return []notice{{subject: subject{eventRemoved, c.System}}, total}
	case pairing.ChangeOffer:
		return []notice{
			{subject{eventOffer, c.System}, OfferStep{SystemID: string(c.System), Step: c.Step}},
			{subject: subject{eventSystem, c.System}},
			total,
		}
	default:
		return []notice{{subject: subject{eventSystem, c.System}}, total}
	}
}

// lastSeen notes when a PBX was online.
func (a *API) lastSeen(ctx context.Context, at place, when time.Time) {
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.SetLastSeen(at.tenant, at.system, when) })
	if err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
		a.log.Warn("when a PBX was last online is not noted", "error", err)
	}
}
