package gateway

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TestGrants: each way in which a grant can be wrong, beside one that is right.
func TestGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	other := w.ca.Credentials(identity.Service(td, "backup"))
	for _, tt := range []struct {
		name   string
		change func(*grant.Grant)
		by     *enrol.Credentials
		good   bool
	}{
		{"as it should be", func(*grant.Grant) {}, w.issuer, true},
		{"for another session", func(g *grant.Grant) { g.Session = "s-other" }, w.issuer, false},
		{"for another label", func(g *grant.Grant) { g.Audience = newLabel() + "." + domain }, w.issuer, false},
		{"for another gateway", func(g *grant.Grant) { g.Audience = strings.Replace(g.Audience, domain, "ara.example", 1) }, w.issuer, false},
		{"for another browser", func(g *grant.Grant) { g.Browser[0] ^= 1 }, w.issuer, false},
		{"expired", func(g *grant.Grant) { g.Issued, g.Expires = g.Issued.Add(-grant.MaxLife), g.Issued }, w.issuer, false},
		{"not yet", func(g *grant.Grant) {
			g.Issued, g.Expires = g.Issued.Add(time.Minute), g.Expires.Add(time.Minute)
		}, w.issuer, false},
		{"from before the gateway's start", func(g *grant.Grant) {
			g.Issued, g.Expires = g.Issued.Add(-grant.MaxLife+10*time.Second), g.Issued.Add(10*time.Second)
		}, w.issuer, false},
		{"by another service", func(*grant.Grant) {}, other, false},
	} {
		if tt.name == "from before the gateway's start" {
			w.g.used = grant.NewUsed(time.Now().Add(-30*time.Second), 0)
		}
		w.pbx.set("s-1", remote.Status{State: grant.Active, Remaining: 60})
		c := w.browser("h2")
		tk := w.begin(c, "s-1")
		g := w.grant("s-1", tk)
		tt.change(&g)
		text, err := grant.Sign(tt.by, g)
		must(t, err)
		resp := w.redeem(c, tk.label, text)
		_, body := w.do(c, w.request("GET", w.origin(tk.label+"."+domain)+"/", ""))
		if got := resp.StatusCode == http.StatusSeeOther; got != tt.good || (body == "hello") != tt.good {
			t.Errorf("%s: %d, then %.60q", tt.name, resp.StatusCode, body)
		}
	}
}

// TestGrantIsGoodOnce: neither the same browser at a new label nor another one at the same
// label gets in with it.
func TestGrantIsGoodOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	w.pbx.set("s-1", remote.Status{State: grant.Active, Remaining: 60})
	c := w.browser("h2")
	tk := w.begin(c, "s-1")
	u, err := url.Parse(w.origin(tk.label + "." + domain))
	must(t, err)
	before := c.Jar.Cookies(u)
	text := w.sign(w.grant("s-1", tk))

	thief := w.browser("h2")
	if resp := w.redeem(thief, tk.label, text); resp.StatusCode != http.StatusForbidden {
		t.Errorf("without the cookie: %d", resp.StatusCode)
	}
	if resp, _ := w.do(thief, w.request("GET", u.String()+pathBegin, "")); resp.StatusCode != http.StatusForbidden {
		t.Errorf("another browser begins at the label: %d", resp.StatusCode)
	}
	if resp := w.redeem(c, tk.label, text); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("the right browser: %d", resp.StatusCode)
	}
	c.Jar.SetCookies(u, before) // the cookie is deleted by then; a thief of both would have it
	if resp := w.redeem(c, tk.label, text); resp.StatusCode == http.StatusSeeOther {
		t.Error("the grant was taken twice")
	}
	// And where the label would still wait.
	again := w.begin(c, "s-1")
	w.g.sessions.mu.Lock()
	w.g.sessions.begun[tk.label] = w.g.sessions.begun[again.label]
	w.g.sessions.begun[tk.label].browser = hashOf(before[0].Value)
	w.g.sessions.mu.Unlock()
	if resp := w.redeem(c, tk.label, text); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the grant again at a label that waits: %d", resp.StatusCode)
	}
}

