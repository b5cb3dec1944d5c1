package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpDuplex is a duplex over TCP that keeps the code it was reset with.
type tcpDuplex struct {
	*net.TCPConn
	code chan tunnel.Code
}

func (d tcpDuplex) Reset(code tunnel.Code) {
	select {
	case d.code <- code:
	default:
	}
	_ = d.Close()
}

// fakeSession is a relay session of which only the address is asked.
type fakeSession struct{ tunnel.Session }

func (fakeSession) RemoteAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 7844}
}

// fakeAnswer is a call that a test has made.
type fakeAnswer struct {
	c        duplex
	answered chan error // nil: accepted
	hops     chan []*tunnel.Hop
	limit    time.Duration
}

func (a *fakeAnswer) conn() duplex            { return a.c }
func (a *fakeAnswer) via() tunnel.Session     { return fakeSession{} }
func (a *fakeAnswer) patience() time.Duration { return a.limit }
func (a *fakeAnswer) refuse(err error)        { a.answered <- err; _ = a.c.Close() }
func (a *fakeAnswer) accept(hops ...*tunnel.Hop) error {
	a.hops <- hops
	a.answered <- nil
	return nil
}

// call makes a call to a service of its own: the caller's end, and the answer.
func call(t *testing.T, a *Agent, cfg Service) (*net.TCPConn, *fakeAnswer) {
	t.Helper()
	cfg.fill()
	s, err := newService(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return callOn(t, s)
}

func callOn(t *testing.T, s *service) (*net.TCPConn, *fakeAnswer) {
	t.Helper()
	far, near := tcpPair(t)
	ans := &fakeAnswer{c: tcpDuplex{near, make(chan tunnel.Code, 1)}, answered: make(chan error, 1), hops: make(chan []*tunnel.Hop, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.run(ctx) }()
	taken := make(chan struct{})
	go s.take(ctx, Call{
		Caller: identity.Service(td, "ccc"), Verified: true, Service: s.cfg.Name,
		Purpose: "pairing", RequestID: strings.Repeat("ab", 16),
	}, ans, func() { close(taken) })
	t.Cleanup(func() {
		_ = far.Close()
		<-taken
		cancel()
		<-done
	})
	return far, ans
}

func tcpPair(t *testing.T) (far, near *net.TCPConn) {
	t.Helper()
	ln := listenTCP(t)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{c, s} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// echo answers every connection with what it sends, until its end.
func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

func testAgent() *Agent {
	a := &Agent{self: self, cfg: Config{Relays: []string{"a:1"}}}
	a.cfg.fill()
	a.log = a.cfg.Logger
	return a
}

func TestForward(t *testing.T) {
	t.Parallel()
	tcp := listenTCP(t)
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close() })
	for _, tt := range []struct {
		ln     net.Listener
		target string
	}{
		{tcp, "tcp:" + tcp.Addr().String()},
		{nil, tcp.Addr().String()},
		{unix, "unix:" + unix.Addr().String()},
	} {
		if tt.ln != nil {
			go echo(tt.ln)
		}
		c, ans := call(t, testAgent(), Service{Name: "echo", Target: tt.target})
		if err := <-ans.answered; err != nil {
			t.Fatalf("%s: %v", tt.target, err)
		}
		if hops := <-ans.hops; len(hops) != 1 || hops[0].GetAt() != "target" {
			t.Errorf("%s: hops %v", tt.target, hops)
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		// The half-close reaches the target, and its answer still comes back.
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Errorf("%s: got %q, %v", tt.target, got, err)
		}
	}
}

func TestForwardUnreachable(t *testing.T) {
	t.Parallel()
	ln := listenTCP(t)
	addr := ln.Addr().String()
	_ = ln.Close()
	_, ans := call(t, testAgent(), Service{Name: "gone", Target: addr})
	err := <-ans.answered
	if tunnel.CodeOf(err) != tunnel.CodeTargetUnreachable {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), addr) {
		t.Errorf("the public error tells the target's address: %v", err)
	}
}

