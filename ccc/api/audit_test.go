package api

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// log gives the audit log of a tenant, looked through.
func (w *world) log(tenant store.TenantID) (all []store.AuditEntry) {
	w.t.Helper()
	w.must(w.db.View(context.Background(), func(tx *store.Tx) error {
		chain, err := tx.AuditChain(tenant)
		if err != nil {
			return err
		}
		all, err = tx.AuditAfter(tenant, chain.Swept.Seq, 100_000)
		check := audit.NewChecker(chain.Swept)
		for _, e := range all {
			if f := check.Add(e.Entry, e.Hash); f != nil {
				return f
			}
		}
		return err
	}))
	return all
}

// newEntries gives what came into the logs of a tenant, and of nobody, by a call.
func (w *world) newEntries(tenant store.TenantID, call func()) (all []store.AuditEntry) {
	w.t.Helper()
	own, nobody := len(w.log(tenant)), len(w.log(audit.Nowhere))
	call()
	return append(w.log(tenant)[own:], w.log(audit.Nowhere)[nobody:]...)
}

// What leaves no entry though it is no GET, and what leaves one though it is. The list is the
// test's own: what is left out of the log by a mistake is not left out here.
var (
	changesNothing = map[string]string{
		"beginPasskeySignIn":   "gives a challenge to anybody; the sign-in that comes of it is told of",
		"beginOIDCSignIn":      "sends anybody to the provider; the sign-in that comes of it is told of",
		"beginProviderLink":    "sends to the provider; the link that comes of it is told of",
		"showInvitation":       "shows what an invitation is for to who has it",
		"requestPasswordReset": "an entry would say whether there is such an account; what comes of it is told of",
	}
	readsAreTold = map[string]string{
		"exportAudit":     "the whole log leaves the house",
		"getAuditAddress": "somebody looks at where a person was",
	}
	// Nobody who is known has done it, or it comes too often.
	refusedUntold = []Code{"unauthenticated", "login_limited", "rate_limited", "sent_lately", "cross_origin"}
)

// TestEveryChangeIsTold: each operation of the document that is not a GET, and each that
// says so, leaves exactly one entry, whether it was done or refused; the others leave none.
func TestEveryChangeIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noLimits).serve()
	ops := documented(t)
	told := 0
	for i, id := range slices.Sorted(maps.Keys(ops)) {
		op := ops[id]
		if id == "streamEvents" || raceDetector && i%4 > 0 {
			continue // it does not end; all of them are tried without the race detector
		}
		tenant := w.tenant("Tenant " + id)
		c := w.signedIn(tenant, store.RoleOwner)
		target := ""
		if e := examples[id]; e.id != nil {
			target = e.id(c.sceneOf(fmt.Sprintf("%09d", i+100)))
		}
		var a answer
		entries := w.newEntries(tenant, func() { a = c.call(op, examples[id], target) })
		want, code := 0, ""
		if _, read := readsAreTold[id]; read || op.method != http.MethodGet && changesNothing[id] == "" {
			want = 1
		}
		if a.status >= http.StatusBadRequest {
			code = string(a.problem(read[Problem](a).Code).Code)
			// Of those who are not known only wrong passwords are told of.
			if slices.Contains(refusedUntold, Code(code)) || op.Access.Of == string(everybody) && code != "bad_credentials" {
				want = 0
			}
		}
		if len(entries) != want {
			t.Errorf("%s (%d %s) leaves %d entries, want %d: %+v", id, a.status, code, len(entries), want, entries)
			continue
		}
		if want == 0 {
			continue
		}
		told++
		e, outcome := entries[0], audit.Done
		if code != "" {
			outcome = audit.Refused(code)
		}
		if e.Operation != id || e.Outcome != outcome {
			t.Errorf("%s: the entry %s %s, want %s", id, e.Operation, e.Outcome, outcome)
		}
		if op.Access.Of != string(everybody) && (e.User != string(c.user.ID) || e.Actor != "user "+e.User || e.Right != "home" || e.Home != string(tenant)) {
			t.Errorf("%s: by %q, %q, %q, %q", id, e.Actor, e.User, e.Home, e.Right)
		}
		if target != "" && strings.HasSuffix(op.path[:strings.LastIndex(op.path, "}")+1], "{id}") && !strings.HasSuffix(e.Resource, " "+target) && !strings.HasSuffix(e.Resource, " "+w.session) {
			t.Errorf("%s of %s: the resource %q", id, target, e.Resource)
		}
		if strings.HasPrefix(op.path, "/systems/{id}") && len(e.Serial) != 10 {
			t.Errorf("%s: the serial %q", id, e.Serial)
		}
	}
	for _, id := range slices.Concat(slices.Collect(maps.Keys(changesNothing)), slices.Collect(maps.Keys(readsAreTold))) {
		if _, there := ops[id]; !there {
			t.Errorf("there is no operation %s", id)
		}
	}
	if told < 60 && !raceDetector || told < 15 {
		t.Errorf("only %d operations leave an entry", told)
	}
}