// TestNoSession: without the session's cookie no call to the PBX is made.
func TestNoSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	a, origin, _ := w.open("h2")
	b, originB, _ := w.open("h2")
	dials := w.pbx.dials.Load()
	cookie := func(c *http.Client, at string) string {
		u, err := url.Parse(at)
		must(t, err)
		for _, k := range c.Jar.Cookies(u) {
			if k.Name == cookieSession {
				return k.Name + "=" + k.Value
			}
		}
		t.Fatal("no cookie")
		return ""
	}
	stranger := w.browser("h2")
	for _, tt := range []struct {
		name, address, cookie string
		status                int
	}{
		{"no cookie", origin, "", 403},
		{"the cookie of another session", origin, cookie(b, originB), 403},
		{"the browser's cookie in its place", origin, cookieBrowser + "=x", 403},
		{"a label that is none", w.origin(newLabel() + "." + domain), cookie(a, origin), 404},
		{"the control page, the cookie of another", origin + own, cookie(b, originB), 403},
		{"the events, the cookie of another", origin + own + "events", cookie(b, originB), 403},
	} {
		resp, _ := w.do(stranger, w.request("GET", tt.address+"/", "", func(r *http.Request) {
			r.Header.Set("Cookie", tt.cookie)
		}))
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d", tt.name, resp.StatusCode)
		}
	}
	if w.pbx.dials.Load() != dials {
		t.Error("the PBX was called")
	}
	// The right one, also beside a planted one.
	resp, text := w.do(stranger, w.request("GET", origin+"/", "", func(r *http.Request) {
		r.Header.Set("Cookie", cookieSession+"=planted; "+cookie(a, origin))
	}))
	if resp.StatusCode != 200 || text != "hello" {
		t.Errorf("the right cookie: %d %s", resp.StatusCode, text)
	}
}

// TestConsent: pending, PIN, extension, end.
func TestConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	w.pbx.set("s-1", remote.Status{State: grant.Pending, Remaining: 900})
	c := w.browser("h2")
	tk := w.begin(c, "s-1")
	if resp := w.redeem(c, tk.label, w.sign(w.grant("s-1", tk))); resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.StatusCode)
	}
	origin := w.origin(tk.label + "." + domain)
	expect := func(method, path, form string, status int, location, text string) {
		t.Helper()
		resp, body := w.do(c, w.request(method, origin+path, form, func(r *http.Request) {
			r.Header.Set("Accept-Language", "en")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			if form != "" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		}))
		if resp.StatusCode != status || resp.Header.Get("Location") != location || !strings.Contains(body, text) {
			t.Errorf("%s %s: %d to %q, %s", method, path, resp.StatusCode, resp.Header.Get("Location"), body)
		}
	}
	expect("GET", pathOpen, "", 303, own, "")
	expect("GET", "/", "", 303, own, "")
	expect("POST", "/x", "a=b", 403, "", english.Pending.Title)
	expect("GET", own, "", 200, "", english.Waiting)
	expect("POST", own+"pin", "pin=12", 400, "", english.Malformed.Title)
	expect("POST", own+"pin", "pin=76543210", 403, "", english.WrongPIN.Title)
	if w.pbx.dials.Load() != 0 {
		t.Error("a byte went to the pages of a PBX that has not consented")
	}
	expect("POST", own+"pin", "pin=0123+4567", 303, own, "")
	waitFor(t, w, tk.label, grant.Active)
	expect("GET", "/", "", 200, "", "hello")
	expect("GET", own, "", 200, "", english.Active)
	expect("POST", own+"extend", "minutes=30", 303, own, "")
	expect("POST", own+"extend", "minutes=x", 400, "", english.Malformed.Title)
	expect("POST", own+"end", "x=", 303, own, "")
	expect("GET", own, "", 200, "", english.Over)
	expect("GET", "/", "", 403, "", english.Ended.Title)
	if got := w.pbx.called(); got != "pin 01234567, extend 30, end" {
		t.Error(got)
	}
}

// waitFor waits until the gateway knows of a state.
func waitFor(t *testing.T, w *world, label string, want grant.State) {
	t.Helper()
	limit := time.After(bound)
	for {
		v, changed := w.g.sessions.session(label).look()
		if v.State == want && (!want.Final() || !v.ended.IsZero()) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("still %s", v.State)
		}
	}
}

func labelOf(t *testing.T, origin string) string {
	t.Helper()
	label, _, _ := strings.Cut(strings.TrimPrefix(origin, "https://"), ".")
	if !isLabel(label) {
		t.Fatal(origin)
	}
	return label
}

// TestEnd: when the PBX ends a session, streams that go on are cut.
func TestEnd(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"http/1.1", "h2"} {
		w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = rw.Write([]byte("begin"))
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}), nil)
		c, origin, id := w.open(proto)
		resp, err := c.Do(w.request("GET", origin+"/", ""))
		must(t, err)
		buf := make([]byte, 5)
		if _, err := resp.Body.Read(buf); err != nil {
			t.Fatal(err)
		}
		w.pbx.set(id, remote.Status{State: grant.Ended, Cause: grant.CauseAdmin})
		if _, err := resp.Body.Read(buf); err == nil {
			t.Errorf("%s: the stream goes on", proto)
		}
		resp.Body.Close()
		waitFor(t, w, labelOf(t, origin), grant.Ended)
		if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.StatusCode != 403 {
			t.Errorf("%s: %d after the end", proto, resp.StatusCode)
		}
	}
}

