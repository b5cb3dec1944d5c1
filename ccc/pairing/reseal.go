package pairing

import (
	"context"
	"errors"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// reseal takes the secrets of a pairing to the newest key, if they are not sealed with
// that. Those of offers end by themselves within a day.
func (s *Service) reseal(ctx context.Context, p store.Pairing) error {
	_, user, err1 := s.cfg.Keys.Reseal(purposeUser, string(p.ID), p.UserSealed)
	_, password, err2 := s.cfg.Keys.Reseal(purposePassword, string(p.ID), p.PasswordSealed)
	if err := errors.Join(err1, err2); err != nil {
		s.log.Error("secrets of a pairing do not open", "serial", p.Serial, "error", err)
		return nil // the others' may
	}
	if !user && !password {
		return nil
	}
	return s.update(ctx, func(w *work) error {
		now, err := w.Pairing(p.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		newUser, _, err1 := s.cfg.Keys.Reseal(purposeUser, string(now.ID), now.UserSealed)
		newPassword, _, err2 := s.cfg.Keys.Reseal(purposePassword, string(now.ID), now.PasswordSealed)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return w.ResealPairing(now.ID, newUser, newPassword)
	})
}
