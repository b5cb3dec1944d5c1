package pbx

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestConsentInTheBrowser: the administrator allows, ends, and tells a PIN.
func TestConsentInTheBrowser(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.pair(t)
	who := b.browse(t, "admin", first)
	b.switchRemote(t, true)
	if _, err := b.askRemote(t, b.ccc.remoteRequest("s-1")); err != nil {
		t.Fatal(err)
	}
	shows := func(texts ...string) {
		t.Helper()
		page := b.ask("GET", "/remote", "", who, english).Body.String()
		for _, text := range texts {
			if !strings.Contains(page, text) {
				t.Errorf("the page lacks %q", text)
			}
		}
	}
	shows("Erika Muster (Muster GmbH) asks for access", "no dial tone", `value="60"`, "Allow", "Refuse")
	session := url.Values{"session": {"s-1"}}
	with := func(name, value string) url.Values {
		v := maps.Clone(session)
		v.Set(name, value)
		return v
	}
	if w := b.post("/remote/allow", with("minutes", "30"), who, remotely); w.Code != http.StatusForbidden {
		t.Errorf("from far away: %d", w.Code)
	}
	b.notice(t, b.post("/remote/allow", with("minutes", "0"), who), who, "The duration has to be")
	shows("asks for access")
	b.notice(t, b.post("/remote/allow", with("minutes", "30"), who), who, "Allowed.")
	shows("Erika Muster (Muster GmbH) has access", "29 min", "End now", "Started: request allowed")
	if page := b.ask("GET", "/", "", who, english).Body.String(); !strings.Contains(page, "has remote access") {
		t.Error("the first page does not tell")
	}
	if err := b.Remote().Extend("s-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	shows("Erika Muster asks for 1 h 0 min more", "Do not extend")
	form := with("minutes", "60")
	form.Set("extension", "yes")
	b.notice(t, b.post("/remote/allow", form, who), who, "Allowed.")
	shows("59 min")
	b.notice(t, b.post("/remote/end", session, who), who, "The access has ended.")
	b.notice(t, b.post("/remote/end", url.Values{"session": {"s-9"}}, who), who, "no longer possible")
	shows("Over: ended or refused here", "Nobody has access")
	if w := b.post("/remote/pin", url.Values{"minutes": {"60"}}, who); w.Code != http.StatusSeeOther {
		t.Fatal(w.Code)
	}
	page := b.ask("GET", "/remote", "", who, english).Body.String()
	pin := regexp.MustCompile(`The PIN is (\d{4}) (\d{4})\.`).FindStringSubmatch(page)
	if pin == nil {
		t.Fatal("no PIN is shown")
	}
	if again := b.ask("GET", "/remote", "", who, english).Body.String(); strings.Contains(again, pin[0]) || !strings.Contains(again, "There is a PIN") {
		t.Error("the PIN is shown twice")
	}
	if _, err := b.askRemote(t, b.ccc.remoteRequest("s-2")); err != nil {
		t.Fatal(err)
	}
	if err := b.Remote().PIN("s-2", pin[1]+pin[2]); err != nil {
		t.Error(err)
	}
	shows("by PIN")
	set := url.Values{"consent": {"always"}, "minutes": {"20"}, "targets": {"switch ssh 192.168.1.2:22, ssh-ed25519 AAAA, ssh-rsa BBBB\r\n\r\nnas tcp nas.lan:445\r\n"}}
	b.notice(t, b.post("/remote/settings", set, who), who, "Saved.")
	if r := b.State().Remote; r.Consent != state.ConsentAlways || r.Minutes != 20 || len(r.Targets) != 2 || len(r.Targets[0].HostKeys) != 2 || r.Targets[1].Address != "nas.lan:445" {
		t.Errorf("%+v", r)
	}
	shows("switch ssh 192.168.1.2:22, ssh-ed25519 AAAA, ssh-rsa BBBB\nnas tcp nas.lan:445")
	set.Set("targets", "x tcp 169.254.169.254:80")
	b.notice(t, b.post("/remote/settings", set, who), who, "remote_targets")
	set.Set("targets", "x tcp")
	b.notice(t, b.post("/remote/settings", set, who), who, "remote_targets")
	if _, err := b.FactoryReset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := b.Remote().View(); len(v.Messages)+len(v.Sessions) != 0 || b.State().Remote.Consent != "" {
		t.Errorf("%+v", v)
	}
}

// TestRemoteAPI: the same by the API.
func TestRemoteAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.pair(t)
	b.switchRemote(t, true)
	admin := b.logIn(t, "admin", first)
	for _, id := range []grant.SessionID{"s-1", "s-2"} {
		if _, err := b.askRemote(t, b.ccc.remoteRequest(id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "s-9/allow", `{"minutes":5}`, 404, "unknown_session"},
		{"POST", "s-1/allow", `{"minutes":1441}`, 422, "minutes"},
		{"POST", "s-1/allow", `{"extension":true}`, 409, "wrong_state"},
		{"POST", "s-1/allow", `{}`, 204, ""},
		{"POST", "s-1/allow", `{}`, 409, "wrong_state"},
		{"POST", "s-1/refuse", `{"extension":true}`, 409, "wrong_state"},
		{"POST", "s-2/refuse", `{}`, 204, ""},
		{"POST", "s-1/end", ``, 204, ""},
		{"POST", "pin", `{"minutes":-1}`, 422, "minutes"},
		{"POST", "pin", `{"minutes":10}`, 200, ""},
		{"DELETE", "pin", ``, 204, ""},
		{"PUT", "settings", `{"remote_consent":"never"}`, 422, "invalid"},
		{"PUT", "settings", `{"remote_targets":[{"name":"web","service":"tcp","address":"10.0.0.1:80"}]}`, 422, "invalid"},
		{"PUT", "settings", `{"remote_targets":[{"name":"nas","service":"tcp","address":"10.0.0.1:80"}]}`, 200, ""},
		{"PUT", "settings", `{"remote_minutes":5}`, 200, ""},
	} {
		if status, got := code(t, b.ask(tt.method, "/api/v1/remote/"+tt.path, tt.body, admin)); status != tt.status || got != tt.code {
			t.Errorf("%s %s %s: %d %q", tt.method, tt.path, tt.body, status, got)
		}
	}
	if r := b.State().Remote; len(r.Targets) != 1 || r.Minutes != 5 {
		t.Errorf("%+v", r)
	}
	var v remoteView
	if err := json.Unmarshal(b.ask("GET", "/api/v1/remote", "", admin).Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Sessions) != 2 || v.Sessions[0].State != grant.Refused || v.Sessions[1].State != grant.Ended || v.Sessions[1].Started == nil || len(v.Messages) != 3 || v.PIN != nil || !v.On {
		t.Errorf("%+v", v)
	}
}
