package api

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// side is a tenant with a canary in all that has a text, and its users.
type side struct {
	tenant store.TenantID
	canary string
	users  []*client
}

// side makes one, with the ids of what it has.
func (w *world) side(tenant store.TenantID, canary, serials string) (s side, ids []string) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error { return tx.RenameTenant(tenant, canary, canary) })
	owner := w.signedIn(tenant, store.RoleOwner)
	s = side{tenant: tenant, canary: canary, users: []*client{owner, w.signedIn(tenant, store.RoleMonitoring), w.signedIn(tenant, "")}}
	made := owner.sceneOf(serials)
	for _, id := range []string{made.offered, made.paired} {
		owner.do(http.MethodPatch, "/systems/"+id, `{"name":"`+canary+`","note":"`+canary+`","tags":["`+canary+`"]}`, "If-Match: *").want(http.StatusOK)
	}
	owner.do(http.MethodPost, "/groups", `{"name":"`+canary+`"}`).want(http.StatusCreated)
	owner.do(http.MethodPost, "/filters", `{"name":"`+canary+`","shared":true,"filter":{"q":"`+canary+`"}}`).want(http.StatusCreated)
	owner.do(http.MethodPut, "/sites/"+made.site, `{"name":"`+canary+`"}`).want(http.StatusOK)
	owner.do(http.MethodPut, "/sites/"+made.site+"/place", `{"address":"`+canary+`"}`).want(http.StatusOK)
	owner.do(http.MethodPost, "/users", `{"roles":[],"email":"`+strings.ToLower(canary)+`@example.com","name":"`+canary+`","language":"de","password":"`+testPassword+`"}`).want(http.StatusCreated)
	return s, []string{
		made.template, made.rollout, made.offered, made.paired, made.group, made.site, made.colleague, made.grant, made.glass, made.handover, made.filter, w.session,
		string(tenant), string(owner.user.ID),
	}
}

// pathID finds the parameters of a path.
var pathID = regexp.MustCompile(`\{[a-z]+\}`)

// wander has the users of two tenants send requests at random, with the ids of both, and
// gives what shows the canary of the other. It tells how often users saw their own.
func wander(t *testing.T, w *world, seed uint64, steps int) (leaks []string, own int) {
	t.Helper()
	north, ids := w.side(w.north, "CANARY-NORTH", "000000000")
	south, more := w.side(w.south, "CANARY-SOUTH", "000000001")
	ids = append(ids, more...)
	ops := documented(t)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(ops)), func(id string) bool {
		op := ops[id]
		// What ends the sessions of the test, or does not end; see the tests of streams.
		return id == "streamEvents" || op.Access.Of == string(everybody) || op.Access.Of == string(oneself) && id != "listTenants"
	})
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // of a test
	for range steps {
		me, other := north, south
		if r.IntN(2) == 0 {
			me, other = south, north
		}
		c, op := me.users[r.IntN(len(me.users))], ops[names[r.IntN(len(names))]]
		if r.IntN(2) == 0 { // more than half of the requests only read
			op = ops[[]string{"listSystems", "getSystem", "listSystemEvents", "listUsers", "listHandovers", "getTenant", "getSession", "listSites", "listFilters"}[r.IntN(9)]]
		}
		path := pathID.ReplaceAllStringFunc(op.path, func(string) string { return ids[r.IntN(len(ids))] })
		headers := []string{"If-Match: *"}
		if r.IntN(2) == 0 {
			headers = append(headers, inside([]store.TenantID{me.tenant, other.tenant}[r.IntN(2)]))
		}
		body := examples[op.OperationID].body
		if r.IntN(3) == 0 {
			body = strings.NewReplacer(`"system_id":"x"`, `"system_id":"`+ids[r.IntN(len(ids))]+`"`, `{"role":"remote"}`,
				`{"role":"remote","system_id":"`+ids[r.IntN(len(ids))]+`"}`, `{"name":"Other"}`, `{"site_id":"`+ids[r.IntN(len(ids))]+`"}`).Replace(body)
		}
		a := c.do(op.method, path, body, headers...)
		if strings.Contains(string(a.body), other.canary) {
			leaks = append(leaks, fmt.Sprintf("%s %s %v: %s", op.method, path, headers, a.body))
		}
		if strings.Contains(string(a.body), me.canary) {
			own++
		}
		if id := regexp.MustCompile(`"id":"([0-9a-f-]{36})"`).FindSubmatch(a.body); id != nil && len(ids) < 200 {
			ids = append(ids, string(id[1])) // of what was made
		}
	}
	return leaks, own
}

// TestCanary: whatever the users of two tenants do, none sees anything of the other.
func TestCanary(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		w := newWorld(t, noLimits, func(o *options) { o.limits.OffersPerHour = 10_000 }).serve()
		leaks, own := wander(t, w, seed, 300)
		for _, leak := range leaks {
			t.Error(leak)
		}
		if own < 10 {
			t.Errorf("only %d answers show what they are to show", own)
		}
	}
}

// A leak that is planted in a copy is seen: whoever names a tenant is in it.
func TestCanaryFindsLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noLimits, func(o *options) {
		o.adapt = func(id string, r rule) rule {
			if id == "listUsers" {
				return member
			}
			return r
		}
	}).serve()
	w.api.visible = func(access.Actor, store.TenantID) bool { return true }
	leaks, _ := wander(t, w, 1, 400)
	got := strings.Join(leaks, "\n")
	if !strings.Contains(got, "GET /users") || !strings.Contains(got, "GET /session") {
		t.Errorf("%d leaks, and not all that were planted: %s", len(leaks), got)
	}
}

// loose takes any field, as no operation is to.
type loose struct {
	_    struct{} `additionalProperties:"true"`
	Name string   `json:"name"`
}

// TestLooseBodyIsFound: the check of TestUnknownIsRefused finds an operation that takes
// what it does not know, which is how fields are set that nobody was to set.
func TestLooseBodyIsFound(t *testing.T) {
	t.Parallel()
	takes := func(c *client, path, body string) bool {
		return c.do(http.MethodPost, path, strings.Replace(body, "{", `{"tenant":"owner",`, 1)).status < http.StatusBadRequest
	}
	w := newWorld(t, func(o *options) {
		o.extra = func(a *API) {
			add(a, operation{id: "hole", method: http.MethodPost, path: "/hole", tag: tagLabels, rule: inTenant(access.TenantWrite)},
				func(_ context.Context, in *body[loose]) (*body[loose], error) { return in, nil })
		}
	}).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	if !takes(c, "/hole", `{"name":"x"}`) {
		t.Error("the planted hole is not found")
	}
	for _, id := range []string{"createGroup", "createSite", "createUser", "createTenantGrant"} {
		if takes(c, documented(t)[id].path, examples[id].body) {
			t.Errorf("%s takes a field that it does not know", id)
		}
	}
}
