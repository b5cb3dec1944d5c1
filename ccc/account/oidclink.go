package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// ErrProviderAccount: the account was made at a sign-in at the provider, which says whether
// it goes on.
var ErrProviderAccount = errors.New("the account was made by the provider")

// LinkPrefix begins the parameter state of an answer that [Accounts.FinishLink] wants, so
// that a page knows it from that of a sign-in.
const LinkPrefix = "link-"

// ProviderLink is an OpenID provider at which somebody signs in.
type ProviderLink struct {
	ID string // says nothing about who he is there
	store.OIDCLink
	Name string // of the provider
}

func (a *Accounts) providerLink(l store.OIDCLink) ProviderLink {
	sum := sha256.Sum256([]byte("ccc oidc link " + l.Issuer + " " + l.Subject))
	return ProviderLink{hex.EncodeToString(sum[:16]), l, a.ProviderName(l.Provider)}
}

// Links gives those of who is signed in, and the providers at which he can sign in once he
// has linked them.
func (a *Accounts) Links(ctx context.Context) (links []ProviderLink, others []Provider, err error) {
	who, err := a.session(ctx)
	if err != nil {
		return nil, nil, err
	}
	var all []store.OIDCLink
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.OIDCLinks(who.User.ID)
		return err
	})
	at := map[string]bool{}
	for _, l := range all {
		links = append(links, a.providerLink(l))
		at[l.Provider] = true
	}
	for _, p := range a.Providers(who.User.Tenant) {
		if !at[p.ID] {
			others = append(others, p)
		}
	}
	return links, others, err
}

// mayLink gives who changes where he signs in: he has proven who he is of late, with his
// second factor where he has one.
func (a *Accounts) mayLink(ctx context.Context) (Standing, error) {
	who, err := a.fresh(ctx)
	if err == nil && who.Need != "" {
		err = ErrStale
	}
	return who, err
}

// BeginLink is [Accounts.BeginOIDC] for who is signed in and is to sign in there from now
// on. The errors are [ErrNoSession], [ErrStale], store.ErrNotFound for the provider of
// another tenant, a store.ConflictError "link" where he does so already, and [ErrOIDCDown].
func (a *Accounts) BeginLink(ctx context.Context, id string) (address string, cookie *http.Cookie, err error) {
	who, err := a.mayLink(ctx)
	if err != nil {
		return "", nil, err
	}
	p := a.provider(id)
	if p == nil || p.Tenant != who.User.Tenant || a.cfg.Keys == nil {
		return "", nil, store.ErrNotFound
	}
	if err := a.db.View(ctx, func(tx *store.Tx) error { return unlinked(tx, who.User.ID, p) }); err != nil {
		return "", nil, err
	}
	return a.leave(ctx, p, flow{State: LinkPrefix + rand.Text(), Next: "/", User: who.User.ID})
}

// unlinked refuses another link to a provider.
func unlinked(tx *store.Tx, user store.UserID, p *provider) error {
	links, err := tx.OIDCLinks(user)
	for _, l := range links {
		if l.Provider == p.ID || l.Issuer == p.Issuer {
			return &store.ConflictError{What: "link"}
		}
	}
	return err
}

// FinishLink takes the answer of a provider to what [Accounts.BeginLink] has begun. The roles
// of the account stay as they are, whatever the provider says. The errors are [ErrNoSession],
// [ErrStale], [ErrOIDC], [ErrOIDCDown], and a store.ConflictError where the account has such a
// link by now, or another account has it.
func (a *Accounts) FinishLink(ctx context.Context, answer OIDCAnswer) (ProviderLink, error) {
	who, err := a.mayLink(ctx)
	if err != nil {
		return ProviderLink{}, err
	}
	p, _, c, err := a.returned(ctx, answer, who.User.ID)
	if err != nil {
		return ProviderLink{}, err
	}
	if p.Tenant != who.User.Tenant || !p.lets(cmp.Or(c.Email, who.User.Email)) {
		return ProviderLink{}, a.notOIDC(p, errors.New("who signed in there is not of its people here"))
	}
	link := store.OIDCLink{
		Issuer: p.Issuer, Subject: c.Subject, User: who.User.ID, Provider: p.ID, Created: time.Now().UTC().Truncate(time.Millisecond),
	}
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		if err := unlinked(tx, who.User.ID, p); err != nil {
			return err
		}
		if err := tx.CreateOIDCLink(link); err != nil {
			return err
		}
		return a.tell(tx, who.User, mail.Message{Kind: mail.ProviderLinked, Provider: a.ProviderName(p.ID), Link: a.cfg.ExternalURL + "/account"})
	})
	if err == nil {
		a.cfg.Logger.Info("an account was linked to an OpenID provider", "user", who.User.ID, "provider", p.ID)
	}
	return a.providerLink(link), err
}

// Unlink ends that who is signed in signs in at a provider. The errors are [ErrNoSession],
// [ErrStale], store.ErrNotFound, and [ErrProviderAccount].
func (a *Accounts) Unlink(ctx context.Context, id string) error {
	who, err := a.mayLink(ctx)
	if err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		links, err := tx.OIDCLinks(who.User.ID)
		if err != nil {
			return err
		}
		for _, l := range links {
			if a.providerLink(l).ID != id {
				continue
			}
			if l.Made {
				return ErrProviderAccount
			}
			a.cfg.Logger.Info("an account is no longer linked to an OpenID provider", "user", who.User.ID, "provider", l.Provider)
			return tx.DeleteOIDCLink(who.User.ID, l.Issuer, l.Subject)
		}
		return store.ErrNotFound
	})
}
