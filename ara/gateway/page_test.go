package gateway

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestTexts: every language says everything, and in its own words.
func TestTexts(t *testing.T) {
	t.Parallel()
	var walk func(path string, v reflect.Value)
	words := map[string]string{}
	for _, l := range languages {
		walk = func(path string, v reflect.Value) {
			if v.Kind() == reflect.Struct {
				for i := range v.NumField() {
					walk(path+"."+v.Type().Field(i).Name, v.Field(i))
				}
				return
			}
			text := v.String()
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s has no %s", l.Lang, path)
			}
			if other, ok := words[path+text]; ok && path != ".PIN" && path != ".Minutes" {
				t.Errorf("%s: %s has the same %q", l.Lang, other, text)
			}
			words[path+text] = l.Lang
		}
		walk("", reflect.ValueOf(*l))
	}
	for accept, want := range map[string]string{
		"": "de", "en": "en", "fr-CH, en;q=0.5": "fr", "nl, en-GB;q=0.8": "en", "ja": "de", "de-AT": "de", "en;q=0.1, fr;q=0.9": "fr", ";;;": "de",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", accept)
		if got := textOf(r).Lang; got != want {
			t.Errorf("%q gives %s, want %s", accept, got, want)
		}
	}
}

// TestPages: what people are shown in each state can be used without a mouse, without
// scripts and without anybody else's server.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	c, origin, id := w.open("h2")
	for _, s := range []remote.Status{
		{State: grant.Active, Remaining: 3600},
		{State: grant.Active, Remaining: 60, Extension: remote.ExtensionPending},
		{State: grant.Pending, Remaining: 60},
		{State: grant.Ended, Cause: grant.CauseTime},
	} {
		w.pbx.set(id, s)
		waitFor(t, w, labelOf(t, origin), s.State)
		for _, path := range []string{own, own + "none"} {
			for _, lang := range []string{"de", "en", "fr"} {
				resp, text := w.do(c, w.request("GET", origin+path, "", func(r *http.Request) { r.Header.Set("Accept-Language", lang) }))
				checkPage(t, string(s.State)+" "+path, lang, origin, resp, text)
			}
		}
	}
	// The files of the pages, and nothing else, without a session.
	stranger := w.browser("h2")
	for name, m := range media {
		resp, text := w.do(stranger, w.request("GET", origin+own+name, ""))
		if resp.StatusCode != 200 || text == "" || !strings.HasPrefix(m.file, "xterm/") && (strings.Contains(text, "http:") || strings.Contains(text, "https:")) {
			t.Errorf("%s: %d, or it goes elsewhere", name, resp.StatusCode)
		}
	}
	if resp, _ := w.do(stranger, w.request("GET", origin+own+"control.html", "")); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a template: %d", resp.StatusCode)
	}
}

func checkPage(t *testing.T, name, lang, origin string, resp answer, text string) {
	t.Helper()
	h := resp.Header
	if h.Get("Content-Language") != lang || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: header %v", name, h)
	}
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src " + origin + own + "control.js;", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: the policy %q has no %q", name, csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src 'self'") {
		t.Errorf("%s: policy %q", name, csp)
	}
	doc, err := html.Parse(strings.NewReader(text))
	must(t, err)
	labels, inputs, headings := map[string]bool{}, map[string]bool{}, 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("%s: <%s %s> is not allowed by the policy", name, n.Data, a.Key)
			}
			if (a.Key == "src" || a.Key == "action" || n.Data == "link" && a.Key == "href") && !strings.HasPrefix(a.Val, "/") {
				t.Errorf("%s: %s goes elsewhere", name, a.Val)
			}
		}
		switch n.Data {
		case "html":
			if attr["lang"] != lang {
				t.Errorf("%s: lang %q", name, attr["lang"])
			}
		case "h1":
			headings++
		case "label":
			labels[attr["for"]] = true
		case "input":
			inputs[attr["id"]] = true
		case "script", "style":
			if n.FirstChild != nil {
				t.Errorf("%s: <%s> has text in it", name, n.Data)
			}
		}
	}
	if headings != 1 {
		t.Errorf("%s: %d headings of the first order", name, headings)
	}
	for id := range inputs {
		if !labels[id] {
			t.Errorf("%s: the input %q has no label", name, id)
		}
	}
}

