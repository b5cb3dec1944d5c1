package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Person is a user of the tenant, as those who manage users see him.
type Person struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Email     string         `json:"email"`
	Language  store.Language `json:"language" enum:"de,en,fr"`
	CreatedAt time.Time      `json:"created_at"`
	Disabled  bool           `json:"disabled"`
	Roles     []RoleGrant    `json:"roles" nullable:"false"`
	// Two who have the same roles have the same version.
	RolesVersion string `json:"roles_version" doc:"Of the roles, for If-Match where they are replaced"`
}

// RoleGrant is a role, for all of the tenant or for a part of it.
type RoleGrant struct {
	Role     store.Role `json:"role" enum:"owner,administrator,monitoring,backup,calldata,remote,licences,auditor"`
	SiteID   string     `json:"site_id,omitempty" maxLength:"64" doc:"For what is at a site"`
	SystemID string     `json:"system_id,omitempty" maxLength:"64" doc:"For one system"`
}

// PersonList is one page of the users of the tenant, by address.
type PersonList struct {
	Items []Person `json:"items" nullable:"false"`
	Next  string   `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
	Total int      `json:"total" doc:"How many fit the query, on all pages"`
}

// PersonQuery is which users are wanted.
type PersonQuery struct {
	Page
	Query string `query:"q" maxLength:"100" doc:"Words that are to be in the name or the address; case and accents do not count"`
}

// NewUser makes an account.
type NewUser struct {
	NewPerson
	Roles []RoleGrant `json:"roles" nullable:"false" maxItems:"200" doc:"None of which the person who gives them does not have; may be empty"`
}

// RolesChange replaces all roles of a user.
type RolesChange struct {
	Roles []RoleGrant `json:"roles" nullable:"false" maxItems:"200"`
}

// Disabling locks a user out, or lets him in again.
type Disabling struct {
	Disabled bool `json:"disabled"`
}

// UserPath is the user in an address.
type UserPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the user"`
}

// registerPeople is the table of the operations about the users of a tenant.
func (a *API) registerPeople() {
	add(a, operation{
		id: "listUsers", method: http.MethodGet, path: "/users", tag: tagAccess, rule: inTenant(access.UsersRead),
		summary: "The users of the tenant, with their roles",
	}, a.listUsers)
	add(a, operation{
		id: "createUser", method: http.MethodPost, path: "/users", tag: tagAccess, rule: inTenant(access.UsersManage), status: http.StatusCreated,
		summary: "Make an account", description: "Nobody gives a role that he does not have.",
		codes: []Code{CodeConflict, CodeNotToGive, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createUser)
	add(a, operation{
		id: "setUserRoles", method: http.MethodPut, path: "/users/{id}/roles", tag: tagAccess, rule: inTenant(access.UsersManage),
		summary: "Give a user other roles", description: "Nobody gives or takes a role that he does not have. A tenant keeps an owner.",
		codes: []Code{CodeLastOwner, CodeNotToGive, CodeVersion},
	}, a.setUserRoles)
	add(a, operation{
		id: "setUserDisabled", method: http.MethodPut, path: "/users/{id}/disabled", tag: tagAccess, rule: inTenant(access.UsersManage), status: http.StatusNoContent,
		summary: "Lock a user out, or let him in again", description: "Who is locked out loses his sessions. A tenant keeps an owner.",
		codes: []Code{CodeLastOwner, CodeNotToGive},
	}, a.setUserDisabled)
	a.registerRoles()
}

func personOf(u store.User, grants []store.UserGrant) Person {
	p := Person{
		ID: string(u.ID), Name: u.Name, Email: u.Email, Language: u.Language, CreatedAt: u.Created, Disabled: u.Disabled,
		Roles: []RoleGrant{},
	}
	for _, g := range grants {
		if g.User == u.ID {
			p.Roles = append(p.Roles, RoleGrant{g.Role, string(g.Site), string(g.System)})
		}
	}
	p.RolesVersion = rolesVersion(p.Roles)
	return p
}

// rolesVersion is the same for the same roles, in whatever order.
func rolesVersion(all []RoleGrant) string {
	lines := make([]string, len(all))
	for i, g := range all {
		lines[i] = strings.Join([]string{string(g.Role), g.SiteID, g.SystemID}, "\x00")
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(lines), "\n")))
	return hex.EncodeToString(sum[:12])
}

