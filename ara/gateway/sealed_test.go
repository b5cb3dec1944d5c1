package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const pbxDomain = "pbx.ara.test"

// TestSealed: a TLS connection gets to a PBX in a session of the service "tls" that its
// administrator has let in, from where its browser is, and is cut with it.
func TestSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *Config) { c.PBXDomain = pbxDomain; c.Limits.Streams = 2 })
	home, away := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	refused := func(when string, serial identity.Serial, from netip.Addr) {
		t.Helper()
		before := w.pbx.dials.Load()
		c, err := w.g.Sealed(t.Context(), serial, from)
		if err == nil {
			_ = c.Close()
			t.Errorf("%s: let in", when)
		}
		if w.pbx.dials.Load() != before {
			t.Errorf("%s: the PBX was dialled", when)
		}
	}
	redeem := func(id grant.SessionID, service grant.Service) (*http.Client, string) {
		t.Helper()
		c := w.browser("h2")
		tk := w.begin(c, id)
		g := w.grant(id, tk)
		g.Service = service
		refused("before the grant", serial, home)
		if resp := w.redeem(c, tk.label, w.sign(g)); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("redeem: %d", resp.StatusCode)
		}
		return c, w.origin(tk.label + "." + domain)
	}
	refused("no session", serial, home)
	w.pbx.set("s-web", remote.Status{State: grant.Active, Remaining: 60})
	c, origin := redeem("s-web", grant.Web)
	if resp, _ := w.do(c, w.request("GET", origin+pathOpen, "")); resp.Header.Get("Location") != "/" {
		t.Errorf("a session of the service web is led to %q", resp.Header.Get("Location"))
	}
	refused("a session of the service web", serial, home)

	w.pbx.set("s-tls", remote.Status{State: grant.Pending, Remaining: 60})
	c, origin = redeem("s-tls", grant.TLS)
	if resp, _ := w.do(c, w.request("GET", origin+pathOpen, "")); resp.Header.Get("Location") != own {
		t.Errorf("before the consent the browser is led to %q", resp.Header.Get("Location"))
	}
	refused("no consent", serial, home)
	w.pbx.set("s-tls", remote.Status{State: grant.Active, Remaining: 60})
	if resp, _ := w.do(c, w.request("GET", origin+pathOpen, "")); resp.Header.Get("Location") != own {
		t.Errorf("the browser is led to %q", resp.Header.Get("Location"))
	}
	want := `href="` + w.origin("s"+string(serial)+"."+pbxDomain) + `/" target="_blank" rel="noopener"`
	for text := ""; !strings.Contains(text, want); { // until the gateway has heard of it
		if _, text = w.do(c, w.request("GET", origin+own, "")); t.Context().Err() != nil {
			t.Fatal(text)
		}
	}
	if resp, _ := w.do(c, w.request("GET", origin+"/", "")); resp.Header.Get("Location") != own {
		t.Errorf("the pages through the gateway itself: %d", resp.StatusCode)
	}
	refused("another PBX", "0123456780", home)
	refused("another address", serial, away)
	var conns []net.Conn
	for range 2 {
		conn, err := w.g.Sealed(t.Context(), serial, home)
		must(t, err)
		defer conn.Close()
		conns = append(conns, conn)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.g.Sealed(ctx, serial, home); err == nil {
		t.Error("one more than the session's streams")
	}
	must(t, conns[0].Close())
	must(t, conns[0].Close()) // gives its place back once
	again, err := w.g.Sealed(t.Context(), serial, home)
	must(t, err)
	defer again.Close()

	w.pbx.set("s-tls", remote.Status{State: grant.Ended, Cause: grant.CauseAdmin})
	if _, err := conns[1].Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on after the end")
	}
	refused("the end", serial, home)
}

