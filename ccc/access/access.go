// Package access decides who may do what in the control centre. All of it is one pure
// function, [Actor.May]; [Load] reads what it decides by.
//
// # Roles
//
// A user has roles in his own tenant, each for the whole tenant, for a site or for one
// system, and none to begin with. Roles only ever add to one another; roles.md beside
// this file has the table, which [Table] prints.
//
// # Other tenants
//
// Tenants form a tree: operator, resellers, customers. Being above another gives nothing.
// A tenant may grant another one roles, other than the owner's, for all of it or a part
// of it, until a time or until it takes them back. What a user of the other then may do
// is what both that grant and his own roles in his own tenant permit, of the verbs that
// can be granted at all.
//
// To the operator nothing can be granted. Its staff break glass: for a reason and for a
// few hours one of them may do what both his own roles and the last column of the table
// permit. The tenant sees that, and can end it.
package access

import (
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Resource is what something is done to: a system, a site, or where neither is named the
// whole tenant. System comes with the Site that it is at, if it is at one.
type Resource struct {
	Tenant store.TenantID
	Site   store.SiteID
	System store.SystemID
}

// Of gives the resource that is all of a tenant.
func Of(tenant store.TenantID) Resource { return Resource{Tenant: tenant} }

// Actor is a user, with what he has for one tenant at one moment. The zero value may
// nothing.
type Actor struct {
	User store.UserID
	Home store.TenantID
	Now  time.Time
	store.Rights
}

// Load gives what a user may in a tenant now. One who is not there or is disabled may
// nothing.
func Load(tx *store.Tx, user store.UserID, tenant store.TenantID, now time.Time) (Actor, error) {
	u, err := tx.UserByID(user)
	if errors.Is(err, store.ErrNotFound) {
		return Actor{User: user, Now: now}, nil
	}
	if err != nil {
		return Actor{}, err
	}
	return LoadUser(tx, u, tenant, now)
}

// LoadUser is Load for who was read in the transaction.
func LoadUser(tx *store.Tx, user store.User, tenant store.TenantID, now time.Time) (Actor, error) {
	a := Actor{User: user.ID, Home: user.Tenant, Now: now}
	var err error
	a.Rights, err = tx.Rights(user.ID, user.Tenant, tenant, now)
	return a, err
}

// LoadAway gives what a user may in each tenant but his own in which he has something.
func LoadAway(tx *store.Tx, user store.User, now time.Time) (map[store.TenantID]Actor, error) {
	all, err := tx.RightsAway(user.ID, user.Tenant, now)
	actors := make(map[store.TenantID]Actor, len(all))
	for tenant, rights := range all {
		actors[tenant] = Actor{User: user.ID, Home: user.Tenant, Now: now, Rights: rights}
	}
	return actors, err
}

// May decides whether the actor may do something to a resource.
func (a Actor) May(v Verb, r Resource) bool {
	verb := of(v)
	may := false
	a.each(r.Tenant, func(p store.Part, gives permission) {
		may = may || gives&verb != 0 && covers(p, r)
	})
	return may
}

// covers tells whether a resource is in a part of its tenant.
func covers(p store.Part, r Resource) bool {
	switch {
	case p.Whole():
		return true
	case p.System != "":
		return p.Site == "" && p.System == r.System
	}
	return p.Site == r.Site
}

// each gives what the actor has in a tenant, part by part.
func (a Actor) each(tenant store.TenantID, f func(store.Part, permission)) {
	if tenant == "" || a.Home == "" {
		return
	}
	own := permission(0) // in the whole of his own tenant
	for _, g := range a.Own {
		switch {
		case g.User != a.User:
		case tenant == a.Home:
			f(g.Part, byRole[g.Role])
		case g.Whole():
			own |= byRole[g.Role]
		}
	}
	if tenant == a.Home {
		return
	}
	for _, g := range a.Given {
		if g.Tenant == tenant && g.Grantee == a.Home && (g.Until == nil || a.Now.Before(*g.Until)) {
			f(g.Part, permissionOf(g.Roles)&own&grantable)
		}
	}
	for _, g := range a.Glass {
		if g.Tenant == tenant && g.User == a.User && g.Home == a.Home && g.Ended == nil && a.Now.Before(g.Expires) {
			f(store.Part{}, own&glass)
		}
	}
}

// Anywhere decides whether the actor may do something to anything in a tenant.
func (a Actor) Anywhere(v Verb, tenant store.TenantID) bool {
	verb := of(v)
	may := false
	a.each(tenant, func(_ store.Part, gives permission) { may = may || gives&verb != 0 })
	return may
}

// Within gives the parts of a tenant to which the actor may do something; nil where that
// is all of it.
func (a Actor) Within(v Verb, tenant store.TenantID) *store.Within {
	verb := of(v)
	all := false
	in := &store.Within{Sites: []store.SiteID{}, Systems: []store.SystemID{}}
	a.each(tenant, func(p store.Part, gives permission) {
		switch {
		case gives&verb == 0:
		case p.Whole():
			all = true
		case p.Site != "":
			in.Sites = append(in.Sites, p.Site)
		default:
			in.Systems = append(in.Systems, p.System)
		}
	})
	if all {
		return nil
	}
	return in
}

// Verbs gives what the actor may do to all of a tenant, and what to a part of it at
// least.
func (a Actor) Verbs(tenant store.TenantID) (whole, some []Verb) {
	whole, some = []Verb{}, []Verb{}
	for _, v := range Verbs() {
		if a.May(v, Of(tenant)) {
			whole = append(whole, v)
		} else if a.Anywhere(v, tenant) {
			some = append(some, v)
		}
	}
	return whole, some
}

// MayGive decides whether the actor may give somebody of his tenant a role for a part of
// it, or take it from him: he manages users there and may himself do all that the role
// permits.
func (a Actor) MayGive(role store.Role, part Resource) bool {
	if !a.May(UsersManage, part) {
		return false
	}
	for _, v := range Verbs() {
		if byRole[role]&of(v) != 0 && !a.May(v, part) {
			return false
		}
	}
	return byRole[role] != 0
}

// MayRemote tells whether a user, of whatever tenant, may have remote access to a tenant's
// system now. A system that is gone nobody may.
func MayRemote(tx *store.Tx, user store.UserID, tenant store.TenantID, system store.SystemID, now time.Time) (bool, error) {
	a, err := Load(tx, user, tenant, now)
	if err != nil || !a.Anywhere(RemoteAsk, tenant) {
		return false, err
	}
	site, err := tx.SystemSite(tenant, system)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return a.May(RemoteAsk, Resource{Tenant: tenant, Site: site, System: system}), err
}