func (a *API) listUsers(ctx context.Context, in *PersonQuery) (*body[PersonList], error) {
	who := mustActor(ctx)
	out := &body[PersonList]{Body: PersonList{Items: []Person{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		users, next, total, err := tx.FindUsers(who.tenant.ID, in.Query, store.Page{Cursor: in.Cursor, Limit: in.Limit})
		if err != nil {
			return err
		}
		out.Body.Next, out.Body.Total = next, total
		grants, err := tx.UserGrants(who.tenant.ID, "")
		for _, u := range users {
			out.Body.Items = append(out.Body.Items, personOf(u, grants))
		}
		return err
	})
	return out, err
}

// grantsOf reads roles of a request.
func grantsOf(user store.UserID, all []RoleGrant) []store.UserGrant {
	out := make([]store.UserGrant, len(all))
	for i, g := range all {
		out[i] = store.UserGrant{User: user, Role: g.Role, Part: store.Part{Site: store.SiteID(g.SiteID), System: store.SystemID(g.SystemID)}}
	}
	return out
}

// checkRoles finds fault with roles whose part is none of the tenant's, or none that the
// role can be given for.
func checkRoles(tx *store.Tx, tenant store.TenantID, all []store.UserGrant) error {
	var wrong []FieldError
	for i, g := range all {
		if g.Site != "" && g.System != "" || g.Role == store.RoleOwner && !g.Whole() {
			wrong = append(wrong, FieldError{fmt.Sprintf("body.roles[%d]", i), FieldInvalid, "is for a site or for a system, and an owner's for neither"})
			continue
		}
		at, err := hasPart(tx, tenant, g.Part)
		if err != nil {
			return err
		}
		if at != "" {
			wrong = append(wrong, FieldError{fmt.Sprintf("body.roles[%d].%s", i, at), FieldReference, "is not there"})
		}
	}
	if wrong != nil {
		return problem(CodeInvalid, "", wrong...)
	}
	return nil
}

// hasPart gives the field that names what the tenant does not have; empty: it has all.
func hasPart(tx *store.Tx, tenant store.TenantID, p store.Part) (field string, err error) {
	if p.Site != "" {
		field = "site_id"
		_, err = tx.Site(tenant, p.Site)
	}
	if err == nil && p.System != "" {
		field = "system_id"
		_, err = tx.SystemSite(tenant, p.System)
	}
	if errors.Is(err, store.ErrNotFound) {
		return field, nil
	}
	return "", err
}

// mayGive looks whether the actor may give or take each of the roles.
func (a actor) mayGive(all []store.UserGrant) error {
	for _, g := range all {
		if !a.may.MayGive(g.Role, access.Resource{Tenant: a.tenant.ID, Site: g.Site, System: g.System}) {
			return problem(CodeNotToGive, "")
		}
	}
	return nil
}

// fresh gives the actor with what he may now, in the transaction in which that matters.
func (a actor) fresh(tx *store.Tx) (actor, error) {
	var err error
	a.may, err = access.Load(tx, a.user.ID, a.tenant.ID, time.Now())
	return a, err
}

type createUserInput struct {
	Idempotency
	Body NewUser
}

func (a *API) createUser(ctx context.Context, in *createUserInput) (*created[Person], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createUser", in.Body, func(ctx context.Context) (*created[Person], error) {
		grants := grantsOf("", in.Body.Roles)
		if err := who.mayGive(grants); err != nil {
			return nil, err
		}
		// Once before a password is hashed, and once with what may have changed by then.
		check := func(tx *store.Tx) error {
			if err := a.roomForUser(tx, who.tenant.ID); err != nil {
				return err
			}
			return checkRoles(tx, who.tenant.ID, grants)
		}
		user, err := a.person(ctx, who, newAccount{
			NewPerson: in.Body.NewPerson, at: "body.", tenant: who.tenant.ID, check: check,
			add: func(tx *store.Tx, user store.User) error {
				if err := check(tx); err != nil {
					return err
				}
				if err := tx.CreateUser(user); err != nil {
					return err
				}
				return a.setRoles(tx, who, user.ID, grantsOf(user.ID, in.Body.Roles))
			},
		})
		if err != nil {
			return nil, err
		}
		grants = grantsOf(user.ID, in.Body.Roles)
		return &created[Person]{Body: personOf(user, grants)}, nil
	})
}

