package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// oidcUser gives the user who has signed in at a provider: who was linked to the subject
// before; who takes up an invitation; or, where the provider makes accounts, a new one. An
// e-mail address alone never leads to an account that there is.
func (a *Accounts) oidcUser(ctx context.Context, p *provider, f flow, c claims, check func(*store.Tx, store.Invitation) error) (user store.User, err error) {
	hash, err := a.unknownPassword(ctx, p, c)
	if err != nil {
		return user, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	id := store.NewID[store.UserID]()
	err = a.db.Update(store.Aside(ctx), func(tx *store.Tx) (err error) {
		link, err := tx.OIDCLink(p.Issuer, c.Subject)
		if err == nil {
			user, err = a.linked(tx, p, link, c, now)
			return err
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if hash == "" {
			return ErrOIDC // the link was there a moment ago
		}
		user = store.User{ID: id, Tenant: p.Tenant, Email: c.Email, Name: c.Name, Language: store.German, PasswordHash: hash, Created: now}
		if f.Invitation != "" {
			err = a.invitedAt(tx, p, f.Invitation, &user, c, check)
		} else {
			err = a.justInTime(tx, p, &user, c, check)
		}
		if err != nil {
			return err
		}
		return tx.CreateOIDCLink(store.OIDCLink{
			Issuer: p.Issuer, Subject: c.Subject, User: user.ID, Provider: p.ID, Made: true, Follows: f.Invitation == "", Created: now, LastUsed: &now,
		})
	})
	if errors.Is(err, ErrOIDCUnknown) {
		a.cfg.Logger.Info("somebody without an account has signed in at an OpenID provider", "provider", p.ID)
	}
	return user, err
}

// unknownPassword makes the hash of a password that nobody knows, for an account that has to
// be made; empty: there is one.
func (a *Accounts) unknownPassword(ctx context.Context, p *provider, c claims) (string, error) {
	err := a.db.View(ctx, func(tx *store.Tx) error {
		_, err := tx.OIDCLink(p.Issuer, c.Subject)
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	return a.hash(ctx, rand.Text())
}

// linked is for who has signed in there before.
func (a *Accounts) linked(tx *store.Tx, p *provider, link store.OIDCLink, c claims, now time.Time) (store.User, error) {
	user, err := tx.User(p.Tenant, link.User)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Disabled {
		return user, ErrOIDCUnknown
	}
	if err != nil {
		return user, err
	}
	if err := tx.UseOIDCLink(link.Issuer, link.Subject, now); err != nil {
		return user, err
	}
	if !link.Follows || !p.JustInTime || p.Roles.Claim == "" {
		return user, nil
	}
	roles, follow := p.given(c.list(p.Roles.Claim))
	before, err := tx.UserGrants(p.Tenant, user.ID)
	if err != nil {
		return user, err
	}
	after := slices.DeleteFunc(slices.Clone(before), func(g store.UserGrant) bool {
		return g.Whole() && slices.Contains(follow, g.Role) && !slices.Contains(roles, g.Role)
	})
	for _, r := range roles {
		if g := (store.UserGrant{User: user.ID, Role: r}); slices.Contains(follow, r) && !slices.Contains(after, g) {
			after = append(after, g)
		}
	}
	if slices.Equal(before, after) {
		return user, nil
	}
	if err := tx.SetUserGrants(p.Tenant, user.ID, after); err != nil {
		return user, err
	}
	tx.NoteProvider(user, p.ID, "roles_changed", slices.Concat(named("given_", after, before), named("taken_", before, after)))
	a.cfg.Logger.Info("the roles of an account follow its OpenID provider", "user", user.ID, "provider", p.ID)
	return tx.User(p.Tenant, user.ID)
}

// invitedAt is for who takes up an invitation by signing in at a provider.
func (a *Accounts) invitedAt(tx *store.Tx, p *provider, secret string, user *store.User, c claims, check func(*store.Tx, store.Invitation) error) error {
	i, err := invitationOf(tx, secret)
	if err == nil && i.Tenant != p.Tenant {
		err = ErrLink
	}
	if err != nil {
		return err
	}
	if !p.lets(cmp.Or(c.Email, i.Email)) {
		return ErrOIDCUnknown
	}
	user.Email, user.Name, user.Language = i.Email, cmp.Or(i.Name, c.Name, i.Email), i.Language
	if err := a.takeUp(tx, i, user, check); err != nil {
		return err
	}
	tx.NoteProvider(*user, p.ID, "invitation_accepted", named("given_", i.Roles, nil))
	return nil
}

// justInTime makes an account for somebody of the provider's tenant.
func (a *Accounts) justInTime(tx *store.Tx, p *provider, user *store.User, c claims, check func(*store.Tx, store.Invitation) error) error {
	if !p.JustInTime || c.Email == "" || !c.Verified || !p.lets(c.Email) {
		return ErrOIDCUnknown
	}
	tenant, err := tx.Tenant(p.Tenant)
	if errors.Is(err, store.ErrNotFound) {
		return ErrOIDCUnknown
	}
	if err != nil {
		return err
	}
	if check != nil {
		if err := check(tx, store.Invitation{Tenant: tenant.ID}); err != nil {
			return err
		}
	}
	_, err = tx.UserByEmail(c.Email)
	if err == nil {
		return ErrOIDCUnknown // of whom that is nothing says but the address
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	user.Name = cmp.Or(c.Name, c.Email)
	user.Roles, _ = p.given(c.list(p.Roles.Claim))
	if err := tx.CreateUser(*user); err != nil {
		return err
	}
	grants, err := tx.UserGrants(p.Tenant, user.ID)
	if err != nil {
		return err
	}
	tx.NoteProvider(*user, p.ID, "account_made", named("given_", grants, nil))
	a.cfg.Logger.Info("an account was made for who signed in at an OpenID provider", "user", user.ID, "provider", p.ID)
	*user, err = tx.User(p.Tenant, user.ID)
	return err
}

// named gives the names of the roles that are in one list and not in the other, each once
// and in order, after a word that says what became of them.
func named(word string, in, but []store.UserGrant) []string {
	all := []string{}
	for _, g := range in {
		if !slices.ContainsFunc(but, func(o store.UserGrant) bool { return o.Role == g.Role && o.Part == g.Part }) {
			all = append(all, word+string(g.Role))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
