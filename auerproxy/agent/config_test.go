package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

var self = identity.Device(td, "0123456789")

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := func() Config {
		c := Default()
		c.Relays = []string{"relay.example.net:7844"}
		c.Services = []Service{{Name: "web", Target: "tcp:127.0.0.1:80"}, {Name: "api"}}
		return c
	}
	if err := good().Validate(); err != nil {
		t.Fatalf("the good configuration: %v", err)
	}
	for _, tt := range []struct {
		change func(*Config)
		want   string // key and start of the problem
	}{
		{func(c *Config) { c.Relays = nil }, "relays: no relay"},
		{func(c *Config) { c.Relays = []string{"relay"} }, `relays[0]: "relay", want host:port`},
		{func(c *Config) { c.Relays = []string{":7844"} }, `relays[0]: ":7844", want host:port`},
		{func(c *Config) { c.Relays = append(c.Relays, c.Relays[0]) }, "relays[1]: relay.example.net:7844 is there twice"},
		{func(c *Config) { c.Transport = "udp" }, `transport: "udp", want`},
		{func(c *Config) { c.Proxy = "socks5://x:1" }, "proxy: not a proxy address"},
		{func(c *Config) { c.Proxy = "http://user:secret@x:1" }, "proxy: not a proxy address"},
		{func(c *Config) { c.Slots = 5 }, "slots: 5"},
		{func(c *Config) { c.Timing.TCPDelay = -1 }, "timing.tcp_delay: -1ns is negative"},
		{func(c *Config) { c.Limits.Calls = -1 }, "limits: streams"},
		{func(c *Config) { c.Services[1].Name = "web" }, `services[1].name: "web" is there twice`},
		{func(c *Config) { c.Services[0].Name = "Web" }, "services[0].name: malformed identity"},
		{func(c *Config) { c.Services[0].Target = "unix:run/x" }, `services[0].target: "unix:run/x", want unix:/absolute/path`},
		{func(c *Config) { c.Services[0].Target = "tcp:localhost" }, `services[0].target: "localhost", want host:port`},
		{func(c *Config) { c.Services[0].Identity = "cookie" }, `services[0].identity: "cookie", want`},
		{func(c *Config) { c.Services[1].Identity = IdentityHeader }, `services[1].identity: "header" needs a target`},
		{func(c *Config) { c.Services[0].Identity, c.Services[0].Raw = IdentityHeader, true }, "services[0].raw: a raw service"},
		{func(c *Config) { c.Services[0].CallerAuth = "none" }, `services[0].caller_auth: "none", want`},
		{func(c *Config) { c.Services[0].Allow = []string{"service/ccc"} }, "services[0].allow[0]: malformed identity"},
		{func(c *Config) { c.Services[0].CallIdle = -1 }, "services[0].call_idle: -1ns is negative"},
	} {
		c := good()
		tt.change(&c)
		err := c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s…", err, tt.want)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func TestNewRefusesOtherIdentities(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	cfg := Config{Relays: []string{"127.0.0.1:1"}, Credentials: ca.Credentials(self)}
	if _, err := New(cfg); err != nil {
		t.Fatalf("a device: %v", err)
	}
	cfg.InstanceID = []byte("short")
	if _, err := New(cfg); err == nil {
		t.Error("a short instance id was taken")
	}
	cfg.InstanceID = nil
	for _, id := range []identity.ID{identity.Service(td, "ccc"), identity.Relay(td, "r1")} {
		cfg.Credentials = ca.Credentials(id)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was taken for a device", id)
		}
	}
	cfg.Credentials = nil
	if _, err := New(cfg); err == nil {
		t.Error("no credentials were taken")
	}
}

func TestConfigIsNotShared(t *testing.T) {
	t.Parallel()
	c := Config{Relays: []string{"a:1"}, Services: []Service{{Name: "web", Allow: []string{"ccc"}}}}
	d := c.Clone()
	d.Relays[0], d.Services[0].Name, d.Services[0].Allow[0] = "b:1", "x", "y"
	if c.Relays[0] != "a:1" || c.Services[0].Name != "web" || c.Services[0].Allow[0] != "ccc" {
		t.Errorf("a change of the clone is seen: %+v", c)
	}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	open, listed := Service{}, Service{Allow: []string{"ccc"}}
	const mux, flow, raw = tunnelpb.Inner_INNER_MUX, tunnelpb.Inner_INNER_TLS, tunnelpb.Inner_INNER_RAW
	for _, tt := range []struct {
		caller       identity.ID
		inner        tunnelpb.Inner
		open, listed bool
	}{
		{identity.Service(td, "ccc"), mux, true, true},
		{identity.Service(td, "ccc"), raw, true, true},
		{identity.Service(td, "ara"), mux, true, false},
		{identity.Service("other.test", "ccc"), mux, false, false},
		{identity.Device(td, "0000000001"), raw, false, false},
		{identity.Relay(td, "ccc"), mux, false, false},
		{identity.Relay(td, "ccc"), flow, false, false},
		{identity.Relay(td, "ccc"), raw, true, false},
		{identity.Relay("other.test", "ccc"), raw, false, false},
		{identity.ID{}, raw, false, false},
	} {
		if got := open.allows(self, tt.caller, tt.inner); got != tt.open {
			t.Errorf("%s, %s, no list: got %v", tt.caller, tt.inner, got)
		}
		if got := listed.allows(self, tt.caller, tt.inner); got != tt.listed {
			t.Errorf("%s, %s, list: got %v", tt.caller, tt.inner, got)
		}
	}
}

