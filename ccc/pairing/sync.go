package pairing

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// declined ends an offer that the PBX gives back. One that is not open, or not the
// PBX's, is answered the same.
func (s *Service) declined(ctx context.Context, d wire.Declined) (wire.Empty, error) {
	serial, err := s.caller(ctx)
	if err != nil {
		return wire.Empty{}, err
	}
	as, st := store.OfferDeclined, stepDecline
	switch d.Reason {
	case wire.WhyTries:
		as, st = store.OfferVoid, stepExhaust
	case wire.WhyExpired:
		as, st = store.OfferExpired, stepExpire
	case wire.WhyRejected, wire.WhyReported:
	}
	err = s.update(ctx, func(w *work) error {
		o, err := w.Offer(store.OfferID(d.Offer))
		if errors.Is(err, store.ErrNotFound) || err == nil && (o.Serial != serial || !isOpen(o)) {
			return nil
		}
		if err != nil {
			return err
		}
		sys, err := w.System(o.Tenant, o.System)
		if err != nil {
			return err
		}
		return s.endOffer(w, sys, o, as, st, "reason", string(d.Reason))
	})
	if err != nil {
		return wire.Empty{}, s.broken("declined", serial, err)
	}
	s.log.Info("offer given back", "serial", serial, "offer", d.Offer, "reason", d.Reason)
	return wire.Empty{}, nil
}

func isOpen(o store.Offer) bool {
	return o.State == store.OfferOpen || o.State == store.OfferReceived
}

// reality is what the store has about a PBX.
type reality struct {
	pairing    *store.Pairing // alive
	offers     []store.Offer  // open
	tombstones []store.Tombstone
}

func look(tx *store.Tx, serial identity.Serial) (r reality, err error) {
	p, err := tx.ActivePairing(serial)
	switch {
	case err == nil:
		r.pairing = &p
	case !errors.Is(err, store.ErrNotFound):
		return r, err
	}
	if r.offers, err = tx.OpenOffers(serial); err != nil {
		return r, err
	}
	r.tombstones, err = tx.Tombstones(serial)
	return r, err
}

// sync compares what a PBX has with what the store has, and ends what one of the two
// sides has ended.
func (s *Service) sync(ctx context.Context, m wire.Sync) (wire.SyncReply, error) {
	serial, err := s.caller(ctx)
	if err != nil {
		return wire.SyncReply{}, err
	}
	ended := s.verified(serial, m.Tombstones)
	var r reality
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		r, err = look(tx, serial)
		return err
	})
	if err == nil && differs(r, m, ended) {
		err = s.update(ctx, func(w *work) error {
			if r, err = look(w.Tx, serial); err != nil {
				return err
			}
			if err := s.settle(w, r, m, ended); err != nil {
				return err
			}
			r, err = look(w.Tx, serial)
			return err
		})
	}
	if err != nil {
		return wire.SyncReply{}, s.broken("sync", serial, err)
	}
	reply, err := s.reply(serial, r, m, ended)
	if err != nil {
		return wire.SyncReply{}, s.broken("sync", serial, err)
	}
	if s.waiting(r, m) {
		s.calls.add(serial)
	}
	return reply, nil
}

// verified gives what the PBX's tombstones say. One that is not signed by the PBX, or
// is not about it, is left out, so that it is not confirmed.
func (s *Service) verified(serial identity.Serial, signed []string) []wire.Tombstone {
	var all []wire.Tombstone
	for _, jws := range signed {
		var t wire.Tombstone
		err := wire.Verify(s.cfg.Credentials, time.Now(), identity.Device(s.domain, serial), jws, &t)
		if err == nil && (t.Serial != serial || t.By != wire.SidePBX) {
			err = errors.New("it is about another PBX, or another side's")
		}
		if err != nil {
			s.log.Warn("tombstone of a PBX is not taken", "serial", serial, "error", err)
			continue
		}
		all = append(all, t)
	}
	return all
}

// lost reports whether the PBX does not have the pairing that the store has, and that
// this is not old news.
func lost(p *store.Pairing, m wire.Sync) bool {
	return p != nil && string(p.ID) != string(m.Pairing) && m.Version > int64(p.PBXVersion) //nolint:gosec // was an int64
}

// differs reports whether [Service.settle] has something to do.
func differs(r reality, m wire.Sync, ended []wire.Tombstone) bool {
	return lost(r.pairing, m) ||
		slices.ContainsFunc(ended, func(t wire.Tombstone) bool {
			return r.pairing != nil && string(r.pairing.ID) == string(t.Pairing) ||
				slices.ContainsFunc(r.tombstones, func(own store.Tombstone) bool { return string(own.Pairing) == string(t.Pairing) })
		}) ||
		slices.ContainsFunc(r.offers, func(o store.Offer) bool {
			return o.State == store.OfferOpen && slices.Contains(m.Offers, wire.OfferID(o.ID))
		})
}

