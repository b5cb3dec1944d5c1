package pbx

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// slow is a disk on which to write the next first password takes a while, more each
// time.
type slow struct {
	*state.Memory
	takes time.Duration
}

func (d *slow) Write(name string, data []byte) error {
	err := d.Memory.Write(name, data)
	if name == passwordNext {
		d.takes += time.Second
		time.Sleep(d.takes)
	}
	return err
}

// TestResetsAtOnce: whatever else happens to the administrator's password during a
// factory reset, somebody knows it afterwards.
func TestResetsAtOnce(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func(*testing.T, *box, state.User){
		"another reset": func(t *testing.T, b *box, _ state.User) {
			if _, err := b.FactoryReset(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"another password": func(t *testing.T, b *box, was state.User) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/", nil)
			if err := b.setPassword(r, was, "", "a-good-password"); err != nil {
				t.Error(err)
			}
		},
		"nothing": func(*testing.T, *box, state.User) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t, func(c *Config) { c.Disk = &slow{Memory: new(state.Memory)} })
				was := administrator(b.PBX)
				go func() {
					if _, err := b.FactoryReset(t.Context()); err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait() // it is at the disk
				other(t, b, was)
				time.Sleep(time.Minute)
				secret, ok := b.FirstPassword()
				if !ok || secret == first {
					t.Fatalf("first password %q, %v", secret, ok)
				}
				b.logIn(t, "admin", secret)
			})
		})
	}
}

// TestPasswordChangesDuringSignIn: a session of a password that is none any more when
// it begins is none.
func TestPasswordChangesDuringSignIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/login", nil)
		// in is the end of a sign-in whose password was compared before change.
		in := func(name, pass string, change func()) int {
			u, err := b.check(r, name, pass)
			if err != nil {
				t.Fatal(err)
			}
			change()
			w := httptest.NewRecorder()
			b.signIn(w, r, sessionCookie, u)
			return b.ask("GET", "/api/v1/system", "", cookies(w)).Code
		}
		if code := in("admin", first, func() {}); code != http.StatusOK {
			t.Errorf("nothing changes: %d", code)
		}
		code := in("admin", first, func() {
			if err := b.setPassword(r, administrator(b.PBX), "", "a-good-password"); err != nil {
				t.Error(err)
			}
		})
		if code != http.StatusUnauthorized {
			t.Errorf("the password changes: %d", code)
		}
		code = in("admin", "a-good-password", func() {
			if _, err := b.FactoryReset(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if code != http.StatusUnauthorized {
			t.Errorf("a factory reset: %d", code)
		}
	})
}
