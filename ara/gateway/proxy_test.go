package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

var bothProtos = []string{"http/1.1", "h2"}

// TestRequestAsItWas: what the PBX gets of a request.
func TestRequestAsItWas(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }), nil)
	for _, proto := range bothProtos {
		c, origin, _ := w.open(proto)
		// Path and query with everything that a proxy could be tempted to tidy.
		const target = "/a%2Fb//c/../%7Ed;x=1/?q=a+b&q=%zz;p=1&&e"
		resp, _ := w.do(c, w.request("POST", origin+target, "body", func(r *http.Request) {
			for _, name := range []string{
				"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Server", "Forwarded", "X-Real-Ip", "X-Auer-Caller", "X_auer_caller", "X_Forwarded_For",
			} {
				r.Header[name] = []string{"evil"}
			}
			r.Header.Set("Authorization", `Digest username="admin", uri="/a%2Fb"`)
			r.Header.Set("X-Odd", "a, b")
			r.Header.Set("Accept-Encoding", "br")
			r.AddCookie(&http.Cookie{Name: "lang", Value: "de"})
		}))
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %d", proto, resp.StatusCode)
		}
		r := <-got
		host := strings.TrimPrefix(origin, "https://")
		want := http.Header{
			"Authorization": {`Digest username="admin", uri="/a%2Fb"`}, "X-Odd": {"a, b"}, "Accept-Encoding": {"br"}, "Cookie": {"lang=de"},
			"X-Forwarded-Host": {host}, "X-Forwarded-Proto": {"https"}, "User-Agent": r.Header["User-Agent"], "Content-Length": {"4"},
		}
		if r.RequestURI != target || r.Host != host || r.Proto != "HTTP/1.1" || fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("%s: %s at %s by %s\n%v\nwant\n%v", proto, r.RequestURI, r.Host, r.Proto, r.Header, want)
		}
	}
}

