package pairing

import (
	"context"
	"errors"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Saved is what became of one system of a list.
type Saved struct {
	// System that was added, where Err is nil.
	System store.System
	// Err is nil, or an [*Error] as Save gives it.
	Err error
}

// SaveAll adds systems as [Service.Save] does, in one transaction: a few dozen at once, so
// that others do not wait for it. What is wrong with one stops none of the others. It has a
// quota of its own, see [Limits].ImportsPerDay. The error is one of the store; nothing is
// added then.
func (s *Service) SaveAll(ctx context.Context, a Actor, all []NewSystem) ([]Saved, error) {
	var saved []Saved
	err := s.update(ctx, func(w *work) error {
		saved = make([]Saved, len(all))
		for i, n := range all {
			sys, _, err := s.save(w, a, n, s.importQuota())
			if ours := (*Error)(nil); err != nil && !errors.As(err, &ours) {
				return err
			}
			saved[i] = Saved{sys, err}
		}
		return nil
	})
	if err != nil {
		return nil, explain(err)
	}
	return saved, nil
}

// Importable tells how many systems a tenant may add by SaveAll at the moment.
func (s *Service) Importable(ctx context.Context, a Actor) (int, error) {
	var n int
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		n, _, err = tx.CountAttempts(attemptImport, string(a.Tenant), now())
		return err
	})
	return max(0, s.cfg.ImportsPerDay-n), err
}

// Tokens shows the open offers of some systems that the actor himself has made, by system,
// and notes that there is a sheet with their tokens now. What each had before is in its
// Sheet.
func (s *Service) Tokens(ctx context.Context, a Actor, systems []store.SystemID) (map[store.SystemID]OfferView, error) {
	var offers []store.Offer
	err := s.update(ctx, func(w *work) (err error) {
		if offers, err = w.OpenOffersOf(a.Tenant, systems); err != nil {
			return err
		}
		offers = slices.DeleteFunc(offers, func(o store.Offer) bool { return o.CreatedBy != a.User || !w.now.Before(o.Expires) })
		ids := make([]store.OfferID, len(offers))
		for i, o := range offers {
			ids[i] = o.ID
		}
		_, err = w.SetSheet(a.Tenant, ids, w.now)
		return err
	})
	if err != nil {
		return nil, explain(err)
	}
	views := make(map[store.SystemID]OfferView, len(offers))
	for _, o := range offers {
		tok, err := s.token(o)
		if err != nil {
			return nil, err
		}
		views[o.System] = view(o, tok)
	}
	return views, nil
}
