package account

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// withKeys makes the accounts anew, with keys and a policy.
func (w *world) withKeys(t testing.TB, policy Policy) Config {
	t.Helper()
	keys, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(w.db)
	cfg.Keys, cfg.SecondFactor, cfg.ExternalURL = keys, policy, "https://ccc.example.com"
	w.restart(t, cfg)
	return cfg
}

// at gives the code of an app at a time.
func codeAt(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// enrol sets an app up in a session, and gives its secret, the session's new cookie and
// the recovery codes.
func (w *world) enrol(t testing.TB, cookie *http.Cookie) (secret string, next *http.Cookie, codes []string) {
	t.Helper()
	w.request(t, cookie, func(ctx context.Context) {
		made, err := w.NewTOTP(ctx, "Example & Co")
		if err != nil {
			t.Fatal(err)
		}
		secret = made.Secret
		uri, err := url.Parse(made.URI)
		if err != nil || uri.Query().Get("secret") != secret || uri.Query().Get("issuer") != "Example & Co" || strings.Contains(made.URI, "+") {
			t.Errorf("the URI is %s", made.URI)
		}
		if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret); err != nil || len(raw) != secretSize {
			t.Errorf("the secret is %q: %v", secret, err)
		}
		if next, codes, err = w.ConfirmTOTP(ctx, codeAt(t, secret, time.Now())); err != nil {
			t.Fatal(err)
		}
	})
	return secret, next, codes
}

// prove takes the second step and gives the new cookie.
func (w *world) prove(t testing.TB, cookie *http.Cookie, e Evidence, from netip.Prefix) (next *http.Cookie, err error) {
	t.Helper()
	w.request(t, cookie, func(ctx context.Context) { next, err = w.Prove(ctx, e, from) })
	return next, err
}

// standing gives that of a cookie.
func (w *world) standing(t testing.TB, cookie *http.Cookie) (s Standing, err error) {
	t.Helper()
	w.request(t, cookie, func(ctx context.Context) { s, err = w.Standing(ctx) })
	return s, err
}

func (w *world) wantStanding(t testing.TB, cookie *http.Cookie, proof Proof, need Need, fresh bool) {
	t.Helper()
	s, err := w.standing(t, cookie)
	if err != nil || s.Proof != proof || s.Need != need || s.Fresh != fresh {
		t.Errorf("the session is %s, needs %q, fresh %v, %v; want %s, %q, %v", s.Proof, s.Need, s.Fresh, err, proof, need, fresh)
	}
}

