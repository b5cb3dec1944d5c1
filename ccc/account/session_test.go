package account

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// request runs f as the handler of a request with a cookie; nil: without.
func (w *world) request(t testing.TB, cookie *http.Cookie, f func(ctx context.Context)) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://ccc.example.com/", nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	done := false
	rec := httptest.NewRecorder()
	w.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		done = true
		f(r.Context())
	})).ServeHTTP(rec, r)
	if !done {
		t.Fatalf("the handler was not called: %d %s", rec.Code, rec.Body)
	}
}

// begin signs in and gives the cookie. The browser has one before, or nil.
func (w *world) begin(t testing.TB, before *http.Cookie, password string) (cookie *http.Cookie) {
	t.Helper()
	user, err := w.SignIn(t.Context(), email, password, netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	w.request(t, before, func(ctx context.Context) {
		if cookie, err = w.Begin(ctx, user); err != nil {
			t.Fatal(err)
		}
		if got, err := w.Current(ctx); err != nil || !reflect.DeepEqual(got, user) {
			t.Errorf("in the same request: %+v, %v", got, err)
		}
	})
	return cookie
}

// in tells whether somebody is signed in with the cookie.
func (w *world) in(t testing.TB, cookie *http.Cookie) (in bool) {
	t.Helper()
	w.request(t, cookie, func(ctx context.Context) {
		user, err := w.Current(ctx)
		if in = err == nil; !in && !errors.Is(err, ErrNoSession) || in && user.ID != w.user.ID {
			t.Errorf("got %+v, %v", user, err)
		}
		s, err := w.Standing(ctx)
		if alive := w.Alive(ctx); (alive == nil) != (err == nil && s.Need == "") {
			t.Errorf("alive: %v, needs %q, %v", alive, s.Need, err)
		}
	})
	return in
}

func TestCookies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.begin(t, nil, password)
	if got, want := c.String(), SecureCookie+"="+c.Value+"; Path=/; HttpOnly; Secure; SameSite=Lax"; got != want || len(c.Value) < 40 {
		t.Errorf("got %s\nwant %s", got, want)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
	w.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		plain, err := w.Begin(r.Context(), w.user)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := plain.String(), PlainCookie+"="+plain.Value+"; Path=/; HttpOnly; SameSite=Lax"; got != want {
			t.Errorf("without TLS: %s\nwant %s", got, want)
		}
		end, err := w.End(r.Context())
		if err != nil || end.String() != PlainCookie+"=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" {
			t.Errorf("the end: %s, %v", end, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if !w.in(t, c) {
		t.Error("not signed in")
	}
	for _, wrong := range []*http.Cookie{
		nil,
		{Name: SecureCookie, Value: ""},
		{Name: SecureCookie, Value: c.Value[1:]},
		{Name: PlainCookie, Value: c.Value},
	} {
		if w.in(t, wrong) {
			t.Errorf("signed in with %v", wrong)
		}
	}
}

// A token that was there before the sign-in is worth nothing after it.
func TestFixation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	planted := &http.Cookie{Name: SecureCookie, Value: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
	c := w.begin(t, planted, password)
	if c.Value == planted.Value || w.in(t, planted) {
		t.Error("the planted token is that of the session")
	}
	again := w.begin(t, c, password)
	if again.Value == c.Value || w.in(t, c) || !w.in(t, again) {
		t.Error("the old session lives on after the sign-in")
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.begin(t, nil, password), w.begin(t, nil, password)
	w.request(t, c, func(ctx context.Context) {
		w.request(t, c, func(late context.Context) {
			if _, err := w.End(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Current(ctx); !errors.Is(err, ErrNoSession) {
				t.Errorf("after the end: %v", err)
			}
			if err := w.Alive(late); !errors.Is(err, ErrNoSession) {
				t.Errorf("a request that runs on: %v", err)
			}
		})
	})
	if w.in(t, c) || !w.in(t, other) {
		t.Error("the wrong session has ended")
	}
	w.request(t, nil, func(ctx context.Context) {
		if _, err := w.End(ctx); err != nil {
			t.Errorf("without a session: %v", err)
		}
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			c := w.begin(t, nil, password)
			time.Sleep(30*time.Minute - time.Millisecond)
			if !w.in(t, c) { // which is a use of it
				t.Fatal("gone after less than 30 minutes")
			}
			time.Sleep(30*time.Minute - time.Millisecond)
			if !w.in(t, c) {
				t.Fatal("gone after less than 30 minutes from the last use")
			}
			time.Sleep(30 * time.Minute)
			if w.in(t, c) {
				t.Error("there after 30 minutes")
			}
		})
	})
	t.Run("absolute", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			c := w.begin(t, nil, password)
			for range 36 {
				time.Sleep(20*time.Minute - time.Millisecond)
				if !w.in(t, c) {
					t.Fatal("gone")
				}
			}
			time.Sleep(35 * time.Millisecond)
			if !w.in(t, c) {
				t.Error("gone 1 ms before 12 h")
			}
			time.Sleep(time.Millisecond)
			if w.in(t, c) {
				t.Error("there after 12 h")
			}
		})
	})
	// A shorter time in the configuration is for sessions that are there, too.
	t.Run("shorter", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			c := w.begin(t, nil, password)
			time.Sleep(5 * time.Minute)
			cfg := config(w.db)
			cfg.Idle = 5 * time.Minute
			w.restart(t, cfg)
			if w.in(t, c) {
				t.Error("there after 5 minutes")
			}
			cfg.Idle = 6 * time.Minute
			w.restart(t, cfg)
			if !w.in(t, c) {
				t.Error("gone before 6 minutes")
			}
		})
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin(t, nil, password)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		sessions := func() (n int) {
			synctest.Wait()
			err := w.db.View(t.Context(), func(tx *store.Tx) error {
				all, err := tx.UserSessions(w.user.ID)
				n = len(all)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		time.Sleep(25 * time.Minute)
		if sessions() != 1 {
			t.Error("removed before it has expired")
		}
		time.Sleep(15*time.Minute + time.Second)
		if sessions() != 0 {
			t.Error("still in the store after it has expired")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A session outlives the program. Its token is in no file of the store.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "db")
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.db = openStore(t, path)
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		return tx.CreateTenant(store.Tenant{ID: w.tenant, Kind: store.KindCustomer, Created: time.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	w.restart(t, config(w.db))
	w.user = w.create(t, email, password)
	c := w.begin(t, nil, password)
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.db = openStore(t, path)
	defer w.db.Close()
	w.restart(t, config(w.db))
	if !w.in(t, c) {
		t.Error("gone")
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{c.Value: false, password: false, string(w.user.ID): true, w.user.PasswordHash: true} {
		if got := bytes.Contains(file, []byte(text)); got != want {
			t.Errorf("%s in the file: %v, want %v", text, got, want)
		}
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.begin(t, nil, password), w.begin(t, nil, password)
	const fresh = "a fresh password"
	var renewed *http.Cookie
	w.request(t, c, func(ctx context.Context) {
		if _, err := w.ChangePassword(ctx, "wrong password!", fresh, netip.Prefix{}); !errors.Is(err, ErrCredentials) {
			t.Errorf("with a wrong one: %v", err)
		}
		if _, err := w.ChangePassword(ctx, password, "short", netip.Prefix{}); err == nil {
			t.Error("to a short one")
		}
		infos, err := w.Sessions(ctx)
		if err != nil || len(infos) != 2 || infos[0].Current == infos[1].Current {
			t.Errorf("the sessions: %+v, %v", infos, err)
		}
		if renewed, err = w.ChangePassword(ctx, password, fresh, netip.Prefix{}); err != nil {
			t.Fatal(err)
		}
		if infos, err := w.Sessions(ctx); err != nil || len(infos) != 1 || !infos[0].Current {
			t.Errorf("the sessions after it: %+v, %v", infos, err)
		}
	})
	if w.in(t, c) || w.in(t, other) || !w.in(t, renewed) {
		t.Error("other sessions than the new one live on")
	}
	if _, err := w.SignIn(t.Context(), email, password, netip.Prefix{}); !errors.Is(err, ErrCredentials) {
		t.Errorf("the old password: %v", err)
	}
	w.begin(t, nil, fresh)
	w.request(t, renewed, func(ctx context.Context) {
		if n, err := w.EndOthers(ctx); n != 1 || err != nil {
			t.Errorf("ended %d, %v", n, err)
		}
	})
	w.request(t, nil, func(ctx context.Context) {
		if _, err := w.ChangePassword(ctx, fresh, password, netip.Prefix{}); !errors.Is(err, ErrNoSession) {
			t.Errorf("without a session: %v", err)
		}
		if _, err := w.EndOthers(ctx); !errors.Is(err, ErrNoSession) {
			t.Errorf("without a session: %v", err)
		}
	})
}

func TestAdministration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.begin(t, nil, password)
	old, err := w.SignIn(t.Context(), email, password, netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	fresh := NewPassword()
	if err := w.ResetPassword(t.Context(), w.tenant, w.user.ID, fresh); err != nil {
		t.Fatal(err)
	}
	if w.in(t, c) {
		t.Error("a session lives on after the password was reset")
	}
	// A sign-in that was between password and session.
	w.request(t, nil, func(ctx context.Context) {
		if _, err := w.Begin(ctx, old); !errors.Is(err, ErrNoSession) {
			t.Errorf("a session with the old password: %v", err)
		}
		if _, err := w.Current(ctx); !errors.Is(err, ErrNoSession) {
			t.Errorf("signed in: %v", err)
		}
	})
	c = w.begin(t, nil, fresh)
	w.request(t, c, func(ctx context.Context) {
		if err := w.SetDisabled(ctx, w.tenant, w.user.ID, true); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Current(ctx); !errors.Is(err, ErrNoSession) {
			t.Errorf("disabled, in a request that runs: %v", err)
		}
	})
	if w.in(t, c) {
		t.Error("a disabled user's session lives on")
	}
	if err := w.SetDisabled(t.Context(), w.tenant, w.user.ID, false); err != nil {
		t.Fatal(err)
	}
	if w.in(t, c) {
		t.Error("the session is back")
	}
	w.begin(t, nil, fresh)
	if err := w.ResetPassword(t.Context(), store.NewID[store.TenantID](), w.user.ID, fresh); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of another tenant: %v", err)
	}
}

// A request that began before the session was ended does not bring it back.
func TestLateUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.begin(t, nil, password)
		time.Sleep(10 * time.Minute)
		ctx := context.WithValue(t.Context(), requestKey{}, &request{secure: true})
		ctx, err := w.sessions.Load(ctx, c.Value)
		if err != nil {
			t.Fatal(err)
		}
		found := ctx.Value(requestKey{}).(*request).session
		if found.Created.IsZero() {
			t.Fatal("not found")
		}
		w.request(t, c, func(ctx context.Context) {
			if _, err := w.End(ctx); err != nil {
				t.Fatal(err)
			}
		})
		if err := w.touch(ctx, found); err != nil {
			t.Fatal(err)
		}
		if w.in(t, c) {
			t.Error("the session is back")
		}
	})
}

func TestStoreOfScs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.sessions.Store
	data, err := codec{}.Encode(time.Now().Add(time.Hour), map[string]any{userValue: string(w.user.ID)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit("token", data, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, found, err := s.Find("token"); !found || err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s, %v, %v", got, found, err)
	}
	for range 2 {
		if err := s.Delete("token"); err != nil {
			t.Error(err)
		}
	}
	if _, found, err := s.Find("token"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := (codec{}).Encode(time.Now(), map[string]any{"n": 1}); err == nil {
		t.Error("a value that is no text")
	}
	for _, broken := range []string{"", "{", `{"values":{"user":1}}`} {
		if err := s.Commit("token", []byte(broken), time.Now()); err == nil {
			t.Errorf("%q was kept", broken)
		}
	}
	// A session of nobody is not kept.
	if err := s.Commit("token", []byte("{}"), time.Now().Add(time.Hour)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}
