package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// SignInProvider is an OpenID provider where people sign in.
type SignInProvider struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// OIDCBegin begins a sign-in at a provider.
type OIDCBegin struct {
	Provider   string `json:"provider" minLength:"1" maxLength:"40" doc:"Id of the provider"`
	Next       string `json:"next,omitempty" maxLength:"2000" doc:"Path of this server where the person wants to go; what is none counts as /"`
	Invitation string `json:"invitation,omitempty" maxLength:"128" doc:"What is after # in the link of an invitation that is to be taken up. Secret"`
}

// OIDCAddress is where the browser is to go.
type OIDCAddress struct {
	URL string `json:"url"`
}

// OIDCAnswer is what the provider has sent the browser back with.
type OIDCAnswer struct {
	State  string `json:"flow_state" minLength:"1" maxLength:"200" doc:"The parameter state"`
	Code   string `json:"code,omitempty" maxLength:"4096"`
	Issuer string `json:"iss,omitempty" maxLength:"500" doc:"RFC 9207"`
	Error  string `json:"error,omitempty" maxLength:"200" doc:"RFC 6749 §4.1.2.1"`
}

func (v OIDCAnswer) answer(check func(*store.Tx, store.Invitation) error) account.OIDCAnswer {
	return account.OIDCAnswer{Code: v.Code, State: v.State, Issuer: v.Issuer, Error: v.Error, Check: check}
}

// OIDCSignIn is who has signed in.
type OIDCSignIn struct {
	Me   Me     `json:"me"`
	Next string `json:"next" doc:"Path of this server where the person wanted to go"`
}

// registerOIDC is the table of the operations about OpenID providers.
func (a *API) registerOIDC() {
	add(a, operation{
		id: "beginOIDCSignIn", method: http.MethodPost, path: "/session/oidc/options", tag: tagSession, rule: public,
		summary: "Begin to sign in at an OpenID provider", description: "Sets a cookie that the second step wants back, within ten minutes.",
		codes: []Code{CodeNotFound, CodeLink, CodeOIDCUnavailable},
	}, a.beginOIDCSignIn)
	add(a, operation{
		id: "signInByOIDC", method: http.MethodPost, path: "/session/oidc", tag: tagSession, rule: public,
		summary: "Sign in with a provider's answer", description: "Sets the session's cookie. A second factor may be needed still.",
		codes: []Code{CodeOIDC, CodeOIDCUnavailable, CodeOIDCUnknown, CodeLink, CodeUnauthenticated, CodeLoginLimited},
	}, a.signInByOIDC)
}

// providers gives those of a tenant; empty: all.
func (a *API) providers(tenant store.TenantID) []SignInProvider {
	out := []SignInProvider{}
	if a.cfg.Accounts == nil {
		return out // the document is made
	}
	for _, p := range a.cfg.Accounts.Providers(tenant) {
		out = append(out, SignInProvider{ID: p.ID, Name: p.Name})
	}
	return out
}

// oidcProblem makes problems of what ccc/account refuses about providers.
func oidcProblem(err error) error {
	for _, known := range []struct {
		err  error
		code Code
	}{{account.ErrOIDC, CodeOIDC}, {account.ErrOIDCDown, CodeOIDCUnavailable}, {account.ErrOIDCUnknown, CodeOIDCUnknown}} {
		if errors.Is(err, known.err) {
			return problem(known.code, "")
		}
	}
	return linkProblem(err)
}

func (a *API) beginOIDCSignIn(ctx context.Context, in *body[OIDCBegin]) (*cookieOutput[OIDCAddress], error) {
	address, cookie, err := a.cfg.Accounts.BeginOIDC(ctx, in.Body.Provider, in.Body.Next, in.Body.Invitation)
	if err != nil {
		return nil, oidcProblem(err)
	}
	return &cookieOutput[OIDCAddress]{Cookie: cookie.String(), Body: OIDCAddress{URL: address}}, nil
}

func (a *API) signInByOIDC(ctx context.Context, in *body[OIDCAnswer]) (*cookieOutput[OIDCSignIn], error) {
	cookie, next, err := a.cfg.Accounts.FinishOIDC(ctx, in.Body.answer(a.stillInvited))
	if err != nil {
		return nil, oidcProblem(err)
	}
	out, err := a.signedInNow(ctx, cookie)
	if err != nil {
		return nil, err
	}
	return &cookieOutput[OIDCSignIn]{Cookie: out.Cookie, Body: OIDCSignIn{Me: out.Body, Next: next}}, nil
}
