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
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// The tenants of a wander. The first two have canaries, and nothing to do with each other;
// the other two are let in by grants, by breaking glass and by nothing, as it comes.
const (
	north = iota
	south
	reseller
	operator
)

var sideNames = []string{"north", "south", "reseller", "operator"}

// side is a tenant with its users, and a canary in all that has a text. Its own name has
// another one, as who is handed a system is told that.
type side struct {
	tenant       store.TenantID
	canary, name string // empty: it has none
	users        []*wanderer
}

// wanderer is somebody who sends requests at random.
type wanderer struct {
	*client
	name  string
	token string // that he has made last; empty: none
}

// ref is an id that a step is about: one that was there, or of what a step before has made.
type ref struct {
	side, kind string
	n          int // of those of the kind
	made       int // by the step with the number; 0: none
}

func (r ref) String() string {
	if r.made > 0 {
		return fmt.Sprintf("{%s of %s, by step %d}", r.kind, r.side, r.made)
	}
	return fmt.Sprintf("{%s of %s, %d}", r.kind, r.side, r.n)
}

// step is one request, as it can be sent again in another world.
type step struct {
	number  int
	side    int // whose user sends it
	user    int
	in      int // the tenant that the header names; -1: there is no header
	op      string
	token   bool // by an API token, where he has one
	path    []ref
	body    []ref  // in the order of their places
	text    string // of the body, with a place for each
	headers []string
}

const placeOfRef = "\x01"

// fill puts something in the place of each reference.
func fill(text string, refs []ref, id func(ref) string) string {
	for _, r := range refs {
		text = strings.Replace(text, placeOfRef, id(r), 1)
	}
	return text
}

// travels are tenants, what they have, and what has come of it so far.
type travels struct {
	w     *world
	ops   map[string]operationDoc
	sides []side
	ids   map[ref]string
	pool  map[string][]ref // by kind
	leaks []leak
	// How often users saw their own canary, one in a tenant that has let them in, took over
	// a system, and used a token.
	own, let, taken, tokens int
}

// leak is a step with the answer that shows what it is not to show.
type leak struct {
	step
	answer string
}

// kindOfPath gives what {id} stands for: the word before it.
var kindOfPath = regexp.MustCompile(`/([a-z-]+)/\{[a-z]+\}`)

func newTravels(t *testing.T, change ...func(*options)) *travels {
	t.Helper()
	w := newWorld(t, append([]func(*options){noLimits, func(o *options) { o.limits.OffersPerHour = 10_000 }}, change...)...).serve()
	tr := &travels{w: w, ops: documented(t), ids: map[ref]string{}, pool: map[string][]ref{}}
	tenants := []store.TenantID{w.north, w.south}
	for _, kind := range []store.Kind{store.KindReseller, store.KindOperator} {
		v := store.Tenant{ID: store.NewID[store.TenantID](), Kind: kind, Name: string(kind), LegalName: string(kind), Created: time.Now()}
		w.update(func(tx *store.Tx) error { return tx.CreateTenant(v) })
		tenants = append(tenants, v.ID)
	}
	for i, tenant := range tenants {
		s := side{tenant: tenant}
		for _, role := range []store.Role{store.RoleOwner, store.RoleMonitoring, ""} {
			s.users = append(s.users, &wanderer{client: w.signedIn(tenant, role), name: strings.TrimSpace(string(role) + " of " + sideNames[i])})
		}
		if i == north || i == south {
			s.canary, s.name = "CANARY-"+strings.ToUpper(sideNames[i]), "NAME-"+strings.ToUpper(sideNames[i])
			tr.furnish(s, i)
		}
		tr.put(i, "tenants", string(tenant))
		tr.put(i, "users", string(s.users[0].user.ID))
		tr.sides = append(tr.sides, s)
	}
	return tr
}

// put has an id be there for steps.
func (tr *travels) put(side int, kind, id string) {
	r := ref{side: sideNames[side], kind: kind}
	for _, o := range tr.pool[kind] {
		if o.side == r.side {
			r.n++
		}
	}
	tr.ids[r] = id
	tr.pool[kind] = append(tr.pool[kind], r)
}