func TestFullJitter(t *testing.T) {
	t.Parallel()
	const base, most = 500 * time.Millisecond, time.Minute
	for n, bound := range map[int]time.Duration{1: base, 2: 2 * base, 3: 4 * base, 7: 64 * base, 8: most, 9: most, 1000: most} {
		var largest time.Duration
		for range 2000 {
			d := fullJitter(base, most, n)
			if d < 0 || d > bound {
				t.Fatalf("n=%d: %s is above %s", n, d, bound)
			}
			largest = max(largest, d)
		}
		if largest < bound*9/10 {
			t.Errorf("n=%d: 2000 draws stay below %s, want up to %s", n, largest, bound)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	remote := func(c tunnel.Code, after time.Duration) error {
		return &tunnel.Error{Code: c, Remote: true, RetryAfterMin: after, RetryAfterMax: after}
	}
	local := tunnel.Errorf(tunnel.CodeUnreachable, "x")
	for _, tt := range []struct {
		name     string
		err      error
		low, top time.Duration
		failures int
	}{
		{"first failure", local, 0, 500 * time.Millisecond, 1},
		{"kicked", remote(tunnel.CodeKicked, 0), 0, 4 * time.Second, 4},
		{"replaced", remote(tunnel.CodeReplaced, 0), 0, 4 * time.Second, 4},
		{"blocked", remote(tunnel.CodeBlocked, 0), 5 * time.Minute, 10 * time.Minute, 4},
		{"quarantined", remote(tunnel.CodeQuarantined, time.Hour), time.Hour, time.Hour, 4},
	} {
		for range 100 {
			_, s := testSlot(t)
			if got := s.delay(tt.err); got < tt.low || got > tt.top || s.failures != tt.failures {
				t.Fatalf("%s: %s after %d failures, want %s to %s after %d", tt.name, got, s.failures, tt.low, tt.top, tt.failures)
			}
		}
	}
}

// testSlot gives a slot of an agent that does not run.
func testSlot(t *testing.T) (*Agent, *slot) {
	t.Helper()
	a := &Agent{self: self, cfg: Config{Relays: []string{"a:1"}}}
	a.cfg.fill()
	s := newSlot(a, 0)
	a.slots = []*slot{s}
	return a, s
}

func TestDelayHonoursRetryAfterPerRelay(t *testing.T) {
	t.Parallel()
	a, s := testSlot(t)
	s.notBefore["a:1"] = time.Now().Add(time.Hour)
	if d := s.delay(nil); d < 59*time.Minute {
		t.Errorf("the only relay asked for an hour, the wait is %s", d)
	}
	a.cfg.Relays = []string{"a:1", "b:1"}
	s.failures = 0
	if d := s.delay(nil); d > time.Second {
		t.Errorf("another relay has no wish, the wait is %s", d)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	relays := []string{"a:1", "b:1", "c:1"}
	first := make(map[string]int)
	for i := range 3000 {
		a := &Agent{self: identity.Device(td, identity.Serial("0000"+string(rune('0'+i/1000))+"0"+string(rune('0'+i/100%10))+string(rune('0'+i/10%10))+string(rune('0'+i%10))+"0")), cfg: Config{Relays: relays}}
		s0, s1 := newSlot(a, 0), newSlot(a, 1)
		a.slots = []*slot{s0, s1}
		o0, o1 := s0.order(""), s1.order("")
		if o0[0] == o1[0] {
			t.Fatalf("both slots start at %s", o0[0])
		}
		if got := s0.order(o0[0]); got[2] != o0[0] || got[0] != o0[1] {
			t.Fatalf("order avoiding %s: %v", o0[0], got)
		}
		s1.current = &link{addr: o0[0]}
		if got := s0.order(""); got[2] != o0[0] {
			t.Fatalf("the other slot is at %s: %v", o0[0], got)
		}
		if got := s0.order(""); !slices.Equal(got, s0.order("")) {
			t.Fatal("the order changes")
		}
		first[o0[0]]++
	}
	for _, r := range relays {
		if first[r] < 850 || first[r] > 1150 {
			t.Errorf("%d of 3000 devices start at %s, want about 1000", first[r], r)
		}
	}
}

func TestMoreTelling(t *testing.T) {
	t.Parallel()
	ranked := []error{
		nil,
		tunnel.Errorf(tunnel.CodeUnreachable, "x"),
		tunnel.Errorf(tunnel.CodeUnknownAuthority, "x"),
		&tunnel.Error{Code: tunnel.CodeDraining, Remote: true},
		&tunnel.Error{Code: tunnel.CodeBlocked, Remote: true},
	}
	for i, low := range ranked {
		for _, high := range ranked[i+1:] {
			if !errors.Is(moreTelling(low, high), high) || !errors.Is(moreTelling(high, low), high) {
				t.Errorf("%v should win over %v", high, low)
			}
		}
	}
}
