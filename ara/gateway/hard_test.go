package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TestHosts: a request is served at the host that its connection was made for, and
// nowhere else. So no name that leads to the gateway by DNS rebinding, no address of a
// machine inside, and no other session is reached.
func TestHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	c, origin, _ := w.open("http/1.1")
	_, other, _ := w.open("http/1.1")
	host, otherHost := strings.TrimPrefix(origin, "https://"), strings.TrimPrefix(other, "https://")
	cookie := c.Jar.Cookies(mustURL(t, origin))[0].String()
	dials := w.pbx.dials.Load()
	for _, tt := range []struct {
		name, target, host string
		status             int
	}{
		{"as it should be", "/", host, 200},
		{"capitals", "/", strings.ToUpper(host), 200},
		{"absolute form", "https://" + host + "/", host, 200},
		{"absolute form, another host in the field", "https://" + host + "/", "evil.test", 200}, // RFC 9112 §3.2.2
		{"absolute form of another host", "http://169.254.169.254/latest/meta-data/", host, 421},
		{"absolute form of loopback", "http://127.0.0.1:22/", host, 421},
		{"another session", "/", otherHost, 421},
		{"the gateway's own host", "/", domain + ":" + w.port, 421},
		{"without the port", "/", strings.TrimSuffix(host, ":"+w.port), 200},
		{"another port", "/", strings.TrimSuffix(host, w.port) + "1", 421},
		{"a foreign name", "/", "rebind.evil.test", 421},
		{"an address", "/", "192.0.2.1", 421},
		{"loopback", "/", "127.0.0.1:" + w.port, 421},
		{"IPv6", "/", "[::1]:" + w.port, 421},
		{"metadata", "/", "169.254.169.254", 421},
		{"a dot at the end", "/", strings.Replace(host, ":", ".:", 1), 421},
		{"below the label", "/", "x." + host, 421},
		{"user", "/", "a@" + host, 400},
		{"path in it", "/", host + "/x", 400},
		{"empty", "/", "", 421},
		{"list", "/", host + ", evil.test", 400},
	} {
		conn := w.raw(t, origin)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nConnection: close\r\n\r\n", tt.target, tt.host, cookie)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		conn.Close()
		// A host that is malformed may be refused as such, or as another one.
		if resp.StatusCode != tt.status && (tt.status == 200 || resp.StatusCode != 421) {
			t.Errorf("%s: %d, want %d", tt.name, resp.StatusCode, tt.status)
		}
	}
	if got := w.pbx.dials.Load() - dials; got > 5 {
		t.Errorf("%d calls to the PBX", got)
	}
	for _, name := range []string{"", "rebind.evil.test", "127.0.0.1"} {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: name}}).DialContext(t.Context(), "tcp", w.addr) //nolint:gosec // a test
		if err != nil {
			continue // with one certificate for one name, the server may refuse it by then
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nConnection: close\r\n\r\n", host, cookie)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		conn.Close()
		if resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("connection for %q: %d", name, resp.StatusCode)
		}
	}
	if resp, _ := w.do(c, w.request("CONNECT", origin+"/", "")); resp.StatusCode == 200 {
		t.Error("CONNECT is served")
	}
}

// TestForeignOrigins: what another page makes a browser do.
func TestForeignOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	c, origin, _ := w.open("h2")
	_, other, _ := w.open("h2")
	for _, tt := range []struct {
		name, method string
		fields       []string
		good         bool
	}{
		{"own page, old browser", "POST", []string{"Origin", origin}, true},
		{"own page", "POST", []string{"Origin", origin, "Sec-Fetch-Site", "same-origin"}, true},
		{"own page without a referrer", "POST", []string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, true},
		{"no browser", "DELETE", nil, true},
		{"typed", "GET", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, true},
		{"a link elsewhere", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, true},
		{"a form elsewhere", "POST", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, false},
		{"a form in another session", "POST", []string{"Origin", other, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, false},
		{"a form elsewhere, old browser", "POST", []string{"Origin", "https://evil.test"}, false},
		{"a form in another session, old browser", "POST", []string{"Origin", other}, false},
		{"a script in another session", "GET", []string{"Origin", other}, false},
		{"a picture in another session", "GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		{"a frame in another session", "GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		{"a WebSocket in another session", "GET", []string{"Origin", other, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "websocket"}, false},
		{"a service worker", "GET", []string{"Sec-Fetch-Site", "same-origin", "Service-Worker", "script", "Sec-Fetch-Dest", "serviceworker"}, false},
	} {
		for _, path := range []string{"/", own} {
			if path == own && (tt.method == "DELETE" || tt.name == "a service worker") {
				continue
			}
			dials := w.pbx.dials.Load()
			w.g.sessions.session(labelOf(t, origin)).transport.CloseIdleConnections()
			resp, _ := w.do(c, w.request(tt.method, origin+path, "", func(r *http.Request) {
				for i := 0; i < len(tt.fields); i += 2 {
					r.Header.Set(tt.fields[i], tt.fields[i+1])
				}
			}))
			switch {
			case (resp.StatusCode != http.StatusForbidden) != tt.good:
				t.Errorf("%s at %s: %d", tt.name, path, resp.StatusCode)
			case path == "/" && (w.pbx.dials.Load() > dials) != tt.good:
				t.Errorf("%s: %d calls to the PBX", tt.name, w.pbx.dials.Load()-dials)
			}
		}
	}
}

// TestHeaderSizes: more than the limit is refused, both ways.
func TestHeaderSizes(t *testing.T) {
	t.Parallel()
	const limit = 16 << 10
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			rw.Header().Set("X-Big", strings.Repeat("a", limit+1000))
		}
	}), func(c *Config) { c.Limits.HeaderBytes = configs.Bytes(limit) })
	for _, proto := range bothProtos {
		c, origin, _ := w.open(proto)
		ask := func(n int) (int, error) {
			dials := w.pbx.dials.Load()
			w.g.sessions.session(labelOf(t, origin)).transport.CloseIdleConnections()
			resp, err := c.Do(w.request("GET", origin+"/", "", func(r *http.Request) { r.Header.Set("X-Big", strings.Repeat("a", n)) }))
			if err != nil {
				return 0, err
			}
			resp.Body.Close()
			if resp.StatusCode != 200 && w.pbx.dials.Load() != dials {
				t.Errorf("%s: the PBX was called", proto)
			}
			return resp.StatusCode, nil
		}
		if status, err := ask(limit / 2); status != 200 || err != nil {
			t.Errorf("%s: %d, %v for half of the limit", proto, status, err)
		}
		if status, err := ask(2 * limit); status != http.StatusRequestHeaderFieldsTooLarge && err == nil {
			t.Errorf("%s: %d for twice the limit", proto, status)
		}
		if resp, _ := w.do(c, w.request("GET", origin+"/big", "")); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: %d for a big answer", proto, resp.StatusCode)
		}
		if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.StatusCode != 200 {
			t.Errorf("%s: %d afterwards", proto, resp.StatusCode)
		}
	}
}

