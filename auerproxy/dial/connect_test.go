package dial

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// twoTransports makes a dialer to one relay address that may differ by transport;
// nil: the connection is refused.
func twoTransports(t *testing.T, transport string, tcp, quic *fakeRelay) *Dialer {
	t.Helper()
	ca := pkitest.New(t, td)
	n := map[tunnel.Transport]*fakeNet{}
	for tr, r := range map[tunnel.Transport]*fakeRelay{tunnel.TCP: tcp, tunnel.QUIC: quic} {
		n[tr] = &fakeNet{transport: tr, relays: map[string]*fakeRelay{}}
		if r != nil {
			n[tr].relays["a:1"] = r
			t.Cleanup(r.stop)
		}
	}
	d, err := New(Config{
		Relays: []string{"a:1"}, Transport: transport, TCP: n[tunnel.TCP], QUIC: n[tunnel.QUIC], Credentials: ca.Credentials(ccc),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestTransports(t *testing.T) {
	t.Parallel()
	hole := func() *fakeRelay {
		r := newRelay("r1")
		r.blackhole.Store(true)
		return r
	}
	good := func() *fakeRelay { return newRelay("r1") }
	none := func() *fakeRelay { return nil }
	refusing := func() *fakeRelay {
		r := newRelay("r1")
		r.refusal = &tunnel.Error{Code: tunnel.CodeBlocked}
		return r
	}
	for name, tt := range map[string]struct {
		transport string
		tcp, quic func() *fakeRelay
		want      tunnel.Transport // "" for an error
		code      tunnel.Code
		after     time.Duration
	}{
		"auto takes TCP":                      {TransportAuto, good, good, tunnel.TCP, 0, 0},
		"auto, TCP is blocked":                {TransportAuto, hole, good, tunnel.QUIC, 0, 400 * time.Millisecond},
		"auto, TCP is refused":                {TransportAuto, none, good, tunnel.QUIC, 0, 0},
		"race takes QUIC":                     {TransportRace, good, good, tunnel.QUIC, 0, 0},
		"race, UDP is blocked":                {TransportRace, good, hole, tunnel.TCP, 0, 400 * time.Millisecond},
		"tcp only":                            {TransportTCP, none, good, "", tunnel.CodeUnreachable, 0},
		"quic only":                           {TransportQUIC, good, none, "", tunnel.CodeUnreachable, 0},
		"down: TCP refused, UDP unanswered":   {TransportAuto, none, hole, "", tunnel.CodeUnreachable, 1200 * time.Millisecond},
		"both blocked":                        {TransportAuto, hole, hole, "", tunnel.CodeUnreachable, 5 * time.Second},
		"the relay's word ends the race":      {TransportAuto, refusing, good, "", tunnel.CodeBlocked, 0},
		"the relay's word before no answer":   {TransportAuto, none, refusing, "", tunnel.CodeBlocked, 0},
		"the relay's word after the slow one": {TransportRace, refusing, hole, "", tunnel.CodeBlocked, 400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := twoTransports(t, tt.transport, tt.tcp(), tt.quic())
				begin := time.Now()
				if err := d.start(); err != nil {
					t.Fatal(err)
				}
				u, err := d.links[0].get(t.Context())
				if took := time.Since(begin); took != tt.after {
					t.Errorf("took %v, want %v", took, tt.after)
				}
				switch {
				case tt.want == "":
					if tunnel.CodeOf(err) != tt.code {
						t.Errorf("error %v, want %v", err, tt.code)
					}
				case err != nil:
					t.Error(err)
				case u.session.Transport() != tt.want:
					t.Errorf("transport %s, want %s", u.session.Transport(), tt.want)
				}
			})
		})
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := Config{Relays: []string{"a:1"}}
	if err := good.Validate(); err != nil {
		t.Errorf("a minimal configuration: %v", err)
	}
	for name, c := range map[string]Config{
		"no relay":         {},
		"no port":          {Relays: []string{"a"}},
		"no host":          {Relays: []string{":1"}},
		"twice":            {Relays: []string{"a:1", "a:1"}},
		"transport":        {Relays: []string{"a:1"}, Transport: "udp"},
		"port":             {Relays: []string{"a:1"}, Ports: map[int]string{70000: "web"}},
		"negative timeout": {Relays: []string{"a:1"}, Timing: Timing{OpenTimeout: -1}},
		"negative limit":   {Relays: []string{"a:1"}, Limits: Limits{Opens: -1}},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ca := pkitest.New(t, td)
	if _, err := New(Config{Relays: []string{"a:1"}, Credentials: ca.Credentials(device)}); err == nil {
		t.Error("a device's certificate is accepted")
	}
	if _, err := New(good); err == nil {
		t.Error("no credentials are accepted")
	}
}
