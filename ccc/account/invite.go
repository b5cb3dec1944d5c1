package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// ErrLink: a link is none that was made, was used, is over, or was taken back: it is not
// told which.
var ErrLink = errors.New("the link is not good")

// expiredInvitations is how long an invitation that is over can still be sent again.
const expiredInvitations = 30 * 24 * time.Hour

// SentLatelyError says that a mail with an invitation has gone to the address a short time ago.
type SentLatelyError struct{ Again time.Time } // when it can be sent again

// Error says when.
func (e *SentLatelyError) Error() string {
	return "an invitation was sent to the address a short time ago; again from " + e.Again.UTC().Format(time.RFC3339)
}

// invitationMails are mails with invitations, counted as attempts to sign in are.
const invitationMails = "invitation"

// NewInvitation is somebody who is to be invited.
type NewInvitation struct {
	Tenant   store.Tenant
	By       store.User
	Email    string
	Name     string
	Language store.Language
	Roles    []store.UserGrant
	Founding bool // see store.Invitation
}

// Invited is an invitation that was made.
type Invited struct {
	store.Invitation
	// Link is where it is taken up; empty where a mail tells it.
	Link string
}

// Invite invites somebody, in a transaction. The errors are [InvalidError] for the address,
// and a store.ConflictError "email" where the tenant has a user with it, or "invitation"
// where it has invited it, and a [SentLatelyError] where it has lately. An account that the
// address has elsewhere changes nothing but
// the mail: it says so to who has the address.
func (a *Accounts) Invite(tx *store.Tx, v NewInvitation) (Invited, error) {
	email, err := NormalizeEmail(v.Email)
	if err != nil {
		return Invited{}, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	i := store.Invitation{
		ID: store.NewID[store.InvitationID](), Tenant: v.Tenant.ID, Email: email, Name: v.Name, Language: v.Language, Roles: v.Roles,
		Founding: v.Founding, By: v.By.ID, Created: now, Expires: now.Add(a.cfg.Invitation),
	}
	secret := newSecret()
	i.Secret = hashToken(secret)
	if err := tx.CreateInvitation(i); err != nil {
		return Invited{}, err
	}
	link, err := a.invitationMail(tx, &i, secret, v.Tenant, v.By.Name)
	if err == nil && i.Mail != "" {
		err = tx.RenewInvitation(i.Tenant, i.ID, i.Secret, i.Mail, i.Expires)
	}
	return Invited{i, link}, err
}

// InviteAgain gives an invitation a new link, and sends it: the one before is void, and is
// not sent if it still waits. The errors are store.ErrNotFound and [SentLatelyError].
func (a *Accounts) InviteAgain(tx *store.Tx, tenant store.Tenant, id store.InvitationID, by store.User) (Invited, error) {
	i, err := tx.Invitation(tenant.ID, id)
	if err != nil {
		return Invited{}, err
	}
	before, secret := i.Mail, newSecret()
	link, err := a.invitationMail(tx, &i, secret, tenant, by.Name)
	if err != nil {
		return Invited{}, err
	}
	if before != "" {
		if _, err := tx.WithdrawMail(before, time.Now()); err != nil {
			return Invited{}, err
		}
	}
	i.Secret, i.Expires = hashToken(secret), time.Now().UTC().Truncate(time.Millisecond).Add(a.cfg.Invitation)
	return Invited{i, link}, tx.RenewInvitation(tenant.ID, id, i.Secret, i.Mail, i.Expires)
}

// Uninvite takes an invitation back: its link is void, and a mail that still waits is not
// sent. store.ErrNotFound.
func (a *Accounts) Uninvite(tx *store.Tx, tenant store.TenantID, id store.InvitationID) error {
	i, err := tx.Invitation(tenant, id)
	if err != nil {
		return err
	}
	if err := a.withdraw(tx, i); err != nil {
		return err
	}
	return tx.DeleteInvitation(tenant, id)
}

// withdraw has the mail of an invitation not be sent, if it waits. One that nobody has tried
// to send does not count as sent.
func (a *Accounts) withdraw(tx *store.Tx, i store.Invitation) error {
	if i.Mail == "" {
		return nil
	}
	untried, err := tx.WithdrawMail(i.Mail, time.Now())
	if err != nil || !untried {
		return err
	}
	of, err := tx.Tenant(i.Tenant)
	if err != nil {
		return err
	}
	return tx.ClearAttempts(invitationMails, invitationSubject(i, inviter(i, of)))
}

// inviter is the tenant whose mail it is. The owner of a new tenant is invited by who makes
// it, and may make many.
func inviter(i store.Invitation, of store.Tenant) store.TenantID {
	if i.Founding {
		return of.Parent
	}
	return of.ID
}

// invitationSubject is what a tenant's mails with invitations to an address are counted
// under.
func invitationSubject(i store.Invitation, by store.TenantID) string {
	sum := sha256.Sum256([]byte("ccc invitation " + string(by) + " " + i.Email))
	return hex.EncodeToString(sum[:16])
}

// mayMail counts a mail with an invitation; a [SentLatelyError] says that it is too soon.
func (a *Accounts) mayMail(tx *store.Tx, i store.Invitation, by store.TenantID) error {
	now, subject := time.Now(), invitationSubject(i, by)
	n, last, err := tx.CountAttempts(invitationMails, subject, now.Add(-a.cfg.InvitationAgain))
	if err != nil {
		return err
	}
	if n > 0 {
		return &SentLatelyError{Again: last.Add(a.cfg.InvitationAgain)}
	}
	return tx.AddAttempt(invitationMails, subject, now)
}

// invitationMail queues the mail with the secret of an invitation, which has its id then.
// Without mail it gives the link.
func (a *Accounts) invitationMail(tx *store.Tx, i *store.Invitation, secret string, tenant store.Tenant, by string) (link string, err error) {
	user, err := tx.UserByEmail(i.Email)
	taken := err == nil
	switch {
	case taken && user.Tenant == tenant.ID:
		return "", &store.ConflictError{What: "email"}
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	link = a.cfg.ExternalURL + "/invitation#" + secret
	i.Mail = "" // of a link before
	if !a.cfg.Mail.Enabled() {
		return link, nil
	}
	if err := a.mayMail(tx, *i, inviter(*i, tenant)); err != nil {
		return "", err
	}
	m := mail.Message{
		Of: inviter(*i, tenant), Kind: mail.Invitation, To: i.Email, Name: i.Name, Language: i.Language, Brand: a.brand(tenant), Tenant: tenant.Name, By: by,
		Link: link, Life: a.cfg.Invitation,
	}
	if taken {
		m.Kind, m.Link = mail.InvitationTaken, ""
	}
	i.Mail, err = a.cfg.Mail.Queue(tx, m)
	return "", err
}

// Invitation gives the one with the secret of a link, and its tenant. The error is
// [ErrLink].
func (a *Accounts) Invitation(ctx context.Context, secret string) (i store.Invitation, tenant store.Tenant, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		if i, err = invitationOf(tx, secret); err != nil {
			return err
		}
		tenant, err = tx.Tenant(i.Tenant)
		return err
	})
	return i, tenant, err
}

