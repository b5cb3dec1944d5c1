package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// echo gives back what comes, to its end.
func echo(c net.Conn) {
	_, _ = io.Copy(c, c)
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// program is how a command line reaches the gateway.
func (w *world) program() flow.Client {
	return flow.Client{TLS: &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12}, Address: w.addr}
}

// ticket is what a command line has from the control centre.
func (w *world) ticketTo(service grant.Service, target string) (flow.Ticket, grant.SessionID) {
	w.t.Helper()
	id := grant.SessionID("s-" + newLabel())
	w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 3600})
	b, err := w.program().Begin(w.t.Context(), w.origin(domain), id)
	must(w.t, err)
	g := w.grant(id, ticket{b.Label, b.Hash})
	g.Service, g.Target = service, target
	return flow.Ticket{
		Origin: b.Origin, Grant: w.sign(g), Browser: b.Browser, Expires: g.Expires, Session: id, Service: service, Target: target,
	}, id
}

// TestFlow: a command line redeems a ticket, and opens flows at once, each with its own
// end.
func TestFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	serveTarget(t, w, echo)
	tk, _ := w.ticketTo(grant.TCP, "printer")
	s, err := w.program().Redeem(t.Context(), tk)
	must(t, err)
	defer s.Close()
	first, err := s.Open(t.Context())
	must(t, err)
	defer first.Close()
	second, err := s.Open(t.Context())
	must(t, err)
	text := strings.Repeat("a flow to a target ", 100_000)
	go func() {
		_, _ = io.WriteString(second, text)
		_ = second.CloseWrite()
	}()
	got, err := io.ReadAll(second)
	if string(got) != text || err != nil {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(text), err)
	}
	second.Close()
	if _, err := io.WriteString(first, "x"); err != nil {
		t.Error(err)
	}
	if n, err := io.ReadFull(first, make([]byte, 1)); n != 1 {
		t.Errorf("the other flow: %v", err)
	}

	// The ticket is used.
	var refused *flow.RefusedError
	if _, err := w.program().Redeem(t.Context(), tk); !errors.As(err, &refused) || refused.Status < 400 || refused.Hint() == "" {
		t.Errorf("the ticket again: %v", err)
	}
}

// TestFlowEnds: by the session, by the PBX, by time, and by the target.
func TestFlowEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	serveTarget(t, w, echo)
	open := func(w *world) (*flow.Session, *flow.Conn, grant.SessionID) {
		t.Helper()
		tk, id := w.ticketTo(grant.SSH, "shell")
		s, err := w.program().Redeem(t.Context(), tk)
		must(t, err)
		t.Cleanup(s.Close)
		c, err := s.Open(t.Context())
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return s, c, id
	}
	s, c, id := open(w)
	w.pbx.set(id, remote.Status{State: grant.Ended, Cause: grant.CauseAdmin})
	var ended *flow.EndedError
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &ended) || ended.Cause != grant.CauseAdmin {
		t.Errorf("ended at the PBX: %v", err)
	}
	var refused *flow.RefusedError
	if _, err := s.Open(t.Context()); !errors.As(err, &refused) || refused.Reason != "ended" {
		t.Errorf("afterwards: %v", err)
	}

	s, _, _ = open(w)
	w.pbx.refuse.Store(tunnel.Errorf(tunnel.CodeTargetUnreachable, "no"))
	if _, err := s.Open(t.Context()); !errors.As(err, &refused) || refused.Reason != "unreachable" {
		t.Errorf("the target cannot be reached: %v", err)
	}
	w.pbx.refuse.Store(tunnel.Errorf(tunnel.CodeRefusedByDevice, "no"))
	if _, err := s.Open(t.Context()); !errors.As(err, &refused) || refused.Reason != "pbx" {
		t.Errorf("the PBX refuses: %v", err)
	}

	quiet := newWorld(t, nil, func(c *Config) { c.Timing.FlowIdle = 100 * time.Millisecond })
	serveTarget(t, quiet, echo)
	_, c, _ = open(quiet)
	if _, err := c.Read(make([]byte, 1)); tunnel.CodeOf(err) != tunnel.CodeStreamIdle {
		t.Errorf("nothing moves: %v", err)
	}
}

// resettable is a call that can be given up, as those of tunnels can.
type resettable struct{ *net.TCPConn }

func (c resettable) Reset(tunnel.Code) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (p *fakePBX) makeResettable() {
	f := func(c net.Conn) net.Conn { return resettable{c.(*net.TCPConn)} }
	p.wiretap.Store(&f)
}

