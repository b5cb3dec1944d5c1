package agent

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

var ccc = identity.Service(td, "ccc")

// online starts a device with two listeners, "api" (for ccc only) and "raw", and
// "loose", whose callers the relay authenticates. Each echoes.
func (n *fakeNet) online(change func(*Config)) (*device, *relaySession) {
	n.t.Helper()
	d := n.run(func(c *Config) {
		c.Services = []Service{
			{Name: "api", Allow: []string{"ccc"}},
			{Name: "raw", Raw: true},
			{Name: "loose", CallerAuth: CallerAuthRelay},
		}
		if change != nil {
			change(c)
		}
	})
	for _, s := range d.cfg.Services {
		ln, err := d.Listen(s.Name)
		if err != nil {
			n.t.Fatal(err)
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go greetAndEcho(c.(*Conn))
			}
		}()
	}
	until(n.t, "the tunnel is up", func() bool { return d.Status().Online() && len(n.welcomed()) > 0 })
	return d, n.welcomed()[0]
}

// live runs a test by the real clock: yamux shares its timers between all
// sessions of a process, which a bubble does not allow.
func live(t *testing.T, f func(t *testing.T, n *fakeNet)) {
	t.Helper()
	t.Parallel()
	f(t, newNet(t))
}

// until waits for something to happen.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for !happened() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// ended reports whether the session has ended.
func ended(s tunnel.Session) bool { return s.Err() != nil }

// greetAndEcho says who calls, then echoes.
func greetAndEcho(c *Conn) {
	defer c.Close()
	who := c.Caller().Path()
	if !c.Call().Verified {
		who += " (unverified)"
	}
	if _, err := io.WriteString(c, who+"\n"); err == nil {
		_, _ = io.Copy(c, c)
	}
}

// check talks to greetAndEcho and gives who it saw.
func check(t *testing.T, c interface {
	net.Conn
	CloseWrite() error
},
) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(c, "over")
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", got, err)
	}
	_ = c.Close()
	who, ok := cutSuffix(string(got), "\nover")
	if !ok {
		t.Fatalf("got %q", got)
	}
	return who
}

func cutSuffix(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || s[len(s)-len(suffix):] != suffix {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

// open opens a relay stream to the device as ccc, changed by change.
func open(t *testing.T, rs *relaySession, inner tunnelpb.Inner, service string, change func(*tunnel.Preamble)) (tunnel.Stream, error) {
	t.Helper()
	p := &tunnel.Preamble{Target: self.Path(), Service: service, Caller: ccc.Path(), Inner: inner}
	if change != nil {
		change(p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st, _, err := tunnel.Open(ctx, rs, p)
	return st, err
}

func hello() *tunnel.Hello {
	return &tunnel.Hello{InstanceId: tunnel.NewID(), BootId: tunnel.NewID()}
}

// inner opens an end-to-end session for a service.
func inner(t *testing.T, rs *relaySession, creds *enrol.Credentials, service string) (*e2e.Session, error) {
	t.Helper()
	st, err := open(t, rs, tunnelpb.Inner_INNER_MUX, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := e2e.Client(ctx, st, creds, self, hello())
	if err == nil {
		t.Cleanup(func() { _ = s.CloseWithError(tunnel.CodeOK, "") })
	}
	return s, err
}

func TestIncomingMux(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		s, err := inner(t, rs, d.ca.Credentials(ccc), "api")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			st, ack, err := tunnel.Open(t.Context(), s, &tunnel.Preamble{Target: self.Path(), Service: "api", Purpose: "test"})
			if err != nil {
				t.Fatal(err)
			}
			if len(ack.GetHops()) != 1 || ack.GetHops()[0].GetAt() != "target" {
				t.Errorf("hops %v", ack.GetHops())
			}
			if who := check(t, st); who != "service/ccc" {
				t.Errorf("the service saw %q", who)
			}
		}
		until(t, "the calls are over", func() bool { return d.Status().Services[0].Active == 0 })
		if st := d.Status().Services[0]; st.Total != 3 || st.Refused != 0 {
			t.Errorf("service %+v", st)
		}
	})
}

func TestInnerSessionIsForOneServiceAndCaller(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		s, err := inner(t, rs, d.ca.Credentials(ccc), "api")
		if err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			p    *tunnel.Preamble
			want tunnel.Code
		}{
			"another service": {&tunnel.Preamble{Target: self.Path(), Service: "raw"}, tunnel.CodePolicyDenied},
			"another device":  {&tunnel.Preamble{Target: "device/0000000001", Service: "api"}, tunnel.CodePolicyDenied},
			"another caller":  {&tunnel.Preamble{Target: self.Path(), Service: "api", Caller: "service/ara"}, tunnel.CodeRefusedByDevice},
			"TLS inside":      {&tunnel.Preamble{Target: self.Path(), Service: "api", Inner: tunnelpb.Inner_INNER_TLS}, tunnel.CodeProtocol},
		} {
			if _, _, err := tunnel.Open(t.Context(), s, tt.p); tunnel.CodeOf(err) != tt.want {
				t.Errorf("%s: %v, want %s", name, err, tt.want)
			}
		}
		// The session itself is still good.
		st, _, err := tunnel.Open(t.Context(), s, &tunnel.Preamble{Target: self.Path(), Service: "api", Caller: ccc.Path()})
		if err != nil {
			t.Fatal(err)
		}
		check(t, st)
	})
}

