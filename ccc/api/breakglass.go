package api

import (
	"context"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// BreakGlass is the record of one of the operator's staff who works, or has worked, in a
// tenant that has not let him in.
type BreakGlass struct {
	ID        string     `json:"id"`
	TenantID  string     `json:"tenant_id" doc:"Where he works"`
	Tenant    string     `json:"tenant,omitempty" doc:"Name of that, where it is not this one"`
	User      Actor      `json:"user" doc:"With the name of then"`
	Reason    string     `json:"reason"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty" doc:"When one of the two sides ended it"`
	Active    bool       `json:"active"`
}

// BreakGlassList is what was so in the tenant, and by its own users elsewhere: what
// is active first, each the newest first.
type BreakGlassList struct {
	Items []BreakGlass `json:"items" nullable:"false"`
	Next  string       `json:"next,omitempty" doc:"Cursor of the next page; absent after the last"`
}

// NewBreakGlass enters a tenant.
type NewBreakGlass struct {
	TenantID string `json:"tenant_id" minLength:"1" maxLength:"64"`
	Reason   string `json:"reason" minLength:"1" maxLength:"512" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank" doc:"The tenant sees it"`
	Minutes  int    `json:"minutes" minimum:"1" maximum:"480"`
}

// BreakGlassPath is the record in an address.
type BreakGlassPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the record"`
}

// registerBreakGlass is the table of the operations about the operator's staff.
func (a *API) registerBreakGlass() {
	add(a, operation{
		id: "listBreakGlass", method: http.MethodGet, path: "/break-glass", tag: tagAccess, rule: inTenant(access.GrantsRead),
		summary: "Who of the operator's staff was in the tenant, and why", description: "What is active first, each the newest first.",
	}, a.listBreakGlass)
	add(a, operation{
		id: "beginBreakGlass", method: http.MethodPost, path: "/break-glass", tag: tagAccess, rule: inTenant(access.BreakGlassBegin), status: http.StatusCreated,
		summary: "Enter a tenant as one of the operator's staff", description: "The tenant sees it, and can end it.",
		codes: []Code{CodeNotFound, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.beginBreakGlass)
	add(a, operation{
		id: "endBreakGlass", method: http.MethodDelete, path: "/break-glass/{id}", tag: tagAccess, rule: inTenant(access.BreakGlassEnd), status: http.StatusNoContent,
		summary: "End it", description: "Both sides can. What is over stays as it is.",
	}, a.endBreakGlass)
}

func breakGlassOf(g store.BreakGlass) BreakGlass {
	return BreakGlass{
		ID: string(g.ID), TenantID: string(g.Tenant), User: Actor{string(g.User), g.Name}, Reason: g.Reason, CreatedAt: g.Created,
		ExpiresAt: g.Expires, EndedAt: g.Ended, Active: g.Ended == nil && time.Now().Before(g.Expires),
	}
}

func (a *API) listBreakGlass(ctx context.Context, in *Page) (*body[BreakGlassList], error) {
	who := mustActor(ctx)
	out := &body[BreakGlassList]{Body: BreakGlassList{Items: []BreakGlass{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, next, err := tx.BreakGlasses(who.tenant.ID, time.Now(), store.Page{Cursor: in.Cursor, Limit: in.Limit})
		out.Body.Next = next
		if err != nil {
			return err
		}
		for _, g := range all {
			item := breakGlassOf(g)
			if g.Tenant != who.tenant.ID {
				where, err := tx.Tenant(g.Tenant)
				if err != nil {
					return err
				}
				item.Tenant = where.Name
			}
			out.Body.Items = append(out.Body.Items, item)
		}
		return nil
	})
	return out, err
}

type beginBreakGlassInput struct {
	Idempotency
	Body NewBreakGlass
}

func (a *API) beginBreakGlass(ctx context.Context, in *beginBreakGlassInput) (*created[BreakGlass], error) {
	who := mustActor(ctx)
	if who.tenant.Kind != store.KindOperator {
		return nil, problem(CodeForbidden, "only the operator's staff break glass")
	}
	return once(ctx, a, in.IdempotencyKey, "beginBreakGlass", in.Body, func(ctx context.Context) (*created[BreakGlass], error) {
		now := time.Now()
		g := store.BreakGlass{
			ID: store.NewID[store.BreakGlassID](), Tenant: store.TenantID(in.Body.TenantID), Home: who.tenant.ID, User: who.user.ID,
			Name: who.user.Name, Reason: in.Body.Reason, Created: now, Expires: now.Add(time.Duration(in.Body.Minutes) * time.Minute),
		}
		if g.Tenant == g.Home {
			return nil, problem(CodeInvalid, "", FieldError{"body.tenant_id", FieldInvalid, "is this tenant"})
		}
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			if err := tx.CreateBreakGlass(g); err != nil {
				return err
			}
			return tx.AddEvent(store.Event{Tenant: g.Tenant, Kind: "break_glass_begun", Actor: g.User, At: now, Detail: map[string]string{"break_glass": string(g.ID)}})
		})
		if err != nil {
			return nil, err
		}
		a.accessChanged(g.Tenant)
		return &created[BreakGlass]{Body: breakGlassOf(g)}, nil
	})
}

func (a *API) endBreakGlass(ctx context.Context, in *BreakGlassPath) (*nothing, error) {
	who := mustActor(ctx)
	var g store.BreakGlass
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if g, err = tx.EndBreakGlass(who.tenant.ID, store.BreakGlassID(in.ID), who.user.ID, time.Now()); err != nil {
			return err
		}
		return tx.AddEvent(store.Event{
			Tenant: g.Tenant, Kind: "break_glass_ended", Actor: who.user.ID, At: time.Now(), Detail: map[string]string{"break_glass": string(g.ID)},
		})
	})
	if err == nil {
		a.accessChanged(g.Tenant)
	}
	return nil, err
}
