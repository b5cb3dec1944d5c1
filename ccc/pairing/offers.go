package pairing

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Purposes of what is sealed; the record's id is that of the offer or the pairing.
const (
	purposeToken    = "offer token"
	purposeUser     = "pairing user"
	purposePassword = "pairing password"
)

// Save adds a system and makes an offer to its PBX, which is brought later. How long the
// texts are is the caller's business. Errors have
// the codes [CodeInvalid], [CodeSerialTaken], [CodeState] for a system to be replaced that
// is not paired, [CodeQuotaOffers].
func (s *Service) Save(ctx context.Context, a Actor, n NewSystem) (store.System, OfferView, error) {
	var sys store.System
	var view OfferView
	err := s.update(ctx, func(w *work) (err error) {
		sys, view, err = s.save(w, a, n, s.quota())
		return err
	})
	if err != nil {
		return store.System{}, OfferView{}, explain(err)
	}
	return sys, view, nil
}

// save adds a system and makes its offer. Nothing is changed where it gives an [Error].
func (s *Service) save(w *work, a Actor, n NewSystem, limits quota) (sys store.System, view OfferView, err error) {
	serial, wrong := n.check()
	groups, err := w.groups(a.Tenant, n.Groups)
	if err != nil {
		return sys, view, err
	}
	if groups == nil {
		wrong = append(wrong, FieldError{"groups", FieldReference, "has one that is not there"})
	}
	if n.Site != "" {
		_, err := w.Site(a.Tenant, n.Site)
		if errors.Is(err, store.ErrNotFound) {
			wrong = append(wrong, FieldError{"site", FieldReference, "is not there"})
		} else if err != nil {
			return sys, view, err
		}
	}
	name, replaced, err := w.replaced(a.Tenant, n, serial)
	if err != nil {
		return sys, view, err
	}
	if n.Replaces != "" && replaced.ID == "" {
		wrong = append(wrong, FieldError{"replaces", FieldReference, "is not another system of yours"})
	}
	if len(wrong) > 0 {
		return sys, view, &Error{Code: CodeInvalid, Fields: wrong}
	}
	if replaced.ID != "" && !slices.Contains(joined, replaced.State) {
		return sys, view, errState(replaced.State, "only a paired one can be replaced")
	}
	switch _, err = w.SystemBySerial(a.Tenant, serial); {
	case err == nil:
		return sys, view, &Error{Code: CodeSerialTaken, Message: "you have a system with this serial; make a new offer there"}
	case !errors.Is(err, store.ErrNotFound):
		return sys, view, err
	}
	sys = store.System{
		ID: store.NewID[store.SystemID](), Tenant: a.Tenant, Serial: serial, Name: name, Note: n.Note,
		State: store.StateOffered, Created: w.now, CreatedBy: a.User, StateSince: w.now,
		Site: n.Site, Replaces: n.Replaces, Tags: n.Tags, Groups: groups,
	}
	if err = limits.take(w, sys); err != nil {
		return sys, view, err
	}
	if err = w.CreateSystem(sys); err != nil {
		return sys, view, err
	}
	if view, err = s.offer(w, a, sys); err != nil {
		return sys, view, err
	}
	sys, err = w.System(a.Tenant, sys.ID)
	return sys, view, err
}

// check reads what is typed.
func (n NewSystem) check() (identity.Serial, []FieldError) {
	var wrong []FieldError
	serial, err := identity.ParseSerial(strings.NewReplacer(" ", "", "-", "").Replace(n.Serial))
	if err != nil {
		wrong = append(wrong, FieldError{"serial", FieldPattern, "is not a serial of 10 digits"})
	}
	if strings.TrimSpace(n.Name) == "" && n.Replaces == "" {
		wrong = append(wrong, FieldError{"name", FieldRequired, "is missing"})
	}
	return serial, wrong
}

// groups gives the groups of the ids; nil where the tenant does not have one of them.
func (w *work) groups(tenant store.TenantID, ids []store.GroupID) ([]store.Group, error) {
	groups := []store.Group{}
	if len(ids) == 0 {
		return groups, nil
	}
	all, err := w.Groups(tenant, ids...)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		i := slices.IndexFunc(all, func(g store.Group) bool { return g.ID == id })
		if i < 0 {
			return nil, nil
		}
		groups = append(groups, all[i])
	}
	return groups, nil
}

// replaced gives the system that a new one replaces, zero where there is none, and the
// name of the new one.
func (w *work) replaced(tenant store.TenantID, n NewSystem, serial identity.Serial) (string, store.System, error) {
	name := strings.TrimSpace(n.Name)
	if n.Replaces == "" {
		return name, store.System{}, nil
	}
	old, err := w.System(tenant, n.Replaces)
	if errors.Is(err, store.ErrNotFound) || err == nil && old.Serial == serial {
		return name, store.System{}, nil
	}
	if name == "" {
		name = old.Name
	}
	return name, old, err
}