// TestNamesAreShown: what the grant says of people is text, whatever is in it.
func TestNamesAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	w.pbx.set("s-1", remote.Status{State: grant.Active, Remaining: 60})
	c := w.browser("h2")
	tk := w.begin(c, "s-1")
	g := w.grant("s-1", tk)
	g.User, g.Tenant = `<script>alert(1)</script>`, `"Müller" & Söhne`
	w.redeem(c, tk.label, w.sign(g))
	_, text := w.do(c, w.request("GET", w.origin(tk.label+"."+domain)+own, ""))
	if strings.Contains(text, "<script>alert") || !strings.Contains(text, "&lt;script&gt;alert") || !strings.Contains(text, "Müller") {
		t.Error(text)
	}
	for host, want := range map[string]string{"": "default-src 'none'; form", "a.b;script-src *": "default-src 'none'; form", "a.b:1": "default-src 'none'; script-src https://a.b:1/.ara/control.js;"} {
		if got := policy(host, ""); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s", host, got)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Domain: "ara.example.net", CCCURL: "https://ccc.example.com"}
	must(t, good.Validate())
	d := DefaultConfig()
	d.Domain, d.CCCURL = good.Domain, good.CCCURL
	must(t, d.Validate())
	d.Limits.MessageBytes = flow.MaxMessage
	must(t, d.Validate())
	for _, tt := range []struct {
		key    string
		change func(*Config)
	}{
		{"domain", func(c *Config) { c.Domain = "" }},
		{"domain", func(c *Config) { c.Domain = "ara" }},
		{"domain", func(c *Config) { c.Domain = "Ara.example.net" }},
		{"domain", func(c *Config) { c.Domain = "192.0.2.1" }},
		{"domain", func(c *Config) { c.Domain = "*.example.net" }},
		{"domain", func(c *Config) { c.Domain = strings.Repeat("a.", 120) + "net" }},
		{"domain", func(c *Config) { c.CCCURL = "https://ccc.example.net" }},
		{"domain", func(c *Config) { c.Domain, c.CCCURL = "ara.fontevo.test", "https://ccc.fontevo.test" }},
		{"domain", func(c *Config) { c.Domain, c.CCCURL = "ara.comtrexx.localhost", "https://comtrexx.localhost:8443" }},
		{"domain", func(c *Config) { c.Domain, c.CCCURL = "ara.example.co.uk", "https://ccc.example.co.uk" }},
		{"ccc_url", func(c *Config) { c.CCCURL = "http://ccc.example.com" }},
		{"ccc_url", func(c *Config) { c.CCCURL = "https://ccc.example.com/x" }},
		{"ccc_url", func(c *Config) { c.CCCURL = "https://a@ccc.example.com" }},
		{"ccc_url", func(c *Config) { c.CCCURL = "" }},
		{"public_port", func(c *Config) { c.PublicPort = 70000 }},
		{"timing.idle", func(c *Config) { c.Timing.Idle = -1 }},
		{"limits.streams", func(c *Config) { c.Limits.Streams = -1 }},
		{"limits.message_bytes", func(c *Config) { c.Limits.MessageBytes = flow.MaxMessage - 1 }},
	} {
		c := good
		tt.change(&c)
		var key *configs.KeyError
		if err := c.Validate(); !errors.As(err, &key) || key.Key != tt.key {
			t.Errorf("%s: %v", tt.key, err)
		}
	}
	for _, c := range []Config{good, {Domain: good.Domain, CCCURL: good.CCCURL, Credentials: nil, Dial: nil}} {
		if _, err := New(c); err == nil {
			t.Error("a gateway without credentials")
		}
	}
}

// FuzzCookies: whatever a browser and a PBX send, the gateway's cookies stay its own.
func FuzzCookies(f *testing.F) {
	f.Add("sid=1; Path=/; Domain=ara.test; HttpOnly", "sid=1; __Host-ara=x; sid=2")
	f.Add("=__Host-ara=evil", "=__Host-ara=evil; a")
	f.Add(" __HOST-ara = x ; domain = y", "\t__host-ara-browser=1;;=;a=b=c")
	f.Fuzz(func(t *testing.T, set, sent string) {
		var j jar
		h := http.Header{"Set-Cookie": {set, set}}
		j.fromPBX(h)
		for _, line := range h["Set-Cookie"] {
			for i, part := range strings.Split(line, ";") {
				name, _, _ := strings.Cut(part, "=")
				if i == 0 && (isOwnCookie(strings.TrimSpace(name)) || strings.TrimSpace(name) == "") || i > 0 && strings.EqualFold(strings.TrimSpace(name), "Domain") {
					t.Fatalf("%q passes as %q", set, line)
				}
			}
		}
		h = http.Header{"Cookie": {sent}}
		j.toPBX(h)
		for part := range strings.SplitSeq(strings.Join(h["Cookie"], ";"), ";") {
			name, value, _ := strings.Cut(part, "=")
			if isOwnCookie(strings.TrimSpace(name)) || isOwnCookie(strings.TrimSpace(value)) {
				t.Fatalf("%q passes as %q", sent, h["Cookie"])
			}
		}
	})
}

// FuzzHost: a request is for a session only by the exact name of it.
func FuzzHost(f *testing.F) {
	label := strings.Repeat("a", labelLen)
	for _, s := range []string{domain, label + "." + domain, label + "." + domain + ":443", "[::1]:443", "x." + label + "." + domain, domain + ".", ":", ""} {
		f.Add(s, s)
	}
	g := &Gateway{cfg: Config{Domain: domain, PublicPort: 443}}
	f.Fuzz(func(t *testing.T, host, sni string) {
		r := httptest.NewRequest(http.MethodGet, "https://x/", nil)
		r.Host, r.TLS.ServerName = host, sni
		got, ok := g.label(r)
		if !ok {
			return
		}
		full := strings.TrimPrefix(got+"."+domain, ".")
		if !strings.EqualFold(sni, full) || got != "" && !isLabel(got) || !strings.EqualFold(strings.TrimSuffix(host, ":443"), full) {
			t.Fatalf("%q on a connection for %q is for %q", host, sni, got)
		}
	})
}
