package pbx

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/calls"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// code gives status and code of a problem.
func code(t *testing.T, w *httptest.ResponseRecorder) (int, string) {
	t.Helper()
	if w.Header().Get("Content-Type") != "application/problem+json" {
		return w.Code, ""
	}
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code {
		t.Errorf("problem %s: %v", w.Body, err)
	}
	return w.Code, p.Code
}

func via(service string) func(*http.Request) {
	return func(r *http.Request) {
		*r = *r.WithContext(withCaller(r.Context(), identity.Service(td, service)))
	}
}

// remotely is the gateway, whom the administrator has let in.
func remotely(r *http.Request) {
	via(remoteName)(r)
	*r = *r.WithContext(context.WithValue(r.Context(), admittedKey{}, true))
}

func TestLoginAndOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		w := b.ask("POST", "/api/v1/login", "")
		if w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("without credentials: %d %v", w.Code, w.Header())
		}
		wrong, unknown := b.ask("POST", "/api/v1/login", "", basic("admin", "x")), b.ask("POST", "/api/v1/login", "", basic("nobody", "x"))
		if wrong.Code != http.StatusUnauthorized || wrong.Body.String() != unknown.Body.String() {
			t.Errorf("a wrong password and a wrong name differ: %s and %s", wrong.Body, unknown.Body)
		}
		w = b.ask("POST", "/api/v1/login", "", basic("admin", first))
		var session *http.Cookie
		for _, c := range w.Result().Cookies() {
			if c.Name == "ctx_sessionid" {
				session = c
			}
		}
		if w.Code != http.StatusOK || session == nil || !session.HttpOnly || session.SameSite != http.SameSiteLaxMode || session.Secure {
			t.Fatalf("%d, cookie %+v", w.Code, session)
		}
		admin := cookies(w)
		if w := b.ask("GET", "/api/v1/users", "", admin); w.Code != http.StatusOK {
			t.Errorf("signed in: %d", w.Code)
		}
		if w := b.ask("POST", "/api/v1/logout", "", admin); w.Code != http.StatusNoContent {
			t.Errorf("log out: %d", w.Code)
		}
		if _, c := code(t, b.ask("GET", "/api/v1/users", "", admin)); c != "unauthenticated" {
			t.Errorf("after that: %q", c)
		}
		admin = b.logIn(t, "admin", first)
		time.Sleep(sessionIdle - time.Second)
		if w := b.ask("GET", "/api/v1/users", "", admin); w.Code != http.StatusOK {
			t.Errorf("before the idle time is over: %d", w.Code)
		}
		time.Sleep(sessionIdle)
		if w := b.ask("GET", "/api/v1/users", "", admin); w.Code != http.StatusUnauthorized {
			t.Errorf("after it: %d", w.Code)
		}
	})
}

func TestSessionsPerUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s sessions
		other := s.start(state.User{Name: "erika", Role: state.RoleUser})
		var all []string
		for range sessionsPerUser + 1 {
			time.Sleep(time.Second)
			all = append(all, s.start(state.User{Name: "admin", Role: state.RoleAdministrator}))
		}
		if _, _, ok := s.use(all[0], true); ok {
			t.Error("the oldest is still there")
		}
		for _, c := range append(all[1:], other) {
			if _, _, ok := s.use(c, true); !ok {
				t.Error("another one went")
			}
		}
		cloud := s.start(state.User{Name: "ccc-1", Role: state.RoleCloud})
		time.Sleep(sessionLifeCall - time.Second)
		if _, _, ok := s.use(cloud, true); !ok {
			t.Error("a program's session is idle")
		}
		time.Sleep(time.Second)
		if _, _, ok := s.use(cloud, true); ok {
			t.Error("a program's session does not end")
		}
	})
}

