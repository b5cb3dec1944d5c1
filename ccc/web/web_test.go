package web

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

const testIndex = `<!doctype html><meta property="csp-nonce" nonce="__CSP_NONCE__"><script nonce="__CSP_NONCE__" src="/assets/app-1a2b3c4d.js"></script>`

func testFiles() fstest.MapFS {
	return fstest.MapFS{
		"index.html":                {Data: []byte(testIndex)},
		"theme.js":                  {Data: []byte("early()")},
		"assets/app-1a2b3c4d.js":    {Data: []byte("app()")},
		"assets/app-1a2b3c4d.js.br": {Data: []byte("BR")},
		"assets/app-1a2b3c4d.js.gz": {Data: []byte("GZ")},
		"assets/logo-99.svg":        {Data: []byte("<svg/>")},
		"data.gz":                   {Data: []byte("a file of its own")},
	}
}

func testHandler(t *testing.T, c Config) http.Handler {
	t.Helper()
	h, err := Handler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

type answer struct {
	status int
	header http.Header
	body   string
}

// get asks h; headers come as name, value, name, value.
func get(h http.Handler, method, target string, headers ...string) answer {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestWhatIsServed(t *testing.T) {
	h := testHandler(t, Config{Files: testFiles()})
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct {
		name, method, path, accept string
		status                     int
		want                       string
	}{
		{"the start", "GET", "/", browser, 200, "csp-nonce"},
		{"the start for curl", "GET", "/", "*/*", 200, "csp-nonce"},
		{"index.html by name", "GET", "/index.html", "*/*", 200, "csp-nonce"},
		{"a page of the program", "GET", "/systems/42", browser, 200, "csp-nonce"},
		{"a page with a dot", "GET", "/systems/4.2", browser, 200, "csp-nonce"},
		{"the same for a script", "GET", "/systems/42", "*/*", 404, "no such page"},
		{"the same without Accept", "GET", "/systems/42", "", 404, "no such page"},
		{"html refused by weight", "GET", "/systems/42", "text/html;q=0, */*", 404, "no such page"},
		{"html with a bad weight", "GET", "/systems/42", "text/html;q=much", 404, "no such page"},
		{"an unknown API call", "GET", "/api/v2/systems", browser, 404, "no such page"},
		{"the API's root", "GET", "/api", browser, 404, "no such page"},
		{"a lost asset", "GET", "/assets/app-old.js", browser, 404, "no such page"},
		{"a file", "GET", "/theme.js", "*/*", 200, "early()"},
		{"a hashed file", "GET", "/assets/app-1a2b3c4d.js", "*/*", 200, "app()"},
		{"a compressed form by name", "GET", "/assets/app-1a2b3c4d.js.br", "*/*", 404, "no such page"},
		{"a file that only ends so", "GET", "/data.gz", "*/*", 200, "a file of its own"},
		{"out of the root", "GET", "/../theme.js", "*/*", 200, "early()"},
		{"a post", "POST", "/", browser, 405, "only GET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			headers := []string{"Accept", c.accept}
			if c.accept == "" {
				headers = nil
			}
			res := get(h, c.method, c.path, headers...)
			if got := res.body; res.status != c.status || !strings.Contains(got, c.want) {
				t.Errorf("%d %q, want %d with %q", res.status, got, c.status, c.want)
			}
		})
	}
	res := get(h, "HEAD", "/theme.js")
	if got := res.body; res.status != 200 || got != "" || res.header.Get("Content-Length") != "7" {
		t.Errorf("HEAD: %d, %q, length %s", res.status, got, res.header.Get("Content-Length"))
	}
}

func TestCaching(t *testing.T) {
	h := testHandler(t, Config{Files: testFiles()})
	for path, want := range map[string]string{
		"/":                       "no-cache",
		"/theme.js":               "no-cache",
		"/assets/app-1a2b3c4d.js": "public, max-age=31536000, immutable",
		"/assets/gone.js":         "no-store",
	} {
		if got := get(h, "GET", path).header.Get("Cache-Control"); got != want {
			t.Errorf("%s: Cache-Control %q, want %q", path, got, want)
		}
	}
	if tag := get(h, "GET", "/").header.Get("ETag"); tag != "" {
		t.Errorf("the page differs with each answer and has the ETag %s", tag)
	}
	tag := get(h, "GET", "/theme.js").header.Get("ETag")
	if res := get(h, "GET", "/theme.js", "If-None-Match", tag); tag == "" || res.status != 304 {
		t.Errorf("unchanged (%q): %d, want 304", tag, res.status)
	}
	changed := testFiles()
	changed["theme.js"] = &fstest.MapFile{Data: []byte("earlier()")}
	if res := get(testHandler(t, Config{Files: changed}), "GET", "/theme.js", "If-None-Match", tag); res.status != 200 {
		t.Errorf("changed: %d, want 200", res.status)
	}
}

func TestCompressedForms(t *testing.T) {
	h := testHandler(t, Config{Files: testFiles()})
	tags := make(map[string]string)
	for _, c := range []struct{ accept, coding, body string }{
		{"gzip, deflate, br, zstd", "br", "BR"},
		{"gzip;q=1.0, br;q=0", "gzip", "GZ"},
		{"gzip", "gzip", "GZ"},
		{"identity", "", "app()"},
		{"*", "", "app()"},
		{"", "", "app()"},
	} {
		res := get(h, "GET", "/assets/app-1a2b3c4d.js", "Accept-Encoding", c.accept)
		if got := res.header.Get("Content-Encoding"); got != c.coding {
			t.Errorf("%q: Content-Encoding %q, want %q", c.accept, got, c.coding)
		}
		if got := res.body; got != c.body {
			t.Errorf("%q: body %q, want %q", c.accept, got, c.body)
		}
		if got := res.header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
			t.Errorf("%q: Content-Type %q", c.accept, got)
		}
		if got := res.header.Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("%q: Vary %q", c.accept, got)
		}
		tags[c.coding] = res.header.Get("ETag")
	}
	if tags["br"] == tags["gzip"] || tags["gzip"] == tags[""] {
		t.Errorf("different bytes share an ETag: %v", tags)
	}
	if got := get(h, "GET", "/assets/logo-99.svg", "Accept-Encoding", "br").header.Get("Content-Encoding"); got != "" {
		t.Errorf("a file without compressed forms came with %q", got)
	}
}

