package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// in names the tenant that a request is about.
func inside(tenant store.TenantID) string { return tenantHeader + ": " + string(tenant) }

// kind makes a tenant of a kind.
func (w *world) kind(k store.Kind, parent store.TenantID) store.TenantID {
	w.t.Helper()
	v := store.Tenant{ID: store.NewID[store.TenantID](), Kind: k, Parent: parent, Name: "A " + string(k), LegalName: string(k) + " GmbH", Created: time.Now()}
	w.update(func(tx *store.Tx) error { return tx.CreateTenant(v) })
	return v.ID
}

// TestGrant: a customer lets a reseller in, as far as he says, and puts him out again.
func TestGrant(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		reseller := w.kind(store.KindReseller, "")
		owner := w.signedIn(w.north, store.RoleOwner)
		system := owner.save("0000000001", "One").System.ID
		boss, clerk := w.signedIn(reseller, store.RoleOwner), w.signedIn(reseller, store.RoleMonitoring)
		there := inside(w.north)

		missing := boss.do(http.MethodGet, "/systems", "", inside(store.NewID[store.TenantID]()))
		outside := boss.do(http.MethodGet, "/systems", "", there)
		outside.problem(CodeNotFound)
		if string(missing.body) != string(outside.body) {
			t.Errorf("a foreign tenant: %s, none: %s", outside.body, missing.body)
		}
		body := `{"tenant_id":"` + string(reseller) + `","roles":["administrator"]}`
		g := read[TenantGrant](owner.do(http.MethodPost, "/grants", body).want(http.StatusCreated))

		if all := read[TenantList](boss.do(http.MethodGet, "/tenants", "").want(http.StatusOK)).Items; len(all) != 2 || all[1].ID != string(w.north) || all[1].Via != "grant" {
			t.Errorf("the reseller's tenants: %+v", all)
		}
		if all := read[SystemList](boss.do(http.MethodGet, "/systems", "", there).want(http.StatusOK)); all.Total != 1 || all.Items[0].ID != system {
			t.Errorf("the customer's systems: %+v", all)
		}
		if all := read[SystemList](boss.do(http.MethodGet, "/systems", "").want(http.StatusOK)); all.Total != 0 {
			t.Errorf("at home: %+v", all)
		}
		me := read[Me](boss.do(http.MethodGet, "/session", "", there).want(http.StatusOK))
		if me.Tenant.ID != string(w.north) || slices.Contains(me.Verbs, "system.delete") || !slices.Contains(me.Verbs, "system.write") {
			t.Errorf("in the customer's tenant: %+v", me)
		}
		boss.do(http.MethodPatch, "/systems/"+system, `{"name":"Better"}`, there, `If-Match: "1"`).want(http.StatusOK)
		clerk.do(http.MethodGet, "/systems/"+system, "", there).want(http.StatusOK)
		// No more than both: the grant has no owner, and the clerk does not change anything.
		boss.do(http.MethodDelete, "/systems/"+system, "", there).problem(CodeForbidden)
		clerk.do(http.MethodPatch, "/systems/"+system, `{"name":"Worse"}`, there, `If-Match: "2"`).problem(CodeForbidden)
		// Nothing with which he would stay when the grant is taken back.
		boss.do(http.MethodPost, "/users", `{"roles":[],`+newPerson[1:], there).problem(CodeForbidden)
		boss.do(http.MethodPost, "/grants", body, there).problem(CodeForbidden)
		// The same key in two tenants is not the same request.
		boss.do(http.MethodPost, "/groups", `{"name":"Mine"}`, "Idempotency-Key: key-number-1").want(http.StatusCreated)
		boss.do(http.MethodPost, "/groups", `{"name":"Mine"}`, there, "Idempotency-Key: key-number-1").problem(CodeIdempotencyMismatch)

		owner.do(http.MethodDelete, "/grants/"+g.ID, "").want(http.StatusNoContent)
		if a := boss.do(http.MethodGet, "/systems", "", there); string(a.body) != string(missing.body) || a.status != missing.status {
			t.Errorf("after it was taken back: %d %s", a.status, a.body)
		}
		if all := read[TenantList](boss.do(http.MethodGet, "/tenants", "").want(http.StatusOK)).Items; len(all) != 1 {
			t.Errorf("the reseller's tenants: %+v", all)
		}
	})
}

