package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// RoleInfo is what a role permits.
type RoleInfo struct {
	Role    store.Role    `json:"role" enum:"owner,administrator,monitoring,backup,calldata,remote,licences,auditor"`
	Verbs   []access.Verb `json:"verbs" nullable:"false" doc:"In the own tenant. Who gives the role has to have all of them"`
	Granted []access.Verb `json:"granted" nullable:"false" doc:"To the users of another tenant that was given the role, as far as their own roles permit it too; empty: it cannot be given"`
}

// RoleList is who may do what.
type RoleList struct {
	Items      []RoleInfo    `json:"items" nullable:"false"`
	Tokens     []access.Verb `json:"tokens" nullable:"false" doc:"What an API token may have, as far as the person who makes it may do it"`
	BreakGlass []access.Verb `json:"break_glass" nullable:"false" doc:"What the operator's staff may do who entered without being let in, as far as their own roles permit it too"`
}

func (a *API) registerRoles() {
	add(a, operation{
		id: "listRoles", method: http.MethodGet, path: "/roles", tag: tagAccess, rule: signedIn,
		summary: "What each role permits",
	}, a.listRoles)
}

func (a *API) listRoles(context.Context, *nothing) (*body[RoleList], error) {
	out := &body[RoleList]{Body: RoleList{Tokens: slices.DeleteFunc(access.Verbs(), access.LetsIn), BreakGlass: access.OfGlass()}}
	for _, role := range store.Roles() {
		out.Body.Items = append(out.Body.Items, RoleInfo{Role: role, Verbs: access.OfRole(role), Granted: access.OfGranted(role)})
	}
	return out, nil
}