// offer makes an offer for a system in state offered, which has none. Whether there may be
// one more is the caller's business.
func (s *Service) offer(w *work, a Actor, sys store.System) (OfferView, error) {
	tenant, err := w.Tenant(a.Tenant)
	if err != nil {
		return OfferView{}, err
	}
	tok := token.New()
	o := store.Offer{
		ID: store.NewID[store.OfferID](), System: sys.ID, Tenant: sys.Tenant, Serial: sys.Serial, CreatedBy: a.User,
		Created: w.now, Expires: w.now.Add(s.cfg.TokenLife), State: store.OfferOpen, Nonce: make([]byte, wire.NonceLen),
	}
	rand.Read(o.Nonce) // never fails (crypto/rand)
	o.Code = wire.ShortCode(wire.OfferID(o.ID), o.Serial, tenant.LegalName, o.Nonce)
	if err := statement(o, tenant, tok, w.now).Validate(); err != nil {
		// A PBX would not show it: better now than never.
		return OfferView{}, fmt.Errorf("tenant %s cannot make offers: %w", tenant.ID, err)
	}
	if o.TokenSealed, err = s.cfg.Keys.Seal(purposeToken, string(o.ID), []byte(tok.Reveal())); err != nil {
		return OfferView{}, err
	}
	if err := w.CreateOffer(o); err != nil {
		return OfferView{}, err
	}
	if err := w.event(sys, EventOffered, a.User); err != nil {
		return OfferView{}, err
	}
	w.offered = true
	w.calls = append(w.calls, o.Serial)
	w.counts = append(w.counts, s.metrics.offers)
	w.tell(sys.Tenant, sys.ID, StepSent)
	return view(o, tok), nil
}

func view(o store.Offer, tok token.Token) OfferView {
	return OfferView{
		Offer: o.ID, Token: tok, QR: token.QR(string(o.ID), tok), Code: o.Code,
		Created: o.Created, Expires: o.Expires, Received: o.Received, Sheet: o.Sheet, State: o.State,
	}
}

// Regenerate makes a new offer for a system that is not paired; an open one is void.
// Errors have the codes [CodeNotFound], [CodeState], [CodeQuotaOffers].
func (s *Service) Regenerate(ctx context.Context, a Actor, system store.SystemID) (OfferView, error) {
	var made OfferView
	err := s.update(ctx, func(w *work) error {
		sys, err := w.System(a.Tenant, system)
		if err != nil {
			return err
		}
		if !slices.Contains(steps[stepOffer].from, sys.State) {
			return errState(sys.State, "remove it, or switch CCC off in the PBX, before pairing it again")
		}
		open, err := w.OpenOffer(a.Tenant, system)
		if err == nil {
			w.forget(open)
			err = s.close(w, open, store.OfferVoid)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := w.step(a.Tenant, system, stepOffer); err != nil {
			return err
		}
		if err := s.quota().take(w, sys); err != nil {
			return err
		}
		made, err = s.offer(w, a, sys)
		return err
	})
	if err != nil {
		return OfferView{}, explain(err)
	}
	return made, nil
}

// View shows the open offer of a system to whom has made it. Errors have the codes
// [CodeNotFound], [CodeNotCreator].
func (s *Service) View(ctx context.Context, a Actor, system store.SystemID) (OfferView, error) {
	var o store.Offer
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		o, err = tx.OpenOffer(a.Tenant, system)
		return err
	})
	if err == nil && !now().Before(o.Expires) {
		err = store.ErrNotFound
	}
	if err != nil {
		return OfferView{}, explain(err)
	}
	if o.CreatedBy != a.User {
		return OfferView{}, &Error{Code: CodeNotCreator, Message: "make a new offer to get a token of your own"}
	}
	tok, err := s.token(o)
	if err != nil {
		return OfferView{}, err
	}
	return view(o, tok), nil
}

// token opens the token of an open offer.
func (s *Service) token(o store.Offer) (token.Token, error) {
	plain, err := s.cfg.Keys.Open(purposeToken, string(o.ID), o.TokenSealed)
	if err != nil {
		return token.Token{}, err
	}
	return token.Parse(string(plain))
}

// Withdraw makes the open offer of a system void. The error has the code
// [CodeNotFound].
func (s *Service) Withdraw(ctx context.Context, a Actor, system store.SystemID) error {
	return explain(s.update(ctx, func(w *work) error {
		sys, err := w.System(a.Tenant, system)
		if err != nil {
			return err
		}
		o, err := w.OpenOffer(a.Tenant, system)
		if err != nil {
			return err
		}
		if err := s.close(w, o, store.OfferWithdrawn); err != nil {
			return err
		}
		if err := w.step(sys.Tenant, sys.ID, stepExpire); err != nil {
			return err
		}
		w.forget(o)
		w.tell(sys.Tenant, sys.ID, StepExpired)
		return w.event(sys, EventWithdrawn, a.User)
	}))
}
