package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TenantAccess is a tenant that the person may see.
type TenantAccess struct {
	Tenant
	Via       string        `json:"via" enum:"home,grant,break_glass" doc:"home: the person's own; grant: it has let in the person's own tenant; break_glass"`
	Verbs     []access.Verb `json:"verbs" nullable:"false" doc:"What the person may do in all of it"`
	SomeVerbs []access.Verb `json:"some_verbs" nullable:"false" doc:"What the person may do to a part of it at least, and not to all"`
	Roles     []store.Role  `json:"roles,omitempty" enum:"administrator,monitoring,backup,calldata,remote,licences,auditor" doc:"Only by grants: that were given to the person's tenant, for all or a part"`
	Until     *time.Time    `json:"until,omitempty" doc:"When the last of the grants ends, or the break-glass; absent: when it is taken back"`
	Reason    string        `json:"reason,omitempty" doc:"Only by break-glass: why"`
	GlassID   string        `json:"break_glass_id,omitempty" doc:"Only by break-glass: of the record, with which to end it"`
}

// TenantList is all tenants that the person may see, the own one first.
type TenantList struct {
	Items []TenantAccess `json:"items" nullable:"false"`
}

// NewTenant makes a tenant with its first owner.
type NewTenant struct {
	Kind      store.Kind `json:"kind" enum:"reseller,customer" doc:"Operators make both, resellers make customers"`
	Name      string     `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	LegalName string     `json:"legal_name,omitempty" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text" doc:"Default: the name"`
	Owner     NewPerson  `json:"owner"`
}