// TestSplitting: what a PBX writes into its header stays in its own field.
func TestSplitting(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	answers := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, <-answers)
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	w := newWorld(t, nil, nil)
	for _, proto := range bothProtos {
		c, origin, _ := w.open(proto)
		redial := func(net.Conn) net.Conn {
			conn, err := net.Dial("tcp", ln.Addr().String())
			must(t, err)
			return conn
		}
		w.pbx.wiretap.Store(&redial)
		for _, tt := range []struct {
			name, answer string
			status       int
		}{
			{"as it should be", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200},
			{"bare CR", "HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: sid=evil\r\nContent-Length: 2\r\n\r\nok", 0},
			{"bare LF", "HTTP/1.1 200 OK\r\nX-A: b\nSet-Cookie: __Host-ara=evil\r\nContent-Length: 2\r\n\r\nok", 0},
			{"NUL", "HTTP/1.1 200 OK\r\nX-A: b\x00\r\nContent-Length: 2\r\n\r\nok", 0},
			{"colon in a name", "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok", 0},
			{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502},
			{"both framings", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200},
			{"no HTTP", "SSH-2.0-OpenSSH\r\n", 502},
			{"nothing", "", 502},
			{"switches without being asked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502},
			{"no status", "HTTP/1.1 OK\r\n\r\n", 502},
			{"second answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200},
		} {
			answers <- tt.answer
			resp, body := w.do(c, w.request("GET", origin+"/", "", func(r *http.Request) { r.Header.Set("Accept-Language", "en") }))
			if tt.status != 0 && resp.StatusCode != tt.status || resp.StatusCode == 200 && body != "ok" ||
				strings.Contains(resp.Header.Get("Set-Cookie"), "evil") || strings.ContainsAny(resp.Header.Get("X-A"), "\r\n\x00") {
				t.Errorf("%s, %s: %d %q %v", proto, tt.name, resp.StatusCode, body, resp.Header)
			}
		}
	}
}

// TestSlowHeaders: who does not get on with a header is hung up on, in memory and by a
// clock of its own.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	creds := ca.Credentials(identity.Service(td, "ara"))
	cert, roots := wildcard(t)
	valid := func() time.Time { return cert.Leaf.NotBefore.Add(time.Minute) } // whatever the bubble's clock says
	synctest.Test(t, func(t *testing.T) {
		g, err := New(Config{
			Domain: domain, CCCURL: cccURL, Credentials: creds,
			Dial: func(context.Context, identity.Serial, string, string) (net.Conn, error) { return nil, net.ErrClosed },
		})
		must(t, err)
		srv := g.HTTPServer(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}})
		ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = srv.ServeTLS(ln, "", "") }()
		defer func() { _ = srv.Close(); <-ended; g.cancel() }()
		dial := func() *tls.Conn {
			a, b := net.Pipe()
			ln.conns <- b
			return tls.Client(a, &tls.Config{RootCAs: roots, ServerName: domain, MinVersion: tls.VersionTLS12, Time: valid})
		}
		open := func(write func(net.Conn)) time.Duration {
			conn := dial()
			defer conn.Close()
			begin := time.Now()
			go write(conn)
			_, _ = io.Copy(io.Discard, conn)
			return time.Since(begin)
		}
		limit := DefaultConfig().Timing.Header
		for name, write := range map[string]func(net.Conn){
			"a byte a second": func(c net.Conn) {
				for _, b := range []byte("GET / HTTP/1.1\r\nHost: ara.test\r\nX-A: " + strings.Repeat("a", 100)) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			},
			"half a header": func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: ara.test\r\n") },
		} {
			if took := open(write); took < limit-time.Second || took > limit+time.Second {
				t.Errorf("%s: hung up on after %s, want %s", name, took, limit)
			}
		}
		if took := open(func(c net.Conn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: ara.test\r\nConnection: close\r\n\r\n")
		}); took > time.Second {
			t.Errorf("a request at once takes %s", took)
		}
		// Nor does a body for the gateway itself take long.
		label := g.sessions.begin("s-1", time.Now())
		secret, browser := newSecret()
		g.sessions.claim(label, browser, time.Now())
		a, b := net.Pipe()
		ln.conns <- b
		conn := tls.Client(a, &tls.Config{RootCAs: roots, ServerName: label + "." + domain, MinVersion: tls.VersionTLS12, Time: valid})
		defer conn.Close()
		begin := time.Now()
		go fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nCookie: %s=%s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant=",
			pathRedeem, label+"."+domain, cookieBrowser, secret)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || time.Since(begin) > limit+time.Second {
			t.Errorf("%d after %s", resp.StatusCode, time.Since(begin))
		}
	})
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// TestIdle: a session in which nothing moves ends, one in which something does goes on.
func TestIdle(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	creds := ca.Credentials(identity.Service(td, "ara"))
	synctest.Test(t, func(t *testing.T) {
		g, err := New(Config{
			Domain: domain, CCCURL: cccURL, Credentials: creds,
			Dial: func(context.Context, identity.Serial, string, string) (net.Conn, error) { return nil, net.ErrClosed },
		})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		open := func(id grant.SessionID) *session {
			s := g.newSession(g.sessions.begin(id, time.Now()), grant.Grant{Session: id, Serial: serial, User: string(id)}, hash{})
			must(t, g.sessions.redeem(s))
			g.watches.Go(s.watch)
			return s
		}
		idle, busy := open("s-1"), open("s-2")
		forgotten := g.sessions.begin("s-3", time.Now())
		for range 40 {
			time.Sleep(time.Minute)
			busy.moved.Store(time.Now().UnixNano())
		}
		if idle.ctx.Err() == nil || busy.ctx.Err() != nil || g.Known(forgotten+"."+domain) || !g.Known(busy.host) {
			t.Errorf("idle %v, busy %v", idle.ctx.Err(), busy.ctx.Err())
		}
		if v, _ := busy.look(); !v.lost {
			t.Error("a PBX that is not reached looks as if it were")
		}
		time.Sleep(10 * time.Minute)
		if g.Known(idle.host) {
			t.Error("a session that has ended is never forgotten")
		}
		cancel()
		must(t, <-done)
		if busy.ctx.Err() == nil {
			t.Error("a session outlives the gateway")
		}
	})
}