// setRoles replaces a user's roles, as far as the actor may.
func (a *API) setRoles(tx *store.Tx, who actor, user store.UserID, grants []store.UserGrant) error {
	who, err := who.fresh(tx)
	if err != nil {
		return err
	}
	if _, err := tx.User(who.tenant.ID, user); err != nil {
		return err
	}
	if err := checkRoles(tx, who.tenant.ID, grants); err != nil {
		return err
	}
	before, err := tx.UserGrants(who.tenant.ID, user)
	if err != nil {
		return err
	}
	// What stays as it is need not be the actor's to give.
	changed := append(without(grants, before), without(before, grants)...)
	if err := who.mayGive(changed); err != nil {
		return err
	}
	if err := tx.SetUserGrants(who.tenant.ID, user, grants); err != nil {
		return err
	}
	return keepsOwner(tx, who.tenant.ID, before)
}

func without(all, others []store.UserGrant) []store.UserGrant {
	return slices.DeleteFunc(slices.Clone(all), func(g store.UserGrant) bool { return slices.Contains(others, g) })
}

// keepsOwner refuses a change after which a tenant has no owner, where a user had what is
// given before it.
func keepsOwner(tx *store.Tx, tenant store.TenantID, before []store.UserGrant) error {
	if !slices.ContainsFunc(before, func(g store.UserGrant) bool { return g.Role == store.RoleOwner }) {
		return nil
	}
	n, err := tx.CountOwners(tenant)
	if err == nil && n == 0 {
		err = problem(CodeLastOwner, "")
	}
	return err
}

type setUserRolesInput struct {
	UserPath
	Version string `header:"If-Match" maxLength:"64" doc:"Version of the roles as the client knows them, as an ETag; absent: whatever they are"`
	Body    RolesChange
}

type personOutput struct {
	ETag string `header:"ETag" doc:"Version of the roles"`
	Body Person
}

// hasRoles finds fault where a user has other roles than those of an If-Match (RFC 9110,
// §13.1.1).
func hasRoles(tx *store.Tx, tenant store.TenantID, user store.UserID, version string) error {
	found, err := tx.User(tenant, user)
	if err != nil || version == "" || version == "*" {
		return err
	}
	now, err := tx.UserGrants(tenant, user)
	if err == nil && strconv.Quote(personOf(found, now).RolesVersion) != version {
		err = problem(CodeVersion, "")
	}
	return err
}

func (a *API) setUserRoles(ctx context.Context, in *setUserRolesInput) (*personOutput, error) {
	who, id := mustActor(ctx), store.UserID(in.ID)
	out := &personOutput{}
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := hasRoles(tx, who.tenant.ID, id, in.Version); err != nil {
			return err
		}
		if err := a.setRoles(tx, who, id, grantsOf(id, in.Body.Roles)); err != nil {
			return err
		}
		user, err := tx.User(who.tenant.ID, id)
		if err != nil {
			return err
		}
		grants, err := tx.UserGrants(who.tenant.ID, id)
		out.Body = personOf(user, grants)
		out.ETag = strconv.Quote(out.Body.RolesVersion)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.userChanged(id)
	return out, nil
}

type setUserDisabledInput struct {
	UserPath
	Body Disabling
}

func (a *API) setUserDisabled(ctx context.Context, in *setUserDisabledInput) (*nothing, error) {
	who, id := mustActor(ctx), store.UserID(in.ID)
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		who, err := who.fresh(tx)
		if err != nil {
			return err
		}
		if _, err := tx.User(who.tenant.ID, id); err != nil {
			return err
		}
		before, err := tx.UserGrants(who.tenant.ID, id)
		if err != nil {
			return err
		}
		if err := who.mayGive(before); err != nil {
			return err
		}
		if err := tx.SetUserDisabled(who.tenant.ID, id, in.Body.Disabled); err != nil {
			return err
		}
		if !in.Body.Disabled {
			return nil
		}
		if err := keepsOwner(tx, who.tenant.ID, before); err != nil {
			return err
		}
		_, err = tx.DeleteUserSessions(id, store.TokenHash{})
		return err
	})
	if err == nil {
		a.userChanged(id)
	}
	return nil, err
}