// TestGrantSaysNothing: whether there is such a tenant is not told to who lets it in.
func TestGrantSaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner := w.signedIn(w.north, store.RoleOwner)
	parent := w.kind(store.KindReseller, "")
	w.update(func(tx *store.Tx) error { return tx.RenameTenant(parent, "Secret name", "Secret name") })
	for _, path := range []string{"/grants", "/systems/" + owner.save("0000000001", "One").System.ID + "/handover"} {
		for _, to := range []string{string(parent), string(store.NewID[store.TenantID]())} {
			body := `{"tenant_id":"` + to + `"}`
			if path == "/grants" {
				body = `{"tenant_id":"` + to + `","roles":["monitoring"]}`
			}
			a := owner.do(http.MethodPost, path, body).want(http.StatusCreated)
			if strings.Contains(string(a.body), "Secret") {
				t.Errorf("%s of %s: %s", path, to, a.body)
			}
			if path != "/grants" {
				id := read[Handover](a).ID
				owner.do(http.MethodDelete, "/handovers/"+id, "").want(http.StatusNoContent)
			}
		}
	}
	if a := owner.do(http.MethodGet, "/grants", "").want(http.StatusOK); strings.Contains(string(a.body), "Secret") {
		t.Errorf("the list: %s", a.body)
	}
}

// TestParts: who has a role for a site and for a system sees these, and nothing else is
// there.
func TestParts(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		owner := w.signedIn(w.north, store.RoleOwner)
		var systems []string
		for i := range 4 {
			systems = append(systems, owner.save(fmt.Sprintf("000000000%d", i), "PBX").System.ID)
		}
		site := read[Site](owner.do(http.MethodPost, "/sites", `{"name":"Berlin"}`).want(http.StatusCreated)).ID
		owner.do(http.MethodPatch, "/systems/"+systems[0], `{"site_id":"`+site+`","tags":["berlin"]}`, "If-Match: *").want(http.StatusOK)
		owner.do(http.MethodPatch, "/systems/"+systems[2], `{"tags":["elsewhere"]}`, "If-Match: *").want(http.StatusOK)
		c := w.signedIn(w.north, "")
		c.do(http.MethodGet, "/systems", "").problem(CodeForbidden) // default: none
		owner.do(http.MethodPut, "/users/"+string(c.user.ID)+"/roles", `{"roles":[{"role":"administrator","site_id":"`+site+
			`"},{"role":"remote","system_id":"`+systems[1]+`"}]}`).want(http.StatusOK)
		list := func(c *client, query string) (ids []string) {
			for _, s := range read[SystemList](c.do(http.MethodGet, "/systems"+query, "").want(http.StatusOK)).Items {
				ids = append(ids, s.ID)
			}
			slices.Sort(ids)
			return ids
		}
		if got := list(c, ""); !slices.Equal(got, systems[:2]) {
			t.Errorf("sees %v of %v", got, systems)
		}
		if got := list(c, "?site="+site); !slices.Equal(got, systems[:1]) {
			t.Errorf("at the site: %v", got)
		}
		if tags := read[TagList](c.do(http.MethodGet, "/tags", "").want(http.StatusOK)).Items; len(tags) != 1 || tags[0].Name != "berlin" {
			t.Errorf("tags %v", tags)
		}
		gone := c.do(http.MethodGet, "/systems/"+string(store.NewID[store.SystemID]()), "")
		for i, want := range []int{200, 200, 404, 404} {
			a := c.do(http.MethodGet, "/systems/"+systems[i], "")
			if a.status != want || want == 404 && string(a.body) != string(gone.body) {
				t.Errorf("system %d: %d %s", i, a.status, a.body)
			}
		}
		c.do(http.MethodPatch, "/systems/"+systems[0], `{"name":"x"}`, "If-Match: *").want(http.StatusOK)
		c.do(http.MethodPatch, "/systems/"+systems[1], `{"name":"x"}`, "If-Match: *").problem(CodeForbidden) // seen, with another role
		c.do(http.MethodPatch, "/systems/"+systems[2], `{"name":"x"}`, "If-Match: *").problem(CodeNotFound)
		c.do(http.MethodGet, "/systems/"+systems[1]+"/remote", "").want(http.StatusOK)
		// Rights follow the site, so that who has one does not move anything.
		c.do(http.MethodPatch, "/systems/"+systems[0], `{"site_id":""}`, "If-Match: *").problem(CodeForbidden)
		c.do(http.MethodPost, "/groups", `{"name":"x"}`).problem(CodeForbidden)
		owner.do(http.MethodDelete, "/sites/"+site, "").want(http.StatusNoContent)
		if got := list(c, ""); !slices.Equal(got, systems[1:2]) {
			t.Errorf("without the site: %v", got)
		}
	})
}