// TestAnswerAsItWas: what the browser gets of an answer.
func TestAnswerAsItWas(t *testing.T) {
	t.Parallel()
	var origin string
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Add("Set-Cookie", "sid=1; Path=/; Domain=ara.test; HttpOnly; SameSite=Strict")
		h.Add("Set-Cookie", "__Host-ara=evil; Path=/; Secure")
		h.Add("Set-Cookie", "__host-ARA-browser=evil; Path=/; Secure")
		h.Add("Set-Cookie", "=__Host-ara=evil; Path=/; Secure")
		h.Add("Set-Cookie", "__Host-ara")
		h.Set("Strict-Transport-Security", "max-age=0")
		h.Set("Alt-Svc", `h3="evil:443"`)
		h.Set("Clear-Site-Data", `"*"`)
		h.Set("Service-Worker-Allowed", "/")
		h.Set("WWW-Authenticate", `Digest realm="pbx", nonce="x"`)
		h.Set("ETag", `"1"`)
		h.Set("X-Custom", "kept")
		h.Set("Location", "http://"+r.Host+"/login?next=%2F#top")
		rw.WriteHeader(http.StatusFound)
	}), nil)
	for _, proto := range bothProtos {
		var c *http.Client
		c, origin, _ = w.open(proto)
		resp, _ := w.do(c, w.request("GET", origin+"/", ""))
		want := http.Header{
			"Set-Cookie": {"sid=1; Path=/; HttpOnly; SameSite=Strict"}, "Strict-Transport-Security": hsts,
			"Www-Authenticate": {`Digest realm="pbx", nonce="x"`}, "Etag": {`"1"`}, "X-Custom": {"kept"},
			"Location": {origin + "/login?next=%2F#top"}, "Referrer-Policy": {"same-origin"}, "Origin-Agent-Cluster": {"?1"},
			"Date": resp.Header["Date"], "Content-Length": {"0"},
		}
		if resp.StatusCode != http.StatusFound || fmt.Sprint(resp.Header) != fmt.Sprint(want) {
			t.Errorf("%s: %d\n%v\nwant\n%v", proto, resp.StatusCode, resp.Header, want)
		}
	}
	s := &session{host: "l.ara.test", authority: "l.ara.test:8443"}
	for in, want := range map[string]string{
		"http://l.ara.test:8443/x": "https://l.ara.test:8443/x", "HTTP://L.ara.test?x": "https://l.ara.test:8443?x",
		"http://l.ara.test.evil/x": "http://l.ara.test.evil/x", "http://192.0.2.1/x": "http://192.0.2.1/x", "/x": "/x", "": "",
		"https://l.ara.test/x": "https://l.ara.test/x", "http://l.ara.test@evil/x": "http://l.ara.test@evil/x",
	} {
		if got := s.secure(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// TestCookieTossing: another session's page sets cookies for the whole domain.
func TestCookieTossing(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			rw.Header().Add("Set-Cookie", "sid=right; HttpOnly")
			rw.Header().Add("Set-Cookie", "sid=also; Path=/api; HttpOnly")
			rw.Header().Add("Set-Cookie", "view=list")
			return
		}
		got <- strings.Join(r.Header["Cookie"], "|")
	}), nil)
	c, origin, _ := w.open("h2")
	ask := func(sent ...string) string {
		t.Helper()
		w.do(c, w.request("GET", origin+"/", "", func(r *http.Request) { r.Header["Cookie"] = sent }))
		return <-got
	}
	c.Jar.SetCookies(mustURL(t, origin), []*http.Cookie{})
	own := c.Jar.Cookies(mustURL(t, origin))[0].String()
	w.do(c, w.request("GET", origin+"/login", ""))
	c.Jar = nil
	for _, tt := range []struct {
		sent []string
		want string
	}{
		{[]string{"sid=right; view=list"}, "sid=right; view=list"},
		{[]string{"sid=planted; sid=right"}, "sid=right"},
		{[]string{"sid=right; sid=planted"}, "sid=right"},
		{[]string{"sid=planted"}, ""},
		{[]string{"sid=also; sid=right"}, "sid=also; sid=right"},
		{[]string{"view=planted; view=list"}, "view=list"},
		{[]string{"view=by-a-script"}, "view=by-a-script"},
		{[]string{"new=1; new=2"}, "new=1"},
		{[]string{"__Host-ara-browser=x; __Host-ara; =__Host-ara=y; a=b"}, "a=b"},
		{[]string{"a=b", "c=d; e"}, "a=b; c=d; e"},
		{[]string{";; ; a=\"b;c=d"}, `a="b; c=d`},
	} {
		if got := ask(append([]string{own}, tt.sent...)...); got != tt.want {
			t.Errorf("%q: the PBX gets %q, want %q", tt.sent, got, tt.want)
		}
	}
}

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	must(t, err)
	return u
}

// TestEventsOfPBX: each event comes at once, and the connection's end reaches the PBX.
func TestEventsOfPBX(t *testing.T) {
	t.Parallel()
	tick, gone := make(chan string), make(chan struct{}, 1)
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case s := <-tick:
				fmt.Fprintf(rw, "data: %s\n\n", s)
				_ = http.NewResponseController(rw).Flush()
			case <-r.Context().Done():
				gone <- struct{}{}
				return
			}
		}
	}), nil)
	for _, proto := range bothProtos {
		c, origin, _ := w.open(proto)
		go func() { tick <- "0" }() // the header comes with the first one
		resp, err := c.Do(w.request("GET", origin+"/clock", ""))
		must(t, err)
		r := bufio.NewReader(resp.Body)
		for i := range 3 {
			if i > 0 {
				tick <- fmt.Sprint(i)
			}
			line, err := r.ReadString('\n')
			must(t, err)
			if line != fmt.Sprintf("data: %d\n", i) {
				t.Errorf("%s: %q", proto, line)
			}
			_, err = r.ReadString('\n')
			must(t, err)
		}
		resp.Body.Close()
		select {
		case <-gone:
		case <-time.After(bound):
			t.Errorf("%s: the PBX does not hear of it", proto)
		}
	}
}