// TestAccess: who may use what, from where.
func TestAccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		if err := b.addUser(httptest.NewRequest("POST", "/", nil), "erika", "a-good-password"); err != nil {
			t.Fatal(err)
		}
		admin, user := b.logIn(t, "admin", first), b.logIn(t, "erika", "a-good-password")
		cloud := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		nobody := func(*http.Request) {}
		const yes, unauth, forbidden, local, shut = "", "unauthenticated", "forbidden", "local_only", "not_allowed"
		for _, tt := range []struct {
			method, path                 string
			nobody, user, cloud, admin   string
			cloudByTunnel, adminByTunnel string // service/ccc
			adminRemote                  string // service/ara, let in
		}{
			{"GET", "system", unauth, yes, yes, yes, yes, yes, yes},
			{"GET", "calldata", unauth, forbidden, yes, yes, yes, yes, yes},
			{"GET", "settings", unauth, forbidden, yes, yes, yes, yes, yes},
			{"GET", "settings/schema", unauth, forbidden, yes, yes, yes, yes, yes},
			{"GET", "firmware", unauth, forbidden, yes, yes, yes, yes, yes},
			{"PUT", "firmware", unauth, forbidden, "content_type", "content_type", "content_type", "content_type", "content_type"},
			{"POST", "firmware/rollback", unauth, forbidden, "no_previous", "no_previous", "no_previous", "no_previous", "no_previous"},
			{"GET", "users", unauth, forbidden, forbidden, yes, shut, shut, yes},
			{"GET", "ccc", unauth, yes, forbidden, yes, shut, shut, yes},
			{"GET", "switches", unauth, yes, forbidden, yes, shut, shut, yes},
			{"POST", "ccc/enable", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"PUT", "switches", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"POST", "factory-reset", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"POST", "ccc/offers/x/reject", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"GET", "remote", unauth, forbidden, forbidden, yes, shut, shut, yes},
			{"POST", "remote/pin", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"DELETE", "remote/pin", unauth, forbidden, forbidden, yes, shut, shut, local},
			{"PUT", "remote/settings", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"POST", "remote/x/allow", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"POST", "remote/x/refuse", unauth, forbidden, forbidden, "bad_request", shut, shut, local},
			{"POST", "remote/x/end", unauth, forbidden, forbidden, "unknown_session", shut, shut, local},
			{"POST", "users", unauth, forbidden, forbidden, "bad_request", shut, shut, "bad_request"},
			{"PATCH", "settings", unauth, forbidden, "bad_request", "bad_request", "bad_request", "bad_request", "bad_request"},
			{"PUT", "settings", "not_found", "not_found", "not_found", "not_found", "not_found", "not_found", "not_found"},
			{"PUT", "password", unauth, "bad_request", forbidden, "bad_request", shut, shut, "bad_request"},
			{"DELETE", "users/x", unauth, forbidden, forbidden, "not_found", shut, shut, "not_found"},
			{"GET", "nothing", "not_found", "not_found", "not_found", "not_found", shut, shut, "not_found"},
		} {
			if err := b.setSwitches(replace(state.Switches{CCC: true, CallData: true, Remote: true, Configuration: true, Offers: true})); err != nil {
				t.Fatal(err)
			}
			path := "/api/v1/" + tt.path
			for name, c := range map[string]struct {
				want   string
				change []func(*http.Request)
			}{
				"nobody":          {tt.nobody, []func(*http.Request){nobody}},
				"user":            {tt.user, []func(*http.Request){user}},
				"cloud":           {tt.cloud, []func(*http.Request){cloud}},
				"admin":           {tt.admin, []func(*http.Request){admin}},
				"cloud by tunnel": {tt.cloudByTunnel, []func(*http.Request){cloud, via("ccc")}},
				"admin by tunnel": {tt.adminByTunnel, []func(*http.Request){admin, via("ccc")}},
				"admin, remote":   {tt.adminRemote, []func(*http.Request){admin, remotely}},
				"other service":   {shut, []func(*http.Request){admin, via("other")}},
			} {
				if status, got := code(t, b.ask(tt.method, path, "[]", c.change...)); got != c.want || (got == "") != (status < 300) {
					t.Errorf("%s %s by %s: %d %q, want %q", tt.method, path, name, status, got, c.want)
				}
			}
			if _, got := code(t, b.ask(tt.method, path, "[]", admin, via("ara"))); got != shut {
				t.Errorf("%s %s remotely, without consent: %q", tt.method, path, got)
			}
		}
		if w := b.ask("POST", "/api/v1/ccc/disable", "", admin, remotely); w.Code != http.StatusForbidden || b.State().Phase() != state.PhasePaired {
			t.Errorf("disable: %d", w.Code)
		}
	})
}

