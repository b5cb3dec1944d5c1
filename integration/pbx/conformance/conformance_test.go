package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (base string, c *http.Client) {
	t.Helper()
	srv := httptest.NewServer(New())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c = srv.Client()
	c.Jar = jar
	return srv.URL + Path, c
}

// ask gives status, header and body of an answer.
func ask(t *testing.T, c *http.Client, method, to string, body io.Reader, change ...func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(text))
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestPage(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	for name, media := range map[string]string{"": "text/html", "script.js": "text/javascript", "style.css": "text/css"} {
		status, h, text := ask(t, c, "GET", base+name, nil)
		if status != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), media) || h.Get("Content-Security-Policy") != Policy {
			t.Errorf("%q: %d %v", name, status, h)
		}
		for _, bad := range []string{"http://", "https://", "onclick", "style=", "<script>", "eval("} {
			if strings.Contains(text, bad) {
				t.Errorf("%q holds %q", name, bad)
			}
		}
	}
	if status, _, _ := ask(t, c, "GET", base+"nothing", nil); status != http.StatusNotFound {
		t.Error(status)
	}
}

func TestSmall(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	const urlencoded = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		method, path, media, body, want string
	}{
		{"POST", "form", urlencoded, "a=1&b=%C3%A4+", `{"fields":{"a":"1","b":"ä "},"method":"POST","type":"` + urlencoded + `"}`},
		{"POST", "form", urlencoded, "see=other&a=x%26y", `{"fields":{"a":"x\u0026y"},"method":"GET","type":""}`},
		{"POST", "form", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nabc\r\n--b--\r\n", `{"fields":{"f":"x 3"},"method":"POST","type":"multipart/form-data"}`},
		{"POST", "form", "multipart/form-data; boundary=b", "--b", "the form cannot be read"},
		{"GET", "redirect/302?n=3", "", "", `{"hops":3}`},
		{"GET", "redirect/307?n=2&absolute", "", "", `{"hops":2}`},
		{"GET", "redirect/200", "", "", "404 page not found"},
		{"GET", "absolute", "", "", `{"url":"` + base + `"}`},
		{"GET", "basic", "", "", "log in"},
	} {
		_, _, text := ask(t, c, tt.method, base+tt.path, strings.NewReader(tt.body), header("Content-Type", tt.media))
		if text != tt.want {
			t.Errorf("%s %s: %s", tt.method, tt.path, text)
		}
	}
	if _, _, text := ask(t, c, "GET", base+"absolute", nil, header("X-Forwarded-Proto", "https"), header("X-Forwarded-Host", "x.example")); text != `{"url":"https://x.example/conformance/"}` {
		t.Error(text)
	}
	if status, _, _ := ask(t, c, "GET", base+"basic", nil, func(r *http.Request) { r.SetBasicAuth(User, Password) }); status != http.StatusOK {
		t.Error(status)
	}
	_, _, text := ask(t, c, "PUT", base+"echo", strings.NewReader("abc"), header("Cookie", "secret=1"), header("X-A", "b"))
	if !strings.Contains(text, `"bytes":3`) || !strings.Contains(text, `"X-A":["b"]`) || strings.Contains(text, "secret") {
		t.Error(text)
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	if status, h, _ := ask(t, c, "POST", base+"cookies", nil); status != http.StatusNoContent || len(h.Values("Set-Cookie")) != 3 {
		t.Errorf("%d %v", status, h)
	}
	if _, _, text := ask(t, c, "GET", base+"cookies", nil); text != `{"conformance_hidden":"h","conformance_host":"d","conformance_plain":"a b\u0026c"}` {
		t.Error(text)
	}
	ask(t, c, "DELETE", base+"cookies", nil)
	if _, _, text := ask(t, c, "GET", base+"cookies", nil); text != `{}` {
		t.Error(text)
	}
	if _, h, _ := ask(t, c, "POST", base+"cookies", nil, header("X-Forwarded-Proto", "https")); !strings.Contains(h.Get("Set-Cookie"), "Secure") {
		t.Errorf("%v", h)
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	ws, _, err := websocket.Dial(t.Context(), base+"ws", &websocket.DialOptions{HTTPClient: c, Subprotocols: []string{"echo"}}) //nolint:bodyclose // it has none
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(maxMessage)
	for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		sent := bytes.Repeat([]byte("x"), 500_000)
		if err := ws.Write(t.Context(), kind, sent); err != nil {
			t.Fatal(err)
		}
		if k, got, err := ws.Read(t.Context()); err != nil || k != kind || !bytes.Equal(got, sent) {
			t.Errorf("%v, %d bytes, %v", k, len(got), err)
		}
	}
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	status, _, _ := ask(t, c, "GET", base+"ws", nil, header("Connection", "Upgrade"), header("Upgrade", "websocket"), header("Sec-WebSocket-Version", "13"),
		header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), header("Origin", "https://evil.example"))
	if status != http.StatusForbidden {
		t.Errorf("another origin: %d", status)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	_, h, text := ask(t, c, "GET", base+"clock?n=3&every=1", nil)
	if h.Get("Content-Type") != "text/event-stream" || strings.Count(text, "event: time\n") != 3 {
		t.Errorf("%v %q", h, text)
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New()
		do := func(method, path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, Path+path, nil))
			return w
		}
		got := make(chan *httptest.ResponseRecorder)
		go func() { got <- do("GET", "poll") }()
		time.Sleep(20 * time.Second)
		do("POST", "poll")
		if w := <-got; strings.TrimSpace(w.Body.String()) != `{"number":1}` {
			t.Error(w.Body)
		}
		begin := time.Now()
		if w := do("GET", "poll"); w.Code != http.StatusNoContent || time.Since(begin) != pollTime {
			t.Errorf("%d after %s", w.Code, time.Since(begin))
		}
		if w := do("GET", "poll?after=0"); w.Code != http.StatusOK {
			t.Error(w.Code)
		}
	})
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	const n = 3_000_123
	want := make([]byte, n)
	Fill(want, 0)
	_, h, text := ask(t, c, "GET", base+fmt.Sprintf("download?size=%d", n), nil)
	if len(text) < n-10 || h.Get("Content-Length") != fmt.Sprint(n) {
		t.Errorf("%d bytes, %v", len(text), h)
	}
	status, h, text := ask(t, c, "GET", base+fmt.Sprintf("download?size=%d", n), nil, header("Range", "bytes=4100-8300"))
	if status != http.StatusPartialContent || h.Get("Content-Range") != "bytes 4100-8300/3000123" || text != strings.TrimSpace(string(want[4100:8301])) {
		t.Errorf("%d %v", status, h)
	}
	if status, _, _ := ask(t, c, "GET", base+"download?size=10", nil, header("Range", "bytes=0-1"), header("If-Range", `"other"`)); status != http.StatusOK {
		t.Errorf("If-Range of another: %d", status)
	}
	type received struct {
		Bytes  int64
		Intact bool
	}
	result := func(body io.Reader) (r received) {
		_, _, text := ask(t, c, "POST", base+"upload", body)
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		return r
	}
	if r := result(bytes.NewReader(want)); r.Bytes != n || !r.Intact {
		t.Errorf("%+v", r)
	}
	if r := result(&pattern{size: n}); r.Bytes != n || !r.Intact { // chunked
		t.Errorf("chunked: %+v", r)
	}
	want[2_000_000] ^= 1
	if r := result(bytes.NewReader(want)); r.Bytes != n || r.Intact {
		t.Errorf("spoilt: %+v", r)
	}
	swapped := append(append([]byte(nil), want[block:2*block]...), want[:block]...)
	if r := result(bytes.NewReader(swapped)); r.Intact {
		t.Error("blocks that are swapped are intact")
	}
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"trailers", &pattern{size: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Sum": {"abc"}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != 100_000 || resp.Trailer.Get("X-Length") != "100000" || resp.Trailer.Get("X-Sum") != "abc" {
		t.Errorf("%d, %v, %v", n, err, resp.Trailer)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	base, c := start(t)
	status, h, _ := ask(t, c, "GET", base+"digest", nil)
	offers := h.Values("WWW-Authenticate")
	if status != http.StatusUnauthorized || len(offers) != 2 {
		t.Fatalf("%d %v", status, offers)
	}
	p := parameters(strings.TrimPrefix(offers[0], "Digest "))
	sum := func(parts ...string) string {
		h := sha256.Sum256([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(h[:])
	}
	log := func(password, nonce, uri string) (int, string) {
		response := sum(sum(User, p["realm"], password), nonce, "00000001", "xyz", "auth", sum("GET", uri))
		status, h, _ := ask(t, c, "GET", base+"digest", nil, header("Authorization", fmt.Sprintf(
			`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="xyz", response="%s"`,
			User, p["realm"], nonce, uri, response)))
		return status, h.Get("WWW-Authenticate")
	}
	uri := must(url.Parse(base)).Path + "digest"
	if status, _ := log(Password, p["nonce"], uri); status != http.StatusOK {
		t.Error(status)
	}
	for name, f := range map[string]func() (int, string){
		"password": func() (int, string) { return log("x", p["nonce"], uri) },
		"nonce":    func() (int, string) { return log(Password, "0-0", uri) },
		"uri":      func() (int, string) { return log(Password, p["nonce"], "/") },
	} {
		if status, again := f(); status != http.StatusUnauthorized || strings.Contains(again, "stale") {
			t.Errorf("%s: %d %s", name, status, again)
		}
	}
	d := newDigest()
	if ok, stale := d.good(d.nonce(time.Now().Add(-nonceLife - time.Minute))); !ok || !stale {
		t.Errorf("old: %v, %v", ok, stale)
	}
	if ok, stale := d.good(d.nonce(time.Now())); !ok || stale {
		t.Errorf("new: %v, %v", ok, stale)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestCurl has somebody else's client log in, and send and get.
func TestCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	base, _ := start(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--digest", "-u", User + ":" + Password, base + "digest"}, `{"user":"conformance"}`},
		{[]string{"--digest", "-u", User + ":wrong", base + "digest"}, "log in"},
		{[]string{"-u", User + ":" + Password, base + "basic"}, `{"user":"conformance"}`},
		{[]string{"-L", base + "redirect/301?n=4&absolute"}, `{"hops":4}`},
		{[]string{"-L", "-d", "see=other&x=y", base + "form"}, `{"fields":{"x":"y"},"method":"GET","type":""}`},
		{[]string{"-F", "a=b", "-H", "Expect: 100-continue", base + "form"}, `{"fields":{"a":"b"},"method":"POST","type":"multipart/form-data"}`},
		{[]string{"-N", base + "clock?n=1&every=1"}, "id: 1"},
	} {
		out, err := exec.CommandContext(t.Context(), "curl", append([]string{"-s", "--max-time", "30"}, tt.args...)...).Output()
		if text := strings.TrimSpace(string(out)); err != nil || !strings.HasPrefix(text, tt.want) {
			t.Errorf("%q: %q, %v", tt.args, text, err)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add(`username="a\"b", realm="x", nc=1`)
	f.Add(`a="`)
	f.Add(`a="\`)
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range parameters(text) {
			if name != strings.ToLower(strings.TrimSpace(name)) || len(value) > len(text) {
				t.Errorf("%q: %q of %q", name, value, text)
			}
		}
	})
}
