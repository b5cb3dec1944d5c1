package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
)

// ProviderLink is an OpenID provider at which the person signs in.
type ProviderLink struct {
	ID         string     `json:"id"`
	Provider   string     `json:"provider" doc:"Id of the provider"`
	Name       string     `json:"name" doc:"Of the provider"`
	Made       bool       `json:"made" doc:"The account was made by a sign-in there, and cannot be parted from it"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

// ProviderLinkList is all of them, and the providers at which the person could sign in.
type ProviderLinkList struct {
	Items     []ProviderLink   `json:"items" nullable:"false"`
	Available []SignInProvider `json:"available" nullable:"false" doc:"Providers of the person's tenant that are not linked"`
}

// LinkBegin begins to link an account.
type LinkBegin struct {
	Provider string `json:"provider" minLength:"1" maxLength:"40" doc:"Id of the provider"`
}

// ProviderLinkPath is the link in an address.
type ProviderLinkPath struct {
	Link string `path:"link" maxLength:"64" doc:"Id of the link"`
}

// registerOIDCLinks is the table of the operations about the providers of an account.
func (a *API) registerOIDCLinks() {
	const list = "/account/providers"
	add(a, operation{
		id: "listProviderLinks", method: http.MethodGet, path: list, tag: tagAccount, rule: signedIn,
		summary: "The OpenID providers at which the person signs in",
	}, a.listProviderLinks)
	add(a, operation{
		id: "beginProviderLink", method: http.MethodPost, path: list + "/options", tag: tagAccount, rule: signedIn,
		summary: "Begin to link the account to an OpenID provider", description: "Sets a cookie that the second step wants back, within ten minutes. The parameter state begins with " + account.LinkPrefix + ".",
		codes: []Code{CodeProofStale, CodeNotFound, CodeConflict, CodeOIDCUnavailable},
	}, a.beginProviderLink)
	add(a, operation{
		id: "addProviderLink", method: http.MethodPost, path: list, tag: tagAccount, rule: signedIn, status: http.StatusCreated,
		summary:     "Link the account to an OpenID provider, with the provider's answer",
		description: "By who has begun it in the same browser. Whoever signs in there is this account from now on; its roles stay as they are.",
		codes:       []Code{CodeProofStale, CodeOIDC, CodeConflict, CodeOIDCUnavailable},
	}, a.addProviderLink)
	add(a, operation{
		id: "removeProviderLink", method: http.MethodDelete, path: list + "/{link}", tag: tagAccount, rule: signedIn, status: http.StatusNoContent,
		summary: "Do without a provider", codes: []Code{CodeProofStale, CodeProviderAccount},
	}, a.removeProviderLink)
}

func providerLinkOf(l account.ProviderLink) ProviderLink {
	return ProviderLink{ID: l.ID, Provider: l.Provider, Name: l.Name, Made: l.Made, CreatedAt: l.Created, LastUsedAt: l.LastUsed}
}

// linkedProblem makes problems of what ccc/account refuses about links to providers.
func linkedProblem(err error) error {
	if errors.Is(err, account.ErrProviderAccount) {
		return problem(CodeProviderAccount, "")
	}
	return oidcProblem(err)
}

func (a *API) listProviderLinks(ctx context.Context, _ *nothing) (*body[ProviderLinkList], error) {
	links, others, err := a.cfg.Accounts.Links(ctx)
	if err != nil {
		return nil, factorProblem(err)
	}
	out := &body[ProviderLinkList]{Body: ProviderLinkList{Items: make([]ProviderLink, len(links)), Available: make([]SignInProvider, len(others))}}
	for i, l := range links {
		out.Body.Items[i] = providerLinkOf(l)
	}
	for i, p := range others {
		out.Body.Available[i] = SignInProvider{ID: p.ID, Name: p.Name}
	}
	return out, nil
}

func (a *API) beginProviderLink(ctx context.Context, in *body[LinkBegin]) (*cookieOutput[OIDCAddress], error) {
	address, cookie, err := a.cfg.Accounts.BeginLink(ctx, in.Body.Provider)
	if err != nil {
		return nil, linkedProblem(err)
	}
	return &cookieOutput[OIDCAddress]{Cookie: cookie.String(), Body: OIDCAddress{URL: address}}, nil
}

func (a *API) addProviderLink(ctx context.Context, in *body[OIDCAnswer]) (*created[ProviderLink], error) {
	link, err := a.cfg.Accounts.FinishLink(ctx, in.Body.answer(nil))
	if err != nil {
		return nil, linkedProblem(err)
	}
	return &created[ProviderLink]{Body: providerLinkOf(link)}, nil
}

func (a *API) removeProviderLink(ctx context.Context, in *ProviderLinkPath) (*nothing, error) {
	return nil, linkedProblem(a.cfg.Accounts.Unlink(ctx, in.Link))
}
