package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Codes are as every app makes them (RFC 6238 with SHA-1, 6 digits, 30 seconds).
const (
	totpPeriod = 30 * time.Second
	totpWindow = 1  // steps before and after now whose codes are taken, as clocks differ
	secretSize = 20 // bytes, the length of an HMAC-SHA-1 (RFC 4226 §4)
)

// RecoveryCodes is how many there are, each with 80 random bits.
const RecoveryCodes = 10

// sealedFor is what secrets are sealed for; their id is the user's.
const sealedFor = "account totp"

var errNoKeys = errors.New("account: there are no keys to seal secrets with")

// TOTPSecret is what an app makes codes with.
type TOTPSecret struct {
	Secret string // base32
	URI    string // otpauth, for a QR code
}

// NewTOTP gives a secret to who is signed in, for an app, under the name of issuer. It
// counts once [Accounts.ConfirmTOTP] has had a code of it; one that he has goes on until
// then. The errors are [ErrNoSession] and [ErrStale].
func (a *Accounts) NewTOTP(ctx context.Context, issuer string) (TOTPSecret, error) {
	s, err := a.fresh(ctx)
	if err != nil {
		return TOTPSecret{}, err
	}
	if a.cfg.Keys == nil {
		return TOTPSecret{}, errNoKeys
	}
	raw := make([]byte, secretSize)
	_, _ = rand.Read(raw) // never fails
	sealed, err := a.cfg.Keys.Seal(sealedFor, string(s.User.ID), raw)
	if err != nil {
		return TOTPSecret{}, err
	}
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		return tx.PutTOTP(store.TOTP{User: s.User.ID, Pending: true, Sealed: sealed, Created: time.Now()})
	})
	secret := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
	uri := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + s.User.Email,
		// Apps want %20 for a space, not a plus.
		RawQuery: strings.ReplaceAll(url.Values{"secret": {secret}, "issuer": {issuer}}.Encode(), "+", "%20"),
	}
	return TOTPSecret{Secret: secret, URI: uri.String()}, err
}

// ConfirmTOTP takes a first code of the new secret, which is the user's from then on: in
// place of the one before. It gives the cookie of the session, which is proven with it, and
// recovery codes where he has none. The errors are those of NewTOTP, [ErrCode], and
// [ErrNoFactor] where no secret was asked for, or too long ago.
func (a *Accounts) ConfirmTOTP(ctx context.Context, code string) (*http.Cookie, []string, error) {
	s, err := a.fresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	var codes []string
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		v, err := tx.TOTP(s.User.ID, true)
		if errors.Is(err, store.ErrNotFound) || err == nil && time.Since(v.Created) > a.cfg.Fresh {
			return ErrNoFactor
		}
		if err != nil {
			return err
		}
		if v.LastStep, err = a.step(v, code); err != nil {
			return err
		}
		v.Pending = false
		if err := errors.Join(tx.DeleteTOTP(s.User.ID), tx.PutTOTP(v)); err != nil {
			return err
		}
		codes, err = firstCodes(tx, s.User.ID)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	a.cfg.Logger.Info("an account has a new app for codes", "user", s.User.ID)
	cookie, err := a.enter(ctx, s.User, BySecond)
	return cookie, codes, err
}

// RemoveTOTP takes the secret from who is signed in. The errors are those of NewTOTP, and
// [ErrLastFactor].
func (a *Accounts) RemoveTOTP(ctx context.Context) error {
	s, err := a.fresh(ctx)
	if err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.DeleteTOTP(s.User.ID); err != nil {
			return err
		}
		return a.keepsFactor(tx, s.User)
	})
}

// step gives the step of time whose code this is, later than the last one.
func (a *Accounts) step(v store.TOTP, code string) (int64, error) {
	if a.cfg.Keys == nil {
		return 0, errNoKeys
	}
	raw, err := a.cfg.Keys.Open(sealedFor, string(v.User), v.Sealed)
	if err != nil {
		return 0, err
	}
	secret := base32.StdEncoding.EncodeToString(raw)
	code = strings.Join(strings.Fields(code), "")
	now := time.Now().Unix() / int64(totpPeriod/time.Second)
	found := int64(0)
	for at := now - totpWindow; at <= now+totpWindow; at++ {
		want, err := hotp.GenerateCodeCustom(secret, uint64(at), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}) //nolint:gosec // after 1970
		if err != nil {
			return 0, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && at > v.LastStep {
			found = at
		}
	}
	if found == 0 {
		return 0, ErrCode
	}
	return found, nil
}

// Evidence is a second factor that somebody gives after the password: one of the two.
type Evidence struct {
	TOTP     string
	Recovery string
}

