package pairing

import (
	"context"
	"errors"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Results of a completion that is not refused, as metrics name them.
const (
	resultPaired = "paired"
	resultAgain  = "again" // the PBX had not heard the answer
)

// complete takes what a PBX sends once the token was typed. All that decides is read
// and written in one transaction.
func (s *Service) complete(ctx context.Context, c wire.Complete) (wire.AckBody, error) {
	serial, err := s.caller(ctx)
	if err != nil {
		return wire.AckBody{}, err
	}
	id := store.NewID[store.PairingID]()
	user, err1 := s.cfg.Keys.Seal(purposeUser, string(id), []byte(c.User.Reveal()))
	password, err2 := s.cfg.Keys.Seal(purposePassword, string(id), []byte(c.Password.Reveal()))
	if err := errors.Join(err1, err2); err != nil {
		return wire.AckBody{}, s.broken("complete", serial, err)
	}
	next := store.Pairing{
		ID: id, Serial: serial, UserSealed: user, PasswordSealed: password,
		Completion: c.Digest(), Offer: store.OfferID(c.Offer), PBXVersion: uint64(c.Version), //nolint:gosec // above 0
	}
	p, result, err := s.decide(ctx, c, next)
	if err != nil {
		return wire.AckBody{}, s.broken("complete", serial, err)
	}
	s.metrics.completions.WithLabelValues(result).Inc()
	s.log.Info("completion", "serial", serial, "offer", c.Offer, "result", result)
	if result != resultPaired && result != resultAgain {
		return wire.AckBody{}, wire.NewProblem(wire.Code(result), "")
	}
	ack, err := wire.Sign(s.cfg.Credentials, wire.Ack{
		Pairing: wire.PairingID(p.ID), Offer: wire.OfferID(p.Offer), Serial: serial, Epoch: p.Epoch, At: p.Paired,
	})
	if err != nil {
		return wire.AckBody{}, s.broken("complete", serial, err)
	}
	return wire.AckBody{Ack: ack}, nil
}

// decide gives the pairing and one of the results, or the code of a refusal.
func (s *Service) decide(ctx context.Context, c wire.Complete, next store.Pairing) (p store.Pairing, result string, err error) {
	// Of two that are run at once, PostgreSQL lets one fail at the index that lets a
	// serial be paired once. It sees the other's pairing the next time.
	for range 3 {
		err = s.update(ctx, func(w *work) error {
			p, result, err = s.tryComplete(w, c, next)
			return err
		})
		if !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return p, result, err
}

func (s *Service) tryComplete(w *work, c wire.Complete, next store.Pairing) (p store.Pairing, result string, err error) {
	refuse := func(code wire.Code) (store.Pairing, string, error) { return store.Pairing{}, string(code), nil }

	o, err := w.Offer(next.Offer)
	if errors.Is(err, store.ErrNotFound) {
		return refuse(wire.CodeOfferVoid)
	}
	if err != nil {
		return p, "", err
	}
	if o.Serial != next.Serial || s.isBlocked(next.Serial) {
		return refuse(wire.CodeRefused)
	}
	alive, err := w.ActivePairing(next.Serial)
	paired := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return p, "", err
	}
	if paired && alive.Offer == o.ID && alive.Completion == next.Completion {
		w.calls = append(w.calls, next.Serial) // its user will be enabled
		return alive, resultAgain, nil
	}
	if o.State != store.OfferOpen && o.State != store.OfferReceived {
		return refuse(wire.CodeOfferVoid)
	}
	sys, err := w.System(o.Tenant, o.System)
	if err != nil {
		return p, "", err
	}
	if !w.now.Before(o.Expires) {
		return p, string(wire.CodeOfferVoid), s.endOffer(w, sys, o, store.OfferExpired, stepExpire)
	}
	tok, err := s.token(o)
	if err != nil {
		return p, "", err
	}
	if !wire.Proves(tok, wire.Proof{
		Offer: c.Offer, Serial: next.Serial, NonceCCC: o.Nonce, NoncePBX: c.NoncePBX, User: c.User, Password: c.Password,
	}, c.Proof) {
		return p, string(wire.CodeRefused), s.wrongProof(w, sys, o)
	}
	if paired {
		return p, string(wire.CodeAlreadyPaired), s.endOffer(w, sys, o, store.OfferVoid, stepTake)
	}
	p, err = s.pair(w, sys, o, next)
	return p, resultPaired, err
}

// wrongProof counts a try, the last of which makes the offer void.
func (s *Service) wrongProof(w *work, sys store.System, o store.Offer) error {
	n, err := w.AddTry(o.ID)
	if err != nil || n < s.cfg.Tries {
		return err
	}
	return s.endOffer(w, sys, o, store.OfferVoid, stepExhaust)
}

// pair makes the pairing of an offer.
func (s *Service) pair(w *work, sys store.System, o store.Offer, p store.Pairing) (store.Pairing, error) {
	epoch, err := w.NextEpoch(p.Serial)
	if err != nil {
		return p, err
	}
	p.System, p.Tenant, p.Epoch, p.Paired = o.System, o.Tenant, epoch, w.now
	if err := w.CreatePairing(p); err != nil {
		return p, err
	}
	if err := s.close(w, o, store.OfferUsed); err != nil {
		return p, err
	}
	if err := w.step(sys.Tenant, sys.ID, stepComplete); err != nil {
		return p, err
	}
	if err := w.SetPaired(sys.Tenant, sys.ID, epoch, w.now); err != nil {
		return p, err
	}
	first := sys.Epoch == 0
	sys.Epoch = epoch
	if err := w.event(sys, EventCompleted, ""); err != nil {
		return p, err
	}
	if sys.Replaces != "" && first {
		if err := s.replace(w, sys); err != nil {
			return p, err
		}
	}
	w.tell(sys.Tenant, sys.ID, StepCompleted)
	return p, nil
}

// replace has a system take the place of another: it gets what people know that by, and
// the other's pairing ends. One that was removed meanwhile leaves nothing.
func (s *Service) replace(w *work, sys store.System) error {
	old, err := w.System(sys.Tenant, sys.Replaces)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.MoveMeta(sys.Tenant, old.ID, sys.ID); err != nil {
		return err
	}
	p, err := w.SystemPairing(old.Tenant, old.ID)
	if err == nil {
		err = s.dissolve(w, p, wire.ReasonReplaced, wire.SideCCC, "")
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	w.tell(old.Tenant, old.ID, "")
	if err := w.event(old, EventReplaced, "", "by", string(sys.ID)); err != nil {
		return err
	}
	return w.event(sys, EventReplaced, "", "of", string(old.ID))
}

// endings says what is told of an offer that ends without a pairing and without a user.
var endings = map[step]struct {
	event string
	shown OfferStep
}{
	stepExpire:  {EventExpired, StepExpired},
	stepDecline: {EventDeclined, StepDeclined},
	stepExhaust: {EventVoid, StepFailed},
	stepTake:    {EventVoid, StepFailed},
}

// endOffer ends an offer that led to nothing. detail is for the event, and its reason also
// for whoever watches.
func (s *Service) endOffer(w *work, sys store.System, o store.Offer, as store.OfferState, st step, detail ...string) error {
	if err := s.close(w, o, as); err != nil {
		return err
	}
	if err := w.step(sys.Tenant, sys.ID, st); err != nil {
		return err
	}
	end := endings[st]
	if code := steps[st].to.code; code != "" {
		detail = append(detail, "error", code)
	}
	w.tell(sys.Tenant, sys.ID, end.shown)
	if i := slices.Index(detail, "reason"); i >= 0 {
		w.changes[len(w.changes)-1].Detail = detail[i+1]
	}
	return w.event(sys, end.event, "", detail...)
}

// caller gives the PBX at the other end of the connection, if it may speak now.
func (s *Service) caller(ctx context.Context) (identity.Serial, error) {
	id, _ := ctx.Value(peerKey{}).(identity.ID)
	if id.Kind != identity.KindDevice || id.TrustDomain != s.domain || s.isBlocked(id.Serial()) {
		return "", wire.NewProblem(wire.CodeRefused, "")
	}
	if !s.requests.allow(id.Serial()) {
		return "", wire.NewProblem(wire.CodeTooMany, "")
	}
	return id.Serial(), nil
}

// broken logs what went wrong here; the PBX only hears that it did.
func (s *Service) broken(what string, serial identity.Serial, err error) error {
	s.log.Error(what, "serial", serial, "error", err)
	return wire.NewProblem(wire.CodeInternal, "")
}