func TestPolicyAndNonce(t *testing.T) {
	h := testHandler(t, Config{Files: testFiles()})
	nonces := make(map[string]bool)
	for range 2 {
		res := get(h, "GET", "/")
		policy := res.header.Get("Content-Security-Policy")
		found := regexp.MustCompile(`style-src 'self' 'nonce-([A-Z2-7]{26})'`).FindStringSubmatch(policy)
		if found == nil {
			t.Fatalf("policy %q has no nonce for styles", policy)
		}
		nonces[found[1]] = true
		page := res.body
		if strings.Contains(page, nonceMark) || strings.Count(page, `nonce="`+found[1]+`"`) != 2 {
			t.Errorf("page %q does not carry nonce %s twice", page, found[1])
		}
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "img-src 'self' data:", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains("; "+policy+";", "; "+want+";") {
				t.Errorf("policy %q lacks %q", policy, want)
			}
		}
		for _, bad := range []string{"unsafe", "http:", "https:", "*", "{", "  "} {
			if strings.Contains(policy, bad) {
				t.Errorf("policy %q has %q", policy, bad)
			}
		}
	}
	if len(nonces) != 2 {
		t.Error("two answers share a nonce")
	}
}

// TestGatewayMayBePostedTo: of the gateway its sessions, and nothing else, and that for
// forms alone.
func TestGatewayMayBePostedTo(t *testing.T) {
	for gateway, want := range map[string]string{
		"":                                 "form-action 'self'",
		"https://ara.example.net":          "form-action 'self' https://*.ara.example.net",
		"https://ara.example.net:8443":     "form-action 'self' https://*.ara.example.net:8443",
		"https://ara.localhost:8443/":      "form-action 'self' https://*.ara.localhost:8443",
		"http://ara.example.net":           "",
		"https://net":                      "",
		"https://*.example.net":            "",
		"https://ara.example.net;x":        "",
		"https://ara.example.net 'unsafe'": "",
		"https://192.0.2.1/":               "",
		"https://[2001:db8::1]/":           "",
		"https://":                         "",
	} {
		h, err := Handler(Config{Files: testFiles(), Gateway: gateway})
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", gateway, err)
		}
		if err != nil {
			continue
		}
		policy := get(h, "GET", "/").header.Get("Content-Security-Policy")
		if !strings.Contains("; "+policy+";", "; "+want+";") || strings.Count(policy, "https:") > 1 {
			t.Errorf("%q: policy %q lacks %q", gateway, policy, want)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	h := testHandler(t, Config{Files: testFiles()})
	for _, path := range []string{"/", "/theme.js", "/assets/gone.js", "/systems/42"} {
		res := get(h, "GET", path)
		for name, want := range map[string]string{
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Strict-Transport-Security":    "",
		} {
			if got := res.header.Get(name); got != want {
				t.Errorf("%s: %s %q, want %q", path, name, got, want)
			}
		}
		if !strings.Contains(res.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s may be framed", path)
		}
	}
}

func TestHSTSOnlyByHTTPS(t *testing.T) {
	for _, c := range []struct {
		config Config
		tls    bool
		want   string
	}{
		{Config{}, true, "max-age=31536000"},
		{Config{HSTS: 3600e9}, true, "max-age=3600"},
		{Config{HSTS: -1}, true, ""},
		{Config{}, false, ""},
	} {
		c.config.Files = testFiles()
		r := httptest.NewRequest("GET", "/", nil)
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		w := httptest.NewRecorder()
		testHandler(t, c.config).ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security"); got != c.want {
			t.Errorf("tls %v, %v: %q, want %q", c.tls, c.config.HSTS, got, c.want)
		}
	}
}

