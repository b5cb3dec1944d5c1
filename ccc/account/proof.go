package account

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Proof is what somebody has proven who he is with.
type Proof string

// The proofs.
const (
	ByPassword Proof = "password"
	BySecond   Proof = "second" // a second factor after the password, or a passkey

	// byProvider is BySecond where an OpenID provider has asked for the second factor: none
	// of this server's has to be set up then.
	byProvider Proof = "provider"
)

// Need is what is missing before a session is good for more than that.
type Need string

// The needs; empty is none.
const (
	// NeedSecond: there is a second factor, and the session was proven with the password.
	NeedSecond Need = "second"
	// NeedEnrol: there has to be a second factor, and there is none.
	NeedEnrol Need = "enrol"
)

var (
	// ErrStale: what the proof of the session permits needs a newer one, or one with a
	// second factor.
	ErrStale = errors.New("the proof is too old")
	// ErrCode: the code of the second factor is wrong, or was used before.
	ErrCode = errors.New("wrong code")
	// ErrNoFactor: there is no such second factor.
	ErrNoFactor = errors.New("no second factor")
	// ErrLastFactor: there has to be a second factor, and this is the last one.
	ErrLastFactor = errors.New("the last second factor")
)

// The values of a session about its proof.
const (
	proofValue  = "proof"
	provedValue = "proved" // Unix time in milliseconds
)

// Standing is who has sent a request, and what his session, or his token, is good for.
type Standing struct {
	User    store.User
	Factors store.Factors
	// Proof and Proved are those of the session; of a token, of the session that made it.
	Proof  Proof
	Proved time.Time
	Need   Need
	// Fresh: he may change what he proves himself with. Never with a token.
	Fresh bool
	// Token is what the request came with in place of a session; nil: a session.
	Token *store.APIToken
}

// Standing gives it as it is now. The error is [ErrNoSession] as of [Accounts.Current],
// where the second step of a sign-in has taken too long, and for a token that was made with
// the password alone by somebody who needs a second factor by now.
func (a *Accounts) Standing(ctx context.Context) (Standing, error) {
	var s Standing
	var err error
	s.User, err = a.current(ctx, func(tx *store.Tx, user store.User) (err error) {
		s.Factors, err = tx.Factors(user.ID)
		return err
	})
	if err != nil {
		return Standing{}, err
	}
	if req := requestOf(ctx); req != nil && req.token != nil {
		if !req.token.Second && (s.Factors.Any() || a.MustHaveSecond(s.User)) {
			return Standing{}, ErrNoSession // or it would go around the second factor
		}
		s.Token, s.Proof, s.Proved = req.token, ByPassword, req.token.Created
		if s.Token.Second {
			s.Proof = BySecond
		}
		return s, nil
	}
	s.Proof = ByPassword
	proof := Proof(a.sessions.GetString(ctx, proofValue))
	if proof == BySecond || proof == byProvider {
		s.Proof = BySecond
	}
	if ms, err := strconv.ParseInt(a.sessions.GetString(ctx, provedValue), 10, 64); err == nil {
		s.Proved = time.UnixMilli(ms).UTC()
	}
	recent := time.Since(s.Proved) < a.cfg.Fresh
	switch {
	case s.Factors.Any() && s.Proof != BySecond:
		s.Need = NeedSecond
	case !s.Factors.Any() && a.MustHaveSecond(s.User) && proof != byProvider:
		s.Need = NeedEnrol
	}
	if s.Need != "" && !recent {
		return Standing{}, ErrNoSession
	}
	s.Fresh = recent && s.Need != NeedSecond
	return s, nil
}

// MustHaveSecond tells whether a user can do nothing without a second factor.
func (a *Accounts) MustHaveSecond(user store.User) bool {
	return a.cfg.SecondFactor == Required && slices.ContainsFunc(user.Roles, func(r store.Role) bool {
		return r == store.RoleOwner || r == store.RoleAdministrator || r == store.RoleRemote
	})
}

// session gives the standing of a session; a token is none.
func (a *Accounts) session(ctx context.Context) (Standing, error) {
	s, err := a.Standing(ctx)
	if err == nil && s.Token != nil {
		err = ErrNoSession
	}
	return s, err
}

// fresh gives the standing of a session whose user may change what he proves himself
// with. The errors are [ErrNoSession] and [ErrStale].
func (a *Accounts) fresh(ctx context.Context) (Standing, error) {
	s, err := a.session(ctx)
	if err == nil && !s.Fresh {
		err = ErrStale
	}
	return s, err
}

// enter makes a session in place of the one that the request came with, and gives its
// cookie.
func (a *Accounts) enter(ctx context.Context, user store.User, proof Proof) (*http.Cookie, error) {
	store.Identify(ctx, user)
	if err := errors.Join(a.sessions.Clear(ctx), a.sessions.RenewToken(ctx)); err != nil {
		return nil, err
	}
	a.sessions.Put(ctx, userValue, string(user.ID))
	a.sessions.Put(ctx, tenantValue, string(user.Tenant))
	a.sessions.Put(ctx, proofValue, string(proof))
	a.sessions.Put(ctx, provedValue, strconv.FormatInt(time.Now().UnixMilli(), 10))
	token, _, err := a.sessions.Commit(ctx)
	if err != nil {
		return nil, err
	}
	// A change of the password that came since the proof did not see the session.
	now, err := a.Current(ctx)
	if err == nil && now.PasswordHash != user.PasswordHash {
		err = ErrNoSession
	}
	if err != nil {
		return nil, errors.Join(err, a.sessions.Destroy(ctx))
	}
	return cookie(ctx, token), nil
}

// ResetFactors takes all second factors, API tokens and links of its own to OpenID providers from an account and ends its
// sessions, for an operator. ErrNotFound of the store.
func (a *Accounts) ResetFactors(ctx context.Context, tenant store.TenantID, id store.UserID) error {
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.User(tenant, id); err != nil {
			return err
		}
		_, err := tx.DeleteUserSessions(id, store.TokenHash{})
		return errors.Join(err, tx.DeleteFactors(id), tx.DeleteAPITokens(id), tx.DeleteOIDCLinks(id))
	})
	if err == nil {
		a.cfg.Logger.Warn("the second factors of an account were taken away", "user", id)
	}
	return err
}

// keepsFactor refuses what would leave a user without the second factor that he has to
// have, and forgets the recovery codes of one who has none any more.
func (a *Accounts) keepsFactor(tx *store.Tx, user store.User) error {
	left, err := tx.Factors(user.ID)
	if err != nil || left.Any() {
		return err
	}
	if a.MustHaveSecond(user) {
		return ErrLastFactor
	}
	return tx.SetRecoveryCodes(user.ID, nil)
}
