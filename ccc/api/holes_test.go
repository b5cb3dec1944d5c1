package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// hole is a way in that is looked for: look gives what it finds, which is nothing; with
// the hole that plant makes it finds something.
type hole struct {
	change []func(*options)                     // of both worlds
	plant  func(*options)                       // of the second; nil: see spoil
	spoil  func(next http.Handler) http.Handler // of the second: the server answers in another way
	look   func(w *world) []string
}

// TestHoles looks for each hole, and finds each that is planted. Others of the kind:
// TestMatrixFindsHoles and TestCanaryFindsLeaks for rights and other tenants.
func TestHoles(t *testing.T) {
	t.Parallel()
	for name, h := range holes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, found := range h.look(newWorld(t, h.change...).serve()) {
				t.Error(found)
			}
			change := h.change
			if h.plant != nil {
				change = append(slices.Clone(h.change), h.plant)
			}
			w := newWorld(t, change...).serve()
			if h.spoil != nil {
				server := httptest.NewServer(h.spoil(w.api.Handler()))
				defer server.Close()
				w.url = server.URL
			}
			if found := h.look(w); len(found) == 0 {
				t.Error("the planted hole goes unnoticed")
			}
		})
	}
}

var holes = map[string]hole{
	"password spraying": {
		change: []func(*options){noLimits, func(o *options) { o.account.Limits.PrefixTries = 10 }},
		plant:  func(o *options) { o.account.Limits.PrefixTries = 100_000 },
		look:   sprayed,
	},
	"session fixation": {spoil: fixing, look: fixated},
	"CSRF":             {change: []func(*options){noLimits}, spoil: trusting, look: forged},
	"mass assignment": {change: []func(*options){noLimits}, plant: func(o *options) {
		o.extra = func(a *API) {
			add(a, operation{id: "hole", method: http.MethodPost, path: "/hole", tag: tagLabels, rule: inTenant(access.TenantWrite)},
				func(_ context.Context, in *body[loose]) (*body[loose], error) { return in, nil })
		}
	}, look: assigned},
	"IDOR": {change: []func(*options){noLimits}, plant: func(o *options) {
		o.extra = func(a *API) { a.visible = func(access.Actor, store.TenantID) bool { return true } }
		o.adapt = func(id string, r rule) rule {
			if r.verb == access.UsersRead {
				return member
			}
			return r
		}
	}, look: foreign},
}

// sprayed tries one password at many accounts, a try each, from one network.
func sprayed(w *world) (found []string) {
	let := 0
	for i := range 30 {
		a := w.client().do(http.MethodPost, "/session", fmt.Sprintf(`{"email":"user%d@example.com","password":"Summer 2026 2026"}`, i))
		if a.status != http.StatusTooManyRequests {
			let++
		}
	}
	if let > 15 {
		found = append(found, fmt.Sprintf("%d of 30 accounts could be tried", let))
	}
	return found
}

// fixated looks whether a session goes on under the name that it had before a step of the
// sign-in.
func fixated(w *world) (found []string) {
	c := w.client()
	c.user = w.user(w.north, "fix@example.com", store.RoleMonitoring)
	name := account.PlainCookie
	now := func() string {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.url, http.NoBody)
		w.must(err)
		for _, cookie := range c.http.Jar.Cookies(r.URL) {
			if cookie.Name == name {
				return cookie.Value
			}
		}
		return ""
	}
	seen := []string{"chosen-by-an-attacker"}
	step := func(what string, f func()) {
		if len(found) > 0 {
			return // the session is not what it should be
		}
		before := cmp.Or(now(), seen[0])
		f()
		if now() == before || now() == "" {
			found = append(found, what+" keeps the session's name")
		}
		if alive := w.client().do(http.MethodGet, "/account/factors", "", "Cookie: "+name+"="+before); alive.status == http.StatusOK {
			found = append(found, "the session of before "+what+" is alive")
		}
	}
	planted := func() {
		a := c.do(http.MethodPost, "/session", `{"email":"fix@example.com","password":"`+testPassword+`"}`, "Cookie: "+name+"="+seen[0])
		a.want(http.StatusOK)
	}
	step("the sign-in", planted)
	var secret string
	step("a new factor", func() { secret = c.enrol().secret })
	step("the second sign-in", func() { c.signIn(c.user.Email) })
	w.update(func(tx *store.Tx) error { // the code was used a moment ago
		v, err := tx.TOTP(c.user.ID, false)
		v.LastStep = 0
		return cmp.Or(err, tx.PutTOTP(v))
	})
	step("the second factor", func() {
		c.do(http.MethodPost, "/session/second-factor", `{"totp":"`+c.code(secret, time.Now())+`"}`).want(http.StatusOK)
	})
	step("a new password", func() {
		c.do(http.MethodPut, "/session/password", `{"current":"`+testPassword+`","new":"another long password"}`).want(http.StatusNoContent)
	})
	return found
}