// TestTrailers go both ways.
func TestTrailers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "X-Sum")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		_, _ = rw.Write(body)
		rw.Header().Set("X-Sum", r.Trailer.Get("X-Up"))
		rw.Header().Set(http.TrailerPrefix+"X-Late", "late")
		rw.Header().Set(http.TrailerPrefix+"Set-Cookie", "sid=evil; Domain=ara.test")
	}), nil)
	for _, proto := range bothProtos {
		c, origin, _ := w.open(proto)
		req := w.request("POST", origin+"/", "")
		req.Body, req.ContentLength, req.Trailer = io.NopCloser(strings.NewReader("hello")), -1, http.Header{"X-Up": {"summed"}}
		resp, text := w.do(c, req)
		if text != "hello" || resp.Trailer.Get("X-Sum") != "summed" || resp.Trailer.Get("X-Late") != "late" || len(resp.Trailer["Set-Cookie"]) > 0 {
			t.Errorf("%s: %q %v", proto, text, resp.Trailer)
		}
	}
}

// TestContinue: a body is sent when the PBX wants it, and only then.
func TestContinue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			rw.WriteHeader(http.StatusExpectationFailed)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(rw, "%d", len(body))
	}), nil)
	c, origin, _ := w.open("http/1.1")
	for path, want := range map[string]struct {
		status int
		read   bool
	}{"/yes": {200, true}, "/no": {417, false}} {
		read := false
		req := w.request("PUT", origin+path, "")
		req.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			read = true
			return 0, io.EOF
		}))
		req.ContentLength = -1
		req.Header.Set("Expect", "100-continue")
		got100 := false
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got100Continue: func() { got100 = true }}))
		resp, _ := w.do(c, req)
		if resp.StatusCode != want.status || read != want.read || got100 != want.read {
			t.Errorf("%s: %d, body read %v, 100 %v", path, resp.StatusCode, read, got100)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestEarlyHints: only links come with an interim answer.
func TestEarlyHints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.Header().Set("Set-Cookie", "__Host-ara=evil; Path=/; Secure")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Set-Cookie")
		_, _ = io.WriteString(rw, "page")
	}), nil)
	c, origin, _ := w.open("h2")
	var hints textproto.MIMEHeader
	req := w.request("GET", origin+"/", "")
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { hints = h; return nil },
	}))
	resp, text := w.do(c, req)
	if text != "page" || fmt.Sprint(hints) != "map[Link:[</style.css>; rel=preload]]" || resp.Header.Get("Strict-Transport-Security") != hsts[0] {
		t.Errorf("%q, %v, %v", text, hints, resp.Header)
	}
}

// TestRange: parts of a file, a file that has not changed.
func TestRange(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 1000)
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("ETag", `"v1"`)
		http.ServeContent(rw, r, "f.bin", time.Time{}, bytes.NewReader(content))
	}), nil)
	c, origin, _ := w.open("h2")
	for _, tt := range []struct {
		name, value string
		status      int
		want        string
	}{
		{"Range", "bytes=5-9", 206, "56789"},
		{"Range", "bytes=-3", 206, "789"},
		{"Range", "bytes=20000-", 416, ""},
		{"If-None-Match", `"v1"`, 304, ""},
	} {
		resp, text := w.do(c, w.request("GET", origin+"/f.bin", "", func(r *http.Request) { r.Header.Set(tt.name, tt.value) }))
		if resp.StatusCode != tt.status || tt.want != "" && text != tt.want {
			t.Errorf("%s: %d %.20q", tt.value, resp.StatusCode, text)
		}
	}
}

// TestBothWaysAtOnce: the PBX answers while it is still being told, on every version.
func TestBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(rw)
		_ = rc.EnableFullDuplex()
		rw.WriteHeader(200)
		_ = rc.Flush()
		buf := make([]byte, 1)
		for {
			if _, err := r.Body.Read(buf); err != nil {
				return
			}
			_, _ = rw.Write(buf)
			_ = rc.Flush()
		}
	}), nil)
	for _, proto := range bothProtos {
		c, origin, _ := w.open(proto)
		pr, pw := io.Pipe()
		req := w.request("POST", origin+"/", "")
		req.Body, req.ContentLength = pr, -1
		resp, err := c.Do(req)
		must(t, err)
		for _, b := range []byte("ping") {
			_, err := pw.Write([]byte{b})
			must(t, err)
			got := make([]byte, 1)
			if _, err := io.ReadFull(resp.Body, got); err != nil || got[0] != b {
				t.Fatalf("%s: %q, %v", proto, got, err)
			}
		}
		must(t, pw.Close())
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("%s: %q, %v", proto, rest, err)
		}
		resp.Body.Close()
	}
}

