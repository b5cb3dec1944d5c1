package pages

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/calls"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestLanguagesHaveTheSameKeys: none lacks a key, none is empty, and all fill in the
// same things.
func TestLanguagesHaveTheSameKeys(t *testing.T) {
	t.Parallel()
	verb := regexp.MustCompile(`%[a-z%]`)
	for key, text := range texts["en"] {
		for _, lang := range Languages {
			other, ok := texts[lang][key]
			if !ok || strings.TrimSpace(other) == "" {
				t.Errorf("%s lacks %q", lang, key)
			}
			if !slices.Equal(verb.FindAllString(other, -1), verb.FindAllString(text, -1)) {
				t.Errorf("%s: %q fills in other things: %q and %q", lang, key, other, text)
			}
		}
	}
	for _, lang := range Languages {
		for key := range texts[lang] {
			if _, ok := texts["en"][key]; !ok {
				t.Errorf("only %s has %q", lang, key)
			}
		}
	}
}

// TestLanguagesDiffer: a text that is the same everywhere has been forgotten, unless
// it is a name.
func TestLanguagesDiffer(t *testing.T) {
	t.Parallel()
	same := map[string]bool{
		"ccc.title": true, "role.ccc": true, "span.hours": true, "span.minutes": true,
	}
	for key, text := range texts["en"] {
		if text == texts["de"][key] && text == texts["fr"][key] && !same[key] {
			t.Errorf("%q is %q in all languages", key, text)
		}
	}
}

