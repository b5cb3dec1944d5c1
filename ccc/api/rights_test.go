package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// events gives the tenant's whole history, the newest first.
func (w *world) events(tenant store.TenantID) (all []store.Event) {
	w.t.Helper()
	w.update(func(tx *store.Tx) (err error) {
		all, _, err = tx.Events(tenant, store.EventFilter{}, store.Page{})
		return err
	})
	return all
}

// TestGuestsChangeNoRights: rights follow sites, so that who does not manage users neither
// removes one nor moves a system to another.
func TestGuestsChangeNoRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	operator, reseller, third := w.kind(store.KindOperator, ""), w.kind(store.KindReseller, ""), w.kind(store.KindReseller, "")
	owner, admin := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleAdministrator)
	guest, staff := w.signedIn(reseller, store.RoleOwner), w.signedIn(operator, store.RoleOwner)
	w.grant(w.north, reseller, nil, store.RoleAdministrator)
	w.breakGlass(w.north, operator, staff.user.ID, time.Hour)
	local := w.signedIn(w.north, "")
	system := owner.save("0000000001", "One").System.ID
	site := read[Site](owner.do(http.MethodPost, "/sites", `{"name":"Berlin"}`).want(http.StatusCreated)).ID
	owner.do(http.MethodPut, "/users/"+string(local.user.ID)+"/roles", `{"roles":[{"role":"remote","site_id":"`+site+`"}]}`).want(http.StatusOK)
	there := inside(w.north)
	for _, c := range []*client{guest, staff} {
		c.do(http.MethodPatch, "/systems/"+system, `{"name":"Better"}`, there, "If-Match: *").want(http.StatusOK)
		c.do(http.MethodPatch, "/systems/"+system, `{"site_id":"`+site+`"}`, there, "If-Match: *").problem(CodeForbidden)
		c.do(http.MethodDelete, "/sites/"+site, "", there).problem(CodeForbidden)
	}
	local.do(http.MethodGet, "/systems/"+system, "").problem(CodeNotFound)
	admin.do(http.MethodPatch, "/systems/"+system, `{"site_id":"`+site+`"}`, "If-Match: *").want(http.StatusOK)
	local.do(http.MethodGet, "/systems/"+system, "").want(http.StatusOK)

	// With another tenant let in there it takes who lets others in.
	g := read[TenantGrant](owner.do(http.MethodPost, "/grants", `{"tenant_id":"`+string(third)+`","roles":["monitoring"],"site_id":"`+site+`"}`).want(http.StatusCreated))
	admin.do(http.MethodDelete, "/sites/"+site, "").problem(CodeForbidden)
	owner.do(http.MethodDelete, "/sites/"+site, "").want(http.StatusNoContent)
	var users, tenants int
	for _, e := range w.events(w.north) {
		if e.Kind != "access_revoked" || e.Detail["site"] != site || e.Actor != owner.user.ID {
			continue
		}
		if e.Detail["user"] == string(local.user.ID) && e.Detail["role"] == string(store.RoleRemote) {
			users++
		}
		if e.Detail["grant"] == g.ID && e.Detail["tenant"] == string(third) {
			tenants++
		}
	}
	if users != 1 || tenants != 1 {
		t.Errorf("the history has %d users and %d tenants put out: %+v", users, tenants, w.events(w.north))
	}
	other := read[Site](owner.do(http.MethodPost, "/sites", `{"name":"Bonn"}`).want(http.StatusCreated)).ID
	admin.do(http.MethodDelete, "/sites/"+other, "").want(http.StatusNoContent)
}

// TestHistoryNamesNoGrantee: who was let in for a system is told to who sees grants alone.
func TestHistoryNamesNoGrantee(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner, clerk := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleMonitoring)
	system := owner.save("0000000001", "One").System.ID
	g := read[TenantGrant](owner.do(http.MethodPost, "/grants", `{"tenant_id":"someone","roles":["monitoring"],"system_id":"`+system+`"}`).want(http.StatusCreated))
	owner.do(http.MethodDelete, "/grants/"+g.ID, "").want(http.StatusNoContent)
	for c, want := range map[*client]string{owner: "someone", clerk: ""} {
		seen := 0
		for _, e := range read[EventList](c.do(http.MethodGet, "/systems/"+system+"/events", "").want(http.StatusOK)).Items {
			if e.Kind != "access_granted" && e.Kind != "access_revoked" {
				continue
			}
			seen++
			if e.Detail["tenant"] != want || (e.Detail["grant"] != "") != (want != "") {
				t.Errorf("%v reads %+v", c.user.Roles, e)
			}
		}
		if seen != 2 {
			t.Errorf("%v reads of %d changes of access", c.user.Roles, seen)
		}
	}
}