// TestEvents: the control page hears of every change.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	c, origin, id := w.open("h2")
	resp, err := c.Do(w.request("GET", origin+own+"events", ""))
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() (e event) {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				must(t, json.Unmarshal([]byte(data), &e))
				return e
			}
		}
		t.Fatal("the stream has ended", lines.Err())
		return e
	}
	if e := next(); e.State != grant.Active || e.Remaining < 3500 || e.Warn || e.Text != german.Active {
		t.Errorf("%+v", e)
	}
	w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 299, Extension: remote.ExtensionPending})
	if e := next(); !e.Warn || e.Extension != remote.ExtensionPending {
		t.Errorf("%+v", e)
	}
	w.pbx.set(id, remote.Status{State: grant.Ended, Cause: grant.CauseTime})
	if e := next(); e.State != grant.Ended || e.Text != german.Over {
		t.Errorf("%+v", e)
	}
	for lines.Scan() { // the stream ends by itself
	}
	must(t, lines.Err())
}

// TestRenewedGrant: a second browser, or tab, with the same remote access takes it over.
func TestRenewedGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	first, origin, id := w.open("h2")
	second := w.browser("h2")
	tk := w.begin(second, id)
	if resp := w.redeem(second, tk.label, w.sign(w.grant(id, tk))); resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.StatusCode)
	}
	if resp, _ := w.do(first, w.request("GET", origin+"/", "")); resp.StatusCode != 403 {
		t.Errorf("the first one: %d", resp.StatusCode)
	}
	if resp, _ := w.do(second, w.request("GET", w.origin(tk.label+"."+domain)+"/", "")); resp.StatusCode != 200 {
		t.Errorf("the second one: %d", resp.StatusCode)
	}
}

// TestLimits: one session too many, of one PBX and of one user.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *Config) { c.Limits.SessionsPerSerial, c.Limits.SessionsPerUser = 3, 2 })
	try := func(change func(*grant.Grant)) int {
		t.Helper()
		id := grant.SessionID(newLabel())
		w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 60})
		c := w.browser("h2")
		tk := w.begin(c, id)
		g := w.grant(id, tk)
		change(&g)
		return w.redeem(c, tk.label, w.sign(g)).StatusCode
	}
	same := func(*grant.Grant) {}
	another := func(g *grant.Grant) { g.User = "Bea" }
	third := func(g *grant.Grant) { g.User = "Cem" }
	for i, tt := range []struct {
		change func(*grant.Grant)
		want   int
	}{{same, 303}, {same, 303}, {same, 429}, {another, 303}, {third, 429}} {
		if got := try(tt.change); got != tt.want {
			t.Errorf("session %d: %d, want %d", i, got, tt.want)
		}
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *Config) { c.Limits.BeginsPerMinute, c.Limits.Begun = 3, 2 })
	c := w.browser("h2")
	want := []int{303, 303, 303, 429}
	for i, status := range want {
		resp, _ := w.do(c, w.request("GET", w.origin(domain)+"/begin?session=s-1", ""))
		if resp.StatusCode != status {
			t.Errorf("begin %d: %d, want %d", i, resp.StatusCode, status)
		}
		if i == 0 && resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Error("the address would be told")
		}
	}
	if waiting, _ := w.g.sessions.counts(); waiting != 2 {
		t.Errorf("%d wait, the oldest should have gone", waiting)
	}
	for path, status := range map[string]int{"/begin?session=a/b": 404, "/begin": 404, "/x": 404, "/": 200, own + "control.css": 200, own: 404} {
		if resp, _ := w.do(c, w.request("GET", w.origin(domain)+path, "")); resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, status)
		}
	}
}

// TestUnreachable: what people see when the PBX is not reached, with the number.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	c, origin, _ := w.open("h2")
	for code, want := range map[tunnel.Code]int{
		tunnel.CodeNotReachable: 502, tunnel.CodeRefusedByDevice: 403, tunnel.CodeOpenTimeout: 504, tunnel.CodePolicyDenied: 502,
	} {
		w.pbx.refuse.Store(tunnel.Errorf(code, "secret of the inside"))
		resp, body := w.do(c, w.request("GET", origin+"/", ""))
		if resp.StatusCode != want || strings.Contains(body, "secret") || want != 403 && !strings.Contains(body, code.String()) {
			t.Errorf("%s: %d %s", code, resp.StatusCode, body)
		}
	}
	w.pbx.refuse.Store(nil)
	if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.StatusCode != 200 {
		t.Errorf("and then: %d", resp.StatusCode)
	}
}
