package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

var (
	// ErrOIDC: what came back from the provider is not right, came too late, came before, or
	// is for another browser; or the person refused there. The log says which.
	ErrOIDC = errors.New("the sign-in at the provider is not accepted")
	// ErrOIDCDown: the provider does not answer.
	ErrOIDCDown = errors.New("the provider does not answer")
	// ErrOIDCUnknown: the provider knows the person, and here nobody does.
	ErrOIDCUnknown = errors.New("there is no account for who signed in at the provider")
)

// The cookie that binds a sign-in at a provider to the browser that began it.
const (
	secureOIDCCookie = "__Host-ccc-oidc"
	plainOIDCCookie  = "ccc-oidc"
)

const (
	oidcKind      = "oidc" // of the challenge
	oidcLife      = 10 * time.Minute
	oidcSealedFor = "account oidc"
)

// localPath is where a browser may be sent after a sign-in: a path of this server, which
// //host and /\host are not.
var localPath = regexp.MustCompile(`^/(?:[^/\\\x00-\x20][^\\\x00-\x20]*)?$`)

// LocalPath gives a path if it is one of this server, and otherwise "/".
func LocalPath(path string) string {
	if !localPath.MatchString(path) {
		return "/"
	}
	return path
}

// provider is one with what it says about itself, which is asked for when it is needed.
type provider struct {
	Provider

	mu     sync.Mutex // guards the others, and that it is asked once at a time
	loaded *oidc.Provider
	issues bool // it says in its answers who it is (RFC 9207)
}

// load gives what the provider says about itself. The error is [ErrOIDCDown].
func (p *provider) load(ctx context.Context, a *Accounts) (*oidc.Provider, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded != nil {
		return p.loaded, p.issues, nil
	}
	loaded, err := oidc.NewProvider(oidc.ClientContext(ctx, a.web), p.Issuer)
	var says struct {
		Issues bool `json:"authorization_response_iss_parameter_supported"`
	}
	if err == nil {
		err = loaded.Claims(&says)
	}
	if err != nil {
		a.cfg.Logger.Warn("an OpenID provider is of no use", "provider", p.ID, "error", err)
		return nil, false, ErrOIDCDown
	}
	p.loaded, p.issues = loaded, says.Issues
	return p.loaded, p.issues, nil
}

// client is this server at the provider.
func (p *provider) client(a *Accounts, loaded *oidc.Provider) (*oauth2.Config, error) {
	c := &oauth2.Config{
		ClientID: p.ClientID, Endpoint: loaded.Endpoint(), RedirectURL: a.cfg.ExternalURL + "/oidc",
		Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...),
	}
	if p.Scopes == nil {
		c.Scopes = append(c.Scopes, "email", "profile")
	}
	if p.ClientSecretFile != "" {
		text, err := p.ClientSecretFile.Read()
		if err != nil {
			return nil, err
		}
		c.ClientSecret = string(text)
	}
	return c, nil
}