// TestKeysAreUsed: every key is somewhere in a template or in Go, and every key there
// is in the languages.
func TestKeysAreUsed(t *testing.T) {
	t.Parallel()
	var sources strings.Builder
	for _, dir := range []string{"html", "..", "."} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if ext := filepath.Ext(f.Name()); f.IsDir() || ext != ".html" && ext != ".go" || strings.HasSuffix(f.Name(), "_test.go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	all := sources.String()
	for key := range texts["en"] {
		// These families are put together.
		together := regexp.MustCompile(`^(role|message|settings|firmware|changes|value|remote\.(service|consent|cause|event))\..`)
		if together.MatchString(key) {
			continue
		}
		if !strings.Contains(all, `"`+key+`"`) {
			t.Errorf("nobody uses %q", key)
		}
	}
	for _, m := range regexp.MustCompile(`(?:\{t|\(t|[^a-z]t|good|bad)[ (]"([a-z][a-z.0-9]*)"`).FindAllStringSubmatch(all, -1) {
		if _, ok := texts["en"][m[1]]; !ok {
			t.Errorf("%q is in no language", m[1])
		}
	}
	for _, role := range []state.Role{state.RoleAdministrator, state.RoleUser, state.RoleCloud} {
		if _, ok := texts["en"]["role."+string(role)]; !ok {
			t.Errorf("no text for role %q", role)
		}
	}
}

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// samples are pages in each of their forms.
func samples() map[string]Page {
	paired := &state.Pairing{ID: "p", Tenant: "Müller & Söhne <GmbH>", Epoch: 2, User: "ccc-0a1b2c3d", Since: now, Contact: now}
	offers := []Offer{
		{state.Offer{ID: "o1", Tenant: "Müller & Söhne <GmbH>", Code: "123 456", Expires: now.Add(23 * time.Hour)}, 23 * time.Hour, 5},
		{state.Offer{ID: "o2", Tenant: "Zweite AG", Code: "654 321", Expires: now.Add(time.Hour)}, time.Hour, 2},
	}
	f := facts.Facts{
		Host: facts.Host{Name: "box", System: "debian 12", Kernel: "6.1", Uptime: 90061},
		CPU:  facts.CPU{Cores: 2, Percent: 12.5, Load: 0.5}, Memory: facts.Space{Total: 2 << 30, Used: 1 << 30, Percent: 50},
	}
	users := []state.User{
		{Name: "admin", Role: state.RoleAdministrator, Created: now},
		{Name: "erika", Role: state.RoleUser, Created: now},
		{Name: "ccc-0a1b2c3d", Role: state.RoleCloud, Disabled: true, Created: now},
	}
	online := Tunnel{Configured: true, Online: true, Relay: "relay/r1", Transport: "QUIC", RTT: 12 * time.Millisecond, Expires: now}
	page := func(name string, data any) Page {
		return Page{Name: name, Serial: "0123456789", System: "Haus 1", User: "admin", Administrator: true, Data: data}
	}
	return map[string]Page{
		"login":          {Name: "login", Serial: "0123456789", System: "Haus 1", Data: Login{Name: "x", Next: "/ccc", First: true}, Notice: Notice{Key: "login.wrong", Bad: true}},
		"status new":     page("status", Status{Model: "M", Firmware: "1", Started: now, Facts: &f, Paired: paired, New: true, Offers: 2, First: true, Tunnel: online}),
		"status bare":    page("status", Status{Model: "M", Firmware: "1", Started: now, Tunnel: Tunnel{Configured: true, Error: "no relay", Expires: now}}),
		"ccc unpaired":   page("ccc", CCC{Phase: state.PhaseUnpaired, Now: now, Administrator: true, Local: true}),
		"ccc offers":     page("ccc", CCC{Phase: state.PhaseOffered, Offers: offers, OffersOn: true, Now: now, Administrator: true, Local: true}),
		"ccc user":       page("ccc", CCC{Phase: state.PhaseOffered, Offers: offers, OffersOn: true, Now: now}),
		"ccc far":        page("ccc", CCC{Phase: state.PhaseOffered, Offers: offers, Now: now, Administrator: true}),
		"ccc completing": page("ccc", CCC{Phase: state.PhaseCompleting, Completes: "Müller", Now: now, Administrator: true, Local: true}),
		"ccc waiting":    page("ccc", CCC{Phase: state.PhaseUnpaired, Now: now, Waiting: true, Administrator: true, Local: true}),
		"ccc paired":     page("ccc", CCC{Phase: state.PhasePaired, Paired: paired, Contact: now, Days: 30, Now: now, Administrator: true, Local: true}),
		"remote": page("remote", Remote{
			On: true, Paired: true, Life: time.Hour, Now: now, Local: true, Remote: state.Remote{Consent: state.ConsentAlways}, TargetLines: "switch ssh 10.0.0.2:22, key\n",
			View: remote.View{PIN: &remote.PINView{Until: now, TriesLeft: 4}, Messages: messages(), Sessions: []remote.Session{
				{ID: "s-1", Tenant: "Müller & Söhne <GmbH>", User: "Erika <E.>", Reason: "x", Service: grant.SSH, Target: "switch", State: grant.Active, Consent: wire.ConsentPIN, Started: now, Until: now.Add(time.Minute), Extension: time.Hour},
				{ID: "s-2", Tenant: "Müller", User: "Erika", Reason: "x", Service: grant.Web, State: grant.Pending, Asked: 24 * time.Hour, Expires: now.Add(time.Minute)},
				{ID: "s-3", State: grant.Ended},
			}},
		}),
		"remote far":     page("remote", Remote{On: true, Paired: true, Life: time.Hour, Now: now}),
		"remote waiting": page("remote", Remote{On: true, Paired: true, Life: time.Hour, Now: now, Local: true, Waiting: true}),
		"remote off":     page("remote", Remote{Life: time.Hour, Now: now, Local: true}),
		"users":          page("users", Users{Users: users, Self: "admin", Subscribers: calls.Subscribers, MinLen: 10, Administrator: true}),
		"users own":      page("users", Users{Users: users[1:2], Self: "erika", Subscribers: calls.Subscribers, MinLen: 10}),
		"switches":       page("switches", Switches{Switches: state.DefaultSwitches, Phase: state.PhaseUnpaired}),
		"settings":       page("settings", Settings{Settings: settings.Default(), Firmware: Firmware{Version: "1.0.0", State: FirmwareIdle}}),
		"settings changed": page("settings", Settings{
			Settings: settings.Default(), Version: 7, RestartNeeded: true, Changes: changes(),
			Firmware: Firmware{Version: "2.0.0", Previous: "1.0.0", State: FirmwareFailed, Progress: 40, Error: &FirmwareError{Code: "install_failed"}},
		}),
		"reset":   page("reset", Reset{Paired: paired}),
		"message": page("message", Message{Title: "message.notfound.title", Text: "message.notfound.text"}),
	}
}

// changes are one of each kind, by the control centre, and one of every setting.
func changes() (all []state.Change) {
	for _, done := range []state.Done{state.DoneSettings, state.DoneRestart, state.DoneFirmware, state.DoneRollback} {
		all = append(all, state.Change{At: now, By: "ccc-0a1b2c3d", Cloud: true, Done: done, Version: "2.0.0"})
	}
	last := state.Change{At: now, By: "admin", Done: state.DoneSettings}
	defaults := settings.Default()
	for _, f := range settings.Fields() {
		last.Values = append(last.Values, state.Value{Key: f.Key, Old: f.Text(&defaults), New: "<b>"})
	}
	last.Values[len(last.Values)-1].New = "on"
	last.Values = slices.DeleteFunc(last.Values, func(v state.Value) bool { return v.Key == "music_on_hold" })
	return append(all, last)
}

// messages are one of each event and cause.
func messages() (all []remote.Message) {
	for _, how := range []wire.Consent{wire.ConsentRequest, wire.ConsentPIN, wire.ConsentAlways} {
		all = append(all, remote.Message{At: now, Event: remote.Started, Consent: how, User: "Erika", Tenant: "Müller & Söhne <GmbH>"})
	}
	all = append(all, remote.Message{At: now, Event: remote.Extended})
	for _, why := range []grant.Cause{
		grant.CauseUser, grant.CauseAdmin, grant.CauseTime, grant.CauseSwitch, grant.CauseCCC, grant.CauseDissolved, grant.CauseReset, grant.CauseRestart,
		grant.CauseNoConsent, grant.CauseWrongPIN,
	} {
		all = append(all, remote.Message{At: now, Event: remote.Over, Cause: why})
	}
	return all
}

// TestNoKeysAreShown: what is put together is in the languages.
func TestNoKeysAreShown(t *testing.T) {
	t.Parallel()
	for _, lang := range Languages {
		for name, p := range samples() {
			p.Lang = lang
			var b bytes.Buffer
			if err := Render(&b, p); err != nil {
				t.Fatal(err)
			}
			if key := regexp.MustCompile(`>\s*[^<]*(remote|settings|changes|firmware|restart|value)\.[a-z]+[^<]*<`).FindString(b.String()); key != "" {
				t.Errorf("%s in %s shows %q", name, lang, key)
			}
		}
	}
}

// TestRender renders every form of every page in every language, and looks at what a
// browser and a screen reader need.
func TestRender(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, lang := range Languages {
		for name, p := range samples() {
			p.Lang = lang
			seen[p.Name] = true
			t.Run(lang+" "+name, func(t *testing.T) {
				t.Parallel()
				var b bytes.Buffer
				if err := Render(&b, p); err != nil {
					t.Fatal(err)
				}
				text := b.String()
				for _, bad := range []string{"http://", "https://", "<script", "javascript:", "style=", "onclick", "%!", "<GmbH>", "ZgotmplZ", "<no value>"} {
					if strings.Contains(text, bad) {
						t.Errorf("the page holds %q", bad)
					}
				}
				if !strings.Contains(text, `<html lang="`+lang+`">`) {
					t.Error("the page does not say its language")
				}
				checkForms(t, text)
			})
		}
	}
	for _, name := range Names {
		if !seen[name] {
			t.Errorf("no sample of page %q", name)
		}
	}
}

// checkForms looks at labels, headings, ids and methods.
func checkForms(t *testing.T, text string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	labels, inputs, ids := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	headings := 0
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attr := func(key string) string {
			for _, a := range n.Attr {
				if a.Key == key {
					return a.Val
				}
			}
			return ""
		}
		if id := attr("id"); id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %q", id)
			}
			ids[id] = true
		}
		switch n.Data {
		case "h1":
			headings++
		case "label":
			labels[attr("for")] = true
		case "form":
			if attr("method") != "post" {
				t.Errorf("the form for %q is not posted", attr("action"))
			}
		case "input", "select":
			inLabel := false
			for a := range n.Ancestors() {
				inLabel = inLabel || a.Data == "label"
			}
			if attr("type") != "hidden" && !inLabel {
				inputs[attr("id")] = true
			}
		}
	}
	if headings != 1 {
		t.Errorf("%d headings of the first level", headings)
	}
	for id := range inputs {
		if !labels[id] {
			t.Errorf("the field %q has no label", id)
		}
	}
}

