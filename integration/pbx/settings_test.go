package pbx

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// ifMatch names the version of now.
func (b *box) ifMatch() func(*http.Request) {
	version := tag(b.State())
	return func(r *http.Request) { r.Header.Set("If-Match", version) }
}

// settingsForm is the form of the page as it comes.
func (b *box) settingsForm() url.Values {
	s := b.State()
	form := url.Values{"version": {fmt.Sprint(s.SettingsVersion)}}
	for _, f := range settings.Fields() {
		if text := f.Text(&s.Settings); f.Type != settings.Boolean || text == "on" {
			form.Set(f.Key, text)
		}
	}
	return form
}

// into reads an answer.
func into[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != status {
		t.Errorf("%d %s: %v, want %d", w.Code, w.Body, err, status)
	}
	return v
}

// TestPatchSettings: versions, differences, and what is only tried.
func TestPatchSettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		cloud, admin := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass), b.logIn(t, "admin", first)
		const path = "/api/v1/settings"
		w := b.ask("GET", path, "", cloud)
		version := w.Header().Get("ETag")
		if got := into[settings.Settings](t, w, http.StatusOK); got.NTPServer != "de.pool.ntp.org" || version == "" {
			t.Errorf("%+v, version %s", got, version)
		}
		at := func(version string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("If-Match", version) }
		}
		patch := func(body, version string) *httptest.ResponseRecorder {
			return b.ask("PATCH", path, body, cloud, via("ccc"), at(version))
		}
		const change = `{"ntp_server":"ntp.example.net","codec_order":["g722"],"name":"COMtrexx"}`

		if _, c := code(t, b.ask("PATCH", path, change, cloud)); c != "version_required" {
			t.Errorf("without a version: %q", c)
		}
		tried := into[Changes](t, b.ask("PATCH", path+"?dry_run=true", change, cloud), http.StatusOK)
		if len(tried.Changes) != 2 || tried.Changes[0].Key != "ntp_server" || tried.Changes[0].Old != "de.pool.ntp.org" || !tried.RestartNeeded {
			t.Errorf("tried: %+v", tried)
		}
		if s := b.State(); tag(s) != version || len(s.Changes) > 0 || s.Settings.NTPServer != "de.pool.ntp.org" {
			t.Errorf("what was only tried has changed something: %+v", s.Settings)
		}
		if _, c := code(t, b.ask("PATCH", path+"?dry_run=true", change, cloud, at(`"1"`))); c != "version" {
			t.Errorf("tried on another version: %q", c)
		}

		w = patch(change, version)
		done, next := into[Changes](t, w, http.StatusOK), w.Header().Get("ETag")
		if len(done.Changes) != 2 || !done.RestartNeeded || next == version || next != tag(b.State()) {
			t.Errorf("done: %+v, version %s", done, next)
		}
		if got := b.State().Settings; got.NTPServer != "ntp.example.net" || got.CodecOrder[0] != "g722" || got.NTPIntervalMinutes != 60 {
			t.Errorf("settings %+v", got)
		}
		if w := patch(change, next); w.Header().Get("ETag") != next || len(into[Changes](t, w, http.StatusOK).Changes) != 0 || len(b.State().Changes) != 1 {
			t.Errorf("the same again: %s", w.Body)
		}

		// The PBX's own administrator changes something meanwhile.
		time.Sleep(time.Minute)
		if w := b.post("/settings", func() url.Values {
			form := b.settingsForm()
			form.Set("ntp_server", "ntp.local")
			return form
		}(), admin); w.Code != http.StatusSeeOther {
			t.Errorf("the page: %d", w.Code)
		}
		w = patch(`{"ntp_server":"mine","base":{"ntp_server":"ntp.example.net","language":"de","junk":1}}`, next)
		if got := into[Problem](t, w, http.StatusPreconditionFailed); got.Code != "version" || len(got.Changed) != 1 ||
			got.Changed[0] != (settings.Change{Key: "ntp_server", Old: "ntp.example.net", New: "ntp.local"}) || w.Header().Get("ETag") != tag(b.State()) {
			t.Errorf("changed meanwhile: %+v", got)
		}
		if got := into[Problem](t, patch(`{"ntp_server":"mine"}`, next), http.StatusPreconditionFailed); len(got.Changed) != 0 {
			t.Errorf("without a base: %+v", got)
		}
		if got := into[Problem](t, patch(`{"ntp_server":"a b","nothing":1,"contact_days":"x"}`, tag(b.State())), http.StatusUnprocessableEntity); len(got.Errors) != 3 || got.Errors[2].Location != "body.ntp_server" {
			t.Errorf("wrong values: %+v", got)
		}
		if got := b.State().Settings.NTPServer; got != "ntp.local" {
			t.Errorf("a refused change was made: %q", got)
		}

		log := b.State().Changes
		if len(log) != 2 || !log[0].Cloud || log[1].Cloud || log[1].By != state.Administrator ||
			log[1].Values[0] != (state.Value{Key: "ntp_server", Old: "ntp.example.net", New: "ntp.local"}) {
			t.Errorf("what was done: %+v", log)
		}
		page := b.ask("GET", "/settings", "", admin).Body.String()
		for _, want := range []string{"<td>CCC</td>", "de.pool.ntp.org → ntp.example.net", "<code>admin</code>", "ntp.example.net → ntp.local"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
	})
}

