package api

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func TestSession(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		user := w.user(w.north, "anna@example.com", store.RoleAdministrator)
		c := w.client()
		in := c.do(http.MethodPost, "/session", `{"email":"Anna@Example.com ","password":"`+testPassword+`"}`).want(http.StatusOK)
		cookie := in.header.Get("Set-Cookie")
		for _, part := range []string{"ccc=", "HttpOnly", "SameSite=Lax", "Path=/"} {
			if !strings.Contains(cookie, part) {
				t.Errorf("the cookie has no %s: %s", part, cookie)
			}
		}
		for _, part := range []string{"Domain", "Expires", "Max-Age", "Secure"} { // over plain HTTP on loopback
			if strings.Contains(cookie, part) {
				t.Errorf("the cookie has %s: %s", part, cookie)
			}
		}
		me := read[Me](in)
		if me.User.ID != string(user.ID) || me.User.Email != "anna@example.com" || !slices.Equal(me.User.Roles, []store.Role{store.RoleAdministrator}) ||
			me.User.Language != store.German || me.Tenant.LegalName != "North GmbH" {
			t.Errorf("signed in as %+v", me)
		}
		if again := read[Me](c.do(http.MethodGet, "/session", "").want(http.StatusOK)); !reflect.DeepEqual(again, me) {
			t.Errorf("the session says %+v", again)
		}

		c.do(http.MethodPut, "/session/language", `{"language":"fr"}`).want(http.StatusNoContent)
		if l := read[Me](c.do(http.MethodGet, "/session", "")).User.Language; l != store.French {
			t.Errorf("language %s", l)
		}

		// A new password ends the other sessions, and the token of this one changes.
		other := w.client()
		other.signIn("anna@example.com")
		const next = "another long password"
		changed := c.do(http.MethodPut, "/session/password", `{"current":"`+testPassword+`","new":"`+next+`"}`).want(http.StatusNoContent)
		if set := changed.header.Get("Set-Cookie"); !strings.HasPrefix(set, "ccc=") || set == cookie {
			t.Errorf("the cookie after a change of the password: %s", set)
		}
		c.do(http.MethodGet, "/session", "").want(http.StatusOK)
		other.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
		w.client().do(http.MethodPost, "/session", `{"email":"anna@example.com","password":"`+testPassword+`"}`).problem(CodeBadCredentials)
		w.client().do(http.MethodPost, "/session", `{"email":"anna@example.com","password":"`+next+`"}`).want(http.StatusOK)

		// The token is worth nothing after the end, wherever it was kept.
		token, _, _ := strings.Cut(changed.header.Get("Set-Cookie"), ";")
		thief := w.client()
		thief.do(http.MethodGet, "/session", "", "Cookie: "+token).want(http.StatusOK)
		out := c.do(http.MethodDelete, "/session", "").want(http.StatusNoContent)
		if set := out.header.Get("Set-Cookie"); !strings.HasPrefix(set, "ccc=;") || !strings.Contains(set, "Max-Age=0") {
			t.Errorf("the cookie after the end: %s", set)
		}
		thief.do(http.MethodGet, "/session", "", "Cookie: "+token).problem(CodeUnauthenticated)
		c.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
	})
}

// TestNobodyIsGuessed: the answers for an unknown address, a wrong password and a
// disabled account are the same.
func TestNobodyIsGuessed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	w.user(w.north, "anna@example.com", store.RoleOwner)
	bob := w.user(w.north, "bob@example.com", store.RoleOwner)
	w.client().signIn("bob@example.com") // the password is right
	w.must(w.accounts.SetDisabled(t.Context(), w.north, bob.ID, true))
	var bodies []string
	for _, body := range []string{
		`{"email":"nobody@example.com","password":"` + testPassword + `"}`,
		`{"email":"not an address","password":"` + testPassword + `"}`,
		`{"email":"anna@example.com","password":"not this password"}`,
		`{"email":"bob@example.com","password":"` + testPassword + `"}`,
	} {
		a := w.client().do(http.MethodPost, "/session", body)
		a.problem(CodeBadCredentials)
		bodies = append(bodies, string(a.body))
	}
	for _, b := range bodies {
		if b != bodies[0] {
			t.Errorf("answers differ: %q", bodies)
			break
		}
	}
}

func TestMeta(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.api.Hosts = []string{"ccc.comtrexx.test", "ccc.fontevo.test"} }).serve()
	for host, brand := range map[string]string{
		"ccc.fontevo.test": "fontevo", "CCC.FONTEVO.TEST:8443": "fontevo", "ccc.fontevo.test.": "fontevo",
		"ccc.comtrexx.test": "auerswald", "localhost:8080": "auerswald", "127.0.0.1": "auerswald", "[::1]:443": "auerswald",
	} {
		m := read[Meta](w.client().do(http.MethodGet, "/meta", "", "Host: "+host).want(http.StatusOK))
		if m.Brand.ID != brand || m.Brand.Legal != "Auerswald GmbH & Co. KG" || len(m.Languages) != 3 || m.Now.IsZero() || m.Version == "" {
			t.Errorf("%s: %+v", host, m)
		}
	}
	for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "ccc.fontevo.test.evil.example"} {
		w.client().do(http.MethodGet, "/meta", "", "Host: "+host).problem(CodeMisdirected)
	}
}

// TestPages: what is not the API's is for the pages.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) {
		o.api.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("page " + r.URL.Path)) })
	}).serve()
	c := w.client()
	for path, want := range map[string]string{"/../../": "page /", "/../../systems/1": "page /systems/1"} {
		if a := c.do(http.MethodGet, path, "").want(http.StatusOK); string(a.body) != want {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	c.do(http.MethodGet, "/../v2/systems", "").problem(CodeNotFound)
	document := c.do(http.MethodGet, "/openapi.json", "").want(http.StatusOK)
	if !strings.Contains(string(document.body), `"openapi"`) || document.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %.100s", document.header.Get("Content-Type"), document.body)
	}
}