func TestForwardProxyV2(t *testing.T) {
	t.Parallel()
	ln := listenTCP(t)
	c, ans := call(t, testAgent(), Service{Name: "web", Target: ln.Addr().String(), Identity: IdentityProxyV2})
	target, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if err := <-ans.answered; err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("payload\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(target)
	h, err := proxyproto.Read(r)
	if err != nil {
		t.Fatal(err)
	}
	if h.SourceAddr.String() != "192.0.2.7:7844" || h.DestinationAddr.String() != ln.Addr().String() {
		t.Errorf("addresses %s, %s", h.SourceAddr, h.DestinationAddr)
	}
	tlvs, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[proxyproto.PP2Type]string)
	for _, v := range tlvs {
		got[v.Type] = string(v.Value)
	}
	if got[TLVCaller] != "spiffe://comtrexx.test/service/ccc" || got[TLVRequestID] != strings.Repeat("ab", 16) || got[TLVPurpose] != "pairing" {
		t.Errorf("TLVs %q", got)
	}
	if line, err := r.ReadString('\n'); line != "payload\n" || err != nil {
		t.Errorf("after the header: %q, %v", line, err)
	}
}

func TestProxyHeaderMixedFamilies(t *testing.T) {
	t.Parallel()
	v4, v6 := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 2}
	for _, tt := range []struct{ relay, target net.Addr }{
		{v4, v6}, {v6, v4}, {v6, v6}, {v4, &net.UnixAddr{Name: "/x", Net: "unix"}},
	} {
		h, err := proxyHeader(Call{Caller: identity.Service(td, "ccc")}, tt.relay, tt.target)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := h.Format()
		if err != nil {
			t.Fatalf("%s, %s: %v", tt.relay, tt.target, err)
		}
		back, err := proxyproto.Read(bufio.NewReader(strings.NewReader(string(raw))))
		if err != nil {
			t.Fatalf("%s, %s: %v", tt.relay, tt.target, err)
		}
		if got := back.SourceAddr.(*net.TCPAddr); !got.IP.Equal(tt.relay.(*net.TCPAddr).IP) {
			t.Errorf("source %s, want %s", got, tt.relay)
		}
	}
}

func TestServiceStreamLimit(t *testing.T) {
	t.Parallel()
	ln := listenTCP(t)
	go echo(ln)
	cfg := Service{Name: "echo", Target: ln.Addr().String(), Streams: 1}
	cfg.fill()
	s, err := newService(testAgent(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	first, ans := callOn(t, s)
	if err := <-ans.answered; err != nil {
		t.Fatal(err)
	}
	_, second := callOn(t, s)
	if err := <-second.answered; tunnel.CodeOf(err) != tunnel.CodeTooManyStreams {
		t.Errorf("second call: %v", err)
	}
	if err := first.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	if s.total.Load() != 1 || s.refused.Load() != 1 {
		t.Errorf("total %d, refused %d", s.total.Load(), s.refused.Load())
	}
}

func TestHTTPForward(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 8)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		w.Header().Set("X-Host", r.Host)
		_, _ = io.WriteString(w, r.URL.RequestURI())
	}))
	t.Cleanup(target.Close)
	c, ans := call(t, testAgent(), Service{Name: "web", Target: target.Listener.Addr().String(), Identity: IdentityHeader})
	if err := <-ans.answered; err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	// Two requests on one connection: both must say who calls, and none of the
	// caller's own headers may say otherwise.
	for range 2 {
		_, err := io.WriteString(c, "GET /a%2Fb?x=1;y HTTP/1.1\r\nHost: s0123456789.pbx.comtrexx.test\r\n"+
			"X-Auer-Caller: spiffe://comtrexx.test/service/evil\r\nx_auer_caller: evil\r\nX-Auer-Anything: evil\r\nX-Auer_Purpose: evil\r\n"+
			"Connection: keep-alive, X-Auer-Caller, X-Auer-Request-Id\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if string(body) != "/a%2Fb?x=1;y" || resp.Header.Get("X-Host") != "s0123456789.pbx.comtrexx.test" {
			t.Errorf("target saw %q at %q", body, resp.Header.Get("X-Host"))
		}
		h := <-seen
		if got := h.Values(HeaderCaller); len(got) != 1 || got[0] != "spiffe://comtrexx.test/service/ccc" {
			t.Errorf("caller %q", got)
		}
		if h.Get(HeaderRequestID) != strings.Repeat("ab", 16) || h.Get(HeaderPurpose) != "pairing" {
			t.Errorf("headers %v", h)
		}
		for name, values := range h {
			for _, v := range values {
				if strings.Contains(v, "evil") || name == "X-Forwarded-For" {
					t.Errorf("the caller's %s: %q came through", name, v)
				}
			}
		}
	}
}