// Prove takes the second factor of who is signed in, and gives the session's new cookie.
// Each code is taken once. Wrong ones are counted as wrong passwords are. The errors are
// [ErrNoSession], [ErrNoFactor] where he has none, [ErrCode], and a [LimitedError].
func (a *Accounts) Prove(ctx context.Context, e Evidence, prefix netip.Prefix) (*http.Cookie, error) {
	s, err := a.session(ctx)
	if err != nil {
		return nil, err
	}
	if !s.Factors.Any() {
		return nil, ErrNoFactor
	}
	t := a.newTry(secondTries, string(s.User.ID), prefix)
	if err := a.begin(ctx, t); err != nil {
		return nil, err
	}
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		if err := a.take(tx, s.User.ID, e); err != nil {
			return err
		}
		return t.forget(tx)
	})
	if err != nil {
		return nil, err
	}
	if e.TOTP == "" {
		a.cfg.Logger.Warn("a recovery code was used", "user", s.User.ID)
	}
	a.known.add(t.from)
	return a.enter(ctx, s.User, BySecond)
}

// take checks what was given, which is used up then.
func (a *Accounts) take(tx *store.Tx, user store.UserID, e Evidence) error {
	if e.TOTP == "" {
		return orCode(tx.UseRecoveryCode(user, hashRecovery(user, e.Recovery)))
	}
	v, err := tx.TOTP(user, false)
	if err != nil {
		return orCode(err)
	}
	step, err := a.step(v, e.TOTP)
	if err != nil {
		return err
	}
	if err := tx.UseTOTP(user, step); err != nil {
		return orCode(err)
	}
	return a.resealOne(tx, v)
}

// resealOne takes a secret to the newest key, if it is not sealed with that.
func (a *Accounts) resealOne(tx *store.Tx, v store.TOTP) error {
	sealed, changed, err := a.cfg.Keys.Reseal(sealedFor, string(v.User), v.Sealed)
	if err != nil || !changed {
		return err
	}
	if err := tx.ResealTOTP(v, sealed); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil // another one by now
}

// reseal takes all secrets to the newest key, so that the key files before it can go.
func (a *Accounts) reseal(ctx context.Context) error {
	if a.cfg.Keys == nil {
		return nil
	}
	var old []store.TOTP
	err := a.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.TOTPs()
		old = old[:0]
		for _, v := range all {
			_, changed, err := a.cfg.Keys.Reseal(sealedFor, string(v.User), v.Sealed)
			if err != nil {
				a.cfg.Logger.Error("the secret of an app for codes does not open", "user", v.User, "error", err)
			}
			if changed {
				old = append(old, v)
			}
		}
		return err
	})
	if err != nil || len(old) == 0 {
		return err
	}
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		for _, v := range old {
			if err := a.resealOne(tx, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		a.cfg.Logger.Info("secrets of apps for codes are sealed with the newest key", "secrets", len(old))
	}
	return err
}

// orCode: what is not there any more was used, or never was.
func orCode(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrCode
	}
	return err
}

// NewRecoveryCodes gives who is signed in new codes, in place of those before. The errors
// are [ErrNoSession], [ErrStale], and [ErrNoFactor] where he has no second factor.
func (a *Accounts) NewRecoveryCodes(ctx context.Context) ([]string, error) {
	s, err := a.fresh(ctx)
	if err != nil {
		return nil, err
	}
	if !s.Factors.Any() {
		return nil, ErrNoFactor
	}
	var codes []string
	err = a.db.Update(ctx, func(tx *store.Tx) (err error) {
		codes, err = newCodes(tx, s.User.ID)
		return err
	})
	return codes, err
}

// firstCodes gives codes to a user who has none.
func firstCodes(tx *store.Tx, user store.UserID) ([]string, error) {
	has, err := tx.Factors(user)
	if err != nil || has.Recovery > 0 {
		return nil, err
	}
	return newCodes(tx, user)
}

func newCodes(tx *store.Tx, user store.UserID) ([]string, error) {
	codes, hashes := make([]string, RecoveryCodes), make([]store.TokenHash, RecoveryCodes)
	for i := range codes {
		text := rand.Text()[:16] // 5 bits each
		codes[i] = text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
		hashes[i] = hashRecovery(user, text)
	}
	return codes, tx.SetRecoveryCodes(user, hashes)
}

// hashRecovery: a code is random, so that a plain hash gives nothing away.
func hashRecovery(user store.UserID, code string) store.TokenHash {
	code = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	return sha256.Sum256([]byte("ccc recovery code " + string(user) + " " + code))
}