// fixing answers each step with the session that came first.
func fixing(next http.Handler) http.Handler {
	var first []string
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		if set := rec.Header()["Set-Cookie"]; len(set) > 0 {
			if first == nil {
				first = set
			}
			rec.Header()["Set-Cookie"] = first
		}
		maps.Copy(rw.Header(), rec.Header())
		rw.WriteHeader(rec.Code)
		_, _ = rw.Write(rec.Body.Bytes())
	})
}

// forged sends each change as the browser does for a page of another site, or of another
// name of this one.
func forged(w *world) (found []string) {
	c := w.signedIn(w.north, store.RoleOwner)
	for id, op := range documented(w.t) {
		if op.method == http.MethodGet {
			continue
		}
		for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
			if a := c.call(op, examples[id], "x", header); !strings.Contains(string(a.body), string(CodeCrossOrigin)) {
				found = append(found, id+" with "+header)
			}
		}
	}
	if a := c.do(http.MethodGet, "/session", "", "Sec-Fetch-Site: cross-site"); a.status != http.StatusOK && len(found) == 0 {
		found = append(found, "a control: reading is no change")
	}
	return found
}

// trusting forgets what the browser says about the page, for one operation.
func trusting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == Prefix+"/sites" {
			r.Header.Del("Origin")
			r.Header.Del("Sec-Fetch-Site")
		}
		next.ServeHTTP(w, r)
	})
}

// elsewhere are addresses that look like a path and are none of this server.
var elsewhere = []string{
	"https://evil.example", "//evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "/%09/evil.example\n", "javascript:alert(1)", "evil.example", " //evil.example", "///evil.example",
}

// leaves gives those that a check lets pass, and paths of this server that it does not.
func leaves(local func(string) string) (found []string) {
	for _, next := range elsewhere {
		if got := local(next); got != "/" {
			found = append(found, fmt.Sprintf("%q leads to %q", next, got))
		}
	}
	for _, next := range []string{"/", "/systems/7?tab=a#b", "/a//b", "/?next=//x"} {
		if got := local(next); got != next {
			found = append(found, fmt.Sprintf("%q is a path of this server, and leads to %q", next, got))
		}
	}
	return found
}

// TestOpenRedirect: a sign-in leads to this server only, whoever begins it with what; the
// check is found wanting where it looks at the first letter alone. The links of mails and
// the redirect URI have the configured address, whatever host a request names.
func TestOpenRedirect(t *testing.T) {
	t.Parallel()
	for _, found := range leaves(account.LocalPath) {
		t.Error(found)
	}
	naive := func(next string) string {
		if strings.HasPrefix(next, "/") {
			return next
		}
		return "/"
	}
	if len(leaves(naive)) == 0 {
		t.Error("the planted hole goes unnoticed")
	}
	p := newIDP(t)
	p.says(map[string]any{"sub": "1", "email": "jo@acme.example", "email_verified": true})
	w := oidcWorld(t, p.provider(), withMail)
	for _, next := range append([]string{"/systems"}, elsewhere...) {
		c := w.client()
		q := c.begin(`{"provider":"acme","next":` + marshal(t, next) + `}`)
		p.mu.Lock()
		p.nonce = q.Get("nonce")
		p.mu.Unlock()
		got := read[OIDCSignIn](c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL)).want(http.StatusOK)).Next
		if got != account.LocalPath(next) || next == "/systems" && got != next {
			t.Errorf("%q leads to %q", next, got)
		}
	}
	evil := w.signedIn(w.north, store.RoleOwner)
	q := read[OIDCAddress](evil.do(http.MethodPost, "/session/oidc/options", atAcme, "X-Forwarded-Host: evil.example").want(http.StatusOK))
	evil.do(http.MethodPost, "/invitations", inviting("to@example.com", ""), "X-Forwarded-Host: evil.example").want(http.StatusCreated)
	if link := w.mails("to@example.com")[0].Link; strings.Contains(link+q.URL, "evil.example") || !strings.HasPrefix(link, "http://localhost/") {
		t.Errorf("%s, %s", link, q.URL)
	}
}

