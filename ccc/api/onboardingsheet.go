package api

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/sheet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func (a *API) makeSheet(ctx context.Context, in *sheetInput) (*body[Sheet], error) {
	made, err := a.sheet(ctx, mustActor(ctx), in.Body)
	return &body[Sheet]{Body: made}, err
}

func (a *API) makeSheetPDF(ctx context.Context, in *sheetInput) (*huma.StreamResponse, error) {
	who := mustActor(ctx)
	zone, err := time.LoadLocation(cmp.Or(in.Body.TimeZone, "UTC"))
	if err != nil {
		return nil, problem(CodeInvalid, "", FieldError{"body.time_zone", FieldReference, "is none that is known"})
	}
	made, err := a.sheet(ctx, who, in.Body)
	if err != nil {
		return nil, err
	}
	if len(made.Items) == 0 {
		return nil, problem(CodeInvalid, "", FieldError{"body.system_ids", FieldReference, "none of them has an open offer that the person has made"})
	}
	pages := sheet.Sheet{Tenant: made.Tenant, Language: cmp.Or(in.Body.Language, string(who.user.Language)), Zone: zone, Made: time.Now()}
	for _, item := range made.Items {
		pages.Cards = append(pages.Cards, sheet.Card{
			Name: item.Name, Serial: item.Serial, Site: item.Site, Token: item.Offer.Token, QR: item.Offer.QR, Code: item.Offer.Code, Expires: item.Offer.ExpiresAt,
		})
	}
	var out bytes.Buffer
	if err := pages.Write(&out); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "application/pdf")
		ctx.SetHeader("Content-Disposition", `attachment; filename="tokens.pdf"`)
		ctx.SetStatus(http.StatusOK)
		_, _ = ctx.BodyWriter().Write(out.Bytes()) // the client is gone where that fails
	}}, nil
}

// sheet gives the tokens that the actor may see.
func (a *API) sheet(ctx context.Context, who actor, in SheetRequest) (Sheet, error) {
	out := Sheet{Tenant: who.tenant.LegalName, Items: []SheetItem{}, LeftOut: []SheetAbsent{}}
	systems, sites := map[store.SystemID]store.System{}, map[store.SiteID]string{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found, err := tx.SystemsByID(who.tenant.ID, ids[store.SystemID](in.SystemIDs))
		if err != nil {
			return err
		}
		for _, s := range found {
			if who.may.May(access.SystemPair, access.Resource{Tenant: s.Tenant, Site: s.Site, System: s.ID}) {
				systems[s.ID] = s
			}
		}
		all, err := tx.Sites(who.tenant.ID)
		for _, s := range all {
			sites[s.ID] = s.Name
		}
		return err
	})
	if err != nil {
		return out, err
	}
	var seen []store.SystemID
	for id := range systems {
		seen = append(seen, id)
	}
	offers, err := a.cfg.Pairing.Tokens(ctx, who.pairing(), seen)
	if err != nil {
		return out, err
	}
	for _, id := range ids[store.SystemID](in.SystemIDs) {
		s, there := systems[id]
		offer, open := offers[id]
		switch {
		case !there:
			out.LeftOut = append(out.LeftOut, SheetAbsent{string(id), "not_found"})
		case !open:
			out.LeftOut = append(out.LeftOut, SheetAbsent{string(id), "no_offer"})
		default:
			out.Items = append(out.Items, SheetItem{SystemID: string(id), Serial: string(s.Serial), Name: s.Name, Site: sites[s.Site], Offer: offerOf(offer)})
		}
	}
	return out, nil
}
