package pbx

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// quiet makes a PBX that does not run.
func quiet(tb testing.TB, change ...func(*Config)) *PBX {
	tb.Helper()
	ca := pkitest.New(tb, td)
	cfg := Config{Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first, Hasher: quick, Facts: noFacts}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// FuzzPairingBodies: whatever the control centre sends, it gets an answer, and nothing
// happens without a right signature.
func FuzzPairingBodies(f *testing.F) {
	paths := []string{wire.PathOffer, wire.PathWithdraw, wire.PathDissolve}
	f.Add(0, []byte(`{"offer":"a.b.c"}`))
	f.Add(1, []byte(`{"offer":"x"}`))
	f.Add(2, []byte(`{"tombstone":"eyJ0eXAiOiJ4In0.e30.AA"}`))
	f.Add(0, []byte("{"))
	p := quiet(f)
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		path := paths[uint(which)%uint(len(paths))]
		r := httptest.NewRequestWithContext(withCaller(t.Context(), p.cloudID()), http.MethodPost, path, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		p.pairing.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError || w.Code == http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if s := p.State(); s.Phase() != state.PhaseUnpaired || len(s.Users) != 1 {
			t.Errorf("%s: %+v", path, s)
		}
	})
}

// administrator is the PBX's.
func administrator(p *PBX) state.User {
	u, _ := p.State().User(state.Administrator)
	return u
}

// FuzzAPIBodies: whatever an administrator's program sends, it gets an answer that is
// not the PBX's fault.
func FuzzAPIBodies(f *testing.F) {
	calls := []struct{ method, path string }{
		{"PATCH", "settings"},
		{"PUT", "switches"},
		{"POST", "users"},
		{"PUT", "password"},
		{"POST", "ccc/enable"},
		{"POST", "ccc/offers/x/reject"},
		{"POST", "factory-reset"},
	}
	f.Add(0, []byte(`{"name":"x","language":"fr","contact_days":3}`))
	f.Add(1, []byte(`{"remote":true}`))
	f.Add(2, []byte(`{"name":"erika","password":"a-good-password"}`))
	f.Add(4, []byte(`{"token":"XXXX-XXXX-XXXX","password":"x"}`))
	f.Add(5, []byte(`{"report":true}`))
	p := quiet(f)
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		c := calls[uint(which)%uint(len(calls))]
		p.guard.clear()
		cookie := p.sessions.start(administrator(p))
		r := httptest.NewRequestWithContext(t.Context(), c.method, apiPrefix+c.path, bytes.NewReader(body))
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: cookie})
		r.Header.Set("If-Match", tag(p.State()))
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	})
}

// FuzzForms does the same with the pages.
func FuzzForms(f *testing.F) {
	paths := []string{
		"/login", "/language", "/ccc/enable", "/ccc/reject", "/ccc/disable", "/users/password", "/users/add", "/users/delete", "/switches", "/settings", "/reset",
	}
	f.Add(0, "name=admin&password=x&next=//evil")
	f.Add(2, "token=XXXX&password=x&offer=a")
	f.Add(9, "name=x&language=fr&contact_days=3&calls_per_day=4")
	f.Add(6, "name=erika&new=a-good-password")
	p := quiet(f)
	f.Fuzz(func(t *testing.T, which int, form string) {
		path := paths[uint(which)%uint(len(paths))]
		p.guard.clear()
		cookie := p.sessions.start(administrator(p))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: p.pageCookie(), Value: cookie})
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if to := w.Header().Get("Location"); to != "" {
			if u, err := url.Parse(to); err != nil || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
				t.Errorf("%s leads to %q", path, to)
			}
		}
	})
}
