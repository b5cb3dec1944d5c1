package api

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// idp is an OpenID provider that says what a test wants.
type idp struct {
	*httptest.Server

	key, other *rsa.PrivateKey
	mu         sync.Mutex // guards the others
	claims     map[string]any
	nonce      string // of the last address
	change     func(claims map[string]any)
	foreign    bool // it signs with a key of its own
	broken     bool // it answers 500
	used       map[string]bool
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	p := &idp{used: map[string]bool{}, change: func(map[string]any) {}}
	for _, key := range []**rsa.PrivateKey{&p.key, &p.other} {
		var err error
		if *key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.broken {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	say := func(w io.Writer, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		say(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}, "authorization_response_iss_parameter_supported": true,
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		say(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		code := r.FormValue("code")
		if p.used[code] || r.FormValue("code_verifier") == "" {
			w.WriteHeader(http.StatusBadRequest)
			say(w, map[string]string{"error": "invalid_grant"})
			return
		}
		p.used[code] = true
		key := p.key
		if p.foreign {
			key = p.other
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		claims := map[string]any{"iss": p.URL, "aud": "ccc", "nonce": p.nonce, "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix()}
		maps.Copy(claims, p.claims)
		p.change(claims)
		text, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Error(err)
		}
		say(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": text, "expires_in": 60})
	})
	return p
}

// says sets the claims of who signs in.
func (p *idp) says(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims = claims
}

// provider is the configuration for it.
func (p *idp) provider(change ...func(*account.Provider)) func(*options) {
	v := account.Provider{
		ID: "acme", Name: "Acme ID", Issuer: p.URL, ClientID: "ccc", JustInTime: true, EmailDomains: []string{"acme.example"},
		Roles:   account.ProviderRoles{Claim: "groups", Map: map[string]store.Role{"ops": store.RoleMonitoring, "admins": store.RoleAdministrator}},
		Ceiling: []store.Role{store.RoleMonitoring, store.RoleRemote}, DefaultRoles: []store.Role{store.RoleRemote},
	}
	for _, f := range change {
		f(&v)
	}
	return func(o *options) {
		v.Tenant = acme
		o.account.OIDC = append(o.account.OIDC, v)
		o.account.ExternalURL = "http://localhost"
	}
}

// acme is the tenant whose people sign in there.
const acme store.TenantID = "acme"

func oidcWorld(t *testing.T, change ...func(*options)) *world {
	t.Helper()
	w := newWorld(t, change...).serve()
	w.update(func(tx *store.Tx) error {
		return tx.CreateTenant(store.Tenant{ID: acme, Kind: store.KindCustomer, Name: "Acme", LegalName: "Acme", Created: time.Now()})
	})
	return w
}

// begin begins a sign-in, and gives the parameters of the address at the provider.
func (c *client) begin(body string) url.Values {
	c.w.t.Helper()
	address := read[OIDCAddress](c.do(http.MethodPost, "/session/oidc/options", body).want(http.StatusOK)).URL
	u, err := url.Parse(address)
	c.w.must(err)
	return u.Query()
}

// answering is what the page sends that the provider leads to.
func answering(q url.Values, code, iss string) string {
	text, _ := json.Marshal(map[string]string{"flow_state": q.Get("state"), "code": code, "iss": iss})
	return string(text)
}

const atAcme = `{"provider":"acme","next":"/systems/7"}`

// TestOIDCJustInTime: the first sign-in makes an account in the provider's tenant, whose
// roles follow the claim up to the ceiling; the second is the same person.
func TestOIDCJustInTime(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	w := oidcWorld(t, p.provider())
	signIn := func(claims map[string]any) (*client, answer) {
		t.Helper()
		p.says(claims)
		c := w.client()
		q := c.begin(atAcme)
		if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("redirect_uri") != "http://localhost/oidc" ||
			q.Get("response_type") != "code" || q.Get("nonce") == "" || q.Get("state") == "" {
			t.Errorf("%v", q)
		}
		p.mu.Lock()
		p.nonce = q.Get("nonce")
		p.mu.Unlock()
		return c, c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL))
	}
	jo := map[string]any{"sub": "1", "email": "Jo@acme.example", "email_verified": true, "name": "Jo", "groups": []string{"ops", "admins", "owner"}}
	_, a := signIn(jo)
	in := read[OIDCSignIn](a.want(http.StatusOK))
	if in.Me.User.Email != "jo@acme.example" || in.Me.Tenant.ID != string(acme) || in.Next != "/systems/7" || in.Me.Proof.Need != "" {
		t.Errorf("%+v", in)
	}
	if got := marshal(t, in.Me.User.Roles); got != `["monitoring","remote"]` {
		t.Errorf("roles %s, and no other is below the ceiling", got)
	}
	jo["groups"], jo["email"] = "nothing", "else@acme.example"
	c, a := signIn(jo)
	again := read[OIDCSignIn](a.want(http.StatusOK))
	if again.Me.User.ID != in.Me.User.ID || marshal(t, again.Me.User.Roles) != `["remote"]` {
		t.Errorf("%+v", again)
	}
	c.do(http.MethodGet, "/session", "").want(http.StatusOK)
	w.user(w.north, "taken@acme.example", store.RoleOwner)
	for name, claims := range map[string]map[string]any{
		"an address that has an account": {"sub": "2", "email": "taken@acme.example", "email_verified": true},
		"an unverified address":          {"sub": "3", "email": "a@acme.example"},
		"another domain":                 {"sub": "4", "email": "a@evil.example", "email_verified": true},
		"a domain that ends so":          {"sub": "5", "email": "a@evil-acme.example", "email_verified": true},
		"a name as an address":           {"sub": "6", "email": "\"x@acme.example\"@evil.example", "email_verified": true},
	} {
		c, a := signIn(claims)
		t.Log(name)
		a.problem(CodeOIDCUnknown)
		c.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
	}
	w.must(w.accounts.SetDisabled(t.Context(), acme, store.UserID(in.Me.User.ID), true))
	_, a = signIn(jo)
	a.problem(CodeOIDCUnknown)
}

// TestOIDCInvited: who was invited keeps the roles that he was given, whatever the provider
// says of him.
func TestOIDCInvited(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	w := oidcWorld(t, p.provider(), func(o *options) { o.mail = true })
	w.signedIn(acme, store.RoleOwner).do(http.MethodPost, "/invitations", inviting("jo@acme.example", `{"role":"administrator"}`)).want(http.StatusCreated)
	p.says(map[string]any{"sub": "1", "email": "jo@acme.example", "email_verified": true, "groups": []string{"ops"}})
	for _, body := range []string{
		`{"provider":"acme","invitation":"` + secretOf(w.mails("jo@acme.example")[0].Link) + `"}`, atAcme,
	} {
		c := w.client()
		q := c.begin(body)
		p.mu.Lock()
		p.nonce = q.Get("nonce")
		p.mu.Unlock()
		in := read[OIDCSignIn](c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL)).want(http.StatusOK))
		if got := marshal(t, in.Me.User.Roles); got != `["administrator"]` {
			t.Errorf("roles %s", got)
		}
	}
}

