package grant

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/jws"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const (
	td   = identity.DefaultTrustDomain
	host = "abc.ara.test"
)

var ccc, ara = identity.Service(td, "ccc"), identity.Service(td, "ara")

func sample(now time.Time) Grant {
	now = now.Truncate(time.Second)
	return Grant{
		ID: "g-1", Audience: host, Session: "s-1", Serial: "0123456789", Epoch: 2, Service: SSH, Target: "switch.cellar",
		User: "Zoë Ångström", Tenant: "Müller & Söhne GmbH", Browser: [32]byte{1, 2, 3}, Issued: now, Expires: now.Add(MaxLife),
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	ca, foreign := pkitest.New(t, td), pkitest.New(t, td)
	issuer, gateway := ca.Credentials(ccc), ca.Credentials(ara)
	now := time.Now().Truncate(time.Second)
	g := sample(now)
	sign := func(c *enrol.Credentials) string {
		text, err := Sign(c, g)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	raw := func(typ, payload string) string {
		text, err := jws.Sign(issuer, typ, []byte(payload), MaxBytes)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(issuer)
	for _, tt := range []struct {
		name, audience, text string
		now                  time.Time
		want                 error
	}{
		{"as it should be", host, good, now, nil},
		{"at its last moment", host, good, g.Expires.Add(-1), nil},
		{"expired", host, good, g.Expires, ErrExpired},
		{"the issuer's clock is ahead", host, good, now.Add(-Leeway), nil},
		{"the issuer's clock is too far ahead", host, good, now.Add(-Leeway - 1), ErrExpired},
		{"another label", "abd.ara.test", good, now, ErrAudience},
		{"by a device", host, sign(ca.Credentials(identity.Device(td, "0123456789"))), now, ErrGrant},
		{"by the gateway", host, sign(gateway), now, ErrGrant},
		{"by service/ccc of another root", host, sign(foreign.Credentials(ccc)), now, ErrGrant},
		{"another kind of statement", host, raw("ccc-remote+jws", `{}`), now, ErrGrant},
		{"fields are missing", host, raw(typ, `{}`), now, ErrGrant},
		{"no JSON", host, raw(typ, `hello`), now, ErrGrant},
		{"cut", host, good[:len(good)-4], now, ErrGrant},
		{"empty", host, "", now, ErrGrant},
		{"long", host, good + strings.Repeat("A", MaxBytes), now, ErrGrant},
	} {
		got, err := Verify(gateway, tt.now, ccc, tt.audience, tt.text)
		switch {
		case !errors.Is(err, tt.want):
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		case tt.want == nil && !reflect.DeepEqual(got, g):
			t.Errorf("%s: %+v", tt.name, got)
		case tt.want != nil && got != Grant{}:
			t.Errorf("%s: %+v beside the error", tt.name, got)
		}
	}
	if len(good) > MaxBytes/2 {
		t.Errorf("a grant has %d bytes, which leaves no room for another intermediate", len(good))
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for want, change := range map[string]func(*Grant){
		"":           func(*Grant) {},
		"grant: ":    func(g *Grant) { g.ID = "" },
		"aud: ":      func(g *Grant) { g.Audience = "Abc.ara.test" },
		"session: ":  func(g *Grant) { g.Session = "../1" },
		"serial: ":   func(g *Grant) { g.Serial = "1" },
		"epoch: ":    func(g *Grant) { g.Epoch = 0 },
		"service: ":  func(g *Grant) { g.Service = "telnet" },
		"target: ":   func(g *Grant) { g.Target = "127.0.0.1:22" },
		"target: is": func(g *Grant) { g.Service = Web },
		"user: ":     func(g *Grant) { g.User = "Zoë\u202e" },
		"tenant: ":   func(g *Grant) { g.Tenant = " " },
		"browser: ":  func(g *Grant) { g.Browser = [32]byte{} },
		"exp: ":      func(g *Grant) { g.Expires = g.Issued.Add(MaxLife + time.Second) },
		"exp: is":    func(g *Grant) { g.Expires = g.Issued },
	} {
		g := sample(now)
		change(&g)
		err := g.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("want %q in %v", want, err)
		}
	}
}

func TestUsed(t *testing.T) {
	t.Parallel()
	start := time.Now()
	u := NewUsed(start, 2)
	now := start.Add(Leeway + time.Second)
	give := func(id ID, at time.Time) Grant { g := sample(at); g.ID = id; return g }
	expect := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	first := give("a", now)
	expect("first time", u.Use(first, now), nil)
	expect("second time", u.Use(first, now), ErrUsed)
	expect("second time, at the end", u.Use(first, first.Expires.Add(-1)), ErrUsed)
	expect("another", u.Use(give("b", now), now), nil)
	expect("one too many", u.Use(give("c", now), now), ErrFull)
	later := now.Add(MaxLife + time.Second)
	expect("room again", u.Use(give("c", later), later), nil)
	if u.Len() != 1 {
		t.Errorf("%d are remembered", u.Len())
	}
	expect("the clock goes back, the first one comes again", u.Use(first, now), ErrExpired)
	expect("issued before the start", NewUsed(later, 0).Use(give("d", later), later), ErrUsed)
	expect("issued well after the start", NewUsed(later, 0).Use(give("d", later.Add(Leeway+time.Second)), later), nil)
}

func TestStates(t *testing.T) {
	t.Parallel()
	all := []State{Requested, Pending, Active, Ended, Refused, Expired}
	can := map[State]string{
		Requested: "pending active ended refused expired", Pending: "active ended refused expired", Active: "ended",
	}
	for _, from := range all {
		if !from.Valid() || from.Final() != (can[from] == "") {
			t.Errorf("%s: valid %v, final %v", from, from.Valid(), from.Final())
		}
		for _, to := range all {
			if want := strings.Contains(can[from], string(to)); from.Can(to) != want {
				t.Errorf("%s to %s: %v", from, to, !want)
			}
		}
	}
	if State("gone").Valid() || Cause("whim").Valid() || !CauseReset.Valid() {
		t.Error("words that nobody knows")
	}
}

func TestPurpose(t *testing.T) {
	t.Parallel()
	if id, ok := ParsePurpose(SessionID("s-1").Purpose()); id != "s-1" || !ok {
		t.Error(id, ok)
	}
	for _, s := range []string{"", "remote", "remote/", "remote/a/b", "s-1", "remote/" + strings.Repeat("a", MaxID+1), "pairing"} {
		if id, ok := ParsePurpose(s); ok || id != "" {
			t.Errorf("%q gives %q", s, id)
		}
	}
	for target, want := range map[string]bool{"": false, "switch-1.cellar_a": true, "a:22": false, "A": false, "a b": false} {
		if ValidTarget(target) != want {
			t.Errorf("target %q: %v", target, !want)
		}
	}
}

func TestSameSite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"ara.fontevo.test", "ccc.comtrexx.test", false},
		{"ara.example.co.uk", "ccc.other.co.uk", false},
		{"ara-fontevo.test", "ccc.fontevo.test", false},
		{"a.localhost", "b.localhost", false},
		{"ara.fontevo.test", "CCC.fontevo.test", true},
		{"ara.example.co.uk", "example.co.uk", true},
		{"x.ara.comtrexx.localhost", "comtrexx.localhost", true},
		{"co.uk", "co.uk", true},
	} {
		if SameSite(tt.a, tt.b) != tt.want || SameSite(tt.b, tt.a) != tt.want {
			t.Errorf("%s and %s: %v", tt.a, tt.b, !tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"grant":"g","aud":"a.b","session":"s","serial":"0123456789","epoch":1,"service":"web","user":"u","tenant":"t",` +
		`"browser":"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","iat":5,"exp":6}`))
	f.Add([]byte(`{"iat":9223372036854775807,"exp":-9223372036854775808}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := parse(text)
		if err == nil && (g.Expires.Sub(g.Issued) > MaxLife || !g.Session.Valid() || g.Audience == "") {
			t.Fatalf("%+v", g)
		}
	})
}
