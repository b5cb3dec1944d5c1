package pbx

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// post sends a form.
func (b *box) post(path string, form url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	return b.ask("POST", path, form.Encode(), append(change, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	})...)
}

// browse signs in at the pages.
func (b *box) browse(t *testing.T, name, secret string) func(*http.Request) {
	t.Helper()
	w := b.post("/login", url.Values{"name": {name}, "password": {secret}, "next": {"/ccc"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/ccc" {
		t.Fatalf("sign in as %s: %d to %q", name, w.Code, w.Header().Get("Location"))
	}
	return cookies(w)
}

func english(r *http.Request) { r.Header.Set("Accept-Language", "en") }

// notice gives the page that a form leads to, which has to hold the text.
func (b *box) notice(t *testing.T, w *httptest.ResponseRecorder, who func(*http.Request), text string) {
	t.Helper()
	if w.Code != http.StatusSeeOther {
		t.Errorf("a form leads to %d: %s", w.Code, w.Body)
		return
	}
	page := b.ask("GET", w.Header().Get("Location"), "", who, english)
	if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), text) {
		t.Errorf("%d, no %q in\n%s", page.Code, text, page.Body)
	}
	again := b.ask("GET", w.Header().Get("Location"), "", who, english)
	if strings.Contains(again.Body.String(), `role="status"`) || strings.Contains(again.Body.String(), `role="alert"`) {
		t.Error("the notice is shown twice")
	}
}

// TestPairingInTheBrowser goes the administrator's way, in three languages.
func TestPairingInTheBrowser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		w := b.ask("GET", "/ccc", "")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login?next=%2Fccc" {
			t.Fatalf("without a session: %d to %q", w.Code, w.Header().Get("Location"))
		}
		bad := b.post("/login", url.Values{"name": {"admin"}, "password": {"wrong"}}, english)
		if bad.Code != http.StatusUnauthorized || !strings.Contains(bad.Body.String(), "User name or password is wrong") {
			t.Errorf("a wrong password: %d", bad.Code)
		}
		admin := b.browse(t, "admin", first)
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		code := b.State().Offers[0].Code
		for lang, word := range map[string]string{"de": "möchte diese Anlage", "en": "wants to connect", "fr": "souhaite connecter"} {
			w := b.ask("GET", "/ccc", "", admin, func(r *http.Request) { r.Header.Set("Accept-Language", lang) })
			for _, want := range []string{"Muster GmbH", code, word, `name="token"`, `lang="` + lang + `"`} {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s: no %q", lang, want)
				}
			}
			if strings.Contains(w.Body.String(), o.Token.Reveal()) {
				t.Error("the page shows the token")
			}
		}
		form := func(typed, pass string) url.Values {
			return url.Values{"offer": {"offer-1"}, "token": {typed}, "password": {pass}}
		}
		b.notice(t, b.post("/ccc/enable", form(o.Token.Reveal(), "wrong"), admin), admin, "The password is wrong")
		b.notice(t, b.post("/ccc/enable", form(token.New().Reveal(), first), admin), admin, "Tries left: 4")
		b.notice(t, b.post("/ccc/enable", form("ABC", first), admin), admin, "A token has 12 characters")
		b.notice(t, b.post("/ccc/enable", form(o.Token.Reveal(), first), admin), admin, "The system is connected with CCC")
		if b.State().Phase() != state.PhasePaired {
			t.Fatal("not paired")
		}
		if w := b.ask("GET", "/", "", admin, english); !strings.Contains(w.Body.String(), "Newly connected with Muster GmbH") {
			t.Error("the status does not tell of the new pairing")
		}
		b.notice(t, b.post("/ccc/disable", url.Values{"sure": {"yes"}}, admin), admin, "is dissolved")
		if b.State().Phase() != state.PhaseUnpaired {
			t.Error("still paired")
		}
	})
}