// TestOIDCRefuses: what is not as it has to be lets nobody in; the same that is, does.
func TestOIDCRefuses(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	w := oidcWorld(t, p.provider())
	p.says(map[string]any{"sub": "1", "email": "jo@acme.example", "email_verified": true})
	try := func(answer func(url.Values) string, change func(map[string]any)) (*client, answer) {
		t.Helper()
		c := w.client()
		q := c.begin(atAcme)
		p.mu.Lock()
		p.nonce, p.change = q.Get("nonce"), change
		p.mu.Unlock()
		return c, c.do(http.MethodPost, "/session/oidc", answer(q))
	}
	usual := func(q url.Values) string { return answering(q, rand.Text(), p.URL) }
	as := func(map[string]any) {}
	set := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	for name, tt := range map[string]struct {
		answer func(url.Values) string
		change func(map[string]any)
	}{
		"wrong audience": {usual, set("aud", "other")},
		"two audiences":  {usual, set("aud", []string{"ccc", "other"})},
		"another party":  {usual, set("azp", "other")},
		"wrong issuer":   {usual, set("iss", "https://evil.example")},
		"wrong nonce":    {usual, set("nonce", "x")},
		"expired":        {usual, set("exp", time.Now().Add(-time.Hour).Unix())},
		"no subject":     {usual, set("sub", "")},
		"other state":    {func(q url.Values) string { q.Set("state", "x"); return usual(q) }, as},
		"other iss":      {func(q url.Values) string { return answering(q, "c", "https://evil.example") }, as},
		"no iss":         {func(q url.Values) string { return answering(q, "c", "") }, as},
		"refused there": {func(q url.Values) string {
			return `{"flow_state":"` + q.Get("state") + `","error":"access_denied","iss":"` + p.URL + `"}`
		}, as},
		"without a code": {func(q url.Values) string { return answering(q, "", p.URL) }, func(map[string]any) { p.used[""] = true }},
	} {
		if name == "without a code" {
			p.mu.Lock()
			p.used[""] = true
			p.mu.Unlock()
		}
		c, a := try(tt.answer, tt.change)
		t.Log(name)
		a.problem(CodeOIDC)
		c.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
	}
	p.mu.Lock()
	p.foreign = true
	p.mu.Unlock()
	_, a := try(usual, as)
	a.problem(CodeOIDC) // signed with another key
	p.mu.Lock()
	p.foreign = false
	p.mu.Unlock()

	// An answer counts once, and in the browser that began.
	c := w.client()
	q := c.begin(atAcme)
	p.mu.Lock()
	p.nonce = q.Get("nonce")
	p.mu.Unlock()
	body := usual(q)
	w.client().do(http.MethodPost, "/session/oidc", body).problem(CodeOIDC)
	c.do(http.MethodPost, "/session/oidc", body).want(http.StatusOK)
	c.do(http.MethodPost, "/session/oidc", body).problem(CodeOIDC)
	c.do(http.MethodGet, "/session", "").want(http.StatusOK)
	// A code that was used before.
	used := rand.Text()
	if _, a := try(func(q url.Values) string { return answering(q, used, p.URL) }, as); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	_, a = try(func(q url.Values) string { return answering(q, used, p.URL) }, as)
	a.problem(CodeOIDC)

	p.mu.Lock()
	p.broken = true
	p.mu.Unlock()
	_, a = try(usual, as)
	a.problem(CodeOIDCUnavailable)
}