// settle does what a PBX says: its tombstones end pairings and confirm ours, a pairing
// that it does not know has ended, offers that it has are received.
func (s *Service) settle(w *work, r reality, m wire.Sync, ended []wire.Tombstone) error {
	alive := r.pairing
	for _, t := range ended {
		if alive != nil && string(alive.ID) == string(t.Pairing) {
			if err := s.dissolve(w, *alive, t.Reason, wire.SidePBX, ""); err != nil {
				return err
			}
			alive = nil
		}
		if err := w.confirm(r, store.PairingID(t.Pairing)); err != nil {
			return err
		}
	}
	if lost(alive, m) {
		if err := s.dissolve(w, *alive, wire.ReasonLost, wire.SidePBX, ""); err != nil {
			return err
		}
	}
	for _, o := range r.offers {
		if o.State == store.OfferOpen && slices.Contains(m.Offers, wire.OfferID(o.ID)) && w.now.Before(o.Expires) {
			if err := s.received(w, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// confirm removes a tombstone that the PBX has answered.
func (w *work) confirm(r reality, id store.PairingID) error {
	if !slices.ContainsFunc(r.tombstones, func(t store.Tombstone) bool { return t.Pairing == id }) {
		return nil
	}
	return w.DeleteTombstone(id)
}

// received notes that the PBX has an offer.
func (s *Service) received(w *work, o store.Offer) error {
	sys, err := w.System(o.Tenant, o.System)
	if err != nil {
		return err
	}
	if err := w.SetReceived(o.ID, w.now); err != nil {
		return err
	}
	if err := w.step(sys.Tenant, sys.ID, stepReceive); err != nil {
		return err
	}
	w.tell(sys.Tenant, sys.ID, StepReceived)
	return w.event(sys, EventReceived, "")
}

// reply says what of it all the PBX has to know.
func (s *Service) reply(serial identity.Serial, r reality, m wire.Sync, ended []wire.Tombstone) (wire.SyncReply, error) {
	var alive wire.PairingID
	if r.pairing != nil {
		alive = wire.PairingID(r.pairing.ID)
	}
	reply := wire.SyncReply{Known: m.Pairing == alive, NextSync: int64(s.cfg.SyncEvery / time.Second)}
	for _, t := range ended {
		reply.Acks = append(reply.Acks, wire.TombstoneAck{Pairing: t.Pairing})
	}
	for _, id := range m.Offers {
		if !slices.ContainsFunc(r.offers, func(o store.Offer) bool { return wire.OfferID(o.ID) == id && time.Now().Before(o.Expires) }) {
			reply.OffersVoid = append(reply.OffersVoid, id)
		}
	}
	if reply.Known && r.pairing != nil && r.pairing.Proved == nil {
		s.proofs.known(r.pairing.ID)
	}
	if m.Pairing == "" || reply.Known {
		return reply, nil
	}
	t := store.Tombstone{Pairing: store.PairingID(m.Pairing), Serial: serial, Epoch: m.Epoch, Reason: string(wire.ReasonUnknownPairing), At: now()}
	if i := slices.IndexFunc(r.tombstones, func(t store.Tombstone) bool { return string(t.Pairing) == string(m.Pairing) }); i >= 0 {
		t = r.tombstones[i]
	}
	var err error
	reply.Tombstone, err = s.sign(t)
	return reply, err
}

// sign makes the statement of a tombstone.
func (s *Service) sign(t store.Tombstone) (string, error) {
	return wire.Sign(s.cfg.Credentials, wire.Tombstone{
		Pairing: wire.PairingID(t.Pairing), Serial: t.Serial, Epoch: t.Epoch,
		Reason: wire.Reason(t.Reason), By: wire.SideCCC, At: t.At,
	})
}

// waiting reports whether there is something to bring to the PBX that this sync does
// not.
func (s *Service) waiting(r reality, m wire.Sync) bool {
	return r.pairing != nil && r.pairing.Proved == nil ||
		slices.ContainsFunc(r.tombstones, func(t store.Tombstone) bool { return string(t.Pairing) != string(m.Pairing) }) ||
		slices.ContainsFunc(s.turn(r.offers), func(o store.Offer) bool { return o.State == store.OfferOpen })
}

// turn gives those of the open offers to a PBX, the oldest first, that it may have now.
func (s *Service) turn(offers []store.Offer) []store.Offer {
	return offers[:min(len(offers), s.cfg.OffersPerPBX)]
}