// furnish puts the canary of a side wherever it can write.
func (tr *travels) furnish(s side, i int) {
	w, owner := tr.w, s.users[0]
	w.t.Helper()
	w.update(func(tx *store.Tx) error { return tx.RenameTenant(s.tenant, s.name, s.name) })
	made := owner.sceneOf(fmt.Sprintf("00000000%d", i))
	post := func(kind, path, body string) {
		w.t.Helper()
		a := owner.do(http.MethodPost, path, body).want(http.StatusCreated)
		tr.put(i, kind, string(anyID.FindSubmatch(a.body)[1]))
	}
	for _, id := range []string{made.offered, made.paired} {
		owner.do(http.MethodPatch, "/systems/"+id, `{"name":"`+s.canary+`","note":"`+s.canary+`","tags":["`+s.canary+`"]}`, "If-Match: *").want(http.StatusOK)
		tr.put(i, "systems", id)
	}
	post("remote", "/systems/"+made.paired+"/remote", strings.Replace(examples["askRemote"].body, "a phone is silent", s.canary, 1))
	post("groups", "/groups", `{"name":"`+s.canary+`"}`)
	post("filters", "/filters", `{"name":"`+s.canary+`","shared":true,"filter":{"q":"`+s.canary+`"}}`)
	post("templates", "/templates", `{"name":"`+s.canary+`","settings":{"ntp_server":"`+s.canary+`.example"}}`)
	post("rollouts", "/rollouts", `{"name":"`+s.canary+`","kind":"settings","template_id":"`+made.template+`","system_ids":["`+made.paired+`"]}`)
	post("webhooks", "/webhooks", strings.Replace(newHook, "/hook", "/"+s.canary, 1))
	post("users", "/users", `{"roles":[],"email":"`+strings.ToLower(s.canary)+`@example.com","name":"`+s.canary+`","language":"de","password":"`+testPassword+`"}`)
	post("invitations", "/invitations", `{"email":"i-`+strings.ToLower(s.canary)+`@example.com","name":"`+s.canary+`","language":"de","roles":[]}`)
	owner.do(http.MethodPut, "/sites/"+made.site, `{"name":"`+s.canary+`"}`).want(http.StatusOK)
	owner.do(http.MethodPut, "/sites/"+made.site+"/place", `{"address":"`+s.canary+`"}`).want(http.StatusOK)
	for kind, id := range map[string]string{
		"groups": made.group, "sites": made.site, "users": made.colleague, "grants": made.grant, "break-glass": made.glass, "handovers": made.handover,
		"filters": made.filter, "webhooks": made.webhook, "templates": made.template, "rollouts": made.rollout, "invitations": made.invitation, "remote": w.session,
	} {
		tr.put(i, kind, id)
	}
}

// relations are the operations that change who is let in where; reads are those that show
// most.
var (
	relations = []string{"createTenantGrant", "createTenantGrant", "removeTenantGrant", "beginBreakGlass", "endBreakGlass", "offerHandover", "acceptHandover", "acceptHandover", "endHandover", "createToken"}
	reads     = []string{
		"listSystems", "getSystem", "listSystemEvents", "listUsers", "listHandovers", "getTenant", "getSession", "listSites", "listFilters", "listTemplates", "getTemplate",
		"listRollouts", "getRollout", "listWebhooks", "getWebhook", "listInvitations", "listAudit", "exportAudit", "listRemote", "listRemoteRecords", "getSystemHistory",
		"listTenantGrants", "listTenants", "listGroups", "listTags",
	}
	bodyRef = regexp.MustCompile(`"([a-z]+)_ids?":\[?"([^"]*)"`)
	anyID   = regexp.MustCompile(`"id":"([0-9a-f-]{36})"`)
	tokenIn = regexp.MustCompile(`"token":"([^"]+)"`)
)

// wanderable are the operations that steps are chosen from. What ends the sessions of the
// test, or does not end, is tried elsewhere.
func (tr *travels) wanderable() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(tr.ops)), func(id string) bool {
		of := tr.ops[id].Access.Of
		return id == "streamEvents" || of == string(everybody) || of == string(oneself) && id != "listTenants" && id != "createToken" && id != "listTokens"
	})
}