func TestSystem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, func(c *Config) {
			c.Facts = func() (facts.Facts, error) {
				return facts.Facts{Host: facts.Host{Name: "box", Uptime: 77}, CPU: facts.CPU{Percent: 12, Cores: 2}, Memory: facts.Space{Total: 10}}, nil
			}
		})
		b.pair(t)
		get := func(who func(*http.Request)) (s map[string]any) {
			w := b.ask("GET", "/api/v1/system", "", who)
			if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
				t.Errorf("%s: %v", w.Body, err)
			}
			return s
		}
		admin, cloud := b.logIn(t, "admin", first), b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		for _, who := range []func(*http.Request){admin, cloud} {
			if s := get(who); s["serial"] != string(serial) || s["cpu_percent"] != 12.0 || s["uptime_seconds"] != 77.0 || s["hostname"] != "box" {
				t.Errorf("%v", s)
			}
		}
		set := b.State().Switches
		set.Monitoring = false
		if err := b.setSwitches(replace(set)); err != nil {
			t.Fatal(err)
		}
		s := get(cloud)
		if _, there := s["cpu_percent"]; there || s["serial"] != string(serial) {
			t.Errorf("monitoring is off: %v", s)
		}
		if s := get(admin); s["cpu_percent"] != 12.0 {
			t.Errorf("the administrator: %v", s)
		}
	})
}

func TestCallData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		admin, cloud := b.logIn(t, "admin", first), b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		get := func(query string) (page struct {
			Links struct {
				TotalCount *int `json:"totalCount"`
			} `json:"_links"`
			Data []calls.Record `json:"data"`
		},
		) {
			w := b.ask("GET", "/api/v1/calldata"+query, "", cloud)
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || page.Links.TotalCount == nil {
				t.Fatalf("%s: %s, %v", query, w.Body, err)
			}
			return page
		}
		all := get("?limit=500")
		total := *all.Links.TotalCount
		if total < 1200 || len(all.Data) != 500 || len(get("").Data) != pageDefault {
			t.Errorf("%d of %d", len(all.Data), total)
		}
		var read []calls.Record
		for offset := 0; offset < 500; offset += 100 {
			read = append(read, get("?limit=100&offset="+string(json.Number(itoa(offset)))).Data...)
		}
		if !slices.Equal(read, all.Data) {
			t.Error("the pages are not the whole")
		}
		if one := get("?UserId=3&limit=500"); *one.Links.TotalCount >= total || one.Data[0].UserNumber != "21" {
			t.Errorf("one user: %d", *one.Links.TotalCount)
		}
		for _, bad := range []string{"?limit=501", "?limit=x", "?offset=-1&UserId=1.5"} {
			status, c := code(t, b.ask("GET", "/api/v1/calldata"+bad, "", cloud))
			if status != http.StatusUnprocessableEntity || c != "invalid" {
				t.Errorf("%s: %d %q", bad, status, c)
			}
		}
		if w := b.ask("PATCH", "/api/v1/settings", `{"calldata_id_zero":true}`, admin, b.ifMatch()); w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
		for _, r := range get("?limit=500").Data {
			if r.CallDataID != 0 {
				t.Fatalf("id %d", r.CallDataID)
			}
		}
		set := b.State().Switches
		set.CallData = false
		if err := b.setSwitches(replace(set)); err != nil {
			t.Fatal(err)
		}
		if _, c := code(t, b.ask("GET", "/api/v1/calldata", "", cloud)); c != "switched_off" {
			t.Errorf("switched off: %q", c)
		}
		if w := b.ask("GET", "/api/v1/calldata", "", admin); w.Code != http.StatusOK {
			t.Errorf("the administrator: %d", w.Code)
		}
	})
}

func itoa(n int) string { return strings.TrimSpace(string(must(json.Marshal(n)))) }

func TestSettingsAndSwitches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		admin := b.logIn(t, "admin", first)
		w := b.ask("PATCH", "/api/v1/settings", `{"name":"Haus 1","language":"fr","contact_days":7}`, admin, b.ifMatch())
		if got := b.State().Settings; w.Code != http.StatusOK || got.Name != "Haus 1" || got.Language != "fr" || got.ContactDays != 7 || got.CallsPerDay != 40 {
			t.Errorf("%d, %+v", w.Code, got)
		}
		w = b.ask("PATCH", "/api/v1/settings", `{"name":" ","language":"it","contact_days":0,"calls_per_day":-1}`, admin, b.ifMatch())
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusUnprocessableEntity || len(p.Errors) != 4 {
			t.Errorf("every field is wrong: %d %s", w.Code, w.Body)
		}
		for _, body := range []string{"", "{", `{"nam":"x"}`, `{"name":3}`, `{} {}`, `{"name":"` + strings.Repeat("x", maxForm) + `"}`} {
			if w := b.ask("PATCH", "/api/v1/settings", body, admin, b.ifMatch()); w.Code != http.StatusBadRequest && w.Code != http.StatusUnprocessableEntity && w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("%.20q: %d", body, w.Code)
			}
		}
		if got := b.State().Settings; got.Name != "Haus 1" {
			t.Errorf("settings %+v", got)
		}
		if _, c := code(t, b.ask("PUT", "/api/v1/switches", `{"ccc":true}`, admin)); c != "needs_token" || b.State().Switches.CCC {
			t.Errorf("ccc without a token: %q", c)
		}
		w = b.ask("PUT", "/api/v1/switches", `{"remote":true,"monitoring":false}`, admin)
		if got := b.State().Switches; w.Code != http.StatusOK || !got.Remote || got.Monitoring || !got.CallData {
			t.Errorf("%d, %+v", w.Code, got)
		}
	})
}