func (a *Accounts) provider(id string) *provider {
	i := slices.IndexFunc(a.providers, func(p *provider) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return a.providers[i]
}

// ProviderName gives what a provider is called; its id where there is none any more.
func (a *Accounts) ProviderName(id string) string {
	if p := a.provider(id); p != nil {
		return p.Name
	}
	return id
}

// Providers gives those of a tenant; empty: all.
func (a *Accounts) Providers(tenant store.TenantID) []Provider {
	all := []Provider{}
	for _, p := range a.providers {
		if tenant == "" || p.Tenant == tenant {
			all = append(all, p.Provider)
		}
	}
	return all
}

// flow is a sign-in at a provider that has begun; it is kept sealed.
type flow struct {
	Provider   string `json:"provider"`
	State      string `json:"state"`
	Nonce      string `json:"nonce"`
	Verifier   string `json:"verifier"`
	Next       string `json:"next"`
	Invitation string `json:"invitation,omitempty"` // the secret of one
	// User is who links his account, and does not sign in.
	User store.UserID `json:"user,omitempty"`
}

// BeginOIDC gives the address at a provider where a browser is to go, and the cookie that
// [Accounts.FinishOIDC] wants back. next is where the person wants to go then; invitation
// is the secret of one that he takes up so. The errors are store.ErrNotFound, [ErrLink] for
// an invitation of another tenant, and [ErrOIDCDown].
func (a *Accounts) BeginOIDC(ctx context.Context, id, next, invitation string) (address string, cookie *http.Cookie, err error) {
	p := a.provider(id)
	if p == nil || a.cfg.Keys == nil {
		return "", nil, store.ErrNotFound
	}
	if invitation != "" {
		i, _, err := a.Invitation(ctx, invitation)
		if err == nil && i.Tenant != p.Tenant {
			err = ErrLink
		}
		if err != nil {
			return "", nil, err
		}
	}
	return a.leave(ctx, p, flow{State: rand.Text(), Next: LocalPath(next), Invitation: invitation})
}

// leave begins what is done at a provider.
func (a *Accounts) leave(ctx context.Context, p *provider, f flow) (address string, cookie *http.Cookie, err error) {
	loaded, _, err := p.load(ctx, a)
	if err != nil {
		return "", nil, err
	}
	client, err := p.client(a, loaded)
	if err != nil {
		return "", nil, err
	}
	f.Provider, f.Nonce, f.Verifier = p.ID, rand.Text(), oauth2.GenerateVerifier()
	text, err := json.Marshal(f)
	if err != nil {
		return "", nil, err
	}
	token := rand.Text()
	holder := hashToken(token)
	sealed, err := a.cfg.Keys.Seal(oidcSealedFor, hex.EncodeToString(holder[:]), text)
	if err != nil {
		return "", nil, err
	}
	err = a.db.Update(store.Aside(ctx), func(tx *store.Tx) error {
		return tx.PutChallenge(holder, oidcKind, sealed, time.Now().Add(oidcLife))
	})
	address = client.AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier))
	return address, requestOf(ctx).oidcCookie(token), err
}

// oidcCookie is not sent with what another site asks for: the page that the provider sends
// the browser to asks itself.
func (r *request) oidcCookie(token string) *http.Cookie {
	return &http.Cookie{
		Name: r.oidcCookieName(), Value: token, Path: "/", HttpOnly: true, Secure: r.secure,
		SameSite: http.SameSiteStrictMode, MaxAge: int(oidcLife / time.Second),
	}
}

func (r *request) oidcCookieName() string {
	if r.secure {
		return secureOIDCCookie
	}
	return plainOIDCCookie
}

// OIDCAnswer is what a provider has sent a browser back with (OpenID Connect Core §3.1.2.5).
type OIDCAnswer struct {
	Code, State string
	Issuer      string // iss (RFC 9207)
	Error       string
	// Check looks whether an account may be made, in the transaction that does; the
	// invitation is that which is taken up, or has the tenant alone.
	Check func(*store.Tx, store.Invitation) error
}

// FinishOIDC takes the answer of a provider, and gives the cookie of the new session and
// where the person wanted to go. The errors are [ErrOIDC], [ErrOIDCDown],
// [ErrOIDCUnknown] and [ErrLink].
func (a *Accounts) FinishOIDC(ctx context.Context, answer OIDCAnswer) (cookie *http.Cookie, next string, err error) {
	p, f, c, err := a.returned(ctx, answer, "")
	if err != nil {
		return nil, "", err
	}
	user, err := a.oidcUser(ctx, p, f, c, answer.Check)
	if err != nil {
		return nil, "", err
	}
	proof := ByPassword
	if p.SecondFactor == ProviderFactor && c.second(p.Provider) {
		proof = byProvider
	}
	cookie, err = a.enter(ctx, user, proof)
	return cookie, f.Next, err
}

// returned gives what was begun and what the provider says, for who has begun it: the user
// who links his account; empty: who signs in. The errors are [ErrOIDC] and [ErrOIDCDown].
func (a *Accounts) returned(ctx context.Context, answer OIDCAnswer, user store.UserID) (p *provider, f flow, c claims, err error) {
	if f, err = a.begun(ctx); err != nil {
		return nil, f, c, err
	}
	if p = a.provider(f.Provider); p == nil {
		return nil, f, c, ErrOIDC
	}
	if f.User != user {
		return nil, f, c, a.notOIDC(p, errors.New("it was begun for something else, or by somebody else"))
	}
	if subtle.ConstantTimeCompare([]byte(f.State), []byte(answer.State)) != 1 {
		return nil, f, c, a.notOIDC(p, errors.New("the state is another"))
	}
	loaded, issues, err := p.load(ctx, a)
	if err != nil {
		return nil, f, c, err
	}
	if (issues || answer.Issuer != "") && answer.Issuer != p.Issuer {
		return nil, f, c, a.notOIDC(p, errors.New("the answer is of another issuer"))
	}
	if answer.Error != "" {
		return nil, f, c, a.notOIDC(p, errors.New("it refused"))
	}
	c, err = a.exchange(ctx, p, loaded, f, answer.Code)
	return p, f, c, err
}