// assigned adds fields that nobody is to set to every body, also inside of it.
func assigned(w *world) (found []string) {
	c := w.signedIn(w.north, store.RoleOwner)
	ops := documented(w.t)
	if w.api.huma.OpenAPI().Paths["/hole"] != nil {
		ops["hole"] = operationDoc{OperationID: "hole", method: http.MethodPost, path: "/hole"}
	}
	for id, op := range ops {
		example := examples[id].body
		if id == "hole" {
			example = `{"name":"x"}`
		}
		if !strings.HasPrefix(example, "{") {
			continue
		}
		for _, field := range []string{`"tenant":"x"`, `"user_id":"x"`, `"is_admin":true`, `"created_at":"2026-01-01T00:00:00Z"`, `"founding":true`} {
			with := strings.TrimSuffix(example, "}") + "," + field + "}"
			a := c.do(op.method, c.path(op, "x"), with)
			if a.status < http.StatusBadRequest {
				found = append(found, id+" takes "+field)
			}
		}
	}
	return found
}

// foreign asks for everything of another tenant: by the header, the path, the body and the
// query.
func foreign(w *world) (found []string) {
	owner := w.signedIn(w.south, store.RoleOwner)
	w.update(func(tx *store.Tx) error { return tx.RenameTenant(w.south, "CANARY", "CANARY") })
	there := owner.sceneOf("000000002")
	w.user(w.south, "canary@example.com", store.RoleMonitoring)
	ids := []string{there.offered, there.paired, there.group, there.site, there.colleague, there.grant, there.invitation, there.handover, string(w.south)}
	c := w.signedIn(w.north, store.RoleOwner)
	ops := documented(w.t)
	for _, id := range slices.Sorted(maps.Keys(ops)) {
		op := ops[id]
		if id == "streamEvents" || op.Access.Of == string(everybody) || op.Access.Of == string(oneself) {
			continue
		}
		if op.method == http.MethodGet {
			if a := c.do(op.method, c.path(op, there.offered), "", inside(w.south)); strings.Contains(string(a.body), "CANARY") || strings.Contains(string(a.body), "canary@") || a.status < http.StatusBadRequest && op.Access.Of != string(pathTenant) {
				found = append(found, fmt.Sprintf("%s in the other tenant: %d %.200s", id, a.status, a.body))
			}
		}
		if strings.Contains(op.path, "{id}") {
			for _, other := range ids {
				if a := c.call(op, examples[id], other, "If-Match: *"); a.status < http.StatusBadRequest {
					found = append(found, fmt.Sprintf("%s of %s: %d %.200s", id, other, a.status, a.body))
				}
			}
		}
	}
	for _, roles := range []string{`{"role":"monitoring","site_id":"` + there.site + `"}`, `{"role":"monitoring","system_id":"` + there.paired + `"}`} {
		for _, path := range []string{"/users", "/invitations"} {
			body := `{"email":"a@example.com","name":"A","language":"de","roles":[` + roles + `]`
			if path == "/users" {
				body += `,"password":"` + testPassword + `"`
			}
			if a := c.do(http.MethodPost, path, body+"}"); a.status < http.StatusBadRequest {
				found = append(found, path+" for a part of another tenant")
			}
		}
	}
	if a := c.do(http.MethodGet, "/systems?site="+there.site, ""); strings.Contains(string(a.body), there.paired) {
		found = append(found, "a filter finds what is another's")
	}
	return found
}