func TestUsersAPI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		admin := b.logIn(t, "admin", first)
		for body, want := range map[string]string{
			`{"name":"erika","password":"a-good-password"}`: "",
			`{"name":"Erika","password":"a-good-password"}`: "user_name",
			`{"name":"peter","password":"short"}`:           "password_length",
			`{"name":"ccc-1","password":"a-good-password"}`: "user_exists",
			`{"name":"admin","password":"a-good-password"}`: "user_exists",
		} {
			if _, c := code(t, b.ask("POST", "/api/v1/users", body, admin)); c != want {
				t.Errorf("%s: %q, want %q", body, c, want)
			}
		}
		erika, second := b.logIn(t, "erika", "a-good-password"), b.logIn(t, "erika", "a-good-password")
		if _, c := code(t, b.ask("PUT", "/api/v1/password", `{"current":"wrong","new":"another-password"}`, erika)); c != "password" {
			t.Errorf("a wrong current password: %q", c)
		}
		if w := b.ask("PUT", "/api/v1/password", `{"current":"a-good-password","new":"another-password"}`, erika); w.Code != http.StatusNoContent {
			t.Errorf("change: %d %s", w.Code, w.Body)
		}
		if w := b.ask("GET", "/api/v1/system", "", erika); w.Code != http.StatusOK {
			t.Errorf("the session that changed it: %d", w.Code)
		}
		if w := b.ask("GET", "/api/v1/system", "", second); w.Code != http.StatusUnauthorized {
			t.Errorf("another session: %d", w.Code)
		}
		for name, want := range map[string]string{"admin": "user_fixed", b.ccc.pairing.user: "user_fixed", "nobody": "not_found", "erika": ""} {
			if _, c := code(t, b.ask("DELETE", "/api/v1/users/"+name, "", admin)); c != want {
				t.Errorf("delete %s: %q, want %q", name, c, want)
			}
		}
		if w := b.ask("GET", "/api/v1/system", "", erika); w.Code != http.StatusUnauthorized {
			t.Errorf("a user who is gone: %d", w.Code)
		}
	})
}

// TestEnableAPI pairs as a command does.
func TestEnableAPI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		admin := b.logIn(t, "admin", first)
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		w := b.ask("GET", "/api/v1/ccc", "", admin)
		for _, want := range []string{`"state":"offered"`, `"tenant":"Muster GmbH"`, `"tries_left":5`, `"id":"offer-1"`} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("no %s in %s", want, w.Body)
			}
		}
		enable := func(token, pass string) *httptest.ResponseRecorder {
			body := must(json.Marshal(map[string]string{"token": token, "password": pass, "offer": "offer-1"}))
			return b.ask("POST", "/api/v1/ccc/enable", string(body), admin)
		}
		if _, c := code(t, enable(o.Token.Reveal(), "wrong")); c != "password" || b.State().Phase() != state.PhaseOffered {
			t.Errorf("a wrong password: %q", c)
		}
		if _, c := code(t, enable("x", first)); c != "token_length" {
			t.Errorf("too short: %q", c)
		}
		w = enable(b.ccc.offer("other").Token.Reveal(), first)
		if _, c := code(t, w); c != "wrong_token" || !strings.Contains(w.Body.String(), `"tries_left":4`) {
			t.Errorf("a wrong token: %s", w.Body)
		}
		w = enable(strings.ToLower(strings.ReplaceAll(o.Token.Reveal(), "-", " ")), first)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"pairing":"pairing-1"`) {
			t.Errorf("the right one: %d %s", w.Code, w.Body)
		}
		if _, c := code(t, enable(o.Token.Reveal(), first)); c != "already_paired" {
			t.Errorf("again: %q", c)
		}
		if strings.Contains(b.ask("GET", "/api/v1/ccc", "", admin).Body.String(), o.Token.Reveal()) {
			t.Error("the token is shown")
		}
	})
}
