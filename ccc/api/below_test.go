package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestBelow: who is above others lists what they are called, and nothing of them or of
// others' others.
func TestBelow(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		operator := w.kind(store.KindOperator, "")
		reseller, rival := w.kind(store.KindReseller, operator), w.kind(store.KindReseller, operator)
		name := func(parent store.TenantID, name string) store.TenantID {
			id := w.kind(store.KindCustomer, parent)
			w.update(func(tx *store.Tx) error { return tx.RenameTenant(id, name, name) })
			return id
		}
		own := name(reseller, "Müller 2")
		name(reseller, "Müller 10")
		name(rival, "Müller of the rival")
		c := w.signedIn(reseller, store.RoleAdministrator)
		first := read[KnownTenantList](c.do(http.MethodGet, "/tenants/below?q=MULLER&limit=1", "").want(http.StatusOK))
		if first.Total != 2 || len(first.Items) != 1 || first.Items[0] != (KnownTenant{ID: string(own), Name: "Müller 2", Kind: store.KindCustomer}) {
			t.Errorf("the first page: %+v", first)
		}
		rest := read[KnownTenantList](c.do(http.MethodGet, "/tenants/below?q=MULLER&limit=1&cursor="+first.Next, "").want(http.StatusOK))
		if len(rest.Items) != 1 || rest.Items[0].Name != "Müller 10" || rest.Next != "" {
			t.Errorf("the second page: %+v", rest)
		}
		c.do(http.MethodGet, "/tenants/below?cursor=x", "").problem(CodeInvalid)
		c.do(http.MethodGet, "/tenants/"+string(own), "").problem(CodeNotFound) // and no access by that

		owner := w.signedIn(own, store.RoleOwner)
		up := read[KnownTenantList](owner.do(http.MethodGet, "/tenants/above", "").want(http.StatusOK))
		if up.Total != 1 || up.Items[0].ID != string(reseller) {
			t.Errorf("above: %+v", up)
		}
		// Names come with what is said about neighbours, and about nobody else.
		for to, want := range map[store.TenantID]string{reseller: "A reseller", rival: "", "someone": ""} {
			g := read[TenantGrant](owner.do(http.MethodPost, "/grants", `{"tenant_id":"`+string(to)+`","roles":["monitoring"]}`).want(http.StatusCreated))
			if g.Name != want {
				t.Errorf("a grant to %s is called %q, want %q", to, g.Name, want)
			}
		}
		boss := w.signedIn(reseller, store.RoleOwner)
		system := boss.save("0000000077", "Own").System.ID
		for to, want := range map[store.TenantID]string{own: "Müller 2", rival: ""} {
			h := read[Handover](boss.do(http.MethodPost, "/systems/"+system+"/handover", `{"tenant_id":"`+string(to)+`"}`).want(http.StatusCreated))
			all := read[HandoverList](boss.do(http.MethodGet, "/handovers", "").want(http.StatusOK)).Items
			if all[0].ID != h.ID || all[0].Tenant != want {
				t.Errorf("a hand-over to %s: %+v, want the name %q", to, all[0], want)
			}
			boss.do(http.MethodDelete, "/handovers/"+h.ID, "").want(http.StatusNoContent)
		}
	})
}

