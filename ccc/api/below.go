package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// KnownTenant is another tenant, of which no more is told.
type KnownTenant struct {
	ID   string     `json:"id"`
	Name string     `json:"name"`
	Kind store.Kind `json:"kind" enum:"operator,reseller,customer"`
	// Invitation is for who has made the tenant.
	Invitation *OwnerInvitation `json:"invitation,omitempty" doc:"Only in the list of those below: of the first owner, who has not come yet"`
}

// OwnerInvitation is how far the invitation of the first owner of a tenant is.
type OwnerInvitation struct {
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expires_at"`
	Expired   bool      `json:"expired"`
	Mail      string    `json:"mail" enum:"none,queued,sent,failed" doc:"How far the mail is; none: there is none"`
	Failure   string    `json:"failure,omitempty" doc:"Why the mail was not sent, or not yet"`
}

// KnownTenantList is one page of tenants, by name.
type KnownTenantList struct {
	Items []KnownTenant `json:"items" nullable:"false"`
	Next  string        `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
	Total int           `json:"total" doc:"How many fit the query, on all pages"`
}

// NameQuery is which of a list are wanted.
type NameQuery struct {
	Page
	Query string `query:"q" maxLength:"100" doc:"Words that are to be in the name; case and accents do not count"`
}

func (a *API) registerBelow() {
	add(a, operation{
		id: "listBelow", method: http.MethodGet, path: "/tenants/below", tag: tagAccess, rule: inTenant(access.TenantCreate),
		summary: "The tenants right below this one, by name", description: "No more than what they are called, and whether the first owner who was invited has come: being above them gives no access to them.",
	}, a.listBelow)
	add(a, operation{
		id: "listAbove", method: http.MethodGet, path: "/tenants/above", tag: tagAccess, rule: inTenant(access.GrantsRead),
		summary: "The tenants above this one, the nearest first", description: "Those that can be let in: not the operator.",
	}, a.listAbove)
}

func knownTenantOf(t store.Tenant) KnownTenant {
	return KnownTenant{ID: string(t.ID), Name: t.Name, Kind: t.Kind}
}

func (a *API) listBelow(ctx context.Context, in *NameQuery) (*body[KnownTenantList], error) {
	who := mustActor(ctx)
	out := &body[KnownTenantList]{Body: KnownTenantList{Items: []KnownTenant{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, next, total, err := tx.TenantsBelow(who.tenant.ID, in.Query, store.Page{Cursor: in.Cursor, Limit: in.Limit})
		out.Body.Next, out.Body.Total = next, total
		if err != nil {
			return err
		}
		invitations, err := ownerInvitations(tx, all)
		for _, t := range all {
			known := knownTenantOf(t)
			known.Invitation = invitations[t.ID]
			out.Body.Items = append(out.Body.Items, known)
		}
		return err
	})
	return out, err
}

// ownerInvitations gives those of tenants whose first owner has not come yet.
func ownerInvitations(tx *store.Tx, tenants []store.Tenant) (map[store.TenantID]*OwnerInvitation, error) {
	ids := make([]store.TenantID, len(tenants))
	for i, t := range tenants {
		ids[i] = t.ID
	}
	found, err := tx.FoundingInvitations(ids)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var mails []store.MailID
	for _, i := range found {
		mails = append(mails, i.Mail)
	}
	sent, err := tx.Mails(mails)
	all := map[store.TenantID]*OwnerInvitation{}
	for id, i := range found {
		v := invitationOf(i, sent, nil)
		all[id] = &OwnerInvitation{Email: v.Email, Name: v.Name, ExpiresAt: v.ExpiresAt, Expired: v.Expired, Mail: v.Mail, Failure: v.Failure}
	}
	return all, err
}

func (a *API) listAbove(ctx context.Context, _ *nothing) (*body[KnownTenantList], error) {
	who := mustActor(ctx)
	out := &body[KnownTenantList]{Body: KnownTenantList{Items: []KnownTenant{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := above(tx, who.tenant)
		for _, t := range all {
			if t.Kind != store.KindOperator {
				out.Body.Items = append(out.Body.Items, knownTenantOf(t))
			}
		}
		out.Body.Total = len(out.Body.Items)
		return err
	})
	return out, err
}

// above gives the tenants above one, the nearest first.
func above(tx *store.Tx, t store.Tenant) (all []store.Tenant, err error) {
	seen := map[store.TenantID]bool{}
	for t.Parent != "" && !seen[t.Parent] { // no tree of a mistake goes on for ever
		seen[t.Parent] = true
		if t, err = tx.Tenant(t.Parent); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// neighbours has the names of tenants that a tenant may know without having been told
// them: those above it and right below it. Of all others it is not told whether they are.
type neighbours struct {
	tenant store.TenantID
	names  map[store.TenantID]string // of all that were asked for
}

func neighboursOf(tx *store.Tx, t store.Tenant) (neighbours, error) {
	n := neighbours{tenant: t.ID, names: map[store.TenantID]string{}}
	all, err := above(tx, t)
	for _, one := range all {
		n.names[one.ID] = one.Name
	}
	return n, err
}

// name of a tenant; empty: it is none of them.
func (n neighbours) name(tx *store.Tx, id store.TenantID) (string, error) {
	name, asked := n.names[id]
	if asked {
		return name, nil
	}
	t, err := tx.Tenant(id)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return "", err
	case t.Parent == n.tenant:
		name = t.Name
	}
	n.names[id] = name
	return name, nil
}