// invitationOf finds an invitation that can be taken up.
func invitationOf(tx *store.Tx, secret string) (store.Invitation, error) {
	i, err := tx.InvitationBySecret(hashToken(secret))
	if errors.Is(err, store.ErrNotFound) || err == nil && !time.Now().Before(i.Expires) {
		return store.Invitation{}, ErrLink
	}
	return i, err
}

// Acceptance is what somebody says who takes up an invitation.
type Acceptance struct {
	Secret   string
	Name     string
	Language store.Language
	Password string
	// Check looks whether it still can be, in the transaction; [ErrLink] says that it cannot.
	Check func(*store.Tx, store.Invitation) error
}

// Accept makes the account of who was invited, which uses the invitation up. The errors are
// [InvalidError] for the password, and [ErrLink], also where the address has got an account
// meanwhile.
func (a *Accounts) Accept(ctx context.Context, v Acceptance) (store.User, error) {
	i, _, err := a.Invitation(ctx, v.Secret)
	if err != nil {
		return store.User{}, err
	}
	password, err := checkPassword(v.Password, i.Email)
	if err != nil {
		return store.User{}, err
	}
	hash, err := a.hash(ctx, password)
	if err != nil {
		return store.User{}, err
	}
	user := store.User{
		ID: store.NewID[store.UserID](), Tenant: i.Tenant, Email: i.Email, Name: v.Name, Language: v.Language, PasswordHash: hash,
		Created: time.Now().UTC().Truncate(time.Millisecond),
	}
	store.Identify(ctx, user)
	made := user // which stays as it is, where the transaction is tried again
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		i, err := invitationOf(tx, v.Secret)
		if err != nil {
			return err
		}
		user = made
		return a.takeUp(tx, i, &user, v.Check)
	})
	if err == nil {
		a.cfg.Logger.Info("an invitation was accepted", "invitation", i.ID, "user", user.ID)
	}
	return user, err
}

// takeUp makes a user of an invitation, which is gone then. The user has his roles then.
func (a *Accounts) takeUp(tx *store.Tx, i store.Invitation, user *store.User, check func(*store.Tx, store.Invitation) error) error {
	if check != nil {
		if err := check(tx, i); err != nil {
			return err
		}
	}
	err := tx.CreateUser(*user)
	if errors.Is(err, store.ErrConflict) {
		return ErrLink
	}
	if err != nil {
		return err
	}
	grants := make([]store.UserGrant, len(i.Roles))
	for n, g := range i.Roles {
		g.User = user.ID
		grants[n] = g
	}
	err = tx.SetUserGrants(i.Tenant, user.ID, grants)
	if errors.Is(err, store.ErrNotFound) {
		return ErrLink // the site or the system of a role is gone
	}
	if err != nil {
		return err
	}
	if err := errors.Join(a.withdraw(tx, i), tx.DeleteInvitation(i.Tenant, i.ID)); err != nil {
		return err
	}
	*user, err = tx.User(i.Tenant, user.ID)
	return err
}

// newSecret is what a link has in it: 256 random bits. The part of an address after # is
// sent to no server.
func newSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

// brand is whose name a tenant's mails bear.
func (a *Accounts) brand(tenant store.Tenant) mail.Brand {
	if a.cfg.Brand == nil {
		return mail.Brand{Name: "COMtrexx"}
	}
	return a.cfg.Brand(tenant.Brand)
}
