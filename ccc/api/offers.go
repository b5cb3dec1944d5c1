package api

import (
	"context"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func (a *API) getOffer(ctx context.Context, in *SystemPath) (*body[Offer], error) {
	offer, err := a.cfg.Pairing.View(ctx, mustActor(ctx).pairing(), store.SystemID(in.ID))
	if err != nil {
		return nil, err
	}
	return &body[Offer]{Body: offerOf(offer)}, nil
}

type renewOfferInput struct {
	SystemPath
	Idempotency
}

func (a *API) renewOffer(ctx context.Context, in *renewOfferInput) (*created[Offer], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "renewOffer "+in.ID, nothing{}, func(ctx context.Context) (*created[Offer], error) {
		offer, err := a.cfg.Pairing.Regenerate(ctx, who.pairing(), store.SystemID(in.ID))
		if err != nil {
			return nil, err
		}
		return &created[Offer]{Body: offerOf(offer)}, nil
	})
}

func (a *API) withdrawOffer(ctx context.Context, in *SystemPath) (*nothing, error) {
	return nil, a.cfg.Pairing.Withdraw(ctx, mustActor(ctx).pairing(), store.SystemID(in.ID))
}

func offerOf(o pairing.OfferView) Offer {
	return Offer{
		ID: string(o.Offer), Token: o.Token.Reveal(), QR: o.QR, Code: o.Code,
		CreatedAt: o.Created, ExpiresAt: o.Expires, ReceivedAt: o.Received, State: string(o.State), SheetAt: o.Sheet,
	}
}