func TestRefusedBeforeTheAck(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		_, rs := n.online(nil)
		for name, tt := range map[string]struct {
			inner   tunnelpb.Inner
			service string
			change  func(*tunnel.Preamble)
			want    tunnel.Code
		}{
			"unknown service":   {tunnelpb.Inner_INNER_MUX, "nope", nil, tunnel.CodeServiceUnknown},
			"another device":    {tunnelpb.Inner_INNER_MUX, "api", func(p *tunnel.Preamble) { p.Target = "device/0000000001" }, tunnel.CodeNotReachable},
			"not on the list":   {tunnelpb.Inner_INNER_MUX, "api", func(p *tunnel.Preamble) { p.Caller = "service/ara" }, tunnel.CodeRefusedByDevice},
			"device calls":      {tunnelpb.Inner_INNER_MUX, "raw", func(p *tunnel.Preamble) { p.Caller = "device/0000000001" }, tunnel.CodeRefusedByDevice},
			"no caller":         {tunnelpb.Inner_INNER_MUX, "api", func(p *tunnel.Preamble) { p.Caller = "" }, tunnel.CodeProtocol},
			"plain":             {tunnelpb.Inner_INNER_PLAIN, "api", nil, tunnel.CodeProtocol},
			"plain where raw":   {tunnelpb.Inner_INNER_PLAIN, "raw", nil, tunnel.CodeProtocol},
			"raw not allowed":   {tunnelpb.Inner_INNER_RAW, "api", nil, tunnel.CodeRefusedByDevice},
			"unknown inner":     {tunnelpb.Inner(77), "api", nil, tunnel.CodeProtocol},
			"broken request id": {tunnelpb.Inner_INNER_MUX, "api", func(p *tunnel.Preamble) { p.RequestId = []byte("x") }, tunnel.CodeProtocol},
			"too many hops":     {tunnelpb.Inner_INNER_MUX, "api", func(p *tunnel.Preamble) { p.Hop = 9 }, tunnel.CodeHopLimit},
		} {
			if _, err := open(t, rs, tt.inner, tt.service, tt.change); tunnel.CodeOf(err) != tt.want {
				t.Errorf("%s: %v, want %s", name, err, tt.want)
			}
		}
		st, err := open(t, rs, tunnelpb.Inner_INNER_RAW, "raw", nil)
		if err != nil {
			t.Fatalf("the positive control: %v", err)
		}
		if who := check(t, st); who != "service/ccc (unverified)" {
			t.Errorf("the raw service saw %q", who)
		}
	})
}

// The caller is who the certificate says. A relay that lies about it, or a caller
// that the relay does not know, gets nowhere.
func TestCallerIsTheCertificate(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		for _, other := range []identity.ID{identity.Service(td, "ara"), identity.Device(td, "0000000001"), identity.Relay(td, "r")} {
			if s, err := inner(t, rs, d.ca.Credentials(other), "api"); err == nil {
				t.Errorf("%s got a session that the relay opened for %s: %v", other, ccc, s.Peer())
			}
			st, err := open(t, rs, tunnelpb.Inner_INNER_TLS, "api", nil)
			if err != nil {
				t.Fatal(err)
			}
			flow, err := e2e.ClientTLS(t.Context(), st, d.ca.Credentials(other), self)
			if err == nil {
				// In TLS 1.3 the client learns of the refusal from its first read.
				_, err = flow.Read(make([]byte, 1))
				_ = flow.Close()
			}
			if err == nil {
				t.Errorf("%s got a flow that the relay opened for %s", other, ccc)
			}
		}
		until(t, "all six are refused", func() bool { return d.Status().Services[0].Refused == 6 })
		if got := d.Status().Services[0]; got.Total != 0 {
			t.Errorf("service %+v", got)
		}
	})
}