// choose makes up a step.
func (tr *travels) choose(r *rand.Rand, number int, names []string) step {
	s := step{number: number, side: r.IntN(len(tr.sides)), in: -1, op: names[r.IntN(len(names))], token: r.IntN(4) == 0}
	switch n := r.IntN(10); {
	case n < 2:
		s.op, s.user = relations[r.IntN(len(relations))], 0
	case n < 6:
		s.op, s.user = reads[r.IntN(len(reads))], r.IntN(3)
	default:
		s.user = r.IntN(3)
	}
	if s.op == "beginBreakGlass" {
		s.side = operator
	} else if r.IntN(2) == 0 {
		s.in = r.IntN(len(tr.sides))
	}
	op, e := tr.ops[s.op], examples[s.op]
	for _, m := range kindOfPath.FindAllStringSubmatch(op.path, -1) {
		s.path = append(s.path, tr.some(r, m[1]))
	}
	tr.fit(r, &s)
	s.text = e.body
	switch s.op {
	case "createTenantGrant":
		s.text = `{"tenant_id":"someone","roles":["` + []string{"monitoring", "administrator", "remote", "auditor"}[r.IntN(4)] + `"]}`
	case "createToken":
		s.text = `{"name":"All","verbs":["system.read","tenant.read","users.read","remote.read","config.read","audit.read","webhooks.read"],"days":30}`
	case "updateSystem":
		s.text = []string{e.body, `{"site_id":""}`, `{"groups":[]}`}[r.IntN(3)]
	}
	s.text = strings.NewReplacer(`{"role":"remote"}`, []string{`{"role":"remote"}`, `{"role":"remote","system_id":"x"}`, `{"role":"remote","site_id":"x"}`}[r.IntN(3)],
		`{"site_id":""}`, `{"site_id":"x"}`, `{"groups":[]}`, `{"group_id":"x"}`).Replace(s.text)
	s.text = bodyRef.ReplaceAllStringFunc(s.text, func(field string) string {
		m := bodyRef.FindStringSubmatch(field)
		v := tr.some(r, m[1]+"s")
		if m[1] == "tenant" {
			v = tr.partner(r, s)
		}
		s.body = append(s.body, v)
		return strings.TrimSuffix(field, m[2]+`"`) + placeOfRef + `"`
	})
	s.text = strings.Replace(s.text, `{"group_id":"`+placeOfRef+`"}`, `{"groups":["`+placeOfRef+`"]}`, 1)
	s.headers = []string{"If-Match: *"}
	if e.header != "" && !strings.HasPrefix(e.header, "If-Match") {
		s.headers = append(s.headers, e.header)
	}
	return s
}

// fit has more of the steps be ones that somebody may take.
func (tr *travels) fit(r *rand.Rand, s *step) {
	switch s.op {
	case "removeTenantGrant", "endBreakGlass":
		if whose := slices.Index(sideNames, s.path[0].side); r.IntN(2) == 0 && whose >= 0 {
			s.side, s.in = whose, -1
		}
	case "acceptHandover":
		if r.IntN(2) == 0 {
			s.side, s.in = reseller, -1
		}
	case "createTenantGrant", "offerHandover":
		if r.IntN(2) == 0 {
			s.in = -1
		}
	default:
		if s.side >= reseller && s.in >= 0 {
			s.in = r.IntN(2)
		}
	}
}

// some gives an id of a kind, one of those that were made last more often, or now and then
// one of any kind.
func (tr *travels) some(r *rand.Rand, kind string) ref {
	all := tr.pool[kind]
	if n := len(all); n > 0 && r.IntN(3) == 0 {
		return all[n-1-r.IntN(min(n, 3))]
	}
	if len(all) == 0 || r.IntN(10) == 0 {
		kinds := slices.Sorted(maps.Keys(tr.pool))
		all = tr.pool[kinds[r.IntN(len(kinds))]]
	}
	return all[r.IntN(len(all))]
}

// partner gives a tenant that one lets in, enters, or gives a system: of those with
// canaries never one to the other.
func (tr *travels) partner(r *rand.Rand, s step) ref {
	to := reseller
	if in := max(s.in, 0); s.op == "beginBreakGlass" || s.in != north && s.in != south && s.side >= reseller {
		to = []int{north, south}[(in+r.IntN(2))%2]
	}
	return ref{side: sideNames[to], kind: "tenants"}
}

