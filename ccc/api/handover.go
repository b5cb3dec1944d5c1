package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Handover is a system on its way from one tenant to another.
type Handover struct {
	ID        string              `json:"id"`
	Direction string              `json:"direction" enum:"out,in" doc:"out: this tenant gives; in: it gets"`
	TenantID  string              `json:"tenant_id" doc:"The other side"`
	Tenant    string              `json:"tenant,omitempty" doc:"For who gets: legal name of who gives. For who gives: name of who gets, where it is a tenant above or right below"`
	SystemID  string              `json:"system_id,omitempty" doc:"Only for who gives"`
	Name      string              `json:"name,omitempty" doc:"Of the system; only for who gives, as a new owner is shown nothing of the old one"`
	Serial    string              `json:"serial"`
	State     store.HandoverState `json:"state" enum:"offered,accepted,done,declined,withdrawn,expired" doc:"accepted: on its way; accepting again goes on where it stopped"`
	CreatedAt time.Time           `json:"created_at"`
	ExpiresAt time.Time           `json:"expires_at" doc:"When it cannot be accepted any more"`
	DecidedAt *time.Time          `json:"decided_at,omitempty"`
}

// HandoverList is all hand-overs from and to the tenant: what is offered or on its way
// first, each the newest first.
type HandoverList struct {
	Items []Handover `json:"items" nullable:"false"`
	Next  string     `json:"next,omitempty" doc:"Cursor of the next page; absent after the last"`
}

// NewHandover offers a system.
type NewHandover struct {
	TenantID string `json:"tenant_id" minLength:"1" maxLength:"64" doc:"Who is to get it. The answer does not tell whether there is such a tenant"`
}

// HandoverPath is the hand-over in an address.
type HandoverPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the hand-over"`
}

// handoverLife is how long a system is offered.
const handoverLife = 7 * 24 * time.Hour

// registerHandovers is the table of the operations about systems that change their
// owner.
func (a *API) registerHandovers() {
	add(a, operation{
		id: "offerHandover", method: http.MethodPost, path: "/systems/{id}/handover", tag: tagAccess, rule: atSystem(access.SystemHandover), status: http.StatusCreated,
		summary: "Offer a system to another tenant", description: "For seven days. Nothing changes until it is accepted.",
		codes: []Code{CodeConflict, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.offerHandover)
	add(a, operation{
		id: "listHandovers", method: http.MethodGet, path: "/handovers", tag: tagAccess, rule: inTenant(access.SystemRead),
		summary: "Hand-overs from and to the tenant", description: "What is offered or on its way first, each the newest first.",
	}, a.listHandovers)
	add(a, operation{
		id: "acceptHandover", method: http.MethodPost, path: "/handovers/{id}/acceptance", tag: tagAccess, rule: inTenant(access.HandoverAccept), status: http.StatusCreated,
		summary: "Take a system that is offered",
		description: "Its pairing is dissolved and all about it stays with the old owner. The new one has a system of the serial, " +
			"with an offer that pairs it anew.",
		codes: []Code{CodeState, CodeQuotaOffers, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.acceptHandover)
	add(a, operation{
		id: "endHandover", method: http.MethodDelete, path: "/handovers/{id}", tag: tagAccess, rule: inTenant(access.HandoverAccept), status: http.StatusNoContent,
		summary: "Withdraw or decline an offer", description: "Who gives withdraws it, which only owners do; who would get it declines.",
		codes: []Code{CodeState},
	}, a.endHandover)
}

// handoverOf shows a hand-over to one of its sides; other is the name of the other one.
func handoverOf(h store.Handover, tenant store.TenantID, other string) Handover {
	out := Handover{
		ID: string(h.ID), Direction: "out", TenantID: string(h.To), Tenant: other, SystemID: string(h.System), Name: h.Name, Serial: string(h.Serial),
		State: h.State, CreatedAt: h.Created, ExpiresAt: h.Expires, DecidedAt: h.Decided,
	}
	if h.State == store.HandoverOffered && !time.Now().Before(h.Expires) {
		out.State = store.HandoverExpired
	}
	if h.From != tenant {
		out.Direction, out.TenantID, out.Tenant, out.SystemID, out.Name = "in", string(h.From), other, "", ""
	}
	return out
}

// otherSide gives the name of the other side of a hand-over, as far as a tenant may know it.
func otherSide(tx *store.Tx, known neighbours, h store.Handover) (string, error) {
	if h.From == known.tenant {
		return known.name(tx, h.To)
	}
	from, err := tx.Tenant(h.From)
	return from.LegalName, err
}

type offerHandoverInput struct {
	SystemPath
	Idempotency
	Body NewHandover
}

func (a *API) offerHandover(ctx context.Context, in *offerHandoverInput) (*created[Handover], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "offerHandover "+in.ID, in.Body, func(ctx context.Context) (*created[Handover], error) {
		now := time.Now()
		h := store.Handover{
			ID: store.NewID[store.HandoverID](), From: who.tenant.ID, To: store.TenantID(in.Body.TenantID), System: store.SystemID(in.ID),
			By: who.user.ID, Created: now, Expires: now.Add(handoverLife),
		}
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			// Whether it exists comes first.
			if _, err := tx.SystemSite(h.From, h.System); err != nil {
				return err
			}
			if h.From == h.To {
				return problem(CodeInvalid, "", FieldError{"body.tenant_id", FieldInvalid, "is this tenant"})
			}
			if _, err := tx.ExpireHandovers(now); err != nil {
				return err
			}
			if err := tx.CreateHandover(h); err != nil {
				return err
			}
			made, err := tx.Handover(h.From, h.ID)
			if err != nil {
				return err
			}
			h = made
			return tx.AddEvent(store.Event{Tenant: h.From, System: h.System, Kind: "handover_offered", Actor: who.user.ID, At: now})
		})
		if err != nil {
			return nil, err
		}
		a.handoverChanged(h)
		return &created[Handover]{Body: handoverOf(h, who.tenant.ID, "")}, nil
	})
}

func (a *API) listHandovers(ctx context.Context, in *Page) (*body[HandoverList], error) {
	who := mustActor(ctx)
	out := &body[HandoverList]{Body: HandoverList{Items: []Handover{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, next, err := tx.Handovers(who.tenant.ID, time.Now(), store.Page{Cursor: in.Cursor, Limit: in.Limit})
		out.Body.Next = next
		if err != nil {
			return err
		}
		known, err := neighboursOf(tx, who.tenant)
		if err != nil {
			return err
		}
		for _, h := range all {
			other, err := otherSide(tx, known, h)
			if err != nil {
				return err
			}
			out.Body.Items = append(out.Body.Items, handoverOf(h, who.tenant.ID, other))
		}
		return nil
	})
	return out, err
}

func (a *API) endHandover(ctx context.Context, in *HandoverPath) (*nothing, error) {
	who := mustActor(ctx)
	var h store.Handover
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if h, err = tx.Handover(who.tenant.ID, store.HandoverID(in.ID)); err != nil {
			return err
		}
		to, kind := store.HandoverDeclined, "handover_declined"
		if h.From == who.tenant.ID {
			if !who.may.May(access.SystemHandover, access.Of(h.From)) {
				return problem(CodeForbidden, "")
			}
			to, kind = store.HandoverWithdrawn, "handover_withdrawn"
		}
		if h.State != store.HandoverOffered {
			return problem(CodeState, "")
		}
		if h, err = tx.SetHandover(who.tenant.ID, h.ID, store.HandoverOffered, to, who.user.ID, time.Now()); err != nil {
			return err
		}
		return tx.AddEvent(store.Event{Tenant: h.From, System: h.System, Kind: kind, At: time.Now()})
	})
	if err == nil {
		a.handoverChanged(h)
	}
	return nil, err
}