// TestCutFlow: what the target sees of a flow whose client is gone is no end.
func TestCutFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	seen := make(chan error, 1)
	serveTarget(t, w, func(c net.Conn) {
		_, _ = io.WriteString(c, "x")
		_, err := io.Copy(io.Discard, c)
		seen <- err
	})
	w.pbx.makeResettable()
	tk, _ := w.ticketTo(grant.TCP, "printer")
	s, err := w.program().Redeem(t.Context(), tk)
	must(t, err)
	defer s.Close()
	for _, whole := range []bool{true, false} {
		c, err := s.Open(t.Context())
		must(t, err)
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if whole {
			must(t, c.CloseWrite())
		} else {
			must(t, c.Close())
		}
		if err := <-seen; (err == nil) != whole || !whole && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("ended by the client: %t, the target sees %v", whole, err)
		}
		must(t, c.Close())
	}
}

// TestFlowAsks: a PBX that does not say what can be reached keeps a flow for the time to
// open one, and no more flows than there are places.
func TestFlowAsks(t *testing.T) {
	t.Parallel()
	for _, timeout := range []bool{false, true} {
		w := newWorld(t, nil, func(c *Config) {
			c.Limits.Flows = 1
			if timeout {
				c.Timing.Open = time.Second
			}
		})
		serveTarget(t, w, echo)
		c, origin, id := w.openTo(grant.SSH, "shell")
		asked := make(chan struct{}, 2)
		w.pbx.mu.Lock()
		w.pbx.silent = asked
		w.pbx.mu.Unlock()
		answered := make(chan string, 1)
		go func() {
			_, resp, err := websocket.Dial(t.Context(), origin+flow.PathConnect, &websocket.DialOptions{HTTPClient: c}) //nolint:bodyclose // it does that itself
			if resp == nil {
				answered <- err.Error()
				return
			}
			answered <- resp.Header.Get(flow.RefusedHeader)
		}()
		<-asked
		want := failedTimeout.name
		if !timeout {
			if ws, status, why := w.ws(c, origin+flow.PathConnect, nil); ws != nil || why != refusedStreams.name {
				t.Errorf("a second flow: %d %q", status, why)
			}
			w.pbx.set(id, remote.Status{State: grant.Ended})
			want = refusedEnded.name
		}
		select {
		case got := <-answered:
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		case <-time.After(20 * time.Second): // the client's own patience is longer
			t.Errorf("no answer, want %q", want)
		}
		if len(asked) > 0 {
			t.Error("the second flow asks, too")
		}
	}
}

// TestAfterRun: a gateway whose Run has ended begins nothing.
func TestAfterRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	for _, runs := range []bool{true, false} {
		id := grant.SessionID("s-" + newLabel())
		w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 60})
		c := w.browser("h2")
		tk := w.begin(c, id)
		if !runs {
			w.end()
		}
		if resp := w.redeem(c, tk.label, w.sign(w.grant(id, tk))); (resp.StatusCode == http.StatusSeeOther) != runs {
			t.Errorf("runs: %t, redeem: %d", runs, resp.StatusCode)
		}
	}
	if w.g.enter() {
		t.Error("a handler would be waited for by nobody")
	}
}

// TestIdleTimer: what is touched goes on.
func TestIdleTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var ended atomic.Int64 // after the start
		i := newIdle(time.Minute, func() { ended.Store(int64(time.Since(start))) })
		time.Sleep(40 * time.Second)
		i.touch()
		time.Sleep(59 * time.Second)
		if d := ended.Load(); d != 0 {
			t.Errorf("ended after %s", time.Duration(d))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := time.Duration(ended.Load()); got != 100*time.Second {
			t.Errorf("ended after %s", got)
		}
		i.stop()
	})
}