// TestSchema says what Check does.
func TestSchema(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		admin := b.logIn(t, "admin", first)
		schema := into[[]Field](t, b.ask("GET", "/api/v1/settings/schema", "", admin), http.StatusOK)
		values := into[map[string]any](t, b.ask("GET", "/api/v1/settings", "", admin), http.StatusOK)
		if len(schema) != len(values) || len(schema) < 15 {
			t.Errorf("%d fields, %d values", len(schema), len(values))
		}
		for _, f := range schema {
			if _, ok := values[f.Key]; !ok || len(f.Labels) != 3 || strings.Contains(f.Labels["fr"], "settings.") || (f.Max == nil) != (f.Type == settings.Boolean) || f.Max != nil && *f.Max < *f.Min {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestConfigurationSwitch: what is switched off is so for the control centre, and not for
// the administrator.
func TestConfigurationSwitch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		cloud, admin := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass), b.logIn(t, "admin", first)
		set := b.State().Switches
		set.Configuration = false
		if err := b.setSwitches(replace(set)); err != nil {
			t.Fatal(err)
		}
		for _, call := range [][2]string{
			{"GET", "settings"}, {"GET", "settings/schema"}, {"PATCH", "settings"}, {"POST", "restart"}, {"GET", "firmware"}, {"PUT", "firmware"}, {"POST", "firmware/rollback"},
		} {
			for name, who := range map[string][]func(*http.Request){
				"cloud": {cloud, via("ccc")}, "cloud, local": {cloud}, "admin by tunnel": {admin, via("ccc")},
			} {
				if status, c := code(t, b.ask(call[0], "/api/v1/"+call[1], "{}", append(who, b.ifMatch())...)); c != "switched_off" || status != http.StatusForbidden {
					t.Errorf("%v by %s: %d %q", call, name, status, c)
				}
			}
		}
		if w := b.ask("PATCH", "/api/v1/settings", `{"name":"Haus"}`, admin, b.ifMatch()); w.Code != http.StatusOK || b.State().Settings.Name != "Haus" {
			t.Errorf("the administrator: %d", w.Code)
		}
		if w := b.ask("POST", "/api/v1/restart", "", admin); w.Code != http.StatusAccepted {
			t.Errorf("the administrator restarts: %d", w.Code)
		}
	})
}