// A provider that is down, or slow, keeps nothing from starting, and nobody else out.
func TestOIDCDown(t *testing.T) {
	t.Parallel()
	slow, stop := make(chan struct{}), sync.Once{}
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-slow }))
	t.Cleanup(func() {
		stop.Do(func() { close(slow) })
		hanging.Close()
	})
	add := func(id, issuer string) func(*options) {
		return func(o *options) {
			o.account.OIDC = append(o.account.OIDC, account.Provider{ID: id, Name: id, Tenant: acme, Issuer: issuer, ClientID: "ccc"})
			o.account.ExternalURL, o.account.OIDCTimeout = "http://localhost", time.Second
		}
	}
	w := oidcWorld(t, add("down", "http://127.0.0.1:1"), add("slow", hanging.URL))
	for _, id := range []string{"down", "slow"} {
		w.client().do(http.MethodPost, "/session/oidc/options", `{"provider":"`+id+`"}`).problem(CodeOIDCUnavailable)
	}
	w.client().do(http.MethodPost, "/session/oidc/options", `{"provider":"other"}`).problem(CodeNotFound)
	w.signedIn(w.north, store.RoleOwner).do(http.MethodGet, "/session", "").want(http.StatusOK)
	if got := read[Meta](w.client().do(http.MethodGet, "/meta", "")).Providers; len(got) != 2 || got[0].Name != "down" {
		t.Errorf("%+v", got)
	}
}

// What the provider says about a second factor counts where it is to, and only then.
func TestOIDCSecondFactor(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	theirs := func(v *account.Provider) {
		v.SecondFactor, v.AMR, v.ACR = account.ProviderFactor, []string{"mfa"}, []string{"high"}
	}
	for _, tt := range []struct {
		name   string
		change func(*account.Provider)
		claims map[string]any
		need   string
	}{
		{"own", func(*account.Provider) {}, map[string]any{"amr": []string{"mfa"}}, "enrol"},
		{"none", theirs, map[string]any{"amr": []string{"pwd"}, "acr": "low"}, "enrol"},
		{"amr", theirs, map[string]any{"amr": []string{"pwd", "mfa"}}, ""},
		{"acr", theirs, map[string]any{"acr": "high"}, ""},
	} {
		w := oidcWorld(t, mustEnrol, p.provider(tt.change))
		tt.claims["sub"], tt.claims["email"], tt.claims["email_verified"] = "1", "jo@acme.example", true
		p.says(tt.claims)
		c := w.client()
		q := c.begin(atAcme)
		p.mu.Lock()
		p.nonce = q.Get("nonce")
		p.mu.Unlock()
		in := read[OIDCSignIn](c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL)).want(http.StatusOK))
		if string(in.Me.Proof.Need) != tt.need {
			t.Errorf("%s: needs %q, want %q", tt.name, in.Me.Proof.Need, tt.need)
		}
	}
}