// TestRolesChangedMeanwhile: who replaces roles that he has seen does not undo what another
// has done since.
func TestRolesChangedMeanwhile(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c, other := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleMonitoring)
		path := "/users/" + string(other.user.ID) + "/roles"
		person := func() Person {
			for _, p := range read[PersonList](c.do(http.MethodGet, "/users", "").want(http.StatusOK)).Items {
				if p.ID == string(other.user.ID) {
					return p
				}
			}
			t.Fatal("the user is not in the list")
			return Person{}
		}
		seen := "If-Match: " + strconv.Quote(person().RolesVersion)
		a := c.do(http.MethodPut, path, `{"roles":[{"role":"remote"},{"role":"backup"}]}`, seen).want(http.StatusOK)
		if a.header.Get("ETag") != strconv.Quote(person().RolesVersion) || read[Person](a).RolesVersion != person().RolesVersion {
			t.Errorf("the answer has the version %s, and the list %s", a.header.Get("ETag"), person().RolesVersion)
		}
		c.do(http.MethodPut, path, `{"roles":[]}`, seen).problem(CodeVersion)
		c.do(http.MethodPut, path, `{"roles":[]}`, "If-Match: nonsense").problem(CodeVersion)
		if got := person().Roles; len(got) != 2 {
			t.Errorf("what was refused has changed them: %+v", got)
		}
		// The same roles in another order are the same, and nobody need say what he knows.
		now := "If-Match: " + strconv.Quote(person().RolesVersion)
		c.do(http.MethodPut, path, `{"roles":[{"role":"backup"},{"role":"remote"}]}`, now).want(http.StatusOK)
		c.do(http.MethodPut, path, `{"roles":[{"role":"auditor"}]}`, now).want(http.StatusOK)
		c.do(http.MethodPut, path, `{"roles":[{"role":"remote"}]}`, "If-Match: *").want(http.StatusOK)
		c.do(http.MethodPut, path, `{"roles":[]}`).want(http.StatusOK)
		c.do(http.MethodPut, "/users/nobody/roles", `{"roles":[]}`, now).problem(CodeNotFound)
	})
}