// TestRestart: it goes, is away, and is back as another start that has the settings.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, func(c *Config) { c.Limits.Restart = time.Minute })
		b.pair(t)
		cloud := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		system := func() System { return into[System](t, b.ask("GET", "/api/v1/system", "", cloud), http.StatusOK) }
		time.Sleep(time.Hour)
		before := system()
		if len(before.Boot) != 16 || before.RunningSeconds != 3600 || before.RestartNeeded {
			t.Errorf("%+v", before)
		}
		if w := b.ask("PATCH", "/api/v1/settings", `{"dns_servers":["192.0.2.1"]}`, cloud, b.ifMatch()); w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
		if !system().RestartNeeded {
			t.Error("no restart is needed")
		}
		asked := into[map[string]string](t, b.ask("POST", "/api/v1/restart", "", cloud), http.StatusAccepted)
		if asked["restart"] == "" || asked["boot"] != before.Boot {
			t.Errorf("%v", asked)
		}
		if _, c := code(t, b.ask("POST", "/api/v1/restart", "", cloud)); c != "busy" {
			t.Errorf("twice: %q", c)
		}
		if got := system(); got.Boot != before.Boot {
			t.Error("who has asked does not hear that it comes")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if w := b.ask("GET", "/api/v1/system", "", cloud); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("while it is away: %d", w.Code)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if w := b.ask("GET", "/api/v1/system", "", cloud); w.Code != http.StatusUnauthorized {
			t.Errorf("a sign-in survives: %d", w.Code)
		}
		cloud = b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		if got := system(); got.Boot == before.Boot || got.RestartNeeded || got.RunningSeconds > 60 {
			t.Errorf("back: %+v", got)
		}
		if log := b.State().Changes; len(log) != 2 || log[1].Done != state.DoneRestart || !log[1].Cloud {
			t.Errorf("what was done: %+v", log)
		}
		time.Sleep(time.Hour)
		if got := system(); got.RunningSeconds < 3600 {
			t.Errorf("it has restarted again: %+v", got)
		}
	})
}

// TestFaults: one that refuses, and one that does not come back.
func TestFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refuses := newBox(t, func(c *Config) { c.Fault = FaultRefuse })
		admin := refuses.logIn(t, "admin", first)
		for _, call := range [][2]string{{"PATCH", "settings"}, {"POST", "restart"}, {"PUT", "firmware"}, {"POST", "firmware/rollback"}} {
			if _, c := code(t, refuses.ask(call[0], "/api/v1/"+call[1], `{"name":"x"}`, admin, refuses.ifMatch())); c != "refused" {
				t.Errorf("%v: %q", call, c)
			}
		}
		if w := refuses.ask("PATCH", "/api/v1/settings?dry_run=true", `{"name":"x"}`, admin); w.Code != http.StatusOK {
			t.Errorf("what is only tried: %d", w.Code)
		}
		gone := newBox(t, func(c *Config) { c.Fault = FaultReturn })
		if w := gone.ask("POST", "/api/v1/restart", "", gone.logIn(t, "admin", first)); w.Code != http.StatusAccepted {
			t.Errorf("restart: %d", w.Code)
		}
		time.Sleep(24 * time.Hour)
		if w := gone.ask("GET", "/", ""); w.Code != http.StatusServiceUnavailable {
			t.Errorf("it is back: %d", w.Code)
		}
		gone.cfg.Fault = FaultNone
		gone.restart(t)
		if w := gone.ask("GET", "/", ""); w.Code != http.StatusSeeOther {
			t.Errorf("after somebody has pulled the plug: %d", w.Code)
		}
		if _, err := New(Config{Credentials: gone.cfg.Credentials, Fault: "x"}); err == nil {
			t.Error("a fault that is none")
		}
	})
}

// TestOldState: a file from before these settings has their defaults, and what nobody has
// allowed is off.
func TestOldState(t *testing.T) {
	t.Parallel()
	disk := new(state.Memory)
	const old = `{"format":1,"version":5,"users":[{"name":"admin","role":"administrator","hash":"x","changed":true}],
		"settings":{"name":"Alt","language":"fr","contact_days":7,"calls_per_day":0},"switches":{"monitoring":true}}`
	if err := disk.Write(state.File, []byte(old)); err != nil {
		t.Fatal(err)
	}
	p := quiet(t, func(c *Config) { c.Disk = disk })
	want := settings.Default()
	want.Name, want.Language, want.ContactDays, want.CallsPerDay = "Alt", "fr", 7, 0
	if got := p.State(); len(settings.Diff(&want, &got.Settings)) > 0 || got.Switches.Configuration || !got.Switches.Monitoring {
		t.Errorf("%+v", got)
	}
}