// NewPerson is somebody who gets an account.
type NewPerson struct {
	Email    string         `json:"email" minLength:"3" maxLength:"254"`
	Name     string         `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Language store.Language `json:"language" enum:"de,en,fr"`
	Password string         `json:"password" minLength:"12" maxLength:"128" doc:"The first one"`
}

// TenantChange renames a tenant; what is left out stays.
type TenantChange struct {
	Name      *string `json:"name,omitempty" nullable:"false" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	LegalName *string `json:"legal_name,omitempty" nullable:"false" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
}

// TenantPath is the tenant in an address.
type TenantPath struct {
	Tenant string `path:"tenant" maxLength:"64" doc:"Id of the tenant"`
}

// registerTenants is the table of the operations about tenants and their sites.
func (a *API) registerTenants() {
	add(a, operation{
		id: "listTenants", method: http.MethodGet, path: "/tenants", tag: tagAccess, rule: signedIn,
		summary: "The tenants that the person may see",
	}, a.listTenants)
	add(a, operation{
		id: "createTenant", method: http.MethodPost, path: "/tenants", tag: tagAccess, rule: inTenant(access.TenantCreate), status: http.StatusCreated,
		summary: "Make a tenant below the own one", description: "Being above it gives no access to it: its owner grants that.",
		codes: []Code{CodeConflict, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createTenant)
	add(a, operation{
		id: "getTenant", method: http.MethodGet, path: "/tenants/{tenant}", tag: tagAccess, rule: namedTenant(access.TenantRead),
		summary: "Get a tenant",
	}, a.getTenant)
	add(a, operation{
		id: "updateTenant", method: http.MethodPatch, path: "/tenants/{tenant}", tag: tagAccess, rule: namedTenant(access.TenantRename),
		summary: "Rename a tenant",
	}, a.updateTenant)
	a.registerBelow()
	a.registerSites()
}

func tenantOf(t store.Tenant) Tenant {
	return Tenant{ID: string(t.ID), Name: t.Name, LegalName: t.LegalName, Kind: t.Kind}
}

func accessOf(who actor) TenantAccess {
	out := TenantAccess{Tenant: tenantOf(who.tenant), Via: "home"}
	switch {
	case who.tenant.ID == who.user.Tenant:
	case len(who.may.Given) > 0:
		out.Via = "grant"
		out.Until = who.may.Given[0].Until
		for _, g := range who.may.Given {
			out.Roles = append(out.Roles, g.Roles...)
			if out.Until != nil && (g.Until == nil || g.Until.After(*out.Until)) {
				out.Until = g.Until
			}
		}
		slices.Sort(out.Roles)
		out.Roles = slices.Compact(out.Roles)
	default:
		out.Via = "break_glass"
	}
	out.Verbs, out.SomeVerbs = who.may.Verbs(who.tenant.ID)
	return out
}

// because adds by which record somebody has broken glass: the one that lasts longest.
func (t TenantAccess) because(broken []store.BreakGlass) TenantAccess {
	for _, g := range broken {
		if t.Via == "break_glass" && string(g.Tenant) == t.ID && (t.Until == nil || g.Expires.After(*t.Until)) {
			t.Until, t.Reason, t.GlassID = &g.Expires, g.Reason, string(g.ID)
		}
	}
	return t
}

func (a *API) listTenants(ctx context.Context, _ *nothing) (*body[TenantList], error) {
	who := mustActor(ctx)
	out := &body[TenantList]{Body: TenantList{Items: []TenantAccess{accessOf(who)}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		out.Body.Items = out.Body.Items[:1]
		now := time.Now()
		away, err := access.LoadAway(tx, who.user, now)
		if err != nil {
			return err
		}
		// What is granted may be more than the person's own roles permit.
		maps.DeleteFunc(away, func(id store.TenantID, may access.Actor) bool { return !a.visible(may, id) })
		broken, err := tx.UserBreakGlasses(who.user.ID, now)
		if err != nil {
			return err
		}
		all, err := tx.SomeTenants(slices.Collect(maps.Keys(away)))
		for _, t := range all {
			in := who
			in.tenant, in.may = t, away[t.ID]
			out.Body.Items = append(out.Body.Items, accessOf(in).because(broken))
		}
		return err
	})
	slices.SortStableFunc(out.Body.Items[1:], func(a, b TenantAccess) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return out, err
}

func (a *API) getTenant(ctx context.Context, _ *TenantPath) (*body[TenantAccess], error) {
	who := mustActor(ctx)
	var broken []store.BreakGlass
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		broken, err = tx.UserBreakGlasses(who.user.ID, time.Now())
		return err
	})
	return &body[TenantAccess]{Body: accessOf(who).because(broken)}, err
}

type createTenantInput struct {
	Idempotency
	Body NewTenant
}

// below are the kinds of tenants that one of a kind makes.
var below = map[store.Kind][]store.Kind{
	store.KindOperator: {store.KindReseller, store.KindCustomer},
	store.KindReseller: {store.KindCustomer},
}

func (a *API) createTenant(ctx context.Context, in *createTenantInput) (*created[Tenant], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createTenant", in.Body, func(ctx context.Context) (*created[Tenant], error) {
		t, err := newTenant(who, in.Body.Kind, in.Body.Name, cmp.Or(in.Body.LegalName, in.Body.Name))
		if err != nil {
			return nil, err
		}
		check := func(tx *store.Tx) error { return a.roomForTenant(tx, t.Parent) }
		_, err = a.person(ctx, who, newAccount{
			NewPerson: in.Body.Owner, at: "body.owner.", tenant: t.ID, roles: []store.Role{store.RoleOwner}, check: check,
			add: func(tx *store.Tx, owner store.User) error {
				if err := check(tx); err != nil {
					return err
				}
				if err := tx.CreateTenant(t); err != nil {
					return err
				}
				return tx.CreateUser(owner)
			},
		})
		if err != nil {
			return nil, err
		}
		return &created[Tenant]{Location: Prefix + "/tenants/" + url.PathEscape(string(t.ID)), Body: tenantOf(t)}, nil
	})
}

// newTenant is one below the actor's.
func newTenant(who actor, kind store.Kind, name, legal string) (store.Tenant, error) {
	if !slices.Contains(below[who.tenant.Kind], kind) {
		return store.Tenant{}, problem(CodeInvalid, "", FieldError{"body.kind", FieldEnum, "a " + string(who.tenant.Kind) + " makes no tenants of this kind"})
	}
	return store.Tenant{
		ID: store.NewID[store.TenantID](), Kind: kind, Parent: who.tenant.ID, Name: name, LegalName: legal,
		Brand: who.tenant.Brand, Created: time.Now(),
	}, legalName(legal)
}

// legalName finds fault with a name that no PBX would show.
func legalName(name string) error {
	if err := wire.CheckTenant(name, ""); err != nil {
		return problem(CodeInvalid, "", FieldError{"body.legal_name", FieldPattern, "is no name that a PBX shows"})
	}
	return nil
}

type updateTenantInput struct {
	TenantPath
	Body TenantChange
}

func (a *API) updateTenant(ctx context.Context, in *updateTenantInput) (*body[Tenant], error) {
	who := mustActor(ctx)
	if in.Body == (TenantChange{}) {
		return nil, problem(CodeInvalid, "", FieldError{"body", FieldRequired, "changes nothing"})
	}
	var t store.Tenant
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if t, err = tx.Tenant(who.tenant.ID); err != nil {
			return err
		}
		if in.Body.Name != nil {
			t.Name = *in.Body.Name
		}
		if in.Body.LegalName != nil {
			t.LegalName = *in.Body.LegalName
		}
		if err := legalName(t.LegalName); err != nil {
			return err
		}
		return tx.RenameTenant(t.ID, t.Name, t.LegalName)
	})
	if err != nil {
		return nil, err
	}
	return &body[Tenant]{Body: tenantOf(t)}, nil
}