func TestWhatPagesShow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ want, never []string }{
		"ccc offers": {
			[]string{"Müller &amp; Söhne &lt;GmbH&gt;", "123 456", `aria-label="1 2 3 4 5 6"`, `name="token"`, "Tries left: 5", "23 h 0 min left", "654 321"},
			[]string{`http-equiv`},
		},
		"ccc user":       {[]string{"123 456", "Only an administrator"}, []string{`name="token"`}},
		"ccc far":        {[]string{"123 456", "local network"}, []string{`name="token"`}},
		"ccc paired":     {[]string{"Müller &amp; Söhne", "ccc-0a1b2c3d", "after 30 days", `action="/ccc/disable"`}, []string{`name="token"`}},
		"ccc unpaired":   {[]string{"serial number 0123456789", "none can arrive", `href="/ccc?wait"`}, []string{`name="token"`}},
		"status new":     {[]string{"Newly connected with Müller", "12 %", "1.0 GiB of 2.0 GiB", "1 d 1 h", "QUIC", "still the first one"}, nil},
		"users own":      {[]string{"erika", "Change your password"}, []string{"/users/add", "/users/delete"}},
		"users":          {[]string{"(disabled)", "/users/add"}, nil},
		"login":          {[]string{"User name or password is wrong", `role="alert"`, `value="/ccc"`}, []string{"<nav"}},
		"ccc completing": {[]string{"Asking Müller", "Reload"}, []string{`name="token"`, "/ccc?wait"}},
		"settings":       {[]string{`name="ntp_server" value="de.pool.ntp.org"`, `name="music_on_hold" value="on" checked`, `<option value="DE" selected>`, "Nobody has changed"}, []string{"/settings/rollback", "(install_failed)", "Some settings"}},
		"settings changed": {
			[]string{`name="version" value="7"`, "Some settings only take effect", "back to 1.0.0", "(install_failed)", "<td>CCC</td>", "<code>admin</code>", "Order of codecs: opus, g722, g711a, g711u → &lt;b&gt;", "CallDataId 0): off → on", "Firmware installed: 2.0.0"},
			[]string{"ccc-0a1b2c3d", "Nobody has changed"},
		},
		"ccc waiting": {[]string{"reloads every five seconds", "Stop"}, []string{"/ccc?wait"}},
	} {
		p := samples()[name]
		p.Lang = "en"
		var b bytes.Buffer
		if err := Render(&b, p); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		for _, never := range tt.never {
			if strings.Contains(b.String(), never) {
				t.Errorf("%s holds %q", name, never)
			}
		}
	}
	p := samples()["ccc completing"]
	p.Lang, p.Refresh, p.RefreshTo = "en", 3, "/ccc?wait&auto"
	var b bytes.Buffer
	if err := Render(&b, p); err != nil || !strings.Contains(b.String(), `http-equiv="refresh" content="3;url=/ccc?wait&amp;auto"`) {
		t.Errorf("no refresh: %v", err)
	}
}

