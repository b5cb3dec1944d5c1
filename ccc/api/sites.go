package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Site is a place where a tenant has systems.
type Site struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Address   string   `json:"address,omitempty" doc:"Postal"`
	Latitude  *float64 `json:"latitude,omitempty" doc:"In degrees north (WGS 84); absent, with longitude, where nobody has said where it is"`
	Longitude *float64 `json:"longitude,omitempty" doc:"In degrees east"`
}

// SiteList is all sites.
type SiteList struct {
	Items []Site `json:"items" nullable:"false"`
}

// NewSite makes a site, or renames one.
type NewSite struct {
	Name string `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
}

// SitePath is the site in an address.
type SitePath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the site"`
}

func (a *API) registerSites() {
	add(a, operation{
		id: "listSites", method: http.MethodGet, path: "/sites", tag: tagLabels, rule: inParts(access.TenantRead),
		summary: "The sites that the person may see, by name",
	}, a.listSites)
	add(a, operation{
		id: "createSite", method: http.MethodPost, path: "/sites", tag: tagLabels, rule: inTenant(access.TenantWrite), status: http.StatusCreated,
		summary: "Make a site", codes: []Code{CodeConflict, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createSite)
	add(a, operation{
		id: "renameSite", method: http.MethodPut, path: "/sites/{id}", tag: tagLabels, rule: inTenant(access.TenantWrite),
		summary: "Rename a site", codes: []Code{CodeConflict},
	}, a.renameSite)
	add(a, operation{
		id: "removeSite", method: http.MethodDelete, path: "/sites/{id}", tag: tagLabels, rule: inTenant(access.UsersManage), status: http.StatusNoContent,
		summary: "Remove a site",
		description: "The systems there stay, at no site; what was granted for the site is taken back, which is why it takes who manages users. " +
			"Where another tenant was let in for the site it takes who manages grants.",
	}, a.removeSite)
}

func (a *API) listSites(ctx context.Context, _ *nothing) (*body[SiteList], error) {
	who := mustActor(ctx)
	out := &body[SiteList]{Body: SiteList{Items: []Site{}}}
	within := who.may.Within(access.TenantRead, who.tenant.ID)
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Sites(who.tenant.ID)
		for _, s := range all {
			if within == nil || slices.Contains(within.Sites, s.ID) {
				out.Body.Items = append(out.Body.Items, siteOf(s))
			}
		}
		return err
	})
	return out, err
}

type createSiteInput struct {
	Idempotency
	Body NewSite
}

func (a *API) createSite(ctx context.Context, in *createSiteInput) (*created[Site], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createSite "+string(who.tenant.ID), in.Body, func(ctx context.Context) (*created[Site], error) {
		s := store.Site{ID: store.NewID[store.SiteID](), Tenant: who.tenant.ID, Name: in.Body.Name, Created: time.Now()}
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.CreateSite(s) })
		if errors.Is(err, store.ErrLimit) {
			return nil, problem(CodeInvalid, "", FieldError{"body.name", FieldTooMany, fmt.Sprintf("there are %d sites, and no more can be", store.MaxSites)})
		}
		if err != nil {
			return nil, err
		}
		return &created[Site]{Body: siteOf(s)}, nil
	})
}

type renameSiteInput struct {
	SitePath
	Body NewSite
}

func (a *API) renameSite(ctx context.Context, in *renameSiteInput) (*body[Site], error) {
	who := mustActor(ctx)
	out := &body[Site]{}
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.RenameSite(who.tenant.ID, store.SiteID(in.ID), in.Body.Name); err != nil {
			return err
		}
		s, err := tx.Site(who.tenant.ID, store.SiteID(in.ID))
		out.Body = siteOf(s)
		return err
	})
	return out, err
}

func (a *API) removeSite(ctx context.Context, in *SitePath) (*nothing, error) {
	who := mustActor(ctx)
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		who, err := who.fresh(tx)
		if err != nil {
			return err
		}
		if err := a.revokeSite(tx, who, store.SiteID(in.ID)); err != nil {
			return err
		}
		return tx.DeleteSite(who.tenant.ID, store.SiteID(in.ID))
	})
	if err == nil {
		a.hub.reset(who.tenant.ID) // the systems there have changed
		a.accessChanged(who.tenant.ID)
	}
	return nil, err
}

// revokeSite looks whether the actor may take back what was granted for a site, and notes
// that in the tenant's history.
func (a *API) revokeSite(tx *store.Tx, who actor, site store.SiteID) error {
	whole := access.Of(who.tenant.ID)
	if !who.may.May(access.UsersManage, whole) {
		return problem(CodeForbidden, "")
	}
	now := time.Now()
	revoked := func(detail map[string]string) error {
		detail["site"] = string(site)
		return tx.AddEvent(store.Event{Tenant: who.tenant.ID, Kind: "access_revoked", Actor: who.user.ID, At: now, Detail: detail})
	}
	own, err := tx.UserGrants(who.tenant.ID, "")
	if err != nil {
		return err
	}
	for _, g := range own {
		if g.Site != site {
			continue
		}
		if err := revoked(map[string]string{"user": string(g.User), "role": string(g.Role)}); err != nil {
			return err
		}
	}
	given, err := tx.TenantGrants(who.tenant.ID)
	if err != nil {
		return err
	}
	for _, g := range given {
		if g.Site != site {
			continue
		}
		if !who.may.May(access.GrantsManage, whole) {
			return problem(CodeForbidden, "another tenant was let in for the site")
		}
		if err := revoked(map[string]string{"tenant": string(g.Grantee), "grant": string(g.ID)}); err != nil {
			return err
		}
	}
	return nil
}
