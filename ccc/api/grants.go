package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TenantGrant is what the tenant lets the users of another do.
type TenantGrant struct {
	ID        string       `json:"id"`
	TenantID  string       `json:"tenant_id" doc:"Whose users may"`
	Name      string       `json:"name,omitempty" doc:"Of that tenant, where it is one above this one or right below it"`
	Roles     []store.Role `json:"roles" nullable:"false" enum:"administrator,monitoring,backup,calldata,remote,licences,auditor"`
	SiteID    string       `json:"site_id,omitempty"`
	SystemID  string       `json:"system_id,omitempty"`
	Until     *time.Time   `json:"until,omitempty" doc:"Absent: until it is taken back"`
	Over      bool         `json:"over" doc:"Whether it has ended"`
	CreatedAt time.Time    `json:"created_at"`
	By        Actor        `json:"by"`
}

// TenantGrantList is all that the tenant has granted, the newest first.
type TenantGrantList struct {
	Items []TenantGrant `json:"items" nullable:"false"`
}

// NewTenantGrant lets another tenant in.
type NewTenantGrant struct {
	TenantID string       `json:"tenant_id" minLength:"1" maxLength:"64" doc:"Whose users may, as far as their own roles there permit. The answer does not tell whether there is such a tenant"`
	Roles    []store.Role `json:"roles" nullable:"false" minItems:"1" maxItems:"8" uniqueItems:"true" enum:"administrator,monitoring,backup,calldata,remote,licences,auditor"`
	SiteID   string       `json:"site_id,omitempty" maxLength:"64" doc:"Only for what is at a site"`
	SystemID string       `json:"system_id,omitempty" maxLength:"64" doc:"Only for one system"`
	Until    *time.Time   `json:"until,omitempty" nullable:"false" doc:"When it ends by itself; default: never"`
}

// GrantPath is the grant in an address.
type GrantPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the grant"`
}

// registerGrants is the table of the operations about what tenants let others do.
func (a *API) registerGrants() {
	add(a, operation{
		id: "listTenantGrants", method: http.MethodGet, path: "/grants", tag: tagAccess, rule: inTenant(access.GrantsRead),
		summary: "Which tenants were let in",
	}, a.listTenantGrants)
	add(a, operation{
		id: "createTenantGrant", method: http.MethodPost, path: "/grants", tag: tagAccess, rule: inTenant(access.GrantsManage), status: http.StatusCreated,
		summary: "Let another tenant in", description: "To the operator nothing can be granted: its staff break glass.",
		codes: []Code{CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createTenantGrant)
	add(a, operation{
		id: "removeTenantGrant", method: http.MethodDelete, path: "/grants/{id}", tag: tagAccess, rule: inTenant(access.GrantsManage), status: http.StatusNoContent,
		summary: "Take a grant back", description: "It has effect at once, also on live events.",
	}, a.removeTenantGrant)
}

func (a *API) tenantGrants(tx *store.Tx, who actor, all []store.TenantGrant) ([]TenantGrant, error) {
	known, err := neighboursOf(tx, who.tenant)
	if err != nil {
		return nil, err
	}
	by := make([]store.UserID, len(all))
	for i, g := range all {
		by[i] = g.By
	}
	names, err := tx.UserNames(by)
	if err != nil {
		return nil, err
	}
	out := make([]TenantGrant, len(all))
	for i, g := range all {
		name, err := known.name(tx, g.Grantee)
		if err != nil {
			return nil, err
		}
		out[i] = TenantGrant{
			ID: string(g.ID), TenantID: string(g.Grantee), Name: name, Roles: g.Roles, SiteID: string(g.Site), SystemID: string(g.System),
			Until: g.Until, Over: g.Until != nil && !time.Now().Before(*g.Until), CreatedAt: g.Created, By: Actor{string(g.By), names[g.By]},
		}
	}
	return out, nil
}

func (a *API) listTenantGrants(ctx context.Context, _ *nothing) (*body[TenantGrantList], error) {
	who := mustActor(ctx)
	out := &body[TenantGrantList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.TenantGrants(who.tenant.ID)
		if err == nil {
			out.Body.Items, err = a.tenantGrants(tx, who, all)
		}
		return err
	})
	return out, err
}

type createTenantGrantInput struct {
	Idempotency
	Body NewTenantGrant
}

// maxTenantGrants is how many grants a tenant has at most.
const maxTenantGrants = 1000

func (a *API) createTenantGrant(ctx context.Context, in *createTenantGrantInput) (*created[TenantGrant], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createTenantGrant", in.Body, func(ctx context.Context) (*created[TenantGrant], error) {
		now := time.Now()
		g := store.TenantGrant{
			ID: store.NewID[store.GrantID](), Tenant: who.tenant.ID, Grantee: store.TenantID(in.Body.TenantID), Roles: in.Body.Roles,
			Part: store.Part{Site: store.SiteID(in.Body.SiteID), System: store.SystemID(in.Body.SystemID)}, Until: in.Body.Until,
			By: who.user.ID, Created: now,
		}
		var wrong []FieldError
		if g.Grantee == g.Tenant {
			wrong = append(wrong, FieldError{"body.tenant_id", FieldInvalid, "is this tenant"})
		}
		if g.Site != "" && g.System != "" {
			wrong = append(wrong, FieldError{"body.system_id", FieldInvalid, "and a site cannot both be given"})
		}
		if g.Until != nil && !g.Until.After(now) {
			wrong = append(wrong, FieldError{"body.until", FieldRange, "is over"})
		}
		if wrong != nil {
			return nil, problem(CodeInvalid, "", wrong...)
		}
		out := &created[TenantGrant]{}
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			if at, err := hasPart(tx, g.Tenant, g.Part); err != nil || at != "" {
				return cmp.Or(err, error(problem(CodeInvalid, "", FieldError{"body." + at, FieldReference, "is not there"})))
			}
			all, err := tx.TenantGrants(g.Tenant)
			if err != nil {
				return err
			}
			if len(all) >= maxTenantGrants {
				return problem(CodeInvalid, "", FieldError{"body.tenant_id", FieldTooMany, "there are as many grants as there can be"})
			}
			if err := tx.CreateTenantGrant(g); err != nil {
				return err
			}
			made, err := a.tenantGrants(tx, who, []store.TenantGrant{g})
			if err != nil {
				return err
			}
			out.Body = made[0]
			return tx.AddEvent(store.Event{
				Tenant: g.Tenant, System: g.System, Kind: "access_granted", Actor: who.user.ID, At: now,
				Detail: map[string]string{"tenant": string(g.Grantee), "grant": string(g.ID)},
			})
		})
		if err != nil {
			return nil, err
		}
		a.accessChanged(g.Tenant)
		return out, nil
	})
}

func (a *API) removeTenantGrant(ctx context.Context, in *GrantPath) (*nothing, error) {
	who := mustActor(ctx)
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		g, err := tx.DeleteTenantGrant(who.tenant.ID, store.GrantID(in.ID))
		if err != nil {
			return err
		}
		return tx.AddEvent(store.Event{
			Tenant: g.Tenant, System: g.System, Kind: "access_revoked", Actor: who.user.ID, At: time.Now(),
			Detail: map[string]string{"tenant": string(g.Grantee), "grant": string(g.ID)},
		})
	})
	if err == nil {
		a.accessChanged(who.tenant.ID)
	}
	return nil, err
}