// TestLargeBodies go through without being kept, both ways.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	sizes := map[string]int64{"http/1.1": 64 << 20, "h2": 500 << 20}
	if testing.Short() {
		sizes["h2"] = 32 << 20
	}
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			size := sizes[r.Header.Get("X-Proto")]
			rw.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = io.CopyN(rw, zeros{}, size)
			return
		}
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		_, _ = fmt.Fprint(rw, n, err, r.ContentLength)
	}), nil)
	for _, proto := range bothProtos {
		size := sizes[proto]
		c, origin, _ := w.open(proto)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		req := w.request("POST", origin+"/", "").WithContext(ctx)
		req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, size)), size
		if _, text := w.do(c, req); text != fmt.Sprint(size, error(nil), size) {
			t.Errorf("%s: %s", proto, text)
		}
		resp, err := c.Do(w.request("GET", origin+"/", "", func(r *http.Request) { r.Header.Set("X-Proto", proto) }).WithContext(ctx))
		must(t, err)
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n != size || err != nil {
			t.Errorf("%s: %d, %v", proto, n, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestBrokenAnswer: an answer that ends early does not look whole, beside one that is.
func TestBrokenAnswer(t *testing.T) {
	t.Parallel()
	come := make(chan struct{})
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("length") {
			rw.Header().Set("Content-Length", "10")
		}
		_, _ = io.WriteString(rw, "12345")
		_ = http.NewResponseController(rw).Flush()
		switch r.URL.Path {
		case "/whole":
			_, _ = io.WriteString(rw, "67890")
			return
		case "/seen": // breaks after the browser has what was flushed
			select {
			case <-come:
			case <-r.Context().Done():
			}
		}
		panic(http.ErrAbortHandler)
	}), nil)
	for _, proto := range bothProtos {
		c, origin, _ := w.open(proto)
		for _, path := range []string{"/whole", "/whole?length", "/seen", "/seen?length", "/broken", "/broken?length"} {
			resp, err := c.Do(w.request("GET", origin+path, ""))
			if err != nil {
				if !strings.HasPrefix(path, "/broken") { // where what had come may still be on its way
					t.Errorf("%s %s: %v", proto, path, err)
				}
				continue
			}
			start := make([]byte, 5)
			if strings.HasPrefix(path, "/seen") {
				if _, err := io.ReadFull(resp.Body, start); err != nil || string(start) != "12345" {
					t.Fatalf("%s %s: %q, %v", proto, path, start, err)
				}
				come <- struct{}{}
			}
			text, err := io.ReadAll(resp.Body)
			switch whole := strings.HasPrefix(path, "/whole"); {
			case whole && (err != nil || string(text) != "1234567890"):
				t.Errorf("%s %s: %q, %v", proto, path, text, err)
			case !whole && (err == nil || !strings.HasPrefix("12345", string(text))):
				t.Errorf("%s %s: %q looks whole, %v", proto, path, text, err)
			}
			resp.Body.Close()
		}
	}
}

// TestWebSocket: text, binary and the end of a session.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, nil) // checks the origin against the host
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // it has ended
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	}), func(c *Config) { c.Limits.Upgrades = 1 })
	c, origin, id := w.open("http/1.1")
	dial := func(from string) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), origin+"/ws", &websocket.DialOptions{HTTPClient: c, HTTPHeader: http.Header{"Origin": {from}}})
	}
	ws, _, err := dial(origin) //nolint:bodyclose // the package says it is never needed
	must(t, err)
	for kind, text := range map[websocket.MessageType]string{websocket.MessageText: "häh", websocket.MessageBinary: strings.Repeat("\x00\xff", 10_000)} {
		must(t, ws.Write(t.Context(), kind, []byte(text)))
		got, data, err := ws.Read(t.Context())
		if err != nil || got != kind || string(data) != text {
			t.Fatalf("%v %d bytes, %v", got, len(data), err)
		}
	}
	if _, resp, err := dial(origin); err == nil || resp.StatusCode != http.StatusServiceUnavailable { //nolint:bodyclose // as above
		t.Errorf("one too many: %v", err)
	}
	if _, resp, err := dial("https://" + newLabel() + "." + domain); err == nil || resp.StatusCode != http.StatusForbidden { //nolint:bodyclose // as above
		t.Errorf("from another session's page: %v", err)
	}
	w.pbx.set(id, remote.Status{State: grant.Ended, Cause: grant.CauseSwitch})
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("the connection goes on after the end of the session")
	}
	_ = ws.CloseNow()
}