// TestNobodyGivesWhatHeHasNot: roles do not grow by giving them.
func TestNobodyGivesWhatHeHasNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner, admin := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleAdministrator)
	self, other, boss := "/users/"+string(admin.user.ID), "/users/"+string(w.signedIn(w.north, store.RoleMonitoring).user.ID), "/users/"+string(owner.user.ID)
	for _, tt := range []struct {
		c            *client
		method, path string
		body         string
		want         Code // empty: it is done
	}{
		{admin, http.MethodPut, self + "/roles", `{"roles":[{"role":"owner"}]}`, CodeNotToGive},
		{admin, http.MethodPut, other + "/roles", `{"roles":[{"role":"owner"}]}`, CodeNotToGive},
		{admin, http.MethodPut, boss + "/roles", `{"roles":[]}`, CodeNotToGive},
		{admin, http.MethodPut, boss + "/disabled", `{"disabled":true}`, CodeNotToGive},
		{admin, http.MethodPost, "/users", `{"roles":[{"role":"owner"}],` + newPerson[1:], CodeNotToGive},
		{admin, http.MethodPut, other + "/roles", `{"roles":[{"role":"remote"},{"role":"auditor"}]}`, ""},
		{admin, http.MethodPut, other + "/disabled", `{"disabled":true}`, ""},
		{owner, http.MethodPut, boss + "/roles", `{"roles":[{"role":"administrator"}]}`, CodeLastOwner},
		{owner, http.MethodPut, boss + "/disabled", `{"disabled":true}`, CodeLastOwner},
		{owner, http.MethodPut, self + "/roles", `{"roles":[{"role":"owner"}]}`, ""},
		{owner, http.MethodPut, boss + "/roles", `{"roles":[{"role":"administrator"}]}`, ""}, // there is another owner now
		{owner, http.MethodPut, boss + "/roles", `{"roles":[{"role":"owner"}]}`, CodeNotToGive},
		{admin, http.MethodPut, other + "/roles", `{"roles":[{"role":"backup","system_id":"x"}]}`, CodeInvalid},
		{admin, http.MethodPut, other + "/roles", `{"roles":[{"role":"backup","site_id":"x","system_id":"y"}]}`, CodeInvalid},
	} {
		a := tt.c.do(tt.method, tt.path, tt.body)
		if tt.want != "" {
			a.problem(tt.want)
		} else if a.status >= 300 {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, a.status, a.body)
		}
	}
	people := read[PersonList](admin.do(http.MethodGet, "/users", "").want(http.StatusOK)).Items
	if len(people) != 3 {
		t.Errorf("what was refused has made somebody: %+v", people)
	}
}

// TestTenants: an operator and a reseller make tenants below them, and have nothing to do
// with them.
func TestTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	reseller := w.kind(store.KindReseller, "")
	c := w.signedIn(reseller, store.RoleAdministrator)
	made := read[Tenant](c.do(http.MethodPost, "/tenants", examples["createTenant"].body).want(http.StatusCreated))
	c.do(http.MethodGet, "/tenants/"+made.ID, "").problem(CodeNotFound)
	c.do(http.MethodPost, "/tenants", strings.Replace(examples["createTenant"].body, "customer", "reseller", 1)).problem(CodeInvalid)
	// Where the owner cannot be made nothing is.
	c.do(http.MethodPost, "/tenants", examples["createTenant"].body).problem(CodeConflict)
	var all []store.Tenant
	w.update(func(tx *store.Tx) (err error) { all, err = tx.Tenants(); return err })
	if len(all) != 4 || all[3].Parent != reseller {
		t.Errorf("tenants: %+v", all)
	}
	owner := w.client()
	owner.signIn("new@example.com")
	if me := read[Me](owner.do(http.MethodGet, "/session", "").want(http.StatusOK)); me.Tenant.ID != made.ID || !slices.Equal(me.User.Roles, []store.Role{store.RoleOwner}) {
		t.Errorf("the owner: %+v", me)
	}
	if a := owner.do(http.MethodPatch, "/tenants/"+made.ID, `{"name":"New name"}`).want(http.StatusOK); read[Tenant](a).Name != "New name" {
		t.Errorf("renamed: %s", a.body)
	}
	owner.do(http.MethodPatch, "/tenants/"+string(reseller), `{"name":"Taken over"}`).problem(CodeNotFound)
}