// TestLogs: no log has an address, a path, a serial, a user agent or a grant.
func TestLogs(t *testing.T) {
	t.Parallel()
	var out syncWriter
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), func(c *Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace})
	})
	c, origin, _ := w.open("http/1.1")
	w.do(c, w.request("GET", origin+"/secret-path", "", func(r *http.Request) { r.Header.Set("User-Agent", "secret-agent") }))
	conn, err := net.Dial("tcp", w.addr)
	must(t, err)
	fmt.Fprint(conn, "no TLS at all")
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
	// What panics in the gateway itself is logged, without the rest.
	func() {
		defer func() { _ = recover() }() // it goes on to net/http
		defer w.g.done(&response{})
		panic("positive control")
	}()
	if !strings.Contains(out.String(), "positive control") {
		t.Error("the log is not looked at")
	}
	for _, canary := range []string{"127.0.0.1", "secret-path", "secret-agent", string(serial), labelOf(t, origin), "eyJ"} {
		if strings.Contains(out.String(), canary) {
			t.Errorf("the log has %q:\n%s", canary, out.String())
		}
	}
}

// syncWriter is for a log that several goroutines write.
type syncWriter struct {
	mu  sync.Mutex
	out strings.Builder // guarded by mu
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *syncWriter) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// TestRefusedByPBX: a PBX that does not know the session ends it here.
func TestRefusedByPBX(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	c := w.browser("h2")
	tk := w.begin(c, "s-none")
	if resp := w.redeem(c, tk.label, w.sign(w.grant("s-none", tk))); resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.StatusCode)
	}
	waitFor(t, w, tk.label, grant.Ended)
	if resp, _ := w.do(c, w.request("GET", w.origin(tk.label+"."+domain)+"/", "")); resp.StatusCode != http.StatusForbidden || w.pbx.dials.Load() != 0 {
		t.Errorf("%d, %d calls", resp.StatusCode, w.pbx.dials.Load())
	}
	// While another one works.
	c, origin, _ := w.open("h2")
	if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.StatusCode != 200 {
		t.Error(resp.StatusCode)
	}
}
