package pbx

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// TestSlowBodies: what a request asks for is done to the state that there is when it has
// come whole, and only if whoever sends it may still do that.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	reset := func(t *testing.T, b *box) {
		if _, err := b.FactoryReset(t.Context()); err != nil {
			t.Error(err)
		}
	}
	paired := func(t *testing.T, b *box) { b.pair(t) }
	unpaired := func(t *testing.T, b *box) {
		if err := b.Dissolve(); err != nil {
			t.Error(err)
		}
	}
	for name, tt := range map[string]struct {
		before               func(*testing.T, *box)
		method, path, body   string
		meanwhile            func(*testing.T, *box)
		status               int
		phase                state.Phase
		users                int
		monitoring, language string
	}{
		"a switch, and nothing else":    {nil, "PUT", "/api/v1/switches", `{"monitoring":false}`, nil, 200, state.PhaseUnpaired, 1, "off", "de"},
		"a switch during a pairing":     {nil, "PUT", "/api/v1/switches", `{"monitoring":false}`, paired, 200, state.PhasePaired, 2, "off", "de"},
		"a switch during a dissolution": {paired, "PUT", "/api/v1/switches", `{"monitoring":false}`, unpaired, 200, state.PhaseUnpaired, 1, "off", "de"},
		"CCC off during a pairing":      {nil, "PUT", "/api/v1/switches", `{"ccc":false}`, paired, 200, state.PhaseUnpaired, 1, "on", "de"},
		"the form during a pairing":     {nil, "POST", "/switches", "remote=on", paired, 303, state.PhasePaired, 2, "off", "de"},
		"a switch during a reset":       {nil, "PUT", "/api/v1/switches", `{"monitoring":false}`, reset, 401, state.PhaseUnpaired, 1, "on", "de"},
		"the form during a reset":       {nil, "POST", "/switches", "remote=on", reset, 303, state.PhaseUnpaired, 1, "on", "de"},
		"settings":                      {nil, "PATCH", "/api/v1/settings", `{"language":"fr"}`, nil, 200, state.PhaseUnpaired, 1, "on", "fr"},
		"settings during a reset":       {nil, "PATCH", "/api/v1/settings", `{"language":"fr"}`, reset, 401, state.PhaseUnpaired, 1, "on", "de"},
		"a user":                        {nil, "POST", "/api/v1/users", `{"name":"erika","password":"a-good-password"}`, nil, 201, state.PhaseUnpaired, 2, "on", "de"},
		"a user during a reset":         {nil, "POST", "/api/v1/users", `{"name":"erika","password":"a-good-password"}`, reset, 401, state.PhaseUnpaired, 1, "on", "de"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				if tt.before != nil {
					tt.before(t, b)
				}
				body, rest := io.Pipe()
				r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, body)
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				b.logIn(t, "admin", first)(r)
				b.ifMatch()(r)
				w := httptest.NewRecorder()
				done := make(chan struct{})
				go func() { b.Handler().ServeHTTP(w, r); close(done) }()
				if _, err := io.WriteString(rest, tt.body[:5]); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // it waits for the rest
				if tt.meanwhile != nil {
					tt.meanwhile(t, b)
				}
				if _, err := io.WriteString(rest, tt.body[5:]); err != nil {
					t.Fatal(err)
				}
				_ = rest.Close()
				<-done
				synctest.Wait()
				s := b.State()
				if w.Code != tt.status || s.Phase() != tt.phase || len(s.Users) != tt.users {
					t.Errorf("%d %s, %s with %v", w.Code, w.Body, s.Phase(), b.users())
				}
				if s.Switches.Monitoring != (tt.monitoring == "on") || s.Settings.Language != tt.language {
					t.Errorf("%+v, %+v", s.Switches, s.Settings)
				}
			})
		})
	}
}

// TestBodies that are too large, or end early, do nothing.
func TestBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		admin := b.logIn(t, "admin", first)
		whole := `{"name":"Haus"` + strings.Repeat(" ", 100) + "}"
		put := func(body io.Reader) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPatch, "/api/v1/settings", body)
			b.ifMatch()(r)
			admin(r)
			w := httptest.NewRecorder()
			b.Handler().ServeHTTP(w, r)
			return w
		}
		early := io.MultiReader(strings.NewReader(whole), failing{})
		if _, c := code(t, put(early)); c != "bad_request" {
			t.Errorf("ends early: %q", c)
		}
		if _, c := code(t, put(strings.NewReader(whole+strings.Repeat(" ", maxForm)))); c != "too_large" {
			t.Errorf("too large: %q", c)
		}
		if got := b.State().Settings.Name; got != settings.Default().Name {
			t.Errorf("name %q", got)
		}
		if w := put(strings.NewReader(whole + strings.Repeat(" ", maxForm-len(whole)))); w.Code != http.StatusOK || b.State().Settings.Name != "Haus" {
			t.Errorf("as large as it may be: %d", w.Code)
		}
	})
}

// failing is a connection that broke.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
