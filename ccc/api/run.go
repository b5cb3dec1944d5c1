package api

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	// noteAfter is how long is waited for others to go offline, so that those of a relay
	// that ends are noted in one transaction; noteTimeout bounds that.
	noteAfter   = time.Second
	noteTimeout = 10 * time.Second
	// notedAtOnce is how many are noted in one transaction.
	notedAtOnce = 500
)

// Run tells readers about pairings and presence until ctx ends, and removes what was kept
// for repeats. It is to run once, beside [API.Handler].
func (a *API) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { a.tell(ctx) })
	wg.Go(func() { a.keepAudit(ctx) })
	wg.Go(func() { a.tellRepeats(ctx) })
	changes := a.cfg.Fleet.Subscribe(ctx)
	if err := a.refresh(ctx); err != nil {
		return err
	}
	close(a.ready)
	seen := map[place]time.Time{} // who went offline, and when, to be noted together
	var note <-chan time.Time     // nil: nothing is to be noted
	refresh, sweep := time.NewTicker(refreshEvery), time.NewTicker(sweepEvery)
	defer refresh.Stop()
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			if err := a.noteSeen(context.WithoutCancel(ctx), seen); err != nil {
				a.log.Warn("when some PBXs were last online is not noted", "error", err)
			}
			return ctx.Err()
		case c, open := <-changes:
			if !open {
				changes = nil // ctx ends
				continue
			}
			a.presenceChanged(c, seen)
			if len(seen) > 0 && note == nil {
				note = time.After(noteAfter)
			}
		case <-note:
			if note, err = nil, a.noteSeen(ctx, seen); err != nil {
				note = time.After(noteAfter)
			}
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
	var all []store.Paired
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all = nil
		var after identity.Serial
		for {
			some, err := tx.Paired(after, pairingsPage)
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
		a.hub.recount("")
	}
	return err
}

// presenceChanged tells the tenant that a PBX is paired with; no other learns of it. In
// seen it notes who went offline, and when.
func (a *API) presenceChanged(c fleet.Change, seen map[place]time.Time) {
	if c.Resync {
		a.hub.reset("")
		// Any of those that are offline may have been online until now.
		for at, serial := range a.paired.all() {
			if status, known := a.cfg.Fleet.Status(serial); known && !status.Online {
				seen[at] = status.Since
			}
		}
		return
	}
	at, ok := a.paired.find(c.Serial)
	if !ok {
		return
	}
	if c.Moved && !c.Status.Online {
		seen[at] = c.Status.Since
	}
	told := []notice{{subject: subject{eventPresence, at.system}}}
	if c.Moved {
		told = append(told, notice{subject: subject{event: eventSummary}})
	}
	a.hub.publish(at.tenant, told...)
}

// noteSeen notes when PBXs were online, and forgets what is noted. Each transaction is
// short, as others wait for it.
func (a *API) noteSeen(ctx context.Context, seen map[place]time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	for some := range slices.Chunk(slices.Collect(maps.Keys(seen)), notedAtOnce) {
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for _, at := range some {
				if err := tx.SetLastSeen(at.tenant, at.system, seen[at]); err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, at := range some {
			delete(seen, at)
		}
	}
	return nil
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
	signal(q.wake)
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
				a.paired.set(c.System, &store.Paired{Serial: p.Serial, Tenant: p.Tenant, System: p.System})
			case errors.Is(err, store.ErrNotFound):
				a.paired.set(c.System, nil)
			default:
				return err
			}
		}
		return nil
	})
	for _, c := range all {
		if c.Kind == pairing.ChangeRemoved || c.Step == pairing.StepSent {
			a.hub.recount(c.Tenant) // with a new system its first offer is sent
		}
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
	case pairing.ChangeRemote:
		return []notice{{subject: subject{eventRemote, c.System}}}
	case pairing.ChangeOffer:
		return []notice{
			{subject{eventOffer, c.System}, OfferStep{SystemID: string(c.System), Step: c.Step, Detail: c.Detail}},
			{subject: subject{eventSystem, c.System}},
			total,
		}
	default:
		return []notice{{subject: subject{eventSystem, c.System}}, total}
	}
}
