package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// APIToken lets a program do as the person may, as far as its verbs go.
type APIToken struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	TenantID  string        `json:"tenant_id" doc:"That it is for"`
	Verbs     []access.Verb `json:"verbs" nullable:"false" doc:"What can be done with it, where the person may do it too"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at"`
	LastUsed  string        `json:"last_used,omitempty" example:"2026-11-26" doc:"The day"`
}

// APITokenList is all of the person's tokens, the newest first.
type APITokenList struct {
	Items []APIToken `json:"items" nullable:"false"`
}

// NewAPIToken makes one.
type NewAPIToken struct {
	Name   string        `json:"name" minLength:"1" maxLength:"60" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Verbs  []access.Verb `json:"verbs" nullable:"false" minItems:"1" maxItems:"64" uniqueItems:"true" doc:"As in x-access of the operations, but for those that make users or let somebody in"`
	Days   int           `json:"days" minimum:"1" maximum:"365" doc:"How long it is good"`
	Tenant string        `json:"tenant_id,omitempty" maxLength:"64" doc:"That it is for; default: the person's own"`
}

// MadeAPIToken is a new token.
type MadeAPIToken struct {
	Info  APIToken `json:"info"`
	Token string   `json:"token" doc:"For the header: Authorization: Bearer. It is shown this once. Secret"`
}

// registerTokens is the table of the operations about API tokens.
func (a *API) registerTokens() {
	const list = "/account/tokens"
	add(a, operation{
		id: "listTokens", method: http.MethodGet, path: list, tag: tagAccount, rule: signedIn,
		summary: "The person's API tokens",
	}, a.listTokens)
	add(a, operation{
		id: "createToken", method: http.MethodPost, path: list, tag: tagAccount, rule: signedIn,
		summary: "Make an API token", description: "For the header Authorization: Bearer, without a cookie.",
		codes: []Code{CodeProofStale, CodeNotFound},
	}, a.createToken)
	add(a, operation{
		id: "revokeToken", method: http.MethodDelete, path: list + "/{token}", tag: tagAccount, rule: signedIn, status: http.StatusNoContent,
		summary: "Revoke an API token",
	}, a.revokeToken)
}

func tokenOf(v store.APIToken) APIToken {
	out := APIToken{ID: string(v.ID), Name: v.Name, TenantID: string(v.For), Verbs: make([]access.Verb, len(v.Scopes)), CreatedAt: v.Created, ExpiresAt: v.Expires}
	for i, s := range v.Scopes {
		out.Verbs[i] = access.Verb(s)
	}
	if v.LastUsed != nil {
		out.LastUsed = v.LastUsed.Format(time.DateOnly)
	}
	return out
}

func (a *API) listTokens(ctx context.Context, _ *nothing) (*body[APITokenList], error) {
	all, err := a.cfg.Accounts.Tokens(ctx)
	if err != nil {
		return nil, factorProblem(err)
	}
	out := &body[APITokenList]{Body: APITokenList{Items: make([]APIToken, len(all))}}
	for i, v := range all {
		out.Body.Items[i] = tokenOf(v)
	}
	return out, nil
}

func (a *API) createToken(ctx context.Context, in *body[NewAPIToken]) (*body[MadeAPIToken], error) {
	who, err := a.enter(ctx, mustActor(ctx), store.TenantID(in.Body.Tenant))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(in.Body.Verbs))
	for i, v := range in.Body.Verbs {
		if !access.Known(v) {
			return nil, problem(CodeInvalid, "", FieldError{"body.verbs", FieldEnum, "has a word that is no verb"})
		}
		if access.LetsIn(v) {
			return nil, problem(CodeInvalid, "", FieldError{"body.verbs", FieldEnum, "has " + string(v) + ", which no token may have: it lets people in"})
		}
		names[i] = string(v)
	}
	slices.Sort(names)
	made, text, err := a.cfg.Accounts.CreateToken(ctx, account.NewToken{
		Name: in.Body.Name, For: who.tenant.ID, Scopes: names, Expires: time.Now().Add(time.Duration(in.Body.Days) * 24 * time.Hour),
	})
	if errors.Is(err, store.ErrLimit) {
		return nil, problem(CodeInvalid, "", FieldError{"body", FieldTooMany, "there are as many tokens as there may be"})
	}
	if err != nil {
		return nil, factorProblem(err)
	}
	return &body[MadeAPIToken]{Body: MadeAPIToken{Info: tokenOf(made), Token: text}}, nil
}

// TokenPath is the token in an address.
type TokenPath struct {
	Token string `path:"token" maxLength:"64" doc:"Id of the token"`
}

func (a *API) revokeToken(ctx context.Context, in *TokenPath) (*nothing, error) {
	return nil, factorProblem(a.cfg.Accounts.RevokeToken(ctx, store.APITokenID(in.Token)))
}