// begun gives the sign-in that the browser has begun, once.
func (a *Accounts) begun(ctx context.Context) (f flow, err error) {
	if a.cfg.Keys == nil {
		return f, ErrOIDC
	}
	holder := hashToken(requestOf(ctx).oidc)
	var sealed []byte
	err = a.db.Update(store.Aside(ctx), func(tx *store.Tx) (err error) {
		sealed, err = tx.TakeChallenge(holder, oidcKind, time.Now())
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return f, ErrOIDC
	}
	if err != nil {
		return f, err
	}
	text, err := a.cfg.Keys.Open(oidcSealedFor, hex.EncodeToString(holder[:]), sealed)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(text, &f)
}

// notOIDC hides why, which is for the log alone.
func (a *Accounts) notOIDC(p *provider, err error) error {
	a.cfg.Logger.Warn("a sign-in at an OpenID provider is not accepted", "provider", p.ID, "error", err)
	return ErrOIDC
}

// claims are what an ID token says (OpenID Connect Core §2 and §5.1).
type claims struct {
	Subject  string `json:"sub"`
	Party    string `json:"azp"`
	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
	Name     string `json:"name"`
	ACR      string `json:"acr"`
	AMR      []string

	all map[string]json.RawMessage
}

// list gives the texts of a claim that is a text or a list of them.
func (c claims) list(name string) (values []string) {
	var one string
	if json.Unmarshal(c.all[name], &one) == nil {
		return []string{one}
	}
	_ = json.Unmarshal(c.all[name], &values) // of another type: none
	return values
}

// second tells whether there was a second factor at the provider.
func (c claims) second(p Provider) bool {
	return c.ACR != "" && slices.Contains(p.ACR, c.ACR) || slices.ContainsFunc(c.AMR, func(v string) bool { return slices.Contains(p.AMR, v) })
}

// exchange gives what the provider says about who has the code.
func (a *Accounts) exchange(ctx context.Context, p *provider, loaded *oidc.Provider, f flow, code string) (c claims, err error) {
	client, err := p.client(a, loaded)
	if err != nil {
		return c, err
	}
	ctx = oidc.ClientContext(ctx, a.web)
	token, err := client.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil && refused.Response.StatusCode < http.StatusInternalServerError {
		return c, a.notOIDC(p, errors.New("the code was refused: "+refused.ErrorCode))
	}
	if err != nil {
		a.cfg.Logger.Warn("an OpenID provider gives no token", "provider", p.ID, "error", err)
		return c, ErrOIDCDown
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := loaded.VerifierContext(ctx, &oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return c, a.notOIDC(p, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1 {
		return c, a.notOIDC(p, errors.New("the nonce is another"))
	}
	if err := errors.Join(id.Claims(&c), id.Claims(&c.all)); err != nil {
		return c, a.notOIDC(p, err)
	}
	c.AMR = c.list("amr")
	if c.Subject == "" || len(id.Audience) > 1 && c.Party != p.ClientID || c.Party != "" && c.Party != p.ClientID {
		return c, a.notOIDC(p, errors.New("the token is for another party"))
	}
	if c.Email == "" && loaded.UserInfoEndpoint() != "" {
		// In this flow the token need not have what the scopes are for (OpenID Connect Core §5.4).
		info, err := loaded.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			a.cfg.Logger.Warn("an OpenID provider does not say who somebody is", "provider", p.ID, "error", err)
			return c, ErrOIDCDown
		}
		more := map[string]json.RawMessage{}
		if err := info.Claims(&more); err != nil || info.Subject != c.Subject {
			return c, a.notOIDC(p, errors.New("it tells of somebody else"))
		}
		c.Email, c.Verified = info.Email, info.EmailVerified
		for name, v := range more {
			if _, there := c.all[name]; !there {
				c.all[name] = v
			}
		}
		if names := c.list("name"); len(names) == 1 {
			c.Name = names[0]
		}
	}
	if normal, err := NormalizeEmail(c.Email); err == nil {
		c.Email = normal
	} else {
		c.Email, c.Verified = "", false
	}
	return c, nil
}