// TestBreakGlass: the operator's staff enter with a reason and for some hours; the
// customer sees it and puts them out.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		operator := w.kind(store.KindOperator, "")
		owner, staff := w.signedIn(w.north, store.RoleOwner), w.signedIn(operator, store.RoleAdministrator)
		system := owner.save("0000000001", "One").System.ID
		there := inside(w.north)
		staff.do(http.MethodGet, "/systems", "", there).problem(CodeNotFound)
		w.grant(w.north, operator, nil, store.Roles()[1:]...)
		staff.do(http.MethodGet, "/systems", "", there).problem(CodeNotFound) // no standing access, whoever gives it
		body := func(minutes int) string {
			return fmt.Sprintf(`{"tenant_id":%q,"reason":"ticket 17","minutes":%d}`, w.north, minutes)
		}
		staff.do(http.MethodPost, "/break-glass", body(481)).problem(CodeInvalid)
		w.signedIn(w.south, store.RoleOwner).do(http.MethodPost, "/break-glass", body(60)).problem(CodeForbidden)
		g := read[BreakGlass](staff.do(http.MethodPost, "/break-glass", body(480)).want(http.StatusCreated))
		if life := g.ExpiresAt.Sub(g.CreatedAt); life != 8*time.Hour || !g.Active {
			t.Errorf("begun: %+v", g)
		}
		staff.do(http.MethodGet, "/systems/"+system, "", there).want(http.StatusOK)
		staff.do(http.MethodDelete, "/systems/"+system, "", there).problem(CodeForbidden)
		staff.do(http.MethodGet, "/users", "", there).problem(CodeForbidden)
		w.signedIn(operator, store.RoleAdministrator).do(http.MethodGet, "/systems", "", there).problem(CodeNotFound) // it is his alone
		seen := read[BreakGlassList](owner.do(http.MethodGet, "/break-glass", "").want(http.StatusOK)).Items
		if len(seen) != 1 || seen[0].Reason != "ticket 17" || seen[0].User.Name != staff.user.Name {
			t.Errorf("the customer sees %+v", seen)
		}
		owner.do(http.MethodDelete, "/break-glass/"+g.ID, "").want(http.StatusNoContent)
		staff.do(http.MethodGet, "/systems", "", there).problem(CodeNotFound)
		own := read[BreakGlassList](staff.do(http.MethodGet, "/break-glass", "").want(http.StatusOK)).Items
		if len(own) != 1 || own[0].Active || own[0].EndedAt == nil {
			t.Errorf("the operator sees %+v", own)
		}
	})
}

