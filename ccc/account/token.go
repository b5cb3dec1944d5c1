package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TokenPrefix is how API tokens begin, so that scanners find those that were published.
const TokenPrefix = "ccc_pat_"

const (
	// MaxTokens is how many a user may have.
	MaxTokens = 50
	// MaxTokenLife is how long one may live.
	MaxTokenLife = 366 * 24 * time.Hour
	// expiredTokens is how long those that have expired are shown.
	expiredTokens = 30 * 24 * time.Hour
)

// NewToken is what an API token is made of.
type NewToken struct {
	Name    string
	For     store.TenantID // that it is good for; empty: the user's own
	Scopes  []string       // as the API means them
	Expires time.Time
}

// CreateToken makes a token of who is signed in. Its text is given this once. The errors
// are [ErrNoSession], [ErrStale], store.ErrLimit and [InvalidError].
func (a *Accounts) CreateToken(ctx context.Context, v NewToken) (store.APIToken, string, error) {
	s, err := a.fresh(ctx)
	if err != nil {
		return store.APIToken{}, "", err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	if !v.Expires.After(now) || v.Expires.After(now.Add(MaxTokenLife)) {
		return store.APIToken{}, "", &InvalidError{Field: "expires", Code: "expires", Problem: "is not in the future, or more than a year ahead"}
	}
	text := newToken()
	token := store.APIToken{
		ID: store.NewID[store.APITokenID](), Tenant: s.User.Tenant, User: s.User.ID, For: cmp.Or(v.For, s.User.Tenant), Hash: hashToken(text), Name: v.Name, Scopes: v.Scopes,
		Second: s.Proof == BySecond, Created: now, Expires: v.Expires.UTC().Truncate(time.Millisecond),
	}
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.APITokens(s.User.ID)
		if err != nil {
			return err
		}
		if len(all) >= MaxTokens {
			return store.ErrLimit
		}
		return tx.CreateAPIToken(token)
	})
	if err != nil {
		return store.APIToken{}, "", err
	}
	a.cfg.Logger.Info("an API token was made", "user", s.User.ID, "token", token.ID)
	return token, text, nil
}

// newToken has 130 random bits and a checksum.
func newToken() string {
	secret := rand.Text()
	return TokenPrefix + secret + checksum(secret)
}

func checksum(secret string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(secret))) }

// wellFormed tells whether a text can be a token, without asking the store.
func wellFormed(text string) bool {
	rest, ok := strings.CutPrefix(text, TokenPrefix)
	return ok && len(rest) > 8 && checksum(rest[:len(rest)-8]) == rest[len(rest)-8:]
}

// Tokens gives those of who is signed in, the newest first.
func (a *Accounts) Tokens(ctx context.Context) (all []store.APIToken, err error) {
	s, err := a.session(ctx)
	if err != nil {
		return nil, err
	}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.APITokens(s.User.ID)
		return err
	})
	return all, err
}

// RevokeToken ends one. The errors are [ErrNoSession] and store.ErrNotFound.
func (a *Accounts) RevokeToken(ctx context.Context, id store.APITokenID) error {
	s, err := a.session(ctx)
	if err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error { return tx.DeleteAPIToken(s.User.ID, id) })
}

// Bearer tells whether a request comes with a token in place of a session (RFC 6750 §2.1),
// whatever it is worth.
func Bearer(r *http.Request) bool {
	_, ok := bearer(r)
	return ok
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// useToken finds the token of a request, and notes its use. One that comes with a cookie of
// a session is none: which of both is meant is not guessed.
func (a *Accounts) useToken(ctx context.Context, r *http.Request, req *request) error {
	text, _ := bearer(r)
	for _, name := range []string{SecureCookie, PlainCookie} {
		if _, err := r.Cookie(name); err == nil {
			return nil
		}
	}
	if len(r.Header.Values("Authorization")) != 1 || !wellFormed(text) {
		return nil
	}
	token, err := a.findToken(ctx, hashToken(text))
	if errors.Is(err, ErrNoSession) {
		return nil
	}
	if err != nil {
		return err
	}
	req.token = &token
	if day := time.Now().UTC().Truncate(24 * time.Hour); token.LastUsed == nil || token.LastUsed.Before(day) {
		err = a.db.Update(ctx, func(tx *store.Tx) error { return tx.UseAPIToken(token.ID, day) })
		if errors.Is(err, store.ErrNotFound) {
			req.token, err = nil, nil // revoked in the meantime
		}
	}
	return err
}

// findToken gives one that is good now; the error is [ErrNoSession] where there is none.
func (a *Accounts) findToken(ctx context.Context, hash store.TokenHash) (token store.APIToken, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		token, err = tx.APITokenByHash(hash)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !time.Now().Before(token.Expires) {
		err = ErrNoSession
	}
	return token, err
}