// A refusal by the rule is told of, too, in the tenant that it is about.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noLimits).serve()
	ops := documented(t)
	c := w.signedIn(w.north, "")
	n := 0
	for _, id := range slices.Sorted(maps.Keys(ops)) {
		op := ops[id]
		if op.Access.Verb == "" || !(operation{id: id, method: op.method}).audited() {
			continue
		}
		n++
		var a answer
		entries := w.newEntries(w.north, func() { a = c.call(op, examples[id], "missing") })
		if len(entries) != 1 || a.status != http.StatusForbidden || entries[0].Outcome != audit.Refused("forbidden") || entries[0].Operation != id {
			t.Errorf("%s (%d) leaves %+v", id, a.status, entries)
		}
	}
	if n < 20 {
		t.Errorf("only %d operations", n)
	}
	// What huma refuses before the handler runs.
	owner := w.signedIn(w.north, store.RoleOwner)
	entries := w.newEntries(w.north, func() { owner.do(http.MethodPost, "/groups", `{"surprise":1}`).problem(CodeInvalid) })
	if len(entries) != 1 || entries[0].Outcome != audit.Refused("invalid") {
		t.Errorf("an invalid request leaves %+v", entries)
	}
	// Who is not signed in leaves nothing, or anybody could fill the log.
	if entries := w.newEntries(w.north, func() { w.client().do(http.MethodPost, "/groups", `{"name":"x"}`).problem(CodeUnauthenticated) }); len(entries) != 0 {
		t.Errorf("nobody leaves %+v", entries)
	}
}

