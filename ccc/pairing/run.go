package pairing

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Run brings offers and tombstones to PBXs, signs in at those that have completed, and
// ends what has expired and whom the PKI has blocked, until ctx ends; it returns ctx's
// cause when all that has ended. Call it once.
func (s *Service) Run(ctx context.Context) error {
	defer s.calls.stop()
	var g errgroup.Group
	for range s.cfg.Calls {
		g.Go(func() error {
			for {
				serial, withdrawn, ok := s.calls.take(ctx)
				if !ok {
					return nil
				}
				s.calls.done(serial, s.visit(ctx, serial, withdrawn))
			}
		})
	}
	g.Go(func() error { s.loop(ctx, "look for what waits", s.missed, s.start); return nil })
	g.Go(func() error { s.loop(ctx, "end expired offers", s.expiry, s.expire); return nil })
	g.Go(func() error { s.loop(ctx, "end blocked pairings", s.blocked, s.block); return nil })
	_ = g.Wait() // none fails
	return context.Cause(ctx)
}

// loop runs f now, at each signal, and when f says, until ctx ends. f gives no time
// where it waits for a signal only. What failed is tried again after a while.
func (s *Service) loop(ctx context.Context, what string, wake signal, f func(context.Context) (time.Time, error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		next, err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			s.log.Error(what, "error", err)
			timer.Reset(s.calls.backOff(failures))
		case next.IsZero():
			failures = 0
			timer.Stop()
		default:
			failures = 0
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

// start queues every PBX that something waits for. What comes later is queued then.
// Secrets go to a new key by the way.
func (s *Service) start(ctx context.Context) (time.Time, error) {
	err := s.eachPairing(ctx, func(p store.Pairing) error {
		if p.Proved == nil {
			s.calls.add(p.Serial)
		}
		return s.reseal(ctx, p)
	})
	if err != nil {
		return time.Time{}, err
	}
	for after := store.PairingID(""); ; {
		var page []store.Tombstone
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			page, err = tx.PendingTombstones(after, pageSize)
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
		for _, t := range page {
			s.calls.add(t.Serial)
			after = t.Pairing
		}
		if len(page) < pageSize {
			break
		}
	}
	return time.Time{}, s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		// More than this many open offers are found when their PBXs connect.
		const most = 20 * pageSize
		offers, err := tx.DueOffers(time.Now().Add(2*wire.MaxLife), most)
		for _, o := range offers {
			s.calls.add(o.Serial)
		}
		return err
	})
}

// lookAgain bounds the time between two looks at what has expired: the clock may have
// been set.
const lookAgain = time.Hour

// expire ends offers whose time is over, and forgets what is old. It gives the time
// when there is more to do.
func (s *Service) expire(ctx context.Context) (time.Time, error) {
	for {
		present := now()
		var next []store.Offer
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			// Every open offer expires until then.
			next, err = tx.DueOffers(present.Add(2*wire.MaxLife), 1)
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
		if len(next) == 0 || next[0].Expires.After(present) {
			then := present.Add(lookAgain)
			if len(next) > 0 && next[0].Expires.Before(then) {
				then = next[0].Expires
			}
			return then, s.sweep(ctx, present)
		}
		if err := s.update(ctx, func(w *work) error { return s.expireOffer(w, next[0].ID) }); err != nil {
			return time.Time{}, err
		}
	}
}

// sweep forgets old tombstones and events, now and then.
func (s *Service) sweep(ctx context.Context, present time.Time) error {
	if present.Sub(s.swept) < lookAgain {
		return nil
	}
	err := s.update(ctx, func(w *work) error {
		if _, err := w.SweepTombstones(present.Add(-s.cfg.TombstoneKeep)); err != nil {
			return err
		}
		_, err := w.SweepEvents(present.Add(-s.cfg.EventsKeep))
		return err
	})
	if err == nil {
		s.swept = present
	}
	return err
}

// expireOffer ends an offer that is still open.
func (s *Service) expireOffer(w *work, id store.OfferID) error {
	o, err := w.Offer(id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (!isOpen(o) || w.now.Before(o.Expires)) {
		return nil
	}
	if err != nil {
		return err
	}
	sys, err := w.System(o.Tenant, o.System)
	if err != nil {
		return err
	}
	return s.endOffer(w, sys, o, store.OfferExpired, stepExpire)
}

// block ends the pairings of PBXs that are blocked. There is nothing to do before the
// next list.
func (s *Service) block(ctx context.Context) (time.Time, error) {
	return time.Time{}, s.endBlocked(ctx)
}