// TestWhyInTenant: who works in another tenant is told until when, and by what.
func TestWhyInTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	operator, reseller := w.kind(store.KindOperator, ""), w.kind(store.KindReseller, "")
	soon, later := time.Now().Add(time.Hour).Truncate(time.Millisecond), time.Now().Add(48*time.Hour).Truncate(time.Millisecond)
	w.grant(w.north, reseller, &soon, store.RoleMonitoring)
	w.grant(w.north, reseller, &later, store.RoleRemote)
	in := func(c *client) TenantAccess {
		t.Helper()
		all := read[TenantList](c.do(http.MethodGet, "/tenants", "").want(http.StatusOK)).Items
		one := read[TenantAccess](c.do(http.MethodGet, "/tenants/"+string(w.north), "").want(http.StatusOK))
		if len(all) != 2 || all[1].ID != one.ID || all[1].Reason != one.Reason || all[1].GlassID != one.GlassID {
			t.Fatalf("listed %+v, and alone %+v", all, one)
		}
		return one
	}
	boss := w.signedIn(reseller, store.RoleOwner)
	if a := in(boss); a.Via != "grant" || a.Until == nil || !a.Until.Equal(later) || !slices.Equal(a.Roles, []store.Role{store.RoleMonitoring, store.RoleRemote}) {
		t.Errorf("by grants: %+v", a)
	}
	w.grant(w.north, reseller, nil, store.RoleBackup)
	if a := in(boss); a.Until != nil || a.Reason != "" {
		t.Errorf("by one that stands: %+v", a)
	}
	staff := w.signedIn(operator, store.RoleAdministrator)
	id := w.breakGlass(w.north, operator, staff.user.ID, time.Hour)
	longer := w.breakGlass(w.north, operator, staff.user.ID, 2*time.Hour)
	if a := in(staff); a.Via != "break_glass" || a.GlassID != string(longer) || a.Reason != "ticket 17" || time.Until(*a.Until) < 90*time.Minute || a.Roles != nil {
		t.Errorf("by breaking glass: %+v", a)
	}
	staff.do(http.MethodDelete, "/break-glass/"+string(longer), "").want(http.StatusNoContent)
	if a := in(staff); a.GlassID != string(id) {
		t.Errorf("after one has ended: %+v", a)
	}
	if g := read[BreakGlassList](staff.do(http.MethodGet, "/break-glass", "").want(http.StatusOK)).Items; len(g) != 2 || g[0].Tenant != "North GmbH" {
		t.Errorf("the staff's own list: %+v", g)
	}
	if g := read[BreakGlassList](w.signedIn(w.north, store.RoleOwner).do(http.MethodGet, "/break-glass", "").want(http.StatusOK)).Items; len(g) != 2 || g[0].Tenant != "" {
		t.Errorf("the tenant's list: %+v", g)
	}
}

// TestFindUsers: users are found by name and address, page by page.
func TestFindUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleAuditor)
	for _, email := range []string{"anna@example.com", "ben@example.com", "anneliese@example.com"} {
		w.user(w.north, email, "")
	}
	w.user(w.south, "anna@south.example.com", "")
	first := read[PersonList](c.do(http.MethodGet, "/users?q=of+ANN&limit=1", "").want(http.StatusOK))
	if first.Total != 2 || len(first.Items) != 1 || first.Items[0].Email != "anna@example.com" || first.Next == "" {
		t.Fatalf("the first page: %+v", first)
	}
	second := read[PersonList](c.do(http.MethodGet, "/users?q=of+ANN&limit=1&cursor="+first.Next, "").want(http.StatusOK))
	if len(second.Items) != 1 || second.Items[0].Email != "anneliese@example.com" || second.Next != "" {
		t.Errorf("the second page: %+v", second)
	}
	c.do(http.MethodGet, "/users?cursor=none", "").problem(CodeInvalid)
}

// TestRoles: what the API says about the roles is the table that people read.
func TestRoles(t *testing.T) {
	t.Parallel()
	table := documentedTable(t)
	w := newWorld(t).serve()
	list := read[RoleList](w.signedIn(w.north, "").do(http.MethodGet, "/roles", "").want(http.StatusOK))
	if len(list.Items) != len(store.Roles()) {
		t.Fatalf("%d roles", len(list.Items))
	}
	for _, v := range access.Verbs() {
		for _, r := range list.Items {
			if has := slices.Contains(r.Verbs, v); has != table[string(r.Role)][string(v)] {
				t.Errorf("%s of %s: %v", v, r.Role, has)
			}
			want := r.Role != store.RoleOwner && table[string(r.Role)][string(v)] && table["grantable"][string(v)]
			if has := slices.Contains(r.Granted, v); has != want {
				t.Errorf("%s by a grant of %s: %v", v, r.Role, has)
			}
		}
		if has := slices.Contains(list.BreakGlass, v); has != table["break-glass"][string(v)] {
			t.Errorf("%s by breaking glass: %v", v, has)
		}
		if has := slices.Contains(list.Tokens, v); has == access.LetsIn(v) {
			t.Errorf("%s by a token: %v", v, has)
		}
	}
	if strings.Contains(string(w.client().do(http.MethodGet, "/roles", "").body), "verbs") {
		t.Error("it is told to who is not signed in")
	}
}