// TestOnlyWhatTheSessionIsTo: each thing that is refused, beside the same that is not.
// The PBX hears of none of what is refused.
func TestOnlyWhatTheSessionIsTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *Config) { c.Limits.Flows, c.Limits.Terminals = 1, 1 })
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	web, webOrigin, _ := w.open("http/1.1")
	sh, shOrigin, _ := w.openTo(grant.SSH, "shell")
	tcp, tcpOrigin, _ := w.openTo(grant.TCP, "shell")
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
	bare := &http.Client{Transport: sh.Transport} // without cookies of its own
	before := w.pbx.dials.Load()
	for _, tt := range []struct {
		name   string
		c      *http.Client
		at     string
		head   http.Header
		status int
		why    string
	}{
		{"a flow of a session to the pages", web, webOrigin + flow.PathConnect, nil, 403, "service"},
		{"a terminal of a session to the pages", web, webOrigin + pathShell, nil, 403, "service"},
		{"a terminal of a session to TCP", tcp, tcpOrigin + pathShell, nil, 403, "service"},
		{"another origin: terminal", sh, shOrigin + pathShell, http.Header{"Origin": {"https://evil.example"}}, 403, "origin"},
		{"another origin: flow", sh, shOrigin + flow.PathConnect, http.Header{"Origin": {"https://evil.example"}}, 403, "origin"},
		{"another session's origin", sh, shOrigin + pathShell, http.Header{"Origin": {tcpOrigin}}, 403, "origin"},
		{"another site, told by the browser", sh, shOrigin + pathShell, http.Header{"Sec-Fetch-Site": {"same-site"}, "Sec-Fetch-Mode": {"websocket"}}, 403, "origin"},
		{"no cookie", bare, shOrigin + pathShell, nil, 403, "browser"},
		{"another session's cookie", bare, shOrigin + pathShell, http.Header{"Cookie": {cookie(tcp, tcpOrigin)}}, 403, "browser"},
		{"another session's cookie: flow", bare, shOrigin + flow.PathConnect, http.Header{"Cookie": {cookie(tcp, tcpOrigin)}}, 403, "browser"},
		{"a session that is not", bare, w.origin(newLabel()+"."+domain) + flow.PathConnect, http.Header{"Cookie": {cookie(tcp, tcpOrigin)}}, 404, "label"},
	} {
		ws, status, why := w.ws(tt.c, tt.at, tt.head)
		if ws != nil || status != tt.status || why != tt.why {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, why, tt.status, tt.why)
		}
	}
	if resp, _ := w.do(sh, w.request("GET", shOrigin+flow.PathConnect, "")); resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("no WebSocket: %d", resp.StatusCode)
	}
	if resp, text := w.do(sh, w.request("GET", shOrigin+"/", "")); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the PBX's pages in a session to a terminal: %d %s", resp.StatusCode, text)
	}
	if n := w.pbx.dials.Load() - before; n != 0 {
		t.Errorf("the PBX was called %d times", n)
	}
	// The controls, which are also what fills the places.
	flowWS, status, why := w.ws(tcp, tcpOrigin+flow.PathConnect, http.Header{"Origin": {tcpOrigin}, "Sec-Fetch-Site": {"same-origin"}})
	if flowWS == nil {
		t.Errorf("a flow: %d %s", status, why)
	}
	if ws, status, why := w.ws(bare, shOrigin+flow.PathConnect, http.Header{"Cookie": {cookie(sh, shOrigin)}}); ws == nil {
		t.Errorf("a flow of a session to a terminal: %d %s", status, why)
	}
	w.screen(sh, shOrigin, http.Header{"Origin": {shOrigin}}).signIn()
	if ws, status, why := w.ws(tcp, tcpOrigin+flow.PathConnect, nil); ws != nil || status != 503 || why != "streams" {
		t.Errorf("a second flow: %d %q", status, why)
	}
	if ws, status, why := w.ws(sh, shOrigin+pathShell, nil); ws != nil || status != 503 || why != "streams" {
		t.Errorf("a second terminal: %d %q", status, why)
	}
	if n := w.pbx.dials.Load() - before; n != 3 {
		t.Errorf("the PBX was called %d times, want 3", n)
	}
}

// TestGrantOfAnotherService: a ticket for the pages is none for a target, whatever the
// program says it is for, and a session that waits for consent reaches nothing.
func TestGrantOfAnotherService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	serveTarget(t, w, echo)
	tk, id := w.ticketTo(grant.TCP, "printer")
	b, err := w.program().Begin(t.Context(), w.origin(domain), id)
	must(t, err)
	web := tk
	web.Origin, web.Browser, web.Grant = b.Origin, b.Browser, w.sign(w.grant(id, ticket{b.Label, b.Hash}))
	s, err := w.program().Redeem(t.Context(), web)
	must(t, err)
	defer s.Close()
	var refused *flow.RefusedError
	if _, err := s.Open(t.Context()); !errors.As(err, &refused) || refused.Reason != "service" {
		t.Errorf("a grant for the pages: %v", err)
	}
	w.pbx.set(id, remote.Status{State: grant.Pending, Remaining: 60})
	if s, err = w.program().Redeem(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Open(t.Context()); !errors.As(err, &refused) || refused.Reason != "pending" {
		t.Errorf("without consent: %v", err)
	}
	w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 60})
	waitFor(t, w, labelOf(t, tk.Origin), grant.Active)
	c, err := s.Open(t.Context())
	if err != nil {
		t.Fatalf("with consent: %v", err)
	}
	c.Close()
}