// TestSealedOfSeveral: users who share an address get no connections of each other.
func TestSealedOfSeveral(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *Config) { c.PBXDomain = pbxDomain })
	home := netip.MustParseAddr("127.0.0.1")
	open := func(user string) (grant.SessionID, string) {
		t.Helper()
		id := grant.SessionID("s-" + newLabel())
		w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 60})
		c := w.browser("h2")
		tk := w.begin(c, id)
		g := w.grant(id, tk)
		g.Service, g.User = grant.TLS, user
		if resp := w.redeem(c, tk.label, w.sign(g)); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("redeem: %d", resp.StatusCode)
		}
		waitFor(t, w, tk.label, grant.Active)
		return id, tk.label
	}
	try := func(when string, want error) {
		t.Helper()
		c, err := w.g.Sealed(t.Context(), serial, home)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", when, err)
		}
		if err == nil {
			must(t, c.Close())
		}
	}
	open("Ada")
	open("Ada")
	try("two sessions of one user", nil)
	other, label := open("Bea")
	try("another user's besides", errNoSession)
	w.pbx.set(other, remote.Status{State: grant.Ended})
	waitFor(t, w, label, grant.Ended)
	try("the other user's has ended", nil)
}

// TestPlaces: IPv4 by address, IPv6 by /64, the last few, and nothing of a name.
func TestPlaces(t *testing.T) {
	t.Parallel()
	var p places
	for _, from := range []string{"192.0.2.1:5", "[2001:db8:1:2::1]:5", "[::ffff:192.0.2.9]:5", "not an address", "[fe80::1%eth0]:5"} {
		p.see(from)
	}
	for addr, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.2": false, "192.0.2.9": true, "::ffff:192.0.2.1": true,
		"2001:db8:1:2:ffff::9": true, "2001:db8:1:3::1": false, "fe80::2%eth1": true, "::": false,
	} {
		if p.have(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	if p.have(netip.Addr{}) {
		t.Error("no address at all")
	}
	p.see("192.0.2.100:5")
	p.see("192.0.2.100:6")
	if p.have(netip.MustParseAddr("192.0.2.1")) || !p.have(netip.MustParseAddr("192.0.2.9")) {
		t.Errorf("%v are remembered", p.seen)
	}
}

// TestChallenge: certificate authorities need no session, and may not ask too often.
func TestChallenge(t *testing.T) {
	t.Parallel()
	var calls []string
	w := newWorld(t, nil, func(c *Config) {
		c.PBXDomain, c.Limits.ChallengesPerMinute = pbxDomain, 3
		c.Dial = func(_ context.Context, serial identity.Serial, service, purpose string) (net.Conn, error) {
			calls = append(calls, string(serial)+" "+service+" "+purpose)
			a, b := net.Pipe()
			return a, b.Close()
		}
	})
	ask := func(serial identity.Serial, from string) error {
		c, err := w.g.Challenge(t.Context(), serial, netip.MustParseAddr(from))
		if err == nil {
			err = c.Close()
		}
		return err
	}
	for i, from := range []string{"192.0.2.1", "198.51.100.1", "203.0.113.1"} {
		if err := ask(serial, from); err != nil || calls[i] != "0123456789 tls acme-tls/1" {
			t.Fatal(err, calls)
		}
	}
	if ask(serial, "100.64.0.1") == nil {
		t.Error("the PBX is asked too often")
	}
	// One network may more, for many PBXs, but not whatever it likes.
	n := 0
	for i := range 200 {
		if ask(identity.Serial(fmt.Sprintf("%010d", i)), "192.0.2.1") == nil {
			n++
		}
	}
	if most := 3 * askersTimes; n > 2*most || n < most/2 { // some more where this takes long
		t.Errorf("a network asks %d times, want about %d", n, most)
	}
}

// TestPBXDomain: which domains a file may name.
func TestPBXDomain(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"": true, "pbx.ara.test": true, "pbx.example": true, "ara.test": false, "test": false, "Pbx.test": false,
		"pbx.comtrexx.test": false, "comtrexx.test": false,
	} {
		err := Config{Domain: domain, CCCURL: cccURL, PBXDomain: name}.Validate()
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "pbx_domain") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
