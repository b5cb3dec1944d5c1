package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestTokenScopes tries every operation with a token that has one verb, and with one that
// has all: it can do what it says, and nothing about who has made it.
func TestTokenScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	reader, all := c.program(access.SystemRead), c.program(slices.DeleteFunc(access.Verbs(), access.LetsIn)...)
	refused, let, letsIn := 0, 0, 0
	for id, op := range documented(t) {
		if len(op.Security) == 0 || id == "streamEvents" {
			continue
		}
		path := c.path(op, "x")
		a := reader.do(op.method, path, examples[id].body)
		b := all.do(op.method, path, examples[id].body)
		verb := op.Access.Verb
		switch {
		case op.Access.Of == string(oneself):
			a.problem(CodeTokenScope)
			b.problem(CodeTokenScope)
		case verb == string(access.SystemRead), verb == "" && op.method == http.MethodGet:
			let++
			if a.status == http.StatusForbidden {
				t.Errorf("%s: %s", id, a.body)
			}
		case access.LetsIn(access.Verb(verb)):
			a.problem(CodeTokenScope)
			b.problem(CodeTokenScope)
			letsIn++
		case verb != "":
			refused++
			a.problem(CodeTokenScope)
			if b.status == http.StatusForbidden && strings.Contains(string(b.body), string(CodeTokenScope)) {
				t.Errorf("positive control: %s with %s: %s", id, verb, b.body)
			}
		}
	}
	if refused < 8 || let < 4 || letsIn < 4 {
		t.Errorf("%d were refused, %d let, and %d let people in", refused, let, letsIn)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		made := read[MadeAPIToken](c.do(http.MethodPost, "/account/tokens", `{"name":"Backup","verbs":["system.read"],"days":365}`).want(http.StatusOK))
		p := w.client()
		p.bearer = made.Token
		for _, site := range []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"} {
			p.do(http.MethodGet, "/systems", "", site).want(http.StatusOK)
			p.do(http.MethodPost, "/groups", `{"name":"x"}`, site).problem(CodeTokenScope) // and not cross_origin
		}
		list := read[APITokenList](c.do(http.MethodGet, "/account/tokens", "").want(http.StatusOK)).Items
		if len(list) != 1 || list[0].ID != made.Info.ID || list[0].LastUsed == "" || list[0].TenantID != string(w.north) || !slices.Equal(list[0].Verbs, []access.Verb{access.SystemRead}) {
			t.Errorf("%+v", list)
		}
		// A token beside a session is nobody's: which was meant is not guessed.
		c.bearer = made.Token
		c.do(http.MethodGet, "/systems", "").problem(CodeUnauthenticated)
		c.do(http.MethodPost, "/groups", `{"name":"x"}`, "Sec-Fetch-Site: cross-site").problem(CodeUnauthenticated)
		c.bearer = ""
		// It is for its tenant alone, and another cannot be named who has nothing to do with it.
		p.do(http.MethodGet, "/systems", "", tenantHeader+": "+string(w.south)).problem(CodeTokenScope)
		for _, body := range []string{
			`{"name":"x","verbs":["system.read"],"days":30,"tenant_id":"` + string(w.south) + `"}`,
			`{"name":"x","verbs":["system.read"],"days":30,"tenant_id":"nothing"}`,
		} {
			c.do(http.MethodPost, "/account/tokens", body).problem(CodeNotFound)
		}
		for _, body := range []string{
			`{"name":"x","verbs":["system.everything"],"days":30}`, `{"name":"x","verbs":["users.manage"],"days":30}`, `{"name":"x","verbs":[],"days":30}`, `{"name":"x","verbs":["system.read"],"days":366}`,
			`{"name":"x","verbs":["system.read"],"days":0}`, `{"name":" ","verbs":["system.read"],"days":1}`,
		} {
			c.do(http.MethodPost, "/account/tokens", body).problem(CodeInvalid)
		}
		w.signedIn(w.north, store.RoleOwner).do(http.MethodDelete, "/account/tokens/"+made.Info.ID, "").problem(CodeNotFound)
		p.do(http.MethodGet, "/systems", "").want(http.StatusOK)
		c.do(http.MethodDelete, "/account/tokens/"+made.Info.ID, "").want(http.StatusNoContent)
		p.do(http.MethodGet, "/systems", "").problem(CodeUnauthenticated)
	})
}

// TestTokenIsNoMoreThanItsUser: a verb of the token is none that the user does not have.
func TestTokenIsNoMoreThanItsUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleMonitoring)
	p := c.program(access.SystemRead, access.TenantWrite)
	p.do(http.MethodGet, "/systems", "").want(http.StatusOK)
	p.do(http.MethodPost, "/groups", `{"name":"x"}`).problem(CodeForbidden)
}

// TestRemoteNeedsSecondFactor: the broker is told what the session was proven with, and a
// token is what its maker was.
func TestRemoteNeedsSecondFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.remote = remote.Config{ARAURL: "https://ara.example.net:8443"} }).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	id := c.save("0000000002", "Two").System.ID
	w.pair(c.user.Tenant, id)
	ask := func(c *client) answer {
		return c.do(http.MethodPost, "/systems/"+id+"/remote", `{"reason":"a phone is silent","service":"web"}`)
	}
	weak := c.program(access.RemoteAsk)
	ask(c).problem(CodeSecondFactorNeeded)
	ask(weak).problem(CodeSecondFactorNeeded)
	c.enrol()
	session := read[RemoteSession](ask(c).want(http.StatusCreated))
	grant := "/systems/" + id + "/remote/" + session.ID + "/grant"
	c.do(http.MethodPost, grant, atGateway).want(http.StatusOK)
	weak.do(http.MethodPost, grant, atGateway).problem(CodeUnauthenticated) // he has a second factor now
	ask(c.program(access.SystemRead)).problem(CodeTokenScope)
	ask(c.program(access.RemoteAsk)).want(http.StatusCreated)
}
