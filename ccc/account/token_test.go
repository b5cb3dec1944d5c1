package account

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// bearerRequest runs f as the handler of a request with headers, "Name: value" each.
func (w *world) bearerRequest(t testing.TB, f func(ctx context.Context), headers ...string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://ccc.example.com/", nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	w.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context()) })).ServeHTTP(httptest.NewRecorder(), r)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withKeys(t, Offered)
		in := w.begin(t, nil, password)
		var token store.APIToken
		var text string
		w.request(t, in, func(ctx context.Context) {
			var err error
			for _, expires := range []time.Time{{}, time.Now(), time.Now().Add(MaxTokenLife + time.Hour)} {
				if _, _, err := w.CreateToken(ctx, NewToken{Name: "x", Scopes: []string{"a"}, Expires: expires}); err == nil {
					t.Errorf("it is good until %v", expires)
				}
			}
			token, text, err = w.CreateToken(ctx, NewToken{Name: "Backup", Scopes: []string{"system.read"}, Expires: time.Now().Add(48 * time.Hour)})
			if err != nil || !strings.HasPrefix(text, TokenPrefix) || len(text) < 40 {
				t.Fatalf("%q, %v", text, err)
			}
		})
		good := func(headers ...string) (s Standing, ok bool) {
			t.Helper()
			w.bearerRequest(t, func(ctx context.Context) {
				var err error
				if s, err = w.Standing(ctx); err != nil && !errors.Is(err, ErrNoSession) {
					t.Error(err)
				}
				ok = err == nil
				if alive := w.Alive(ctx); (alive == nil) != ok {
					t.Errorf("alive: %v, good: %v", alive, ok)
				}
			}, headers...)
			return s, ok
		}
		s, ok := good("Authorization: Bearer " + text)
		if !ok || s.Token == nil || s.Token.ID != token.ID || s.User.ID != w.user.ID || s.Fresh || s.Need != "" || s.Proof != ByPassword {
			t.Fatalf("%+v, %v", s, ok)
		}
		if _, ok := good("Authorization: bearer  " + text); !ok {
			t.Error("the scheme in small letters, and two spaces")
		}
		for name, headers := range map[string][]string{
			"another scheme":         {"Authorization: Basic " + text},
			"another token":          {"Authorization: Bearer " + newToken()},
			"a wrong checksum":       {"Authorization: Bearer " + text[:len(text)-1] + "x"},
			"without its beginning":  {"Authorization: Bearer " + strings.TrimPrefix(text, TokenPrefix)},
			"nothing":                {"Authorization: Bearer"},
			"twice":                  {"Authorization: Bearer " + text, "Authorization: Bearer " + text},
			"with a session":         {"Authorization: Bearer " + text, "Cookie: " + SecureCookie + "=" + in.Value},
			"with a plain cookie":    {"Authorization: Bearer " + text, "Cookie: " + PlainCookie + "=x"},
			"a session as a token":   {"Authorization: Bearer " + in.Value},
			"a session and rubbish":  {"Authorization: Bearer rubbish", "Cookie: " + SecureCookie + "=" + in.Value},
			"as the session's":       {"Cookie: " + SecureCookie + "=" + text},
			"of a session, no token": {"Cookie: x=" + in.Value},
		} {
			if _, ok := good(headers...); ok {
				t.Errorf("%s is good", name)
			}
		}
		// It cannot do what belongs to the person.
		w.bearerRequest(t, func(ctx context.Context) {
			_, err1 := w.NewTOTP(ctx, "x")
			_, err2 := w.Tokens(ctx)
			_, _, err3 := w.CreateToken(ctx, NewToken{})
			_, err4 := w.Sessions(ctx)
			_, err5 := w.EndOthers(ctx)
			_, err6 := w.ChangePassword(ctx, password, "another long password", noPrefix)
			_, err7 := w.Passkeys(ctx)
			for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, w.RevokeToken(ctx, token.ID), w.EndSession(ctx, "x")} {
				if !errors.Is(err, ErrNoSession) {
					t.Errorf("%d: %v", i, err)
				}
			}
		}, "Authorization: Bearer "+text)
		w.request(t, in, func(ctx context.Context) {
			all, err := w.Tokens(ctx)
			if err != nil || len(all) != 1 || all[0].LastUsed == nil || all[0].LastUsed.Truncate(24*time.Hour) != *all[0].LastUsed {
				t.Errorf("%+v, %v", all, err)
			}
		})
		// It ends with its time, its user, and by hand.
		if err := w.SetDisabled(t.Context(), w.tenant, w.user.ID, true); err != nil {
			t.Fatal(err)
		}
		if _, ok := good("Authorization: Bearer " + text); ok {
			t.Error("of a disabled user")
		}
		if err := w.SetDisabled(t.Context(), w.tenant, w.user.ID, false); err != nil {
			t.Fatal(err)
		}
		if _, ok := good("Authorization: Bearer " + text); ok {
			t.Error("it is back with its user")
		}
		in = w.begin(t, nil, password)
		token, text = w.token(t, in)
		if _, ok := good("Authorization: Bearer " + text); !ok {
			t.Error("a new one")
		}
		_, in, _ = w.enrol(t, in)
		if _, ok := good("Authorization: Bearer " + text); ok {
			t.Error("made with the password alone, of a user with a second factor")
		}
		token, text = w.token(t, in)
		if _, ok := good("Authorization: Bearer " + text); !ok {
			t.Error("a third one")
		}
		var second string
		w.request(t, in, func(ctx context.Context) {
			var err error
			if _, second, err = w.CreateToken(ctx, NewToken{Name: "x", Scopes: []string{"a"}, Expires: time.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		})
		if s, ok := good("Authorization: Bearer " + second); !ok || s.Proof != BySecond || s.Need != "" {
			t.Errorf("made with a second factor: %+v, %v", s, ok)
		}
		w.request(t, in, func(ctx context.Context) {
			if err := w.RevokeToken(ctx, token.ID); err != nil {
				t.Error(err)
			}
		})
		if _, ok := good("Authorization: Bearer " + text); ok {
			t.Error("revoked")
		}
		time.Sleep(time.Hour)
		if _, ok := good("Authorization: Bearer " + second); ok {
			t.Error("expired")
		}
	})
}

// FuzzBearer: nothing that comes in the header is more than no session.
func FuzzBearer(f *testing.F) {
	w := newWorld(f)
	for _, text := range []string{"", "Bearer", "Bearer x", "bearer " + newToken(), "Bearer ccc_pat_\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://ccc.example.com/", nil)
		r.Header["Authorization"] = []string{text}
		w.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := w.Standing(r.Context()); !errors.Is(err, ErrNoSession) {
				t.Errorf("%q: %v", text, err)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}
