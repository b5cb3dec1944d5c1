package api

import (
	"context"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Place says where a site is.
type Place struct {
	Address   string   `json:"address" maxLength:"300" pattern:"^[^\\x00-\\x09\\x0b-\\x1f\\x7f]*$" patternDescription:"text in lines" doc:"Postal; may be empty"`
	Latitude  *float64 `json:"latitude,omitempty" minimum:"-90" maximum:"90" doc:"In degrees north (WGS 84); absent, with longitude, where it is not known"`
	Longitude *float64 `json:"longitude,omitempty" minimum:"-180" maximum:"180" doc:"In degrees east"`
}

func (a *API) registerPlaces() {
	add(a, operation{
		id: "placeSite", method: http.MethodPut, path: "/sites/{id}/place", tag: tagLabels, rule: inTenant(access.TenantWrite),
		summary: "Say where a site is", description: "What the body leaves out is not known any more.",
	}, a.placeSite)
}

type placeSiteInput struct {
	SitePath
	Body Place
}

func (a *API) placeSite(ctx context.Context, in *placeSiteInput) (*body[Site], error) {
	who, id := mustActor(ctx), store.SiteID(in.ID)
	var at *store.Position
	switch lat, long := in.Body.Latitude, in.Body.Longitude; {
	case lat != nil && long != nil:
		at = &store.Position{Latitude: *lat, Longitude: *long}
	case lat != nil:
		return nil, problem(CodeInvalid, "", FieldError{"body.longitude", FieldRequired, "belongs to a latitude"})
	case long != nil:
		return nil, problem(CodeInvalid, "", FieldError{"body.latitude", FieldRequired, "belongs to a longitude"})
	}
	out := &body[Site]{}
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PlaceSite(who.tenant.ID, id, in.Body.Address, at); err != nil {
			return err
		}
		s, err := tx.Site(who.tenant.ID, id)
		out.Body = siteOf(s)
		return err
	})
	return out, err
}

// siteOf gives a site as it is shown.
func siteOf(s store.Site) Site {
	out := Site{ID: string(s.ID), Name: s.Name, Address: s.Address}
	if s.At != nil {
		out.Latitude, out.Longitude = &s.At.Latitude, &s.At.Longitude
	}
	return out
}