func TestUnknownPages(t *testing.T) {
	t.Parallel()
	for _, p := range []Page{{Name: "login", Lang: "it"}, {Name: "x", Lang: "de"}, {}} {
		if err := Render(new(bytes.Buffer), p); !errors.Is(err, ErrUnknown) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"": "en", "fr": "fr", "de-AT,en;q=0.5": "de", "it, fr-CH;q=0.9": "fr", "DE": "de", "*": "en", "dex": "en", ",,;": "en",
	} {
		if got := Match(accept, "en"); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
	if got := Match("", "xx"); got != "de" {
		t.Errorf("without anything: %q", got)
	}
}

// TestStyle: the style sheet loads nothing.
func TestStyle(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"url(", "@import", "http"} {
		if strings.Contains(string(Style), bad) {
			t.Errorf("the style sheet holds %q", bad)
		}
	}
}

// TestLanguageFiles: every file is of a language that is offered.
func TestLanguageFiles(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(langFiles, "lang/*.json")
	if err != nil || len(files) != len(Languages) {
		t.Errorf("%v, %v", files, err)
	}
	for _, f := range files {
		data, err := langFiles.ReadFile(f)
		if err != nil || !json.Valid(data) {
			t.Errorf("%s: %v", f, err)
		}
		// encoding/json takes the last of two equal keys; nobody would notice.
		keys := make(map[string]bool)
		for _, m := range regexp.MustCompile(`(?m)^\t"([^"]+)":`).FindAllStringSubmatch(string(data), -1) {
			if keys[m[1]] {
				t.Errorf("%s has %q twice", f, m[1])
			}
			keys[m[1]] = true
		}
	}
}
