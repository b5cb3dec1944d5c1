package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// passkeys has passkeys at the name localhost.
func passkeys(o *options) { o.account.ExternalURL = "http://localhost" }

const passkeyHost = "localhost"

// atPasskeys is a client that asks for the name that passkeys are for.
func (w *world) atPasskeys() *client {
	c := w.client()
	c.host = passkeyHost
	return c
}

// keyOwner is a new user who has signed in there.
func (w *world) keyOwner() *client {
	w.t.Helper()
	c := w.atPasskeys()
	c.user = w.user(w.north, strings.ToLower(string(store.NewID[store.UserID]()))+"@example.com", store.RoleOwner)
	c.signIn(c.user.Email)
	return c
}

// atLocalhost is whom an authenticator takes us for.
var atLocalhost = virtualwebauthn.RelyingParty{ID: "localhost", Name: "x", Origin: "http://localhost"}

// addKey adds the key of a software authenticator, which knows its user then.
func (c *client) addKey(auth *virtualwebauthn.Authenticator, key virtualwebauthn.Credential) answer {
	c.w.t.Helper()
	options := c.do(http.MethodPost, "/account/passkeys/options", "").want(http.StatusOK)
	o, err := virtualwebauthn.ParseAttestationOptions(string(options.body))
	c.w.must(err)
	auth.Options.UserHandle = []byte(o.UserID)
	made := virtualwebauthn.CreateAttestationResponse(atLocalhost, *auth, key, *o)
	return c.do(http.MethodPost, "/account/passkeys", `{"name":"Laptop","credential":`+made+`}`)
}

func TestPasskeys(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.keyOwner()
		auth, key := virtualwebauthn.NewAuthenticator(), virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		before := cookieOf(c)
		added := read[AddedPasskey](c.addKey(&auth, key).want(http.StatusCreated))
		if len(added.Codes) != account.RecoveryCodes || added.Passkey.Name != "Laptop" || cookieOf(c) == before {
			t.Errorf("%+v; the token is new: %v", added, cookieOf(c) != before)
		}
		// Signing in without a user name, with the browser that began.
		fresh := w.atPasskeys()
		begun := fresh.do(http.MethodPost, "/session/passkey/options", "").want(http.StatusOK)
		holder, _, _ := strings.Cut(begun.header.Get("Set-Cookie"), ";")
		o, err := virtualwebauthn.ParseAssertionOptions(string(begun.body))
		w.must(err)
		key.Counter++
		body := `{"credential":` + virtualwebauthn.CreateAssertionResponse(atLocalhost, auth, key, *o) + `}`
		w.atPasskeys().do(http.MethodPost, "/session/passkey", body).problem(CodePasskey)
		in := fresh.do(http.MethodPost, "/session/passkey", body, "Cookie: "+holder).want(http.StatusOK)
		if me := read[Me](in); me.User.ID != string(c.user.ID) || me.Proof.By != account.BySecond {
			t.Errorf("%+v", me)
		}
		fresh.do(http.MethodPost, "/session/passkey", body, "Cookie: "+holder).problem(CodePasskey)

		list := read[PasskeyList](c.do(http.MethodGet, "/account/passkeys", "").want(http.StatusOK)).Items
		if len(list) != 1 || list[0].ID != added.Passkey.ID || list[0].LastUsedAt == nil {
			t.Errorf("%+v", list)
		}
		one := "/account/passkeys/" + added.Passkey.ID
		other := w.signedIn(w.north, store.RoleOwner)
		other.do(http.MethodPatch, one, `{"name":"Mine"}`).problem(CodeNotFound)
		other.do(http.MethodDelete, one, "").problem(CodeNotFound)
		c.do(http.MethodPatch, one, `{"name":"Desk"}`).want(http.StatusNoContent)
		if list := read[PasskeyList](c.do(http.MethodGet, "/account/passkeys", "")).Items; list[0].Name != "Desk" {
			t.Errorf("%+v", list)
		}
		c.do(http.MethodDelete, one, "").want(http.StatusNoContent)
		c.do(http.MethodGet, "/session", "").want(http.StatusOK)
	}, passkeys)
}

// TestPasskeyOptions: what the browser gets says that the key is to be found without a name,
// and that whoever uses it is to be recognised.
func TestPasskeyOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passkeys).serve()
	c := w.keyOwner()
	o := read[PasskeyOptions](c.do(http.MethodPost, "/account/passkeys/options", "").want(http.StatusOK))
	text, err := json.Marshal(o.PublicKey["authenticatorSelection"])
	w.must(err)
	for _, part := range []string{`"residentKey":"required"`, `"userVerification":"required"`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	w.signedIn(w.north, store.RoleOwner).do(http.MethodPost, "/account/passkeys/options", "").problem(CodeNoPasskeys)
	p := read[PasskeyOptions](w.atPasskeys().do(http.MethodPost, "/session/passkey/options", "").want(http.StatusOK)).PublicKey
	if p["userVerification"] != "required" || p["rpId"] != "localhost" || p["allowCredentials"] != nil {
		t.Errorf("%v", p)
	}
}