// TestUpgrade: any protocol, with half-close.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo/1" || r.Header.Get("Connection") != "Upgrade" {
			rw.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		conn, brw, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\nSet-Cookie: __Host-ara=evil\r\n\r\n")
		all, _ := io.ReadAll(brw)
		_, _ = conn.Write(bytes.ToUpper(all))
	}), nil)
	c, origin, _ := w.open("http/1.1")
	conn := w.raw(t, origin)
	defer conn.Close()
	own := c.Jar.Cookies(mustURL(t, origin))[0].String()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo/1\r\n\r\n", strings.TrimPrefix(origin, "https://"), own)
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 101 || len(resp.Header["Set-Cookie"]) > 0 {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	_, err = io.WriteString(conn, "hello")
	must(t, err)
	must(t, conn.CloseWrite())
	if got, err := io.ReadAll(br); err != nil || string(got) != "HELLO" {
		t.Errorf("%q, %v", got, err)
	}
}

// raw is a connection for bytes that no client sends.
func (w *world) raw(t testing.TB, origin string) *tls.Conn {
	t.Helper()
	host := mustURL(t, origin).Hostname()
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: w.roots, ServerName: host, MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", w.addr)
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(bound)))
	return conn.(*tls.Conn)
}

// TestHTTP3 carries a session by QUIC, and every other answer tells of it.
func TestHTTP3(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(rw, "%s %d %s", r.Method, len(body), r.URL.Path)
	}), nil)
	c, origin, id := w.open("h2")
	cert, roots := wildcard(t)
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	must(t, err)
	srv := w.g.HTTP3Server(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}})
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(pc) }()
	t.Cleanup(func() { _ = srv.Close(); <-done; _ = pc.Close() })

	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		Dial: func(ctx context.Context, _ string, cfg *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, pc.LocalAddr().String(), cfg, q)
		},
	}
	t.Cleanup(func() { _ = tr.Close() })
	h3 := &http.Client{Transport: tr, Jar: c.Jar, CheckRedirect: c.CheckRedirect}
	resp, text := w.do(h3, w.request("POST", origin+"/x", strings.Repeat("x", 1<<20)))
	if resp.ProtoMajor != 3 || text != "POST 1048576 /x" || resp.Header.Get("Alt-Svc") != "" {
		t.Errorf("HTTP/%d %d %q", resp.ProtoMajor, resp.StatusCode, text)
	}
	if resp, _ := w.do(h3, w.request("GET", origin+"/", "", func(r *http.Request) { r.Host = newLabel() + "." + domain })); resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", resp.StatusCode)
	}
	if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.Header.Get("Alt-Svc") != fmt.Sprintf(`h3=":%s"; ma=86400`, w.port) {
		t.Errorf("Alt-Svc %q", resp.Header.Get("Alt-Svc"))
	}
	w.pbx.set(id, remote.Status{State: grant.Ended})
	waitFor(t, w, labelOf(t, origin), grant.Ended)
	if resp, _ := w.do(h3, w.request("GET", origin+"/", "")); resp.StatusCode != http.StatusForbidden {
		t.Errorf("after the end: %d", resp.StatusCode)
	}
}

// TestStreams: with as many requests as there may be, the next one waits, then is
// refused.
func TestStreams(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}), func(c *Config) { c.Limits.Streams, c.Timing.Queue = 2, time.Millisecond })
	c, origin, _ := w.open("h2")
	s := w.g.sessions.session(labelOf(t, origin))
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			resp, err := c.Do(w.request("GET", origin+"/", ""))
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != 200 {
					err = errors.New(resp.Status)
				}
			}
			errs <- err
		}()
	}
	for len(s.streams) < 2 {
		select {
		case err := <-errs:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third one: %d", resp.StatusCode)
	}
	close(release)
	must(t, errors.Join(<-errs, <-errs))
	if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.StatusCode != 200 {
		t.Errorf("and then: %d", resp.StatusCode)
	}
}
