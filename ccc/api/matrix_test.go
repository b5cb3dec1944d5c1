package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// documentedTable reads roles.md of ccc/access: which verbs each column has.
func documentedTable(t *testing.T) map[string]map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../access/roles.md")
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	table := map[string]map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		switch {
		case len(cells) < 3 || strings.HasPrefix(cells[0], "---"):
		case columns == nil:
			for columns = cells; len(cells) > 1; cells = cells[1:] {
				table[cells[1]] = map[string]bool{}
			}
		default:
			for i, cell := range cells[1:] {
				table[columns[i+1]][cells[0]] = cell == "x"
			}
		}
	}
	if len(table) != len(store.Roles())+2 {
		t.Fatalf("the table has the columns %v", columns)
	}
	return table
}

// outcome is how an operation answers with regard to rights.
type outcome string

const (
	let     outcome = "let in"
	refused outcome = "forbidden"
	unseen  outcome = "not found" // as if there was no such tenant
)

// standpoint is where somebody with one role tries an operation.
type standpoint struct {
	name    string
	columns []string // of the table, that all have to permit it; "role" is that of his role
	unseen  bool     // he has nothing to do with the tenant
	who     func(role store.Role) (*client, store.TenantID)
}

// matrix tries every operation of the document as every role in every place, and gives
// what is not as the documented table says. It counts the cells.
func matrix(t *testing.T, w *world, roles []store.Role, only ...string) (wrong []string, cells int) {
	t.Helper()
	table, ops := documentedTable(t), documented(t)
	missing := string(store.NewID[store.TenantID]())
	for _, p := range w.places() {
		for _, role := range roles {
			c, tenant := p.who(role)
			if c == nil {
				continue // there is no such
			}
			gone := c.do(http.MethodGet, "/systems", "", tenantHeader+": "+missing)
			for _, id := range slices.Sorted(maps.Keys(ops)) {
				op := ops[id]
				of := audience(op.Access.Of)
				if len(only) > 0 && !slices.Contains(only, id) || of == everybody || of == oneself && id != "listTenants" {
					continue // public, or about oneself: no role counts, and no tenant
				}
				cells++
				want := expect(table, op, p, role)
				a := c.try(op, tenant)
				got := let
				switch {
				case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && strings.Contains(string(a.body), `"forbidden"`):
					got = refused
				case a.status == http.StatusNotFound && (want == unseen || !strings.ContainsAny(op.path, "{")):
					got = unseen
					if string(a.body) != string(gone.body) {
						got = outcome("not found, in other words: " + string(a.body))
					}
				}
				if got != want {
					wrong = append(wrong, fmt.Sprintf("%s as %q, %s: %s (%d), and the table says %s", id, role, p.name, got, a.status, want))
				}
			}
		}
	}
	return wrong, cells
}

// expect gives what the table says of a cell.
func expect(table map[string]map[string]bool, op operationDoc, p standpoint, role store.Role) outcome {
	switch audience(op.Access.Of) {
	case oneself:
		return let
	case members:
		if p.unseen {
			return unseen
		}
		return let
	case wholeTenant, pathTenant, someParts, oneSystem:
	default:
		return "an operation without a rule in the document"
	}
	if p.unseen {
		return unseen
	}
	for _, column := range p.columns {
		if column == "role" {
			column = string(role)
		}
		if verbs := table[column]; role == "" || !verbs[op.Access.Verb] {
			return refused
		}
	}
	return let
}

// try sends the example of an operation, about nothing that there is, in a tenant.
func (c *client) try(op operationDoc, tenant store.TenantID) answer {
	c.w.t.Helper()
	path := strings.NewReplacer("{id}", "missing", "{session}", "missing", "{tenant}", string(tenant)).Replace(op.path)
	body := strings.Replace(examples[op.OperationID].body, "someone", string(c.w.north), 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, op.method, c.w.url+Prefix+path, strings.NewReader(body))
	c.w.must(err)
	r.Header.Set("Content-Type", "application/json")
	if tenant != c.user.Tenant {
		r.Header.Set(tenantHeader, string(tenant))
	}
	resp, err := c.http.Do(r)
	c.w.must(err)
	defer resp.Body.Close()
	text := make([]byte, 4096)
	n := 0
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		n, _ = resp.Body.Read(text)
	}
	return answer{c.w.t, op.OperationID, resp.StatusCode, resp.Header, text[:n]}
}