func TestForms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		admin := b.browse(t, "admin", first)
		b.notice(t, b.post("/users/add", url.Values{"name": {"erika"}, "new": {"a-good-password"}}, admin), admin, "The user erika is added")
		b.notice(t, b.post("/users/add", url.Values{"name": {"erika"}, "new": {"a-good-password"}}, admin), admin, "The user erika exists")
		b.notice(t, b.post("/users/add", url.Values{"name": {"Ä"}, "new": {"a-good-password"}}, admin), admin, "A user name has 1 to 32")
		b.notice(t, b.post("/users/add", url.Values{"name": {"x"}, "new": {"short"}}, admin), admin, "must have 10 to 128")
		erika := b.browse(t, "erika", "a-good-password")
		if w := b.ask("GET", "/switches", "", erika); w.Code != http.StatusForbidden {
			t.Errorf("a user at the switches: %d", w.Code)
		}
		if w := b.post("/settings", url.Values{"name": {"Mine"}}, erika); w.Code != http.StatusForbidden || b.State().Settings.Name == "Mine" {
			t.Errorf("a user sets: %d", w.Code)
		}
		if w := b.ask("GET", "/users", "", erika); strings.Contains(w.Body.String(), "<code>admin</code>") || !strings.Contains(w.Body.String(), "<code>erika</code>") {
			t.Error("a user sees the others")
		}
		b.notice(t, b.post("/users/delete", url.Values{"name": {"erika"}}, admin), admin, "The user erika is deleted")
		if w := b.ask("GET", "/", "", erika); w.Code != http.StatusSeeOther {
			t.Errorf("who is deleted: %d", w.Code)
		}
		b.notice(t, b.post("/switches", url.Values{"remote": {"on"}}, admin), admin, "Saved")
		if got := b.State().Switches; got != (state.Switches{Remote: true}) {
			t.Errorf("switches %+v", got)
		}
		form := b.settingsForm()
		form.Set("name", " Haus 1 ")
		form.Set("contact_days", "7")
		form.Set("codec_order", "g722 g711a")
		form.Del("music_on_hold")
		b.notice(t, b.post("/settings", form, admin), admin, "Saved")
		want := settings.Default()
		want.Name, want.ContactDays, want.CodecOrder, want.MusicOnHold = "Haus 1", 7, []string{"g722", "g711a"}, false
		if got := b.State().Settings; len(settings.Diff(&want, &got)) > 0 {
			t.Errorf("settings %+v", got)
		}
		b.notice(t, b.post("/settings", form, admin), admin, "changed meanwhile")
		form = b.settingsForm()
		form.Set("contact_days", "x")
		b.notice(t, b.post("/settings", form, admin, english), admin, "Please check: Dissolve the connection after")
		o := b.ccc.offer("offer-1")
		b.notice(t, b.post("/switches", url.Values{"offers": {"on"}}, admin), admin, "Saved")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		b.notice(t, b.post("/ccc/reject", url.Values{"offer": {"offer-1"}, "report": {"yes"}}, admin), admin, "The offer is rejected")
		b.notice(t, b.post("/ccc/reject", url.Values{"offer": {"offer-1"}}, admin), admin, "The offer is gone")
		w := b.post("/language", url.Values{"lang": {"fr"}}, admin, func(r *http.Request) { r.Header.Set("Referer", "http://example.com/users") })
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/users" {
			t.Errorf("language: %d to %q", w.Code, w.Header().Get("Location"))
		}
		if page := b.ask("GET", "/users", "", admin, cookies(w), english); !strings.Contains(page.Body.String(), "Utilisateurs") {
			t.Error("the language is not kept")
		}
		out := b.post("/logout", nil, admin)
		if out.Code != http.StatusSeeOther || b.ask("GET", "/", "", admin).Code != http.StatusSeeOther {
			t.Errorf("log out: %d", out.Code)
		}
	})
}

// TestFirstPassword is there until it is changed, and again after a reset.
func TestFirstPassword(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := newBox(t, func(c *Config) {
			c.FirstPassword = ""
			c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
		})
		file := filepath.Join(b.cfg.Dir, "first-password")
		one, ok := b.FirstPassword()
		text, err := os.ReadFile(file)
		if !ok || err != nil || string(text) != one+"\n" {
			t.Fatalf("%q, %v, file %q, %v", one, ok, text, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		b.restart(t)
		if again, ok := b.FirstPassword(); !ok || again != one {
			t.Errorf("after a restart %q", again)
		}
		o := b.pair(t)
		cloud := b.ccc.pairing.pass
		admin := b.browse(t, "admin", one)
		change := url.Values{"current": {one}, "new": {"a-good-password"}, "again": {"a-bad-password"}}
		b.notice(t, b.post("/users/password", change, admin), admin, "The two new passwords differ")
		change.Set("again", "a-good-password")
		b.notice(t, b.post("/users/password", change, admin), admin, "The password is changed")
		if _, ok := b.FirstPassword(); ok {
			t.Error("still there after a change")
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file: %v", err)
		}
		w := b.post("/reset", url.Values{"password": {"wrong"}, "sure": {"yes"}}, admin)
		b.notice(t, w, admin, "The password is wrong")
		done := b.post("/reset", url.Values{"password": {"a-good-password"}, "sure": {"yes"}}, admin)
		two, ok := b.FirstPassword()
		if !ok || two == one || done.Code != http.StatusOK || !strings.Contains(done.Body.String(), two) {
			t.Errorf("after the reset %d, %q, %v", done.Code, two, ok)
		}
		b.restart(t)
		b.browse(t, "admin", two)
		b.stop()
		kept := log.String() + string(must(os.ReadFile(filepath.Join(b.cfg.Dir, state.File))))
		for _, secret := range []string{one, two, "a-good-password", o.Token.Reveal(), cloud} {
			if strings.Contains(kept, secret) {
				t.Errorf("log or state hold a secret: %s", kept)
			}
		}
		if !strings.Contains(kept, "Muster GmbH") || !strings.Contains(kept, "pairing-1") {
			t.Errorf("log and state hold nothing: %s", kept)
		}
	})
}