// Sign-ins: the right ones, wrong passwords of those who are there and of those who are
// not, and second factors.
func TestSignInsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	jo := w.user(w.north, "jo@example.com", store.RoleOwner)
	try := func(email, password string) string {
		t.Helper()
		entries := w.newEntries(w.north, func() {
			w.client().do(http.MethodPost, "/session", `{"email":"`+email+`","password":"`+password+`"}`)
		})
		if len(entries) != 1 {
			t.Fatalf("%d entries", len(entries))
		}
		e := entries[0]
		return strings.Join([]string{e.Tenant, e.Actor, e.Operation, e.Resource, e.Outcome, strings.Join(e.Fields, ",")}, "|")
	}
	north := string(w.north)
	for _, c := range []struct{ name, got, want string }{
		{"a right password", try("jo@example.com", testPassword), north + "|user " + string(jo.ID) + "|signIn||done|email,password"},
		{"a wrong password", try("jo@example.com", "wrong"), north + "|nobody|signIn|user " + string(jo.ID) + "|refused:bad_credentials|email,password"},
		{"nobody's", try("no@example.com", testPassword), "-|nobody|signIn||refused:bad_credentials|email,password"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
	c := w.client()
	c.user = jo
	c.signIn("jo@example.com")
	e := c.enrol()
	_ = e
	half := w.client()
	half.signIn("jo@example.com")
	entries := w.newEntries(w.north, func() { half.do(http.MethodPost, "/session/second-factor", `{"totp":"000000"}`) })
	if len(entries) != 1 || entries[0].Operation != "prove" || entries[0].Outcome != audit.Refused("wrong_code") {
		t.Errorf("a wrong code leaves %+v", entries)
	}
}

// By what right somebody acts in another tenant, and with what token.
func TestRightsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	reseller := w.kind(store.KindReseller, "")
	grant := w.grant(w.north, reseller, nil, store.RoleAdministrator)
	guest := w.signedIn(reseller, store.RoleOwner)
	entries := w.newEntries(w.north, func() { guest.do(http.MethodPost, "/groups", `{"name":"G"}`, inside(w.north)).want(http.StatusCreated) })
	if len(entries) != 1 || entries[0].Right != "grant "+string(grant) || entries[0].Home != string(reseller) {
		t.Errorf("a guest leaves %+v", entries)
	}
	operator := w.kind(store.KindOperator, "")
	staff := w.signedIn(operator, store.RoleOwner)
	// The customer's own log says that somebody has come, though he did it at home.
	began := w.newEntries(w.north, func() {
		staff.do(http.MethodPost, "/break-glass", `{"tenant_id":"`+string(w.north)+`","reason":"ticket 17","minutes":60}`).want(http.StatusCreated)
	})
	if len(began) != 1 || began[0].Operation != "event.break_glass_begun" || began[0].User != string(staff.user.ID) {
		t.Errorf("to break glass leaves %+v", began)
	}
	entries = w.newEntries(w.north, func() { staff.do(http.MethodDelete, "/groups/x", "", inside(w.north)).problem(CodeForbidden) })
	if len(entries) != 1 || entries[0].Outcome != audit.Refused("forbidden") {
		t.Errorf("staff leave %+v", entries)
	}
	own := w.signedIn(w.north, store.RoleOwner)
	program := own.program(access.TenantWrite)
	entries = w.newEntries(w.north, func() { program.do(http.MethodPost, "/groups", `{"name":"T"}`).want(http.StatusCreated) })
	if len(entries) != 1 || !strings.HasPrefix(entries[0].Actor, "token ") || entries[0].User != string(own.user.ID) {
		t.Errorf("a token leaves %+v", entries)
	}
	// A repeat was done once.
	key := "Idempotency-Key: 12345678"
	own.do(http.MethodPost, "/groups", `{"name":"R"}`, key).want(http.StatusCreated)
	if entries = w.newEntries(w.north, func() { own.do(http.MethodPost, "/groups", `{"name":"R"}`, key).want(http.StatusCreated) }); len(entries) != 0 {
		t.Errorf("a repeat leaves %+v", entries)
	}
}

