package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// audience says what an operation is about, and with that how it is found out who may
// run it.
type audience string

const (
	// everybody: also who is not signed in.
	everybody audience = "public"
	// oneself: everybody who is signed in, about himself.
	oneself audience = "self"
	// members: everybody who may see the tenant.
	members audience = "tenant members"
	// wholeTenant: who has the verb for all of the tenant.
	wholeTenant audience = "tenant"
	// pathTenant: the same for the tenant that {tenant} in the path names, where the header
	// does not count. To read, a part is enough.
	pathTenant audience = "tenant in the path"
	// someParts: who has the verb for a part of the tenant at least. The handler looks which.
	someParts audience = "parts of the tenant"
	// oneSystem: who has the verb for the system that {id} in the path names.
	oneSystem audience = "system"
)

// rule says who may run an operation. The zero rule is none.
type rule struct {
	audience audience
	verb     access.Verb
}

// The rules without a verb.
var (
	public   = rule{audience: everybody}
	signedIn = rule{audience: oneself}
	member   = rule{audience: members}
)

func inTenant(v access.Verb) rule    { return rule{wholeTenant, v} }
func namedTenant(v access.Verb) rule { return rule{pathTenant, v} }
func inParts(v access.Verb) rule     { return rule{someParts, v} }
func atSystem(v access.Verb) rule    { return rule{oneSystem, v} }

// inTenant tells whether the operation is about what a tenant has, which need not be the
// user's own.
func (r rule) inTenant() bool { return r.audience != everybody && r.audience != oneself }

// check finds fault with the rule of an operation.
func (r rule) check(path string) error {
	switch r.audience {
	case everybody, oneself, members:
		if r.verb != "" {
			return errors.New("its rule has a verb that is not looked at")
		}
	case wholeTenant, pathTenant, someParts, oneSystem:
		if !access.Known(r.verb) {
			return fmt.Errorf("its rule has the unknown verb %q", r.verb)
		}
		if r.audience == oneSystem && !strings.HasPrefix(path, "/systems/{id}") {
			return errors.New("its rule is about a system, and its path has none")
		}
		if r.audience == pathTenant && !strings.Contains(path, "{tenant}") {
			return errors.New("its rule is about the tenant in the path, and that has none")
		}
	default:
		return errors.New("it has no rule")
	}
	return nil
}

// tenant gives the id of the tenant that a request is about; empty: the user's own.
func (r rule) tenant(ctx huma.Context) store.TenantID {
	if r.audience == pathTenant {
		return store.TenantID(ctx.Param("tenant"))
	}
	return store.TenantID(ctx.Header(tenantHeader))
}

// accessDoc is a rule in the document.
type accessDoc struct {
	Of   string `json:"of"`
	Verb string `json:"verb,omitempty"`
}

func (r rule) document() accessDoc { return accessDoc{string(r.audience), string(r.verb)} }

// tenantHeader names the tenant that a request is about.
const tenantHeader = "Auer-Tenant"

var tenantParameter = &huma.Param{
	Name: tenantHeader, In: "header",
	Description: "Id of the tenant that the request is about; default: the user's own. One that he has nothing to do with is not found",
	Schema:      &huma.Schema{Type: huma.TypeString},
}

// visible decides whether an actor may know of a tenant, other than his own.
func visible(a access.Actor, tenant store.TenantID) bool {
	return a.Anywhere(access.TenantRead, tenant)
}

// enter gives the actor in the tenant that a request is about. The error is the problem
// of something that is not there where he has nothing to do with it.
func (a *API) enter(ctx context.Context, who actor, tenant store.TenantID) (actor, error) {
	if tenant == "" || tenant == who.user.Tenant {
		return who, nil
	}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if who.may, err = access.LoadUser(tx, who.user, tenant, time.Now()); err != nil {
			return err
		}
		if !a.visible(who.may, tenant) {
			return store.ErrNotFound
		}
		who.tenant, err = tx.Tenant(tenant)
		return err
	})
	return who, err
}

// decide tells whether the actor may run an operation; system is {id} of its path. The
// error is a problem.
func (a *API) decide(ctx context.Context, who actor, r rule, system store.SystemID) error {
	tenant := who.tenant.ID
	may := true
	switch r.audience {
	case wholeTenant:
		may = who.may.May(r.verb, access.Of(tenant))
	case pathTenant:
		may = who.may.May(r.verb, access.Of(tenant)) || r.verb == access.TenantRead && who.may.Anywhere(r.verb, tenant)
	case someParts:
		may = who.may.Anywhere(r.verb, tenant)
	case oneSystem:
		if may = who.may.Anywhere(r.verb, tenant); may && !who.may.May(r.verb, access.Of(tenant)) {
			return a.decidePart(ctx, who, r.verb, system)
		}
	}
	if !may {
		return problem(CodeForbidden, "")
	}
	return nil
}

// decidePart is for who has a verb for a part of his tenant. A system that he may not
// see is not there.
func (a *API) decidePart(ctx context.Context, who actor, v access.Verb, system store.SystemID) error {
	r := access.Resource{Tenant: who.tenant.ID, System: system}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		r.Site, err = tx.SystemSite(r.Tenant, system)
		return err
	})
	switch {
	case err != nil:
		return err
	case who.may.May(v, r):
		return nil
	case who.may.May(access.SystemRead, r):
		return problem(CodeForbidden, "")
	}
	return problem(CodeNotFound, "")
}