func TestTOTP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := w.withKeys(t, Required)
		first := w.begin(t, nil, password)
		w.wantStanding(t, first, ByPassword, NeedEnrol, true)
		secret, in, codes := w.enrol(t, first)
		w.wantStanding(t, in, BySecond, "", true)
		if w.in(t, first) || in.Value == first.Value {
			t.Error("the token of before lives on")
		}
		if len(codes) != RecoveryCodes {
			t.Errorf("codes: %q", codes)
		}

		// A code is taken once: also by another server at the same database, and not that of
		// the setup again.
		half := w.begin(t, nil, password)
		w.wantStanding(t, half, ByPassword, NeedSecond, false)
		now := time.Now()
		wrong := func(what, code string) {
			t.Helper()
			if _, err := w.prove(t, half, Evidence{TOTP: code}, noPrefix); !errors.Is(err, ErrCode) {
				t.Errorf("%s: %v", what, err)
			}
			w.wantStanding(t, half, ByPassword, NeedSecond, false)
		}
		wrong("the code of the setup", codeAt(t, secret, now))
		wrong("two steps back", codeAt(t, secret, now.Add(-2*totpPeriod)))
		wrong("two steps ahead", codeAt(t, secret, now.Add(2*totpPeriod)))
		time.Sleep(2 * totpPeriod) // one step later is not used, so that the window is seen
		now = time.Now()
		if _, err := w.prove(t, half, Evidence{TOTP: codeAt(t, secret, now)}, noPrefix); err != nil {
			t.Fatal(err)
		}
		half = w.begin(t, nil, password)
		w.restart(t, cfg)
		wrong("a used code, at another server", codeAt(t, secret, now))
		wrong("a code of before a used one", codeAt(t, secret, now.Add(-totpPeriod)))
		next := codeAt(t, secret, now.Add(totpPeriod))
		full, err := w.prove(t, half, Evidence{TOTP: next[:3] + " " + next[3:]}, noPrefix)
		if err != nil {
			t.Fatal(err)
		}
		w.wantStanding(t, full, BySecond, "", true)
		if w.in(t, half) || full.Value == half.Value {
			t.Error("the token of the first step lives on")
		}

		// What it was proven with is too old for some things after a while.
		time.Sleep(15*time.Minute + time.Second)
		w.wantStanding(t, full, BySecond, "", false)
		w.request(t, full, func(ctx context.Context) {
			_, err1 := w.NewTOTP(ctx, "x")
			_, err2 := w.NewRecoveryCodes(ctx)
			_, err3 := w.BeginPasskey(ctx)
			_, _, err4 := w.CreateToken(ctx, NewToken{})
			_, err5 := w.ChangePassword(ctx, password, "another long password", noPrefix)
			for i, err := range []error{err1, err2, err3, err4, err5, w.RemoveTOTP(ctx), w.RemovePasskey(ctx, "x")} {
				if !errors.Is(err, ErrStale) {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	})
}

// A session that waits for its second step, or for the setup, does not wait for long.
func TestHalfSessionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withKeys(t, Required)
		enrolling := w.begin(t, nil, password)
		time.Sleep(14 * time.Minute)
		w.wantStanding(t, enrolling, ByPassword, NeedEnrol, true)
		time.Sleep(2 * time.Minute)
		if s, err := w.standing(t, enrolling); !errors.Is(err, ErrNoSession) {
			t.Errorf("it goes on: %+v, %v", s, err)
		}
	})
}

// Whoever has no second factor, and need not have one, is not asked for it; a session of
// before is once there is one.
func TestOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Offered)
	elsewhere, here := w.begin(t, nil, password), w.begin(t, nil, password)
	w.wantStanding(t, elsewhere, ByPassword, "", true)
	secret, in, _ := w.enrol(t, here)
	w.wantStanding(t, elsewhere, ByPassword, NeedSecond, false)
	w.request(t, in, func(ctx context.Context) {
		if err := w.RemoveTOTP(ctx); err != nil {
			t.Error(err)
		}
		if s, err := w.Standing(ctx); err != nil || s.Factors != (store.Factors{}) {
			t.Errorf("what is left: %+v, %v", s.Factors, err)
		}
	})
	if _, err := w.prove(t, elsewhere, Evidence{TOTP: codeAt(t, secret, time.Now())}, noPrefix); !errors.Is(err, ErrNoFactor) {
		t.Errorf("without a second factor: %v", err)
	}
}

func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Required)
	_, in, codes := w.enrol(t, w.begin(t, nil, password))
	use := func(code string) error {
		t.Helper()
		_, err := w.prove(t, w.begin(t, nil, password), Evidence{Recovery: code}, noPrefix)
		return err
	}
	seen := map[string]bool{}
	for _, c := range codes {
		if seen[c] || len(strings.ReplaceAll(c, "-", "")) != 16 {
			t.Errorf("the code %q", c)
		}
		seen[c] = true
	}
	if err := use(strings.ToLower(strings.ReplaceAll(codes[0], "-", " "))); err != nil {
		t.Error(err)
	}
	if err := use(codes[0]); !errors.Is(err, ErrCode) {
		t.Errorf("twice: %v", err)
	}
	var next []string
	w.request(t, in, func(ctx context.Context) {
		s, err := w.Standing(ctx)
		if err != nil || s.Factors.Recovery != RecoveryCodes-1 {
			t.Errorf("left are %d, %v", s.Factors.Recovery, err)
		}
		if next, err = w.NewRecoveryCodes(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.RemoveTOTP(ctx); !errors.Is(err, ErrLastFactor) {
			t.Errorf("the last second factor: %v", err)
		}
	})
	if err := use(codes[1]); !errors.Is(err, ErrCode) {
		t.Errorf("a replaced one: %v", err)
	}
	if err := use(next[1]); err != nil {
		t.Error(err)
	}
	// Another's are not his.
	other := w.create(t, "other@example.com", password)
	if err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		return tx.SetRecoveryCodes(other.ID, []store.TokenHash{hashRecovery(w.user.ID, next[2])})
	}); err != nil {
		t.Fatal(err)
	}
	if err := use(next[2]); err != nil {
		t.Errorf("the own code: %v", err)
	}
}

