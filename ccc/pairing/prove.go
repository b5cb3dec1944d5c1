package pairing

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Results of a proof, as metrics name them.
const (
	proofRight   = "ok"
	proofRefused = "refused"
	proofFailed  = "failed" // not reached, or not answered as expected
)

// prove signs in at the PBX as the user that it has made. The pairing is proved then, or
// dissolved where the PBX refuses for good. It tells whether to try again.
func (s *Service) prove(ctx context.Context, p store.Pairing) (again bool) {
	err := s.login(ctx, p)
	result := proofRight
	switch {
	case err == nil:
		err = s.update(ctx, func(w *work) error { return s.proved(w, p.ID) })
	case errors.Is(err, pbxweb.ErrRefused):
		result = proofRefused
		late := now().Sub(p.Paired) >= s.cfg.ProofGrace
		if s.proofs.refused(p.ID, late) >= s.cfg.ProofTries {
			s.log.Warn("PBX refuses its own user", "serial", p.Serial, "error", err)
			err = s.dissolveIf(ctx, p.ID, wire.ReasonProofFailed)
		}
	default:
		result = proofFailed
	}
	s.metrics.proofs.WithLabelValues(result).Inc()
	if err != nil {
		s.log.Debug("login not proved", "serial", p.Serial, "error", err)
	}
	return err != nil
}

// proved notes that the login was right, if the pairing is still alive.
func (s *Service) proved(w *work, id store.PairingID) error {
	p, err := w.Pairing(id)
	if errors.Is(err, store.ErrNotFound) || err == nil && p.Proved != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.SetProved(id, w.now); err != nil {
		return err
	}
	if err := w.step(p.Tenant, p.System, stepProve); err != nil {
		return err
	}
	sys, err := w.System(p.Tenant, p.System)
	if err != nil {
		return err
	}
	w.proved = append(w.proved, id)
	w.tell(p.Tenant, p.System, StepProved)
	return w.event(sys, EventPaired, "")
}

// login tries user and password. The error is a [pbxweb.ErrRefused] where they are not good,
// or the PBX says that it has another serial.
func (s *Service) login(ctx context.Context, p store.Pairing) error {
	user, password, err := Login(s.cfg.Keys, p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	session, err := pbxweb.SignIn(ctx, wire.HTTPClient(s.dial(p.Serial, pbxweb.Service)), user, password)
	if err != nil {
		return err
	}
	var facts struct {
		Serial identity.Serial `json:"serial"`
	}
	if _, err := session.Do(ctx, pbxweb.Request{Method: http.MethodGet, Path: "system", Out: &facts}); err != nil {
		return err
	}
	if facts.Serial != p.Serial {
		return fmt.Errorf("system: %w: it is another PBX", pbxweb.ErrRefused)
	}
	return nil
}

// Login gives the user that a PBX has made for a pairing, and the password. Neither is to
// be logged or kept.
func Login(keys *seal.Keyring, p store.Pairing) (user, password string, err error) {
	u, err1 := keys.Open(purposeUser, string(p.ID), p.UserSealed)
	w, err2 := keys.Open(purposePassword, string(p.ID), p.PasswordSealed)
	return string(u), string(w), errors.Join(err1, err2)
}