func TestHTTPForwardStreamsAndUpgrades(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			line, _ := buf.ReadString('\n')
			_, _ = io.WriteString(conn, line)
			return
		}
		_, _ = io.WriteString(w, "one\n")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "two\n")
	}))
	t.Cleanup(target.Close)
	c, ans := call(t, testAgent(), Service{Name: "web", Target: target.Listener.Addr().String(), Identity: IdentityHeader})
	if err := <-ans.answered; err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	if line, err := events.ReadString('\n'); line != "one\n" || err != nil {
		t.Fatalf("the first event is held back: %q, %v", line, err)
	}
	close(more)
	if rest, err := io.ReadAll(events); string(rest) != "two\n" || err != nil {
		t.Fatalf("rest %q, %v", rest, err)
	}
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	upgraded, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer upgraded.Body.Close()
	if upgraded.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", upgraded.Status)
	}
	_, _ = io.WriteString(c, "ping\n")
	if line, err := r.ReadString('\n'); line != "ping\n" || err != nil {
		t.Errorf("after the upgrade: %q, %v", line, err)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	a := testAgent()
	cfg := Service{Name: "api"}
	cfg.fill()
	s, err := newService(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.services = map[string]*service{"api": s}

	_, ans := callOn(t, s)
	if err := <-ans.answered; tunnel.CodeOf(err) != tunnel.CodeTargetUnreachable {
		t.Fatalf("before Listen: %v", err)
	}
	ln, err := a.Listen("api")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Listen("api"); err == nil {
		t.Error("a second listener was given")
	}
	if _, err := a.Listen("other"); err == nil {
		t.Error("a listener for an unknown service was given")
	}
	far, ans := callOn(t, s)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ans.answered; err != nil {
		t.Fatal(err)
	}
	conn := c.(*Conn)
	if conn.Caller() != identity.Service(td, "ccc") || !conn.Call().Verified || conn.Call().Purpose != "pairing" {
		t.Errorf("call %+v", conn.Call())
	}
	if _, err := conn.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if got, err := io.ReadAll(far); string(got) != "hi" || err != nil {
		t.Errorf("caller got %q, %v", got, err)
	}

	// A call with an open-ack that nobody accepted is reset when the listener
	// closes; later ones are refused.
	_, waiting := callOn(t, s)
	if err := <-waiting.answered; err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if code := <-waiting.c.(tcpDuplex).code; code != tunnel.CodeTargetUnreachable {
		t.Errorf("waiting call was reset with %s", code)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	_, ans = callOn(t, s)
	if err := <-ans.answered; tunnel.CodeOf(err) != tunnel.CodeTargetUnreachable {
		t.Errorf("after Close: %v", err)
	}
}

func TestListenBacklog(t *testing.T) {
	t.Parallel()
	a := testAgent()
	a.cfg.Limits.TargetTimeout = 50 * time.Millisecond
	cfg := Service{Name: "api"}
	cfg.fill()
	s, err := newService(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.services = map[string]*service{"api": s}
	ln, err := a.Listen("api")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for i := range backlog {
		_, ans := callOn(t, s)
		if err := <-ans.answered; err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	_, ans := callOn(t, s)
	if err := <-ans.answered; tunnel.CodeOf(err) != tunnel.CodeTooManyStreams || !tunnel.Retryable(err) {
		t.Errorf("call beyond the backlog: %v", err)
	}
}
