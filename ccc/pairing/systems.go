package pairing

import (
	"context"
	"errors"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Update changes what a user may change of a system, if it still has the version; 0
// takes any. Errors have the codes [CodeInvalid], [CodeNotFound], [CodeVersion].
func (s *Service) Update(ctx context.Context, a Actor, system store.SystemID, version int64, f store.Fields) (store.System, error) {
	var sys store.System
	err := s.update(ctx, func(w *work) error {
		var wrong []FieldError
		if f.Name != nil && strings.TrimSpace(*f.Name) == "" {
			wrong = append(wrong, FieldError{"name", FieldRequired, "is empty"})
		}
		if f.Groups != nil {
			groups, err := w.groups(a.Tenant, *f.Groups)
			if err != nil {
				return err
			}
			if groups == nil {
				wrong = append(wrong, FieldError{"groups", FieldReference, "has one that is not there"})
			}
		}
		if len(wrong) > 0 {
			return &Error{Code: CodeInvalid, Fields: wrong}
		}
		var err error
		if sys, err = w.UpdateSystem(a.Tenant, system, version, f); err != nil {
			return err
		}
		w.tell(sys.Tenant, sys.ID, "")
		return w.event(sys, EventChanged, a.User)
	})
	if err != nil {
		return store.System{}, explain(err)
	}
	return sys, nil
}

// Remove dissolves what there is and removes the system. The error has the code
// [CodeNotFound].
func (s *Service) Remove(ctx context.Context, a Actor, system store.SystemID) error {
	return explain(s.update(ctx, func(w *work) error {
		sys, err := w.System(a.Tenant, system)
		if err != nil {
			return err
		}
		p, err := w.SystemPairing(a.Tenant, system)
		if err == nil {
			err = s.dissolve(w, p, wire.ReasonRemoved, wire.SideCCC, a.User)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		o, err := w.OpenOffer(a.Tenant, system)
		if err == nil {
			w.forget(o)
			err = s.close(w, o, store.OfferWithdrawn)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := w.event(sys, EventRemoved, a.User); err != nil {
			return err
		}
		w.changes = append(w.changes, Change{Tenant: sys.Tenant, System: sys.ID, Kind: ChangeRemoved})
		return w.DeleteSystem(a.Tenant, system)
	}))
}