// Guesses end as those of passwords do, of each account by itself, and a right password
// does not begin them anew.
func TestSecondFactorIsNotGuessed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := w.withKeys(t, Required)
		cfg.Limits.AccountTries, cfg.Limits.EverywhereTries = 3, 10
		w.restart(t, cfg)
		home, secret := Prefix("203.0.113.1:1"), ""
		secret, _, _ = w.enrol(t, w.begin(t, nil, password))
		right := func(from netip.Prefix) error {
			t.Helper()
			time.Sleep(totpPeriod)
			_, err := w.prove(t, w.begin(t, nil, password), Evidence{TOTP: codeAt(t, secret, time.Now())}, from)
			return err
		}
		if err := right(home); err != nil {
			t.Fatal(err)
		}
		guess := func(from netip.Prefix) error {
			_, err := w.prove(t, w.begin(t, nil, password), Evidence{TOTP: "000000"}, from)
			return err
		}
		tried := 0
		for i := range 30 {
			switch err := guess(Prefix(fmt.Sprintf("198.51.100.%d:1", i/3))); {
			case errors.Is(err, ErrCode):
				tried++
			case !errors.Is(err, ErrLimited):
				t.Fatal(err)
			}
		}
		if tried != 10 {
			t.Errorf("%d guesses were let through, want 10", tried)
		}
		if err := right(home); err != nil {
			t.Errorf("the owner, where he was before: %v", err)
		}
		for range 3 {
			if err := guess(home); !errors.Is(err, ErrCode) {
				t.Fatal(err)
			}
		}
		if err := guess(home); !errors.Is(err, ErrLimited) {
			t.Errorf("guesses at home: %v", err)
		}
	})
}

func TestResetFactors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Required)
	secret, in, codes := w.enrol(t, w.begin(t, nil, password))
	if err := w.ResetFactors(t.Context(), store.NewID[store.TenantID](), w.user.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of another tenant: %v", err)
	}
	if !w.in(t, in) {
		t.Fatal("the control is not signed in")
	}
	if err := w.ResetFactors(t.Context(), w.tenant, w.user.ID); err != nil {
		t.Fatal(err)
	}
	if w.in(t, in) {
		t.Error("the session lives on")
	}
	again := w.begin(t, nil, password)
	w.wantStanding(t, again, ByPassword, NeedEnrol, true)
	for _, e := range []Evidence{{TOTP: codeAt(t, secret, time.Now())}, {Recovery: codes[0]}} {
		if _, err := w.prove(t, again, e, noPrefix); !errors.Is(err, ErrNoFactor) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Offered)
	a, b := w.begin(t, nil, password), w.begin(t, nil, password)
	w.create(t, "other@example.com", password)
	var infos []SessionInfo
	w.request(t, a, func(ctx context.Context) {
		var err error
		if infos, err = w.Sessions(ctx); err != nil || len(infos) != 2 || infos[0].Current == infos[1].Current {
			t.Fatalf("%+v, %v", infos, err)
		}
		for _, i := range infos {
			if i.Proof != ByPassword || i.ID == "" || strings.Contains(a.Value+b.Value, i.ID) {
				t.Errorf("%+v", i)
			}
		}
		if err := w.EndSession(ctx, "nothing"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("none: %v", err)
		}
		for _, i := range infos {
			if !i.Current {
				if err := w.EndSession(ctx, i.ID); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if !w.in(t, a) || w.in(t, b) {
		t.Error("the other one has not ended, or this one has")
	}
	_, second, _ := w.enrol(t, a)
	w.request(t, second, func(ctx context.Context) {
		if infos, err := w.Sessions(ctx); err != nil || len(infos) != 1 || infos[0].Proof != BySecond {
			t.Errorf("%+v, %v", infos, err)
		}
	})
}
