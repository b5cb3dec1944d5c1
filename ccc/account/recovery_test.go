package account

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// token makes one that is good for two hours.
func (w *world) token(t testing.TB, in *http.Cookie) (token store.APIToken, text string) {
	t.Helper()
	w.request(t, in, func(ctx context.Context) {
		var err error
		token, text, err = w.CreateToken(ctx, NewToken{Name: "x", Scopes: []string{"a"}, Expires: time.Now().Add(2 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
	})
	return token, text
}

// tokenIn tells whether a token is good, for a new request and for one that goes on.
func (w *world) tokenIn(t testing.TB, text string) (in bool) {
	t.Helper()
	w.bearerRequest(t, func(ctx context.Context) {
		_, err := w.Standing(ctx)
		if in = err == nil; !in && !errors.Is(err, ErrNoSession) {
			t.Error(err)
		}
		if alive := w.Alive(ctx) == nil; alive != in {
			t.Errorf("good: %v, alive: %v", in, alive)
		}
	}, "Authorization: Bearer "+text)
	return in
}

// setRole gives the user one role in the whole tenant.
func (w *world) setRole(t testing.TB, role store.Role) {
	t.Helper()
	if err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		return tx.SetUserGrants(w.tenant, w.user.ID, []store.UserGrant{{User: w.user.ID, Role: role}})
	}); err != nil {
		t.Fatal(err)
	}
}

// A token and an answer that goes on are not good for more than a new session would be.
func TestProofThatIsNotEnoughAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Required)
	w.setRole(t, store.RoleMonitoring)
	in := w.begin(t, nil, password)
	_, text := w.token(t, in)
	alive := func(want bool) {
		t.Helper()
		w.request(t, in, func(ctx context.Context) {
			if err := w.Alive(ctx); (err == nil) != want || err != nil && !errors.Is(err, ErrNoSession) {
				t.Errorf("alive: %v, want %v", err, want)
			}
		})
		if w.tokenIn(t, text) != want {
			t.Errorf("the token: want %v", want)
		}
	}
	alive(true)
	w.bearerRequest(t, func(ctx context.Context) {
		if err := w.Alive(ctx); err != nil {
			t.Fatal(err)
		}
		w.setRole(t, store.RoleAdministrator)
		if err := w.Alive(ctx); !errors.Is(err, ErrNoSession) {
			t.Errorf("a request with a token goes on: %v", err)
		}
	}, "Authorization: Bearer "+text)
	alive(false) // there has to be a second factor, and there is none
	w.setRole(t, store.RoleMonitoring)
	alive(true)
	w.enrol(t, w.begin(t, nil, password))
	alive(false) // there is one, which neither was proven with
}

// What an operator does for somebody whose account others were in takes what they may have
// left there.
func TestNothingOutlivesRecovery(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		recover          func(ctx context.Context, w *world) error
		tokens, passkeys int
	}{
		"the password is reset": {func(ctx context.Context, w *world) error {
			return w.ResetPassword(ctx, w.tenant, w.user.ID, NewPassword())
		}, 0, 0},
		"the factors are reset": {func(ctx context.Context, w *world) error { return w.ResetFactors(ctx, w.tenant, w.user.ID) }, 0, 0},
		"disabled": {func(ctx context.Context, w *world) error {
			return errors.Join(w.SetDisabled(ctx, w.tenant, w.user.ID, true), w.SetDisabled(ctx, w.tenant, w.user.ID, false))
		}, 0, 1},
		"disabled through the store": {func(ctx context.Context, w *world) error {
			return w.db.Update(ctx, func(tx *store.Tx) error { return tx.SetUserDisabled(w.tenant, w.user.ID, true) })
		}, 0, 1},
		"of another tenant": {func(ctx context.Context, w *world) error {
			id := store.NewID[store.TenantID]()
			for _, err := range []error{
				w.ResetPassword(ctx, id, w.user.ID, NewPassword()), w.ResetFactors(ctx, id, w.user.ID), w.SetDisabled(ctx, id, w.user.ID, true),
			} {
				if !errors.Is(err, store.ErrNotFound) {
					return errors.Join(errors.New("it is done for another tenant"), err)
				}
			}
			return nil
		}, 1, 1},
		"enabled": {func(ctx context.Context, w *world) error { return w.SetDisabled(ctx, w.tenant, w.user.ID, false) }, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withKeys(t, Offered)
			_, in, codes := w.addKey(t, w.begin(t, nil, password), newAuthenticator())
			if len(codes) == 0 {
				t.Fatal("no recovery codes")
			}
			_, text := w.token(t, in)
			if !w.tokenIn(t, text) {
				t.Fatal("the token is not good")
			}
			if err := tt.recover(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			if err := w.db.View(t.Context(), func(tx *store.Tx) error {
				tokens, err1 := tx.APITokens(w.user.ID)
				left, err2 := tx.Factors(w.user.ID)
				if len(tokens) != tt.tokens || left.Passkeys != tt.passkeys || left.Any() != (left.Recovery > 0) {
					t.Errorf("%d tokens, %+v; want %d and %d passkeys", len(tokens), left, tt.tokens, tt.passkeys)
				}
				return errors.Join(err1, err2)
			}); err != nil {
				t.Fatal(err)
			}
			if in := w.tokenIn(t, text); in != (tt.tokens > 0) {
				t.Errorf("the token is good: %v", in)
			}
		})
	}
}

// The app stays where the password is reset, with its recovery codes; and who changes his
// password himself keeps what he has.
func TestWhatAPasswordLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withKeys(t, Offered)
		_, in, _ := w.enrol(t, w.begin(t, nil, password))
		_, in, _ = w.addKey(t, in, newAuthenticator())
		_, text := w.token(t, in)
		has := func(want store.Factors) {
			t.Helper()
			if err := w.db.View(t.Context(), func(tx *store.Tx) error {
				got, err := tx.Factors(w.user.ID)
				if got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.request(t, in, func(ctx context.Context) {
			if _, err := w.ChangePassword(ctx, password, "another long password", noPrefix); err != nil {
				t.Fatal(err)
			}
		})
		has(store.Factors{TOTP: true, Passkeys: 1, Recovery: RecoveryCodes})
		if !w.tokenIn(t, text) {
			t.Error("the token has ended")
		}
		if err := w.ResetPassword(t.Context(), w.tenant, w.user.ID, password); err != nil {
			t.Fatal(err)
		}
		has(store.Factors{TOTP: true, Recovery: RecoveryCodes})
		if w.tokenIn(t, text) {
			t.Error("the token lives on")
		}
	})
}
