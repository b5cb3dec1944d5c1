package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tap keeps what the gateway sends to the PBX.
type tap struct {
	mu    sync.Mutex
	conns []*bytes.Buffer // guarded by mu; one for each connection
}

type tappedConn struct {
	net.Conn
	tap *tap
	buf *bytes.Buffer
}

func (c *tappedConn) Write(p []byte) (int, error) {
	c.tap.mu.Lock()
	c.buf.Write(p)
	c.tap.mu.Unlock()
	return c.Conn.Write(p)
}

func (t *tap) wrap(c net.Conn) net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := &bytes.Buffer{}
	t.conns = append(t.conns, b)
	return &tappedConn{Conn: c, tap: t, buf: b}
}

// requests reads what was sent as the strictest server would.
func (t *tap) requests(tb testing.TB) (paths []string, raw string) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.conns {
		raw += b.String()
		for r := bufio.NewReader(bytes.NewReader(b.Bytes())); ; {
			req, err := http.ReadRequest(r)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				tb.Errorf("the PBX cannot read what it gets: %v\n%q", err, b)
				break
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				tb.Errorf("the PBX cannot read the body that it gets: %v\n%q", err, b)
			}
			paths = append(paths, req.URL.Path)
		}
	}
	return paths, raw
}

func (w *world) tap() *tap {
	t := &tap{}
	wrap := t.wrap
	w.pbx.wiretap.Store(&wrap)
	return t
}