// TestRealProvider signs in at zitadel's provider, which checks PKCE, the secret and the
// redirect URI, and is asked for the address: an invitation is taken up there, and its
// roles count.
func TestRealProvider(t *testing.T) {
	t.Parallel()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	storage.RegisterClients(storage.WebClient("ccc-api-test", "s3cret", "http://localhost/oidc"))
	handler = exampleop.SetupServer(server.URL, storage.NewStorage(storage.NewUserStore(server.URL)), slog.New(slog.DiscardHandler), false)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := oidcWorld(t, withMail, func(o *options) {
		o.account.OIDC = []account.Provider{{
			ID: "zitadel", Name: "Zitadel", Tenant: acme, Issuer: server.URL, ClientID: "ccc-api-test", ClientSecretFile: configs.SecretFile(file),
		}}
	})
	there := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(there.CloseIdleConnections)
	get := func(r *http.Request, err error) *url.URL {
		t.Helper()
		w.must(err)
		resp, err := there.Do(r)
		w.must(err)
		defer resp.Body.Close()
		to, err := resp.Location()
		w.must(err)
		return to
	}
	visitAt := func(c *client, path, body string) string {
		t.Helper()
		address := read[OIDCAddress](c.do(http.MethodPost, path, body).want(http.StatusOK)).URL
		login := get(http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody))
		form := url.Values{"username": {"test-user@127.0.0.1"}, "password": {"verysecure"}, "id": {login.Query().Get("authRequestID")}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/login/username", strings.NewReader(form.Encode()))
		w.must(err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		back := get(http.NewRequestWithContext(t.Context(), http.MethodGet, get(r, nil).String(), http.NoBody))
		if back.Host != "localhost" || back.Path != "/oidc" || back.Query().Get("code") == "" {
			t.Fatalf("the browser is sent to %s", back)
		}
		return answering(back.Query(), back.Query().Get("code"), back.Query().Get("iss"))
	}
	visit := func(c *client, body string) string {
		t.Helper()
		return visitAt(c, "/session/oidc/options", body)
	}
	c := w.client()
	c.do(http.MethodPost, "/session/oidc", visit(c, `{"provider":"zitadel"}`)).problem(CodeOIDCUnknown) // not invited
	owner := w.signedIn(acme, store.RoleOwner)
	owner.do(http.MethodPost, "/invitations", inviting("test-user@zitadel.ch", `{"role":"auditor"}`)).want(http.StatusCreated)
	secret := secretOf(w.mails("test-user@zitadel.ch")[0].Link)
	c = w.client()
	in := read[OIDCSignIn](c.do(http.MethodPost, "/session/oidc", visit(c, `{"provider":"zitadel","invitation":"`+secret+`"}`)).want(http.StatusOK))
	if in.Me.User.Email != "test-user@zitadel.ch" || marshal(t, in.Me.User.Roles) != `["auditor"]` || in.Next != "/" {
		t.Errorf("%+v", in)
	}
	c.do(http.MethodGet, "/users", "").want(http.StatusOK)
	w.client().do(http.MethodPost, "/invitation", `{"secret":"`+secret+`"}`).problem(CodeLink)
	c = w.client()
	again := read[OIDCSignIn](c.do(http.MethodPost, "/session/oidc", visit(c, `{"provider":"zitadel"}`)).want(http.StatusOK))
	if again.Me.User.ID != in.Me.User.ID {
		t.Errorf("%+v", again)
	}
	// Once that account is gone, somebody links his own, and is who signs in there.
	w.update(func(tx *store.Tx) error { return tx.DeleteUser(acme, store.UserID(in.Me.User.ID)) })
	linking := w.signedIn(acme, store.RoleMonitoring)
	link := read[ProviderLink](linking.do(http.MethodPost, "/account/providers", visitAt(linking, "/account/providers/options", `{"provider":"zitadel"}`)).want(http.StatusCreated))
	c = w.client()
	if now := read[OIDCSignIn](c.do(http.MethodPost, "/session/oidc", visit(c, `{"provider":"zitadel"}`)).want(http.StatusOK)); now.Me.User.ID != string(linking.user.ID) {
		t.Errorf("%+v", now)
	}
	linking.do(http.MethodDelete, "/account/providers/"+link.ID, "").want(http.StatusNoContent)
	c = w.client()
	c.do(http.MethodPost, "/session/oidc", visit(c, `{"provider":"zitadel"}`)).problem(CodeOIDCUnknown)
	// An invitation of another tenant is not for this provider.
	other := w.signedIn(w.north, store.RoleOwner)
	other.do(http.MethodPost, "/invitations", inviting("n@example.com", "")).want(http.StatusCreated)
	w.client().do(http.MethodPost, "/session/oidc/options", `{"provider":"zitadel","invitation":"`+secretOf(w.mails("n@example.com")[0].Link)+`"}`).problem(CodeLink)
}