type acceptHandoverInput struct {
	HandoverPath
	Idempotency
}

func (a *API) acceptHandover(ctx context.Context, in *acceptHandoverInput) (*created[SystemOffer], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "acceptHandover "+in.ID, nothing{}, func(ctx context.Context) (*created[SystemOffer], error) {
		// What has begun is finished, as far as it can.
		ctx = context.WithoutCancel(ctx)
		h, err := a.accept(ctx, who, store.HandoverID(in.ID))
		if err != nil {
			return nil, err
		}
		// First it is nobody's any more: on both sides all of the pairing is gone.
		err = a.cfg.Pairing.Remove(ctx, pairing.Actor{Tenant: h.From, User: h.By}, h.System)
		if e, ok := errors.AsType[*pairing.Error](err); ok && e.Code == pairing.CodeNotFound {
			err = nil // by an attempt before, or by the old owner
		}
		if err != nil {
			return nil, err
		}
		out, err := a.take(ctx, who, h)
		if err != nil {
			return nil, err
		}
		err = a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
			h, err = tx.SetHandover(who.tenant.ID, h.ID, store.HandoverAccepted, store.HandoverDone, who.user.ID, time.Now())
			return err
		})
		a.handoverChanged(h)
		return out, err
	})
}

// accept takes a hand-over to the state accepted, if it is offered in time and by who
// may still do that.
func (a *API) accept(ctx context.Context, who actor, id store.HandoverID) (h store.Handover, err error) {
	err = a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if h, err = tx.Handover(who.tenant.ID, id); err != nil {
			return err
		}
		if h.To != who.tenant.ID {
			return problem(CodeForbidden, "only who gets the system accepts it")
		}
		if h.State == store.HandoverAccepted {
			return nil // an attempt has ended half-way
		}
		giver, err := access.Load(tx, h.By, h.From, time.Now())
		if err != nil {
			return err
		}
		if h.State != store.HandoverOffered || !time.Now().Before(h.Expires) || !giver.May(access.SystemHandover, access.Of(h.From)) {
			return problem(CodeState, "it is not offered any more")
		}
		if h, err = tx.SetHandover(who.tenant.ID, h.ID, store.HandoverOffered, store.HandoverAccepted, who.user.ID, time.Now()); err != nil {
			return err
		}
		return tx.AddEvent(store.Event{Tenant: h.From, System: h.System, Kind: "handover_accepted", At: time.Now()})
	})
	return h, err
}

// take saves the serial for the new owner, who may have done that before.
func (a *API) take(ctx context.Context, who actor, h store.Handover) (*created[SystemOffer], error) {
	out, err := a.save(ctx, who, pairing.NewSystem{Serial: string(h.Serial), Name: string(h.Serial)})
	if e, ok := errors.AsType[*pairing.Error](err); !ok || e.Code != pairing.CodeSerialTaken {
		return out, err
	}
	var own store.System
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		own, err = tx.SystemBySerial(who.tenant.ID, h.Serial)
		return err
	})
	if err != nil {
		return nil, err
	}
	offer, err := a.cfg.Pairing.Regenerate(ctx, who.pairing(), own.ID)
	if err != nil {
		return nil, err
	}
	if own, err = a.find(ctx, who, string(own.ID)); err != nil {
		return nil, err
	}
	return &created[SystemOffer]{
		Location: Prefix + "/systems/" + url.PathEscape(string(own.ID)), Body: SystemOffer{System: a.system(own), Offer: offerOf(offer)},
	}, nil
}

func (a *API) handoverChanged(h store.Handover) {
	a.accessChanged(h.From)
	a.accessChanged(h.To)
}
