package access

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// roles.md is the table, for people and for the tests of the API. The command writes it
// anew after a change: UPDATE_ROLES=1 go test ./ccc/access -run TestTable
func TestTable(t *testing.T) {
	t.Parallel()
	const file = "roles.md"
	if os.Getenv("UPDATE_ROLES") != "" {
		text := "# Who may do what\n\nA user may do what any of his roles permits. In another tenant than his own he may do what\n" +
			"that tenant has granted and his own roles permit both, of the column grantable; the\noperator's staff, of the column break-glass.\n\n" + Table()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, table, _ := strings.Cut(string(text), "\n\n| verb"); "| verb"+table != Table() {
		t.Errorf("%s is not the table:\n%s", file, Table())
	}
}

// The principles behind the table: who may give or take away ownership, and what lets
// others in, is nobody's from another tenant.
func TestPrinciples(t *testing.T) {
	t.Parallel()
	for _, v := range Verbs() {
		p := of(v)
		if p == 0 || byRole[store.RoleOwner]&p == 0 {
			t.Errorf("%s: the owner may not", v)
		}
		if glass&p != 0 && grantable&p == 0 {
			t.Errorf("%s: by breaking glass, and not by a grant", v)
		}
	}
	for _, v := range []Verb{SystemDelete, SystemHandover, GrantsManage, UsersManage, UsersRead, GrantsRead, TenantCreate, HandoverAccept, BreakGlassBegin, BreakGlassEnd} {
		if (grantable|glass)&of(v) != 0 {
			t.Errorf("%s can be had in another tenant", v)
		}
	}
	for _, v := range []Verb{SystemDelete, SystemHandover, GrantsManage} {
		for _, role := range store.Roles()[1:] {
			if byRole[role]&of(v) != 0 {
				t.Errorf("%s: %s may, and only the owner is to", v, role)
			}
		}
	}
	if of("nothing") != 0 || Known("nothing") || !Known(AuditRead) {
		t.Error("an unknown verb is known")
	}
}

// The world of the properties is small, so that what is drawn meets.
var (
	tenants = []store.TenantID{"t1", "t2", "t3"}
	users   = []store.UserID{"u1", "u2"}
	sites   = []store.SiteID{"", "a", "b"}
	systems = []store.SystemID{"", "x", "y"}
	moment  = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
)

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

func part(r *rand.Rand) store.Part {
	switch r.IntN(3) {
	case 0:
		return store.Part{Site: pick(r, sites)}
	case 1:
		return store.Part{System: pick(r, systems)}
	}
	return store.Part{}
}

func someRoles(r *rand.Rand, from []store.Role) (all []store.Role) {
	for _, role := range from {
		if r.IntN(3) == 0 {
			all = append(all, role)
		}
	}
	return all
}

func around(r *rand.Rand) time.Time { return moment.Add(time.Duration(r.IntN(3)-1) * time.Second) }

// draw makes an actor with any grants, also such as the store would never give.
func draw(r *rand.Rand) Actor {
	a := Actor{User: pick(r, users), Home: pick(r, tenants), Now: moment}
	for range r.IntN(4) {
		a.Own = append(a.Own, store.UserGrant{User: pick(r, users), Role: pick(r, store.Roles()), Part: part(r)})
	}
	for range r.IntN(4) {
		g := store.TenantGrant{Tenant: pick(r, tenants), Grantee: pick(r, tenants), Roles: someRoles(r, store.Roles()), Part: part(r)}
		if r.IntN(2) == 0 {
			until := around(r)
			g.Until = &until
		}
		a.Given = append(a.Given, g)
	}
	for range r.IntN(3) {
		g := store.BreakGlass{Tenant: pick(r, tenants), Home: pick(r, tenants), User: pick(r, users), Expires: around(r)}
		if r.IntN(3) == 0 {
			g.Ended = &moment
		}
		a.Glass = append(a.Glass, g)
	}
	return a
}

func drawResource(r *rand.Rand) Resource {
	return Resource{pick(r, tenants), pick(r, sites), pick(r, systems)}
}

// holds checks a property of what is drawn, and that it was put to the test: says counts
// the cases in which it says something.
func holds(t *testing.T, property func(r *rand.Rand) (says, ok bool)) {
	t.Helper()
	told := 0
	for seed := range uint64(8000) {
		says, ok := property(rand.New(rand.NewPCG(1, seed))) //nolint:gosec // of a test
		if says {
			told++
		}
		if !ok {
			t.Fatalf("it does not hold for what is drawn with %d", seed)
		}
	}
	if told < 50 {
		t.Errorf("only %d of the cases say something", told)
	}
}

// More never is less: another role, grant or break-glass takes nothing away.
func TestMonotone(t *testing.T) {
	t.Parallel()
	holds(t, func(r *rand.Rand) (bool, bool) {
		a, more, res, v := draw(r), draw(r), drawResource(r), pick(r, Verbs())
		before := a.May(v, res)
		a.Own, a.Given, a.Glass = append(a.Own, more.Own...), append(a.Given, more.Given...), append(a.Glass, more.Glass...)
		return before, !before || a.May(v, res)
	})
}

// Without a grant of the tenant, and without breaking its glass, there is nothing of it
// for others.
func TestForeign(t *testing.T) {
	t.Parallel()
	holds(t, func(r *rand.Rand) (bool, bool) {
		a, res := draw(r), drawResource(r)
		if a.Home == res.Tenant {
			return false, true
		}
		a.Given = slices.DeleteFunc(a.Given, func(g store.TenantGrant) bool { return g.Tenant == res.Tenant && g.Grantee == a.Home })
		a.Glass = slices.DeleteFunc(a.Glass, func(g store.BreakGlass) bool { return g.Tenant == res.Tenant && g.User == a.User })
		for _, v := range Verbs() {
			if a.May(v, res) || a.Anywhere(v, res.Tenant) {
				return true, false
			}
		}
		return true, true
	})
}

// What is over gives nothing, and neither does a role that the user has not at home.
func TestExpired(t *testing.T) {
	t.Parallel()
	holds(t, func(r *rand.Rand) (bool, bool) {
		a, res := draw(r), drawResource(r)
		live := a
		live.Given = slices.DeleteFunc(slices.Clone(a.Given), func(g store.TenantGrant) bool { return g.Until != nil && !moment.Before(*g.Until) })
		live.Glass = slices.DeleteFunc(slices.Clone(a.Glass), func(g store.BreakGlass) bool { return !moment.Before(g.Expires) || g.Ended != nil })
		poor := a
		poor.Own = nil
		says := false
		for _, v := range Verbs() {
			may := a.May(v, res)
			if may != live.May(v, res) || poor.May(v, res) {
				return true, false
			}
			says = says || may && a.Home != res.Tenant
		}
		return says, true
	})
}

// Who deletes a system is an owner of its own tenant.
func TestOnlyOwnersDelete(t *testing.T) {
	t.Parallel()
	holds(t, func(r *rand.Rand) (bool, bool) {
		a, res := draw(r), drawResource(r)
		if !a.May(SystemDelete, res) {
			return false, true
		}
		return true, a.Home == res.Tenant && slices.ContainsFunc(a.Own, func(g store.UserGrant) bool {
			return g.User == a.User && g.Role == store.RoleOwner
		})
	})
}

// Within, Anywhere and Verbs say the same as May.
func TestWithin(t *testing.T) {
	t.Parallel()
	holds(t, func(r *rand.Rand) (bool, bool) {
		a, res, v := draw(r), drawResource(r), pick(r, Verbs())
		in := a.Within(v, res.Tenant)
		inside := in == nil || slices.Contains(in.Sites, res.Site) && res.Site != "" || slices.Contains(in.Systems, res.System) && res.System != ""
		whole, some := a.Verbs(res.Tenant)
		said := slices.Contains(whole, v) == a.May(v, Of(res.Tenant)) && slices.Contains(some, v) == (a.Anywhere(v, res.Tenant) && !a.May(v, Of(res.Tenant)))
		return inside, inside == a.May(v, res) && said && (!inside || a.Anywhere(v, res.Tenant))
	})
}

// Nobody gives what he has not.
func TestMayGive(t *testing.T) {
	t.Parallel()
	holds(t, func(r *rand.Rand) (bool, bool) {
		a, res, role := draw(r), drawResource(r), pick(r, store.Roles())
		if !a.MayGive(role, res) {
			return false, true
		}
		given := Actor{User: "new", Home: a.Home, Now: moment, Rights: store.Rights{Own: []store.UserGrant{{User: "new", Role: role}}}}
		for _, v := range Verbs() {
			if given.May(v, Of(a.Home)) && !a.May(v, res) {
				return true, false
			}
		}
		return true, a.Home == res.Tenant
	})
	admin := Actor{User: "u1", Home: "t1", Now: moment, Rights: store.Rights{Own: []store.UserGrant{{User: "u1", Role: store.RoleAdministrator}}}}
	if admin.MayGive(store.RoleOwner, Of("t1")) || !admin.MayGive(store.RoleRemote, Of("t1")) || admin.MayGive("king", Of("t1")) {
		t.Error("an administrator gives other roles than he is to")
	}
}

// A part has to be named to be had: a grant for nothing is not one for everything that
// is at no site.
func TestZero(t *testing.T) {
	t.Parallel()
	own := func(p store.Part) Actor {
		return Actor{User: "u1", Home: "t1", Now: moment, Rights: store.Rights{Own: []store.UserGrant{{User: "u1", Role: store.RoleAdministrator, Part: p}}}}
	}
	for _, tt := range []struct {
		a    Actor
		r    Resource
		want bool
	}{
		{Actor{}, Resource{}, false},
		{own(store.Part{}), Resource{}, false},
		{own(store.Part{}), Resource{Tenant: "t1", System: "x"}, true},
		{own(store.Part{Site: "a"}), Resource{Tenant: "t1", Site: "a", System: "x"}, true},
		{own(store.Part{Site: "a"}), Resource{Tenant: "t1", System: "x"}, false},
		{own(store.Part{Site: "a"}), Of("t1"), false},
		{own(store.Part{System: "x"}), Resource{Tenant: "t1", Site: "a", System: "x"}, true},
		{own(store.Part{System: "x"}), Resource{Tenant: "t1", Site: "a"}, false},
		{own(store.Part{Site: "a", System: "x"}), Resource{Tenant: "t1", Site: "a", System: "x"}, false},
	} {
		if got := tt.a.May(SystemRead, tt.r); got != tt.want {
			t.Errorf("%+v of %+v: %v", tt.a.Own, tt.r, got)
		}
	}
}