// take makes a step, and looks at what its answer shows.
func (tr *travels) take(s step) {
	me := tr.sides[s.side].users[s.user]
	op := tr.ops[s.op]
	path := fill(pathID.ReplaceAllString(op.path, placeOfRef), s.path, tr.id)
	headers := s.headers
	in := s.side
	if s.in >= 0 {
		headers, in = append(slices.Clone(headers), inside(tr.sides[s.in].tenant)), s.in
	}
	if audience(op.Access.Of) == pathTenant {
		in = slices.IndexFunc(tr.sides, func(o side) bool { return string(o.tenant) == tr.id(s.path[0]) })
	}
	before := tr.visible(me)
	c := *me.client
	if s.token && me.token != "" {
		c.bearer = me.token
		c.http = &http.Client{Transport: me.http.Transport} // without the session
		tr.tokens++
	}
	a := c.do(op.method, path, fill(s.text, s.body, tr.id), headers...)
	after := tr.visible(me)
	for i, o := range tr.sides[:reseller] {
		shown := strings.Contains(string(a.body), o.canary)
		named := strings.Contains(string(a.body), o.name) && s.side < reseller // others are told it by who gives them something
		switch mine := i == s.side; {
		case mine && shown:
			tr.own++
		case mine:
		case shown && i == in && (before[i] || after[i]):
			tr.let++
		case shown || named:
			tr.leaks = append(tr.leaks, leak{s, fmt.Sprintf("%d %.600s", a.status, a.body)})
		}
	}
	if a.status >= http.StatusBadRequest {
		return
	}
	if s.op == "acceptHandover" {
		tr.taken++
	}
	if m := tokenIn.FindSubmatch(a.body); m != nil && s.op == "createToken" {
		me.token = string(m[1])
	}
	if m := anyID.FindSubmatch(a.body); m != nil && op.method == http.MethodPost {
		kind := kindOf(op.path)
		tr.ids[ref{side: sideNames[max(in, 0)], kind: kind, made: s.number}] = string(m[1])
	}
}

// kindOf gives what a POST to a path makes.
func kindOf(path string) string {
	words := strings.Split(strings.Trim(path, "/"), "/")
	switch last := words[len(words)-1]; last {
	case "test":
		return "deliveries"
	case "handover":
		return "handovers"
	case "acceptance", "replacement":
		return "systems"
	default:
		return last
	}
}

// id gives what a reference stands for; what no step has made is missing.
func (tr *travels) id(r ref) string {
	if id, ok := tr.ids[r]; ok {
		return id
	}
	return "0199f0a2-0000-7000-8000-000000000000"
}

// visible tells which tenants somebody may know of now.
func (tr *travels) visible(me *wanderer) (all []bool) {
	for _, s := range tr.sides {
		tr.w.must(tr.w.db.View(context.Background(), func(tx *store.Tx) error {
			may, err := access.LoadUser(tx, me.user, s.tenant, time.Now())
			all = append(all, may.Anywhere(access.TenantRead, s.tenant))
			return err
		}))
	}
	return all
}

// wander takes up to n steps at random, up to the first that leaks, and gives them.
func (tr *travels) wander(seed uint64, n int) (steps []step) {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // of a test
	names := tr.wanderable()
	for i := 0; i < n && len(tr.leaks) == 0; i++ {
		s := tr.choose(r, i+1, names)
		steps = append(steps, s)
		tr.take(s)
		for made := range tr.ids {
			if made.made == s.number {
				tr.pool[made.kind] = append(tr.pool[made.kind], made)
			}
		}
	}
	return steps
}

// line shows a step as somebody would do it.
func (tr *travels) line(s step) string {
	op := tr.ops[s.op]
	text := fmt.Sprintf("%d. %s: %s %s", s.number, tr.sides[s.side].users[s.user].name, op.method, fill(pathID.ReplaceAllString(op.path, placeOfRef), s.path, ref.String))
	if s.in >= 0 {
		text += " in " + sideNames[s.in]
	}
	if s.token {
		text += ", by his token"
	}
	if s.text != "" {
		text += " " + fill(s.text, s.body, ref.String)
	}
	return text
}

// mostShrunk is how often steps are taken again to find those that a leak needs.
const mostShrunk = 40

// shrink gives the fewest of some steps whose last one leaks, and how each looks.
func shrink(t *testing.T, steps []step, change ...func(*options)) (left []step, shown string) {
	t.Helper()
	last := steps[len(steps)-1]
	var tr *travels
	tries := 0
	leaks := func(some []step) (yes bool) {
		tries++
		t.Run(fmt.Sprint("again ", tries), func(t *testing.T) { // with a world of its own, which ends
			tr = newTravels(t, change...)
			for _, s := range some {
				tr.take(s)
			}
			yes = slices.ContainsFunc(tr.leaks, func(l leak) bool { return l.number == last.number })
		})
		return yes
	}
	left = steps
	for size := len(left) / 2; size > 0 && tries < mostShrunk; {
		shorter := false
		for at := 0; at < len(left)-1 && tries < mostShrunk; {
			without := slices.Concat(left[:at], left[min(at+size, len(left)-1):])
			if leaks(without) {
				left, shorter = without, true
			} else {
				at += size
			}
		}
		if !shorter || size > len(left)/2 {
			size /= 2
		}
	}
	lines := make([]string, len(left))
	for i, s := range left {
		lines[i] = tr.line(s)
	}
	return left, strings.Join(lines, "\n")
}