// places makes the tenants of the matrix, and gives who is where in them.
func (w *world) places() []standpoint {
	kind := func(k store.Kind) store.TenantID {
		v := store.Tenant{ID: store.NewID[store.TenantID](), Kind: k, Name: string(k), LegalName: string(k), Created: time.Now()}
		w.update(func(tx *store.Tx) error { return tx.CreateTenant(v) })
		return v.ID
	}
	operator, reseller := kind(store.KindOperator), kind(store.KindReseller)
	customer, stranger, former := w.tenant("Customer"), w.tenant("Stranger"), w.tenant("Former customer")
	over := time.Now().Add(-time.Second)
	w.grant(customer, reseller, nil, store.Roles()[1:]...)
	w.grant(former, reseller, &over, store.Roles()[1:]...)
	w.grant(customer, operator, nil, store.Roles()[1:]...) // which is in vain
	at := func(home, tenant store.TenantID) func(store.Role) (*client, store.TenantID) {
		return func(role store.Role) (*client, store.TenantID) { return w.signedIn(home, role), tenant }
	}
	return []standpoint{
		{"in his own tenant", []string{"role"}, false, at(operator, operator)},
		{"in a foreign tenant", nil, true, at(reseller, stranger)},
		{"in a tenant whose grant is over", nil, true, at(reseller, former)},
		{"of the operator, in a tenant that granted all", nil, true, at(operator, customer)},
		{"in a tenant that granted all", []string{"role", "grantable"}, false, func(role store.Role) (*client, store.TenantID) {
			if role == "" {
				return nil, "" // who has no role has nothing to do with it; see below
			}
			return w.signedIn(reseller, role), customer
		}},
		{"without a role, in a tenant that granted all", nil, true, func(role store.Role) (*client, store.TenantID) {
			if role != "" {
				return nil, ""
			}
			return w.signedIn(reseller, ""), customer
		}},
		{"as an owner, in a tenant that granted the role", []string{"role", "grantable"}, false, func(role store.Role) (*client, store.TenantID) {
			if role == "" || role == store.RoleOwner {
				return nil, ""
			}
			one := w.tenant("Customer of " + string(role))
			w.grant(one, reseller, nil, role)
			return w.signedIn(reseller, store.RoleOwner), one
		}},
		{"by breaking glass", []string{"role", "break-glass"}, false, func(role store.Role) (*client, store.TenantID) {
			if role == "" {
				return nil, ""
			}
			c := w.signedIn(operator, role)
			w.breakGlass(stranger, operator, c.user.ID, time.Hour)
			return c, stranger
		}},
		{"by breaking glass, which is over", nil, true, func(role store.Role) (*client, store.TenantID) {
			c := w.signedIn(operator, role)
			w.breakGlass(stranger, operator, c.user.ID, -time.Second)
			return c, stranger
		}},
	}
}

// noLimits is for who sends many requests.
func noLimits(o *options) { o.api.Limits.Requests, o.api.Limits.NetworkRequests = 1_000_000, 1_000_000 }

// TestMatrix: role × operation × own, foreign, granted and over. With the race detector a
// role in four is tried; "make test" tries all of them without it.
func TestMatrix(t *testing.T) {
	t.Parallel()
	roles, least := append(store.Roles(), ""), 1500
	if raceDetector {
		roles, least = []store.Role{store.RoleOwner, store.RoleRemote, ""}, 500
	}
	wrong, cells := matrix(t, newWorld(t, noLimits).serve(), roles)
	for _, cell := range wrong {
		t.Error(cell)
	}
	if cells < least {
		t.Errorf("only %d cells", cells)
	}
	t.Logf("%d cells", cells)
}

// Holes that are planted in a copy are found.
func TestMatrixFindsHoles(t *testing.T) {
	t.Parallel()
	for id, hole := range map[string]struct {
		rule
		role store.Role
	}{
		"listUsers":        {member, store.RoleBackup},
		"removeSystem":     {atSystem(access.SystemRead), store.RoleMonitoring},
		"createUser":       {inTenant(access.SystemWrite), store.RoleAdministrator}, // which can be granted
		"listTenantGrants": {inTenant(access.SystemDelete), store.RoleAuditor},      // too narrow
	} {
		w := newWorld(t, noLimits, func(o *options) {
			o.adapt = func(op string, r rule) rule {
				if op == id {
					return hole.rule
				}
				return r
			}
		}).serve()
		if wrong, _ := matrix(t, w, []store.Role{hole.role}, id); len(wrong) == 0 {
			t.Errorf("%s with the rule %v goes unnoticed", id, hole.rule)
		}
	}
	w := newWorld(t, noLimits).serve()
	w.api.visible = func(access.Actor, store.TenantID) bool { return true }
	if wrong, _ := matrix(t, w, []store.Role{store.RoleOwner}, "getSession", "listSystems"); len(wrong) == 0 {
		t.Error("that every tenant can be entered goes unnoticed")
	}
}

// An operation without a rule, or with one that makes no sense, does not start.
func TestEveryOperationHasARule(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]rule{
		"none": {}, "no verb": {audience: wholeTenant}, "an unknown verb": inTenant("fly"), "a verb for nobody": {audience: everybody, verb: access.SystemRead},
		"a system without one in the path": atSystem(access.SystemRead), "a tenant without one in the path": namedTenant(access.TenantRead),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it starts", name)
				}
			}()
			newAPI(Config{}, func(id string, own rule) rule {
				if id == "listGroups" {
					return r
				}
				return own
			})
		}()
	}
	for id, op := range documented(t) {
		if op.Access.Of == "" {
			t.Errorf("%s: the document has no rule", id)
		}
	}
}