// The list with names, its filters, the signed head and the export, which is verified.
func TestAuditAPI(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		made := c.save("0000000001", "Office")
		c.do(http.MethodDelete, "/groups/x", "").problem(CodeNotFound)
		list := func(query string) AuditList {
			t.Helper()
			return read[AuditList](c.do(http.MethodGet, "/audit"+query, "").want(http.StatusOK))
		}
		all := list("").Items
		if len(all) != 3 {
			t.Fatalf("%+v", all)
		}
		if e := all[1]; e.Operation != "createSystem" || e.Serial != "0000000001" || e.Resource == nil || e.Resource.Name != "Office" ||
			e.Resource.ID != made.System.ID || e.Actor.Name != c.user.Name || !slices.Contains(e.Fields, "serial") || e.AddressUntil != nil {
			t.Errorf("the entry %+v", e)
		}
		for query, want := range map[string]int{
			"?outcome=refused": 1, "?serial=0000000001": 1, "?operation=signIn": 1, "?user=" + string(c.user.ID): 3, "?actor=ccc": 0,
			"?from=2100-01-01T00:00:00Z": 0, "?limit=1": 1, "?resource=system+" + made.System.ID: 1,
		} {
			if got := list(query); len(got.Items) != want || (query == "?limit=1") != (got.Next != "") {
				t.Errorf("%s: %d items, next %q", query, len(got.Items), got.Next)
			}
		}
		head := read[AuditHead](c.do(http.MethodGet, "/audit/head", "").want(http.StatusOK))
		old, err := audit.OpenHead(w.api.cfg.Credentials, head.Head)
		if err != nil || old.Seq != 3 || old.Tenant != string(w.north) || head.Hash != old.Hash.String() {
			t.Fatalf("%+v, %v", head, err)
		}
		open := func(text string) (audit.Head, error) { return audit.OpenHead(w.api.cfg.Credentials, text) }
		file := c.do(http.MethodGet, "/audit/export", "").want(http.StatusOK)
		r, err := audit.Verify(bytes.NewReader(file.body), audit.Options{Open: open, Heads: []audit.Head{old}})
		if err != nil || r.Fault != nil || !r.Signed || r.Entries != 4 || file.header.Get("Content-Type") != "application/jsonl" { // with that of the export
			t.Errorf("the export: %+v, %v", r, err)
		}
		rest := c.do(http.MethodGet, "/audit/export?after=3", "").want(http.StatusOK)
		if r, err = audit.Verify(bytes.NewReader(rest.body), audit.Options{Open: open, Heads: []audit.Head{old}}); err != nil || r.Fault != nil || r.After != 3 || r.Entries != 2 {
			t.Errorf("the rest: %+v, %v", r, err)
		}
		csv := string(c.do(http.MethodGet, "/audit/export?format=csv", "").want(http.StatusOK).body)
		if lines := strings.Count(csv, "\n"); lines != 7 || !strings.HasPrefix(csv, "seq,at,tenant,") || !strings.Contains(csv, ",createSystem,") {
			t.Errorf("%d lines: %s", lines, csv)
		}
		c.do(http.MethodGet, "/audit/export?after=999", "").problem(CodeInvalid)
		// An auditor may, another role may not; a part of a name is in no other tenant's log.
		w.signedIn(w.north, store.RoleAuditor).do(http.MethodGet, "/audit", "").want(http.StatusOK)
		w.signedIn(w.north, store.RoleMonitoring).do(http.MethodGet, "/audit", "").problem(CodeForbidden)
		south := w.signedIn(w.south, store.RoleOwner)
		south.do(http.MethodPut, "/users/"+string(c.user.ID)+"/roles", `{"roles":[]}`).problem(CodeNotFound)
		foreign := south.do(http.MethodGet, "/audit", "").want(http.StatusOK)
		if !strings.Contains(string(foreign.body), string(c.user.ID)) || strings.Contains(string(foreign.body), c.user.Name) {
			t.Errorf("what another tenant's user is called: %s", foreign.body)
		}
		// Who is gone has no name any more.
		w.update(func(tx *store.Tx) error { _, err := tx.SweepAudit(w.north, 2); return err })
		if got := list("").Items; got[len(got)-1].Seq != 3 {
			t.Errorf("after the sweep: %+v", got)
		}
		file = c.do(http.MethodGet, "/audit/export", "").want(http.StatusOK)
		if r, err = audit.Verify(bytes.NewReader(file.body), audit.Options{Open: open, Heads: []audit.Head{old}}); err != nil || r.Fault != nil || r.After != 2 {
			t.Errorf("the export after the sweep: %+v, %v", r, err)
		}
	})
}

// Heads are signed when something has happened, and what is too old is removed with a head
// left of it.
func TestAuditIsLookedAfter(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c := w.in(w.north, store.RoleOwner)
		heads := func() (all []store.AuditHead) {
			w.must(w.db.View(context.Background(), func(tx *store.Tx) (err error) {
				all, err = tx.AuditHeads(w.north)
				return err
			}))
			return all
		}
		c.do(http.MethodPost, "/groups", `{"name":"A"}`).want(http.StatusCreated)
		n := len(w.log(w.north))
		if n == 0 || len(heads()) != 0 {
			t.Fatalf("%d entries, heads %v", n, heads())
		}
		time.Sleep(time.Hour + time.Minute)
		if all := heads(); len(all) != 1 || all[0].Seq != int64(n) {
			t.Fatalf("after an hour: %+v", all)
		}
		time.Sleep(3 * time.Hour)
		if all := heads(); len(all) != 1 {
			t.Errorf("though nothing has happened: %+v", all)
		}
		w.must(w.api.sweepAudit(context.Background(), time.Now().Add(-24*time.Hour)))
		if got := len(w.log(w.north)); got != n {
			t.Errorf("%d of %d entries are left though none is too old", got, n)
		}
		w.must(w.api.sweepAudit(context.Background(), time.Now().Add(-time.Hour)))
		if got := len(w.log(w.north)); got != 0 || len(heads()) != 1 {
			t.Errorf("%d entries are left, heads %+v", got, heads())
		}
		if removed := w.log(w.north); len(removed) != 0 {
			t.Errorf("left: %v", removed)
		}
	})
}
