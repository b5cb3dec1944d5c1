package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Passwords are normalised to NFC (RFC 8265 §4.2.2), as keyboards differ in how they
// type an accent, and then have MinPassword to MaxPassword bytes. Nothing is asked
// about the kinds of characters (NIST SP 800-63B §3.1.1.2).
const (
	MinPassword = 12
	MaxPassword = 128
)

// MaxEmail is the longest address, in bytes (RFC 5321 §4.5.3.1.3).
const MaxEmail = 254

// InvalidError says what is wrong with a value. Code is stable: "email_invalid",
// "password_short", "password_long", "password_email".
type InvalidError struct {
	Field   string // "email" or "password"
	Code    string
	Problem string // in a few words that follow the field
}

// Error gives "field problem". It never shows the value.
func (e *InvalidError) Error() string { return e.Field + " " + e.Problem }

// NormalizeEmail gives an address in the form that it is kept in: in small letters and
// NFC. The error is an [InvalidError].
func NormalizeEmail(email string) (string, error) {
	normal := strings.ToLower(norm.NFC.String(strings.TrimSpace(email)))
	parsed, err := netmail.ParseAddress(normal)
	if err != nil || parsed.Address != normal || len(normal) > MaxEmail || strings.ContainsAny(normal, "\x00\" ") || strings.ContainsFunc(normal, unprintable) {
		return "", &InvalidError{Field: "email", Code: "email_invalid", Problem: "is not an e-mail address, as in jo@example.com"}
	}
	return normal, nil
}

// unprintable are characters that have no place in an address, nor in a line of a mail.
func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// NewPassword makes one: 130 random bits in 26 letters and digits.
func NewPassword() string { return rand.Text() }

// normalizePassword cuts what is far too long to be one, before it costs anything.
func normalizePassword(password string) string {
	if len(password) > 4*MaxPassword {
		password = password[:4*MaxPassword]
	}
	return norm.NFC.String(password)
}

// checkPassword gives a new password as it is hashed.
func checkPassword(password, email string) (string, error) {
	wrong := func(code, problem string) (string, error) {
		return "", &InvalidError{Field: "password", Code: code, Problem: problem}
	}
	normal := normalizePassword(password)
	switch {
	case !utf8.ValidString(password):
		return wrong("password_invalid", "is not UTF-8")
	case len(normal) < MinPassword:
		return wrong("password_short", fmt.Sprintf("has fewer than %d bytes", MinPassword))
	case len(normal) > MaxPassword:
		return wrong("password_long", fmt.Sprintf("has more than %d bytes", MaxPassword))
	case strings.EqualFold(normal, email):
		return wrong("password_email", "is the e-mail address")
	}
	return normal, nil
}

// hash makes the hash of a new password. It waits for a slot.
func (a *Accounts) hash(ctx context.Context, password string) (string, error) {
	return a.hashAt(ctx, a.creates, password)
}

func (a *Accounts) hashAt(ctx context.Context, at slots, password string) (string, error) {
	release, err := at.take(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return argon2id.CreateHash(password, a.cfg.Hash.params())
}

// check compares a password that somebody gave; old is for a hash of other parameters.
func (a *Accounts) check(ctx context.Context, password, hash string) (ok, old bool, err error) {
	release, err := a.checks.take(ctx)
	if err != nil {
		return false, false, err
	}
	defer release()
	return a.verify(normalizePassword(password), hash)
}

func (a *Accounts) compare(password, hash string) (ok, old bool, err error) {
	ok, params, err := argon2id.CheckHash(password, hash)
	if err != nil {
		return false, false, fmt.Errorf("the account's password hash: %w", err)
	}
	return ok, *params != *a.cfg.Hash.params(), nil
}

// slots bound how many hashes are computed at once, and how many wait for that.
type slots struct{ running, all *semaphore.Weighted }

func newSlots(parallel, queue int) slots {
	return slots{semaphore.NewWeighted(int64(parallel)), semaphore.NewWeighted(int64(parallel + queue))}
}

// take waits until a hash can be computed. Where too many wait already it fails with a
// LimitedError.
func (s slots) take(ctx context.Context) (release func(), err error) {
	if !s.all.TryAcquire(1) {
		return nil, &LimitedError{RetryAfter: time.Second}
	}
	if err := s.running.Acquire(ctx, 1); err != nil {
		s.all.Release(1)
		return nil, err
	}
	return func() {
		s.running.Release(1)
		s.all.Release(1)
	}, nil
}

// ResetPassword gives an account a new password, for an operator. It ends all its sessions
// and takes its API tokens, passkeys and links to OpenID providers, which may be those of
// somebody else who was in. The errors are [InvalidError] and store.ErrNotFound.
func (a *Accounts) ResetPassword(ctx context.Context, tenant store.TenantID, id store.UserID, password string) error {
	var user store.User
	err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		user, err = tx.User(tenant, id)
		return err
	})
	if err != nil {
		return err
	}
	return a.replacePassword(ctx, &user, password, store.TokenHash{}, func(tx *store.Tx) error {
		if err := errors.Join(tx.DeleteAPITokens(id), tx.DeletePasskeys(id), tx.DeleteOIDCLinks(id)); err != nil {
			return err
		}
		if left, err := tx.Factors(id); err != nil || left.Any() {
			return err
		}
		return tx.SetRecoveryCodes(id, nil)
	})
}

// replacePassword ends all sessions but one, and does what else belongs to it in the same
// transaction. The user has the new hash then.
func (a *Accounts) replacePassword(ctx context.Context, user *store.User, password string, but store.TokenHash, also func(*store.Tx) error) error {
	normal, err := checkPassword(password, user.Email)
	if err != nil {
		return err
	}
	hash, err := a.hash(ctx, normal)
	if err != nil {
		return err
	}
	user.PasswordHash = hash
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.SetPassword(user.Tenant, user.ID, hash); err != nil {
			return err
		}
		if err := a.forgetAll(tx, user.Email); err != nil {
			return err
		}
		_, err := tx.DeleteUserSessions(user.ID, but)
		if err := errors.Join(err, also(tx)); err != nil {
			return err
		}
		return errors.Join(tx.DeletePasswordReset(user.ID), a.tell(tx, *user, mail.Message{
			Kind: mail.PasswordChanged, Link: a.cfg.ExternalURL + "/reset",
		}))
	})
}

// SetDisabled locks an account out, which ends its sessions and takes its API tokens, or in
// again.
func (a *Accounts) SetDisabled(ctx context.Context, tenant store.TenantID, id store.UserID, disabled bool) error {
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.SetUserDisabled(tenant, id, disabled); err != nil || !disabled {
			return err
		}
		_, err := tx.DeleteUserSessions(id, store.TokenHash{})
		return err
	})
}