func TestIncomingTLS(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		for _, tt := range []struct {
			service, want string
		}{
			{"api", "service/ccc"},
			{"loose", "service/ccc"},
		} {
			st, err := open(t, rs, tunnelpb.Inner_INNER_TLS, tt.service, nil)
			if err != nil {
				t.Fatal(err)
			}
			flow, err := e2e.ClientTLS(t.Context(), st, d.ca.Credentials(ccc), self)
			if err != nil {
				t.Fatal(err)
			}
			if who := check(t, flow); who != tt.want {
				t.Errorf("%s saw %q", tt.service, who)
			}
		}
	})
}

func TestStreamsPerSession(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(func(c *Config) {
			c.Limits.Streams = 2
			c.Services = []Service{{Name: "raw", Raw: true}}
		})
		ln, err := d.Listen("raw")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		after(time.Second)
		rs := n.welcomed()[0]
		for range 2 {
			if _, err := open(t, rs, tunnelpb.Inner_INNER_RAW, "raw", nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := open(t, rs, tunnelpb.Inner_INNER_RAW, "raw", nil); tunnel.CodeOf(err) != tunnel.CodeTooManyStreams {
			t.Errorf("third stream: %v", err)
		}
	})
}

func TestSlowPreambleAndHandshake(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		_, rs := n.online(nil)
		st, err := rs.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ack, err := io.ReadAll(st)
		if took := time.Since(start); took != 5*time.Second || len(ack) == 0 || err != nil {
			t.Errorf("a stream without preamble was answered %q, %v after %s", ack, err, took)
		}
		for _, kind := range []tunnelpb.Inner{tunnelpb.Inner_INNER_MUX, tunnelpb.Inner_INNER_TLS} {
			st, err := open(t, rs, kind, "api", nil)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err = io.ReadAll(st)
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("%s: a silent caller was cut after %s: %v", kind, took, err)
			}
		}
	})
}

func TestIdleInnerSessionEnds(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		const idle = 300 * time.Millisecond
		d, rs := n.online(func(c *Config) { c.Limits.SessionIdle = idle })
		start := time.Now()
		busy, err := inner(t, rs, d.ca.Credentials(ccc), "api")
		if err != nil {
			t.Fatal(err)
		}
		st, _, err := tunnel.Open(t.Context(), busy, &tunnel.Preamble{Target: self.Path(), Service: "api"})
		if err != nil {
			t.Fatal(err)
		}
		quiet, err := inner(t, rs, d.ca.Credentials(ccc), "api")
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the session without a call ends", func() bool { return ended(quiet) })
		if tunnel.CodeOf(quiet.Err()) != tunnel.CodeIdle || time.Since(start) < idle {
			t.Errorf("after %s: %v", time.Since(start), quiet.Err())
		}
		if ended(busy) {
			t.Fatalf("the session with a call ended: %v", busy.Err())
		}
		check(t, st)
		until(t, "the other session ends after its call", func() bool { return ended(busy) })
	})
}

// A call that runs survives the move to another relay; the session that carries
// it ends after it.
func TestCallSurvivesGoAway(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		s, err := inner(t, rs, d.ca.Credentials(ccc), "api")
		if err != nil {
			t.Fatal(err)
		}
		st, _, err := tunnel.Open(t.Context(), s, &tunnel.Preamble{Target: self.Path(), Service: "api"})
		if err != nil {
			t.Fatal(err)
		}
		rs.goAway(5*time.Minute, 0)
		until(t, "the device has moved", func() bool { return len(n.welcomed()) == 2 })
		select {
		case <-s.Draining():
		case <-time.After(10 * time.Second):
			t.Fatal("the caller was not told to use another session")
		}
		if ended(s) || rs.ended() {
			t.Fatalf("the call's sessions ended under it: %v, %v", s.Err(), rs.Err())
		}
		check(t, st)
		until(t, "both sessions end after the call", func() bool { return ended(s) && rs.ended() })
		if tunnel.CodeOf(rs.Err()) != tunnel.CodeIdle {
			t.Errorf("the old session: %v", rs.Err())
		}
	})
}

func TestGoAwayDeadlineCuts(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		s, err := inner(t, rs, d.ca.Credentials(ccc), "api")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tunnel.Open(t.Context(), s, &tunnel.Preamble{Target: self.Path(), Service: "api"}); err != nil {
			t.Fatal(err)
		}
		const deadline = 3 * time.Second // more than a session without calls takes to end
		told := time.Now()
		rs.goAway(deadline, 0)
		until(t, "the old session is cut", rs.ended)
		if tunnel.CodeOf(rs.Err()) != tunnel.CodeReplaced || time.Since(told) < deadline {
			t.Errorf("after %s: %v", time.Since(told), rs.Err())
		}
	})
}