// TestSmuggling sends what makes two servers see different requests. Whatever the
// gateway makes of it, the PBX gets one request that it understands in the same way, or
// none.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(rw, "served")
	}), nil)
	c, origin, _ := w.open("http/1.1")
	host := strings.TrimPrefix(origin, "https://")
	cookie := c.Jar.Cookies(mustURL(t, origin))[0].String()
	// The hidden request has no cookie: seen by the gateway it is refused and ends the
	// connection, seen by the PBX alone it is served.
	hidden := "GET /smuggled HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	post := func(fields, body string) string {
		return "POST /front HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n" + fields + "\r\n" + body
	}
	chunked := func(field string) string { return post(field+"\r\n", "0\r\n\r\n"+hidden) }
	chunk := func(body string) string { return post("Transfer-Encoding: chunked\r\n", body+hidden) }
	length := func(value string) string { return post("Content-Length: "+value+"\r\n", "hello"+hidden) }

	for _, tt := range []struct {
		name, text string
		want       int // requests that the PBX gets; -1: one or none
	}{
		{"well-formed, with a length", post("Content-Length: 5\r\n", "hello"), 1},
		{"well-formed, chunked", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), 1},
		{"well-formed, two", post("Content-Length: 5\r\n", "hello") + post("Content-Length: 5\r\n", "hello"), 2},

		{"CL.TE", post("Content-Length: "+fmt.Sprint(5+len(hidden))+"\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+hidden), -1},
		{"TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)), -1},
		{"TE.TE, x", chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: x"), 0},
		{"TE.TE, twice", chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 0},
		{"TE.TE, list", chunked("Transfer-Encoding: chunked, identity"), 0},
		{"TE.TE, x before", chunked("Transfer-Encoding: xchunked"), 0},
		{"TE.TE, gzip", chunked("Transfer-Encoding: gzip, chunked"), 0},
		{"TE.TE, identity", chunked("Transfer-Encoding: identity"), 0},
		{"TE.TE, space before the colon", chunked("Transfer-Encoding : chunked"), 0},
		{"TE.TE, tab", chunked("Transfer-Encoding:\tchunked"), -1},
		{"TE.TE, vertical tab", chunked("Transfer-Encoding: \x0bchunked"), 0},
		{"TE.TE, quotes", chunked("Transfer-Encoding: \"chunked\""), 0},
		{"TE.TE, NUL", chunked("Transfer-Encoding: chunked\x00"), 0},
		{"TE.TE, capital", chunked("Transfer-Encoding: Chunked"), -1},
		{"TE.TE, underscore", post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello"), 1},
		{"TE with HTTP/1.0", strings.Replace(chunked("Transfer-Encoding: chunked"), "HTTP/1.1", "HTTP/1.0", 1), -1},
		{"TE hop by hop", post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 1},

		{"obs-fold", chunked("Transfer-Encoding:\r\n chunked"), -1},
		{"obs-fold of another field", chunked("X-A: b\r\n Transfer-Encoding: chunked"), -1},
		{"space before the first field", "POST /front HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n\r\n0\r\n\r\n" + hidden, 0},
		{"bare LF in a field", chunked("X-A: b\nTransfer-Encoding: chunked"), -1},
		{"bare CR in a field", chunked("X-A: b\rTransfer-Encoding: chunked"), 0},
		{"bare LF everywhere", strings.ReplaceAll(post("Content-Length: 5\r\n", "hello"), "\r\n", "\n"), -1},
		{"bare CR everywhere", strings.ReplaceAll(post("Content-Length: 5\r\n", "hello"), "\r\n", "\r"), 0},

		{"two lengths", post("Content-Length: 5\r\nContent-Length: "+fmt.Sprint(5+len(hidden))+"\r\n", "hello"+hidden), 0},
		{"the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), -1},
		{"a list of lengths", length("5, 5"), 0},
		{"length with a sign", length("+5"), 0},
		{"negative length", length("-5"), 0},
		{"length in hex", length("0x5"), 0},
		{"length with a space", length("5 5"), 0},
		{"length that is too great", length("99999999999999999999"), 0},
		{"empty length", length(""), 0},
		{"length with underscore", length("5_0"), 0},
		{"GET with a body", strings.Replace(post("Content-Length: 5\r\n", "hello"), "POST", "GET", 1), 1},

		{"chunk extension", chunk("5;a=b\r\nhello\r\n0\r\n\r\n"), -1},
		{"chunk extension with LF", chunk("5;a\nb\r\nhello\r\n0\r\n\r\n"), -1},
		{"chunk extension with CR", chunk("5;a\rb\r\nhello\r\n0\r\n\r\n"), -1},
		{"long chunk extension", chunk("5;" + strings.Repeat("a", 1<<20) + "\r\nhello\r\n0\r\n\r\n"), -1},
		{"huge chunk", chunk("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), endless},
		{"chunk size that overflows", chunk("100000000000000005\r\nhello\r\n0\r\n\r\n"), -1},
		{"chunk size with 0x", chunk("0x5\r\nhello\r\n0\r\n\r\n"), -1},
		{"chunk size with a sign", chunk("+5\r\nhello\r\n0\r\n\r\n"), -1},
		{"chunk size with underscore", chunk("0_5\r\nhello\r\n0\r\n\r\n"), -1},
		{"chunk size missing", chunk("\r\nhello\r\n0\r\n\r\n"), -1},
		{"chunk with bare LF", chunk("5\nhello\n0\n\n"), -1},
		{"chunk longer than its size", chunk("4\r\nhello\r\n0\r\n\r\n"), -1},
		{"trailer that frames", chunk("0\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"), -1},

		{"no host", strings.Replace(post("Content-Length: 0\r\n", ""), "Host: "+host+"\r\n", "", 1), 0},
		{"two hosts", post("Host: "+host+"\r\nContent-Length: 0\r\n", ""), 0},
		{"space in the path", strings.Replace(post("Content-Length: 0\r\n", ""), "/front", "/front HTTP/1.1\r\nX: /smuggled", 1), -1},
		{"two spaces", strings.Replace(post("Content-Length: 0\r\n", ""), "/front ", "/front x ", 1), 0},
		{"HTTP/0.9", "GET /smuggled\r\n", 0},
		{"HTTP/1.9", strings.Replace(post("Content-Length: 0\r\n", ""), "HTTP/1.1", "HTTP/1.9", 1), -1},
		{"HTTP/2.0 in text", strings.Replace(post("Content-Length: 0\r\n", ""), "HTTP/1.1", "HTTP/2.0", 1), 0},
		{"method with a space", strings.Replace(post("Content-Length: 0\r\n", ""), "POST", "PO ST", 1), 0},
		{"NUL in a field", post("X-A: a\x00b\r\nContent-Length: 0\r\n", ""), 0},
		{"colon first", post(": x\r\nContent-Length: 0\r\n", ""), 0},
		{"no colon", post("Smuggled\r\nContent-Length: 0\r\n", ""), 0},
	} {
		tap := w.tap()
		w.g.sessions.session(labelOf(t, origin)).transport.CloseIdleConnections()
		if !strings.HasSuffix(tt.text, hidden) {
			tt.text += hidden
		}
		answers := exchange(t, w.raw(t, origin), tt.text, tt.want == endless)
		paths, raw := tap.requests(t)
		switch {
		case tt.want >= 0 && len(paths) != tt.want, len(paths) > max(tt.want, 1):
			t.Errorf("%s: the PBX gets %q", tt.name, paths)
		case strings.Count(answers, "served") > len(paths):
			t.Errorf("%s: %d answers to %q", tt.name, strings.Count(answers, "served"), paths)
		case strings.Contains(strings.Join(paths, " "), "smuggled"):
			t.Errorf("%s: the PBX gets %q", tt.name, paths)
		}
		for request := range strings.SplitSeq(raw, "HTTP/1.1\r\n") {
			fields, _, _ := strings.Cut(strings.ToLower(request), "\r\n\r\n")
			if strings.Contains(fields, "\ncontent-length:") && strings.Contains(fields, "\ntransfer-encoding:") {
				t.Errorf("%s: the PBX gets both framings: %q", tt.name, fields)
			}
		}
	}
}

// endless is for a body that has no end, so that somebody has to hang up; there is one
// request or none.
const endless = -2

// exchange sends a text, and gives all answers.
func exchange(t testing.TB, conn *tls.Conn, text string, hangUp bool) string {
	t.Helper()
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, text) // the other side may have had enough
		if hangUp {
			_ = conn.CloseWrite()
		}
	}()
	answers, _ := io.ReadAll(conn) // as far as it goes
	return string(answers)
}

// TestSmugglingByHTTP2 has fields that only HTTP/2 can carry into HTTP/1.1.
func TestSmugglingByHTTP2(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), nil)
	c, origin, _ := w.open("h2")
	host := strings.TrimPrefix(origin, "https://")
	cookie := c.Jar.Cookies(mustURL(t, origin))[0].String()
	for _, tt := range []struct {
		name   string
		fields []string // name, value, …: in place of or beside the usual ones
		body   string
		want   int
	}{
		{"well-formed", nil, "hello", 1},
		{"well-formed, with a length", []string{"content-length", "5"}, "hello", 1},
		{"H2.CL, too short", []string{"content-length", "0"}, "GET /smuggled HTTP/1.1\r\n\r\n", -1},
		{"H2.CL, too long", []string{"content-length", "99"}, "hello", -1},
		{"H2.CL, two", []string{"content-length", "5", "content-length", "6"}, "hello", -1},
		{"H2.TE", []string{"transfer-encoding", "chunked"}, "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", 0},
		{"connection", []string{"connection", "close"}, "", 0},
		{"line break in a value", []string{"x-a", "b\r\ntransfer-encoding: chunked"}, "", 0},
		{"LF in a value", []string{"x-a", "b\nx: y"}, "", 0},
		{"NUL in a value", []string{"x-a", "b\x00"}, "", 0},
		{"line break in a name", []string{"x-a: b\r\ntransfer-encoding", "chunked"}, "", 0},
		{"colon in a name", []string{"transfer-encoding:", "chunked"}, "", 0},
		{"capital in a name", []string{"Transfer-Encoding", "chunked"}, "", 0},
		{"line break in the path", []string{":path", "/ HTTP/1.1\r\ntransfer-encoding: chunked\r\nx: y"}, "", 0},
		{"space in the path", []string{":path", "/a HTTP/1.1"}, "", 1},
		{"no path", []string{":path", ""}, "", 0},
		{"line break in the method", []string{":method", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET"}, "", 0},
		{"line break in the host", []string{":authority", host + "\r\nx: y"}, "", 0},
		{"another host", []string{":authority", "169.254.169.254"}, "", 0},
		{"host beside the authority", []string{"host", "evil.test"}, "", -1},
		{"scheme", []string{":scheme", "http://evil/"}, "", -1},
	} {
		tap := w.tap()
		w.g.sessions.session(labelOf(t, origin)).transport.CloseIdleConnections()
		w.h2(t, origin, cookie, host, tt.fields, tt.body)
		paths, raw := tap.requests(t)
		if tt.want >= 0 && len(paths) != tt.want || len(paths) > 1 || strings.Contains(strings.Join(paths, " "), "smuggled") ||
			strings.Contains(raw, "evil.test") || len(paths) == 1 && !strings.Contains(raw, "Host: "+host+"\r\n") {
			t.Errorf("%s: the PBX gets %q\n%q", tt.name, paths, raw)
		}
	}
}

// h2 makes one request with exactly these fields and waits for its end.
func (w *world) h2(t *testing.T, origin, cookie, host string, fields []string, body string) {
	t.Helper()
	name := mustURL(t, origin).Hostname()
	conn, err := (&tls.Dialer{Config: &tls.Config{
		RootCAs: w.roots, ServerName: name, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
	}}).DialContext(t.Context(), "tcp", w.addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(bound)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	fr := http2.NewFramer(conn, conn)
	must(t, fr.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	head := []string{":method", "POST", ":scheme", "https", ":authority", host, ":path", "/front", "cookie", cookie}
	for i := 0; i < len(fields); i += 2 {
		if fields[i][0] == ':' {
			for j := 0; j < len(head); j += 2 {
				if head[j] == fields[i] {
					head[j+1] = fields[i+1]
				}
			}
			continue
		}
		head = append(head, fields[i], fields[i+1])
	}
	for i := 0; i < len(head); i += 2 {
		must(t, enc.WriteField(hpack.HeaderField{Name: head[i], Value: head[i+1]}))
	}
	must(t, fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == ""}))
	if body != "" {
		_ = fr.WriteData(1, true, []byte(body)) // the stream may have ended
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = fr.WriteSettingsAck()
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				return
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return
			}
		}
	}
}
