package account

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// resetTries are requests for a new password, counted as wrong passwords are.
const resetTries = "reset"

// resetSealedFor is what requests for a new password are sealed for; their id is their own.
const resetSealedFor = "account reset"

// resetEvery is how often requests of another process, or of one that has ended, are
// looked for.
const resetEvery = 10 * time.Second

// RequestReset has a link for a new password be sent to an address, if an account has it.
// That is looked up later: here the same is done for each address. What is asked for more
// often than the limits let wrong passwords be is let fall without a word, and so is all
// where there is no mail.
func (a *Accounts) RequestReset(ctx context.Context, email string, prefix netip.Prefix) error {
	if !a.cfg.Mail.Enabled() || a.cfg.Keys == nil {
		return nil
	}
	normal, err := NormalizeEmail(email)
	if err != nil {
		normal = "" // nobody's
	}
	err = a.begin(ctx, a.newTry(resetTries, normal, prefix))
	if errors.Is(err, ErrLimited) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(normal)
	if err != nil {
		return err
	}
	r := store.ResetRequest{ID: store.NewID[store.ResetRequestID](), Created: time.Now()}
	if r.Sealed, err = a.cfg.Keys.Seal(resetSealedFor, string(r.ID), text); err != nil {
		return err
	}
	if err := a.db.Update(store.Aside(ctx), func(tx *store.Tx) error { return tx.CreateResetRequest(r) }); err != nil {
		return err
	}
	select {
	case a.resets <- struct{}{}:
	default:
	}
	return nil
}

// answerResets sends what was asked for, until ctx ends.
func (a *Accounts) answerResets(ctx context.Context) {
	ticker := time.NewTicker(resetEvery)
	defer ticker.Stop()
	for {
		for {
			err := a.db.Update(ctx, a.answerReset)
			if err == nil {
				continue
			}
			if !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
				a.cfg.Logger.Warn("a request for a new password was not looked at", "error", err)
			}
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-a.resets:
		}
	}
}

// answerReset answers one request. ErrNotFound: there is none.
func (a *Accounts) answerReset(tx *store.Tx) error {
	r, err := tx.TakeResetRequest()
	if err != nil {
		return err
	}
	text, err := a.cfg.Keys.Open(resetSealedFor, string(r.ID), r.Sealed)
	var email string
	if err == nil {
		err = json.Unmarshal(text, &email)
	}
	if err != nil {
		a.cfg.Logger.Error("a request for a new password does not open", "error", err)
		return nil // it never will
	}
	if time.Since(r.Created) > a.cfg.Reset {
		return nil // nobody waits for it any more
	}
	user, err := tx.UserByEmail(email)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Disabled {
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.sendReset(tx, user); !errors.Is(err, mail.ErrMessage) {
		return err
	}
	a.cfg.Logger.Error("a mail about a new password cannot be written", "user", user.ID)
	return nil // it never will
}

func (a *Accounts) sendReset(tx *store.Tx, user store.User) error {
	links, err := tx.OIDCLinks(user.ID)
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Made {
			return a.tell(tx, user, mail.Message{Kind: mail.PasswordElse, Provider: a.ProviderName(l.Provider), Link: a.cfg.ExternalURL + "/sign-in"})
		}
	}
	secret := newSecret()
	if err := tx.PutPasswordReset(user.ID, hashToken(secret), time.Now().Add(a.cfg.Reset)); err != nil {
		return err
	}
	a.cfg.Logger.Info("a new password was asked for", "user", user.ID)
	return a.tell(tx, user, mail.Message{Kind: mail.PasswordReset, Link: a.cfg.ExternalURL + "/reset#" + secret, Life: a.cfg.Reset})
}

// tell queues a mail to a user; without mail it does nothing.
func (a *Accounts) tell(tx *store.Tx, user store.User, m mail.Message) error {
	if !a.cfg.Mail.Enabled() {
		return nil
	}
	tenant, err := tx.Tenant(user.Tenant)
	if err != nil {
		return err
	}
	m.Of, m.To, m.Name, m.Language, m.Brand = tenant.ID, user.Email, user.Name, user.Language, a.brand(tenant)
	_, err = a.cfg.Mail.Queue(tx, m)
	return err
}

// CompleteReset takes the new password of who has a link, which is used up. All sessions
// end, and so do links to OpenID providers that were made in one; second factors stay, and
// are asked for at the next sign-in. The errors are
// [ErrLink] and [InvalidError].
func (a *Accounts) CompleteReset(ctx context.Context, secret, password string) error {
	hash := hashToken(secret)
	find := func(tx *store.Tx) (user store.User, err error) {
		id, err := tx.PasswordReset(hash, time.Now())
		if err == nil {
			user, err = tx.UserByID(id)
		}
		if errors.Is(err, store.ErrNotFound) || err == nil && user.Disabled {
			err = ErrLink
		}
		return user, err
	}
	var user store.User
	if err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		user, err = find(tx)
		return err
	}); err != nil {
		return err
	}
	store.Concern(ctx, user)
	return a.replacePassword(ctx, &user, password, store.TokenHash{}, func(tx *store.Tx) error {
		if _, err := find(tx); err != nil {
			return err // it was used meanwhile, and what is done here is undone
		}
		a.cfg.Logger.Warn("a password was replaced by a link", "user", user.ID)
		return tx.DeleteOIDCLinks(user.ID)
	})
}

// HasMail tells whether there is mail.
func (a *Accounts) HasMail() bool { return a.cfg.Mail.Enabled() }