// TestCrashInReset: the file of the next first password is judged by the state.
func TestCrashInReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.stop()
		disk := state.Dir(b.cfg.Dir)
		admin, err := b.newAdministrator("before-the-crash", passwordNext)
		if err != nil {
			t.Fatal(err)
		}
		b.start(t) // the state was not written
		if got, _ := b.FirstPassword(); got != first {
			t.Errorf("%q", got)
		}
		b.browse(t, "admin", first)
		b.stop()
		if err := disk.Write(passwordNext, []byte("before-the-crash\n")); err != nil {
			t.Fatal(err)
		}
		if err := b.reset(admin); err != nil {
			t.Fatal(err)
		}
		b.start(t) // the state was written, and nothing after it
		if got, _ := b.FirstPassword(); got != "before-the-crash" {
			t.Errorf("%q", got)
		}
		b.browse(t, "admin", "before-the-crash")
	})
}

func TestHeadersAndOrigins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		admin := b.browse(t, "admin", first)
		for _, path := range []string{"/", "/login", "/style.css", "/nothing", "/api/v1/system", "/api/x"} {
			w := b.ask("GET", path, "", admin)
			if w.Header().Get("Content-Security-Policy") != pages.Policy || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", path, w.Header())
			}
		}
		if w := b.ask("GET", "/nothing", "", admin); w.Code != http.StatusNotFound {
			t.Errorf("nothing: %d", w.Code)
		}
		css := b.ask("GET", "/style.css", "")
		if again := b.ask("GET", "/style.css", "", func(r *http.Request) { r.Header.Set("If-None-Match", css.Header().Get("ETag")) }); again.Code != http.StatusNotModified {
			t.Errorf("style again: %d", again.Code)
		}
		foreign := func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }
		site := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }
		same := func(r *http.Request) { r.Header.Set("Origin", "http://example.com") } // httptest's Host
		form := url.Values{"remote": {"on"}}
		for _, bad := range []func(*http.Request){foreign, site} {
			if w := b.post("/switches", form, admin, bad); w.Code != http.StatusForbidden || b.State().Switches.Remote {
				t.Errorf("from another origin: %d", w.Code)
			}
		}
		if w := b.post("/switches", form, admin, same); w.Code != http.StatusSeeOther || !b.State().Switches.Remote {
			t.Errorf("from the same origin: %d", w.Code)
		}
	})
}

// TestPagesThatReload: whoever asks for it waits for an offer with a page that reloads,
// which does not keep him signed in.
func TestPagesThatReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		admin := b.browse(t, "admin", first)
		start := time.Now()
		for b.ask("GET", "/ccc?wait&auto", "", admin).Code == http.StatusOK && time.Since(start) < time.Hour {
			time.Sleep(10 * time.Second)
		}
		if idle := time.Since(start); idle != sessionIdle {
			t.Errorf("signed out after %v", idle)
		}
		admin = b.browse(t, "admin", first)
		reloads := func(path string) bool {
			return strings.Contains(b.ask("GET", path, "", admin).Body.String(), "http-equiv")
		}
		if reloads("/ccc") || !reloads("/ccc?wait") {
			t.Error("a page reloads without being asked to, or does not")
		}
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		if reloads("/ccc?wait") {
			t.Error("a page reloads while a token is being typed")
		}
		b.ccc.set(func() { b.ccc.down = true })
		w := b.post("/ccc/enable", url.Values{"offer": {"offer-1"}, "token": {o.Token.Reveal()}, "password": {first}}, admin)
		if to := w.Header().Get("Location"); to != "/ccc?wait" || !reloads(to) {
			t.Errorf("while the control centre does not answer: to %q", to)
		}
	})
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/ccc": "/ccc", "/users": "/users", "": "/", "ccc": "/", "//evil.example": "/", "http://evil.example/x": "/",
		"/\\evil.example": "/", "javascript:alert(1)": "/", "/a\nb": "/", "/%2f/x": "/", "/ccc?x=1": "/ccc",
	} {
		if got := localPath(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestCloudUserHasNoPages: the user of a pairing is for the API.
func TestCloudUserHasNoPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		w := b.post("/login", url.Values{"name": {b.ccc.pairing.user}, "password": {b.ccc.pairing.pass}})
		if w.Code != http.StatusUnauthorized {
			t.Errorf("sign in: %d", w.Code)
		}
		cloud := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		for _, path := range []string{"/", "/ccc", "/users"} {
			if w := b.ask("GET", path, "", cloud); w.Code != http.StatusSeeOther {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	})
}
