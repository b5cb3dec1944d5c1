package pbx

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// startRelay runs a relay until the test ends.
func startRelay(tb testing.TB, ca *pkitest.CA) *relay.Relay {
	tb.Helper()
	r, err := relay.New(relay.Config{
		Listen: "127.0.0.1:0", Credentials: ca.Credentials(identity.Relay(td, "r1")),
		Policy: []relay.Rule{
			{Caller: "service/*", Target: "device", Services: []string{"*"}},
			{Caller: "device", Target: "service/ccc", Services: []string{"pairing"}},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	background(tb, "relay", r.Run)
	<-r.Ready()
	return r
}

// background runs f until the test ends.
func background(tb testing.TB, name string, f func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			tb.Errorf("%s: %v", name, err)
		}
	})
}

// TestThroughTheTunnel pairs through a relay, lets services in and keeps others out,
// and dissolves when the PBX is blocked.
func TestThroughTheTunnel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ca := pkitest.New(t, td)
	r := startRelay(t, ca)
	caller := func(creds *enrol.Credentials) *dial.Dialer {
		d, err := dial.New(dial.Config{Relays: []string{r.Addr()}, Credentials: creds})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	ccc := newFakeCCC(t, ca)
	d, other := caller(ccc.creds), caller(ca.Credentials(identity.Service(td, "ara")))
	ln, err := d.Listen(wire.Service)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: ccc.handler()}
	background(t, "control centre", func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	changed := make(chan struct{}, 1)
	p, err := New(Config{
		Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first, Hasher: quick, Facts: noFacts,
		Agent: agent.Config{Relays: []string{r.Addr()}, Transport: agent.TransportTCP, InstanceID: agent.NewInstanceID()},
		OnChange: func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "pbx", p.Run)
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for !ok() {
			select {
			case <-changed:
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("waited in vain until %s", what)
			}
		}
	}
	until("the tunnel is up", func() bool { return p.Agent().Status().Online() })
	until("the first sync", func() bool { return ccc.count("sync") > 0 })

	to := func(d *dial.Dialer, service string) *http.Client {
		return wire.HTTPClient(func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, serial, service) })
	}
	o := ccc.offer("offer-1")
	jws := ccc.sign(o.Offer)
	if _, err := (wire.PBX{HTTP: to(other, wire.Service)}).Offer(ctx, jws); !errors.Is(err, dial.ErrRefusedByDevice) {
		t.Errorf("another service delivers an offer: %v", err)
	}
	if _, err := (wire.PBX{HTTP: to(d, wire.Service)}).Offer(ctx, jws); err != nil {
		t.Fatal(err)
	}
	if err := p.Enable(ctx, o.Token.Reveal(), ""); err != nil {
		t.Fatal(err)
	}
	ask := func(d *dial.Dialer, method, path string, change func(*http.Request)) (int, []*http.Cookie) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, "http://"+string(serial)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		resp, err := to(d, "web").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode, resp.Cookies()
	}
	status, login := ask(d, "POST", "/api/v1/login", basic(ccc.pairing.user, ccc.pairing.pass))
	if status != http.StatusOK {
		t.Fatalf("log in through the tunnel: %d", status)
	}
	session := func(r *http.Request) {
		for _, c := range login {
			r.AddCookie(c)
		}
	}
	none := func(*http.Request) {}
	if status, _ := ask(d, "GET", "/api/v1/system", session); status != http.StatusOK {
		t.Errorf("system: %d", status)
	}
	if status, _ := ask(d, "GET", "/login", none); status != http.StatusForbidden {
		t.Errorf("the control centre at the pages: %d", status)
	}
	r.SetBlocks(blocks.NewList(1, "device/"+string(serial)))
	until("the pairing is dissolved", func() bool { return p.State().Phase() == state.PhaseUnpaired })
	if s := p.State(); len(s.Users) != 1 || len(s.Tombstones) != 1 || s.Tombstones[0].Reason != wire.ReasonRevoked {
		t.Errorf("blocked: %+v", s)
	}
}
