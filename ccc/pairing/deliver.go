package pairing

import (
	"context"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Kinds and results of what is brought, as metrics name them.
const (
	bringOffer     = "offer"
	bringWithdraw  = "withdraw"
	bringTombstone = "tombstone"

	brought     = "ok"
	broughtNot  = "refused" // the PBX does not take it
	broughtFail = "failed"  // it was not reached, or its answer is not good
)

// visit brings a PBX what the store has for it, and withdrawn. It tells whether that
// has to be tried again; where the PBX is not connected, it comes by itself.
func (s *Service) visit(ctx context.Context, serial identity.Serial, withdrawn []store.OfferID) (again bool) {
	if s.isBlocked(serial) || !s.cfg.Online(serial) {
		return false
	}
	var r reality
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		r, err = look(tx, serial)
		return err
	})
	if err != nil {
		s.log.Error("look what waits for a PBX", "serial", serial, "error", err)
		return true
	}
	if len(r.offers) == 0 && len(r.tombstones) == 0 && len(withdrawn) == 0 && (r.pairing == nil || r.pairing.Proved != nil) {
		return false
	}
	if s.pace.Wait(ctx) != nil {
		return true
	}
	pbx := s.pbx(serial)
	var jobs []job
	for _, t := range r.tombstones {
		jobs = append(jobs, job{bringTombstone, string(t.Pairing), func(ctx context.Context) error { return s.bringTombstone(ctx, pbx, t) }})
	}
	for _, id := range withdrawn {
		jobs = append(jobs, job{bringWithdraw, string(id), func(ctx context.Context) error { return pbx.Withdraw(ctx, wire.OfferID(id)) }})
	}
	for _, o := range s.turn(r.offers) {
		if o.State == store.OfferOpen {
			jobs = append(jobs, job{bringOffer, string(o.ID), func(ctx context.Context) error { return s.bringOffer(ctx, pbx, o) }})
		}
	}
	for _, j := range jobs {
		failed, gone := s.bring(ctx, serial, j)
		again = again || failed
		if gone {
			return again
		}
	}
	if r.pairing != nil && r.pairing.Proved == nil {
		return s.prove(ctx, *r.pairing) || again
	}
	return again
}

// job is one thing to bring.
type job struct {
	kind, id string
	run      func(context.Context) error
}

// bring does a job. failed: it is to be tried again; gone: the PBX was not reached, and
// will not be for the next job.
func (s *Service) bring(ctx context.Context, serial identity.Serial, j job) (failed, gone bool) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	err := j.run(ctx)
	log := s.log.With("what", j.kind, "id", j.id, "serial", serial)
	if errors.Is(err, errOver) {
		log.Debug("not brought to PBX", "error", err)
		return false, false
	}
	result := broughtFail
	lost := (*url.Error)(nil)
	switch {
	case err == nil:
		result = brought
		log.Info("brought to PBX")
	case wire.CodeOf(err) != "":
		result = broughtNot
		log.Debug("not taken by PBX", "error", err)
	case errors.As(err, &lost):
		log.Debug("not brought to PBX", "error", err)
	default:
		log.Warn("cannot be brought to PBX, or its answer makes no sense", "error", err)
	}
	s.metrics.deliveries.WithLabelValues(j.kind, result).Inc()
	return wire.Temporary(err), lost != nil
}

// dial gives a dialer for one service of one PBX.
func (s *Service) dial(serial identity.Serial, service string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return s.cfg.Dial(ctx, serial, service) }
}

// bringTombstone has the PBX dissolve its side, and removes the tombstone once the PBX
// has signed that it did.
func (s *Service) bringTombstone(ctx context.Context, pbx wire.PBX, t store.Tombstone) error {
	signed, err := s.sign(t)
	if err != nil {
		return err
	}
	answer, err := pbx.Dissolve(ctx, signed)
	if err != nil {
		return err
	}
	var got wire.Tombstone
	if err := wire.Verify(s.cfg.Credentials, time.Now(), identity.Device(s.domain, t.Serial), answer, &got); err != nil {
		return err
	}
	if string(got.Pairing) != string(t.Pairing) || got.Serial != t.Serial || got.By != wire.SidePBX {
		return errors.New("the PBX has signed the end of another pairing")
	}
	return s.update(ctx, func(w *work) error { return w.DeleteTombstone(t.Pairing) })
}

// statement is what a PBX is told of an offer.
func statement(o store.Offer, tenant store.Tenant, tok token.Token, at time.Time) wire.Offer {
	return wire.Offer{
		ID: wire.OfferID(o.ID), Serial: o.Serial, Tenant: tenant.LegalName, TenantID: string(tenant.ID), Token: tok, Nonce: o.Nonce,
		IssuedAt: o.Created, ExpiresAt: o.Expires, ExpiresIn: o.Expires.Sub(at).Truncate(time.Second), Brand: tenant.Brand,
	}
}

// errOver: the offer has ended, or the PBX has said that it has it, since the visit began.
var errOver = errors.New("the offer does not wait any more")

// bringOffer tells the PBX of an offer, and notes that it has it once it has signed
// that.
func (s *Service) bringOffer(ctx context.Context, pbx wire.PBX, o store.Offer) error {
	var tenant store.Tenant
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		// The visit waits before it calls, and other calls may have come before.
		now, err := tx.Offer(o.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && now.State != store.OfferOpen {
			return errOver
		}
		if err != nil {
			return err
		}
		tenant, err = tx.Tenant(o.Tenant)
		return err
	})
	if err != nil {
		return err
	}
	if time.Until(o.Expires) < time.Second {
		return errOver
	}
	tok, err := s.token(o)
	if err != nil {
		return err
	}
	signed, err := wire.Sign(s.cfg.Credentials, statement(o, tenant, tok, time.Now()))
	if err != nil {
		return err
	}
	answer, err := pbx.Offer(ctx, signed)
	if err != nil {
		return err
	}
	var got wire.Received
	if err := wire.Verify(s.cfg.Credentials, time.Now(), identity.Device(s.domain, o.Serial), answer, &got); err != nil {
		return err
	}
	if string(got.Offer) != string(o.ID) || got.Serial != o.Serial {
		return errors.New("the PBX has signed that it has another offer")
	}
	return s.update(ctx, func(w *work) error {
		now, err := w.Offer(o.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && now.State != store.OfferOpen {
			return nil // withdrawn or completed meanwhile
		}
		if err != nil {
			return err
		}
		return s.received(w, now)
	})
}