func TestIncompletePages(t *testing.T) {
	if _, err := Handler(Config{Files: fstest.MapFS{"theme.js": {}}}); err == nil || !strings.Contains(err.Error(), "npm run build") {
		t.Errorf("no index.html: %v", err)
	}
}

// TestEmbedded looks at what is in this binary: the page that says how to build, or
// with the tag webui the pages themselves.
func TestEmbedded(t *testing.T) {
	h := testHandler(t, Config{})
	page := get(h, "GET", "/", "Accept", "text/html").body
	if Built() == strings.Contains(page, "npm run build") {
		t.Errorf("built is %v, the page is %q", Built(), page)
	}
	if !strings.Contains(page, `nonce="`) || strings.Contains(page, nonceMark) {
		t.Errorf("no nonce in %q", page)
	}
	for _, script := range regexp.MustCompile(`(?s)<script\b[^>]*>(.*?)</script>`).FindAllStringSubmatch(page, -1) {
		if strings.TrimSpace(script[1]) != "" {
			t.Errorf("an inline script, which the policy refuses: %q", script[0])
		}
	}
	if style := regexp.MustCompile(`<[^>]+\sstyle=`).FindString(page); style != "" {
		t.Errorf("an inline style, which the policy refuses: %q", style)
	}
	for _, ref := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(ref[1], "/") || strings.HasPrefix(ref[1], "//") {
			t.Errorf("the page refers to %q", ref[1])
		} else if res := get(h, "GET", ref[1]); res.status != 200 {
			t.Errorf("%s: %d", ref[1], res.status)
		}
	}
}