// TestHandover: both sides agree, and the new owner sees nothing of the old one.
func TestHandover(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		north, south := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.south, store.RoleAdministrator)
		scene := north.scene()
		north.do(http.MethodPatch, "/systems/"+scene.paired, `{"name":"CANARY","note":"CANARY","tags":["CANARY"]}`, "If-Match: *").want(http.StatusOK)
		w.signedIn(w.north, store.RoleAdministrator).do(http.MethodPost, "/systems/"+scene.paired+"/handover", `{"tenant_id":"x"}`).problem(CodeForbidden)
		h := read[Handover](north.do(http.MethodPost, "/systems/"+scene.paired+"/handover", `{"tenant_id":"`+string(w.south)+`"}`).want(http.StatusCreated))
		north.do(http.MethodPost, "/systems/"+scene.paired+"/handover", `{"tenant_id":"x"}`).problem(CodeConflict)
		list := south.do(http.MethodGet, "/handovers", "").want(http.StatusOK)
		in := read[HandoverList](list).Items
		if len(in) != 1 || in[0].ID != h.ID || in[0].Direction != "in" || in[0].Serial != "0000000002" || in[0].Tenant == "" || strings.Contains(string(list.body), "CANARY") {
			t.Errorf("the receiver sees %s", list.body)
		}
		// Only who gets it accepts, and until then nothing has changed.
		north.do(http.MethodPost, "/handovers/"+h.ID+"/acceptance", "").problem(CodeForbidden)
		w.signedIn(w.south, store.RoleMonitoring).do(http.MethodPost, "/handovers/"+h.ID+"/acceptance", "").problem(CodeForbidden)
		w.signedIn(w.tenant("Third"), store.RoleOwner).do(http.MethodPost, "/handovers/"+h.ID+"/acceptance", "").problem(CodeNotFound)
		if s := read[System](north.do(http.MethodGet, "/systems/"+scene.paired, "").want(http.StatusOK)); s.State != store.StatePaired {
			t.Errorf("before it is accepted: %+v", s)
		}
		got := read[SystemOffer](south.do(http.MethodPost, "/handovers/"+h.ID+"/acceptance", "").want(http.StatusCreated))
		if got.System.Serial != "0000000002" || got.System.State != store.StateOffered || got.Offer.Token == "" || got.System.ID == scene.paired {
			t.Errorf("accepted: %+v", got)
		}
		north.do(http.MethodGet, "/systems/"+scene.paired, "").problem(CodeNotFound)
		for _, path := range []string{"/systems", "/systems/" + got.System.ID, "/systems/" + got.System.ID + "/events", "/systems/" + got.System.ID + "/remote", "/remote", "/tags", "/handovers"} {
			if a := south.do(http.MethodGet, path, "").want(http.StatusOK); strings.Contains(string(a.body), "CANARY") || strings.Contains(string(a.body), scene.paired) {
				t.Errorf("%s shows the old owner's: %s", path, a.body)
			}
		}
		w.update(func(tx *store.Tx) error {
			if _, err := tx.ActivePairing("0000000002"); err == nil {
				t.Error("the old pairing is alive")
			}
			return nil
		})
		south.do(http.MethodPost, "/handovers/"+h.ID+"/acceptance", "").problem(CodeState)
		for _, c := range []*client{north, south} {
			if all := read[HandoverList](c.do(http.MethodGet, "/handovers", "").want(http.StatusOK)).Items; !slices.ContainsFunc(all, func(v Handover) bool { return v.ID == h.ID && v.State == store.HandoverDone }) {
				t.Errorf("in the end: %+v", all)
			}
		}
	})
}

// TestHandoverEnds: one that is late, declined, withdrawn, or of who is not an owner any
// more is not accepted.
func TestHandoverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	north, south := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.south, store.RoleOwner)
	offer := func(serial string) string {
		id := north.save(serial, "One").System.ID
		return read[Handover](north.do(http.MethodPost, "/systems/"+id+"/handover", `{"tenant_id":"`+string(w.south)+`"}`).want(http.StatusCreated)).ID
	}
	refused := func(id string) {
		t.Helper()
		south.do(http.MethodPost, "/handovers/"+id+"/acceptance", "").problem(CodeState)
	}
	declined, withdrawn, orphan := offer("0000000001"), offer("0000000002"), offer("0000000003")
	south.do(http.MethodDelete, "/handovers/"+declined, "").want(http.StatusNoContent)
	refused(declined)
	w.signedIn(w.north, store.RoleAdministrator).do(http.MethodDelete, "/handovers/"+withdrawn, "").problem(CodeForbidden)
	north.do(http.MethodDelete, "/handovers/"+withdrawn, "").want(http.StatusNoContent)
	refused(withdrawn)
	other := w.signedIn(w.north, store.RoleOwner)
	other.do(http.MethodPut, "/users/"+string(north.user.ID)+"/roles", `{"roles":[]}`).want(http.StatusOK)
	refused(orphan)
	late := w.handover(other.user, w.south, "0000000004")
	w.update(func(tx *store.Tx) error {
		_, err := tx.ExpireHandovers(time.Now().Add(handoverLife))
		return err
	})
	refused(string(late))
	south.do(http.MethodPost, "/handovers/"+string(w.handover(other.user, w.south, "0000000005"))+"/acceptance", "").want(http.StatusCreated)
}
