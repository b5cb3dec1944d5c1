package pairing

import (
	"context"
	"errors"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// dissolve is the one way in which a pairing ends: pairing and secrets are deleted, the
// system has left (or is in error, where the service could not log in), a tombstone waits for the
// PBX unless the PBX itself says that it has dissolved. actor is empty where no user did
// it.
func (s *Service) dissolve(w *work, p store.Pairing, why wire.Reason, by wire.Side, actor store.UserID) error {
	if err := w.DeletePairing(p.ID); err != nil {
		return err
	}
	if by == wire.SideCCC {
		err := w.AddTombstone(store.Tombstone{Pairing: p.ID, Serial: p.Serial, Epoch: p.Epoch, Reason: string(why), At: w.now})
		if err != nil {
			return err
		}
	}
	if err := w.endRemote(p); err != nil {
		return err
	}
	st, shown := stepDissolve, OfferStep("")
	// A PBX may give any reason, also once the login was proved.
	if why == wire.ReasonProofFailed && by == wire.SideCCC {
		st, shown = stepFail, StepFailed
	}
	if err := w.step(p.Tenant, p.System, st); err != nil {
		return err
	}
	sys, err := w.System(p.Tenant, p.System)
	if err != nil {
		return err
	}
	w.proved = append(w.proved, p.ID)
	w.calls = append(w.calls, p.Serial) // the tombstone, and offers of others
	w.tell(p.Tenant, p.System, shown)
	w.counts = append(w.counts, s.metrics.dissolved.WithLabelValues(string(why)))
	return w.event(sys, EventDissolved, actor, "reason", string(why), "by", string(by))
}

// dissolveIf ends a pairing if it is still alive then.
func (s *Service) dissolveIf(ctx context.Context, id store.PairingID, why wire.Reason) error {
	return s.update(ctx, func(w *work) error {
		p, err := w.Pairing(id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.dissolve(w, p, why, wire.SideCCC, "")
	})
}

// pageSize is how many pairings or tombstones are looked at in one transaction.
const pageSize = 500

// endBlocked dissolves the pairings of PBXs that are blocked.
func (s *Service) endBlocked(ctx context.Context) error {
	list := s.blocks.Load()
	if list.Len() == 0 {
		return nil
	}
	return s.eachPairing(ctx, func(p store.Pairing) error {
		if !s.isBlocked(p.Serial) {
			return nil
		}
		return s.dissolveIf(ctx, p.ID, wire.ReasonRevoked)
	})
}

// eachPairing visits all living pairings.
func (s *Service) eachPairing(ctx context.Context, f func(store.Pairing) error) error {
	for after := identity.Serial(""); ; {
		var page []store.Pairing
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			page, err = tx.ActivePairings(after, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := f(p); err != nil {
				return err
			}
			after = p.Serial
		}
		if len(page) < pageSize {
			return nil
		}
	}
}
