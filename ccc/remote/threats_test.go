package remote

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The tests of this file are the threats that the control centre decides about, each
// under its name.

const someLabel = "abcdefghijklmnopqrstuvwx23"

var (
	secret      = sha256.Sum256([]byte("the browser's cookie"))
	someBrowser = base64.RawURLEncoding.EncodeToString(secret[:])
)

// TestThreatNotPaired: nobody asks a PBX that the tenant is not paired with.
func TestThreatNotPaired(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, err := s.Ask(t.Context(), s.a, s.unpaired, web)
	want(t, "not paired", err, CodeNotPaired)
	s.ask() // positive control
	s.dissolve(serial)
	_, err = s.Ask(t.Context(), s.a, s.sys, web)
	want(t, "not paired any more", err, CodeNotPaired)
	if len(s.pbx.asked) != 1 {
		t.Errorf("PBXs were asked %d times", len(s.pbx.asked))
	}
	// The PBX may know before the control centre.
	s.pbx.refuses = wire.NewProblem(wire.CodeNotPaired, "")
	r, err := s.Ask(t.Context(), s.b, s.sysB, web)
	want(t, "the PBX says so", err, CodeNotPaired)
	if r.State != grant.Refused || r.Cause != grant.CauseDissolved {
		t.Errorf("%+v", r)
	}
}

// TestThreatForeignTenant: another tenant's system and session are as if they were not
// there, for every method.
func TestThreatForeignTenant(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *Config) { c.PerSystem = 100; c.PerUser = 100 })
	own := s.active()
	for name, call := range map[string]func(a Actor, sys store.SystemID, id store.RemoteID) error{
		"ask": func(a Actor, sys store.SystemID, _ store.RemoteID) error {
			_, err := s.Ask(t.Context(), a, sys, web)
			return err
		},
		"list": func(a Actor, sys store.SystemID, _ store.RemoteID) error {
			_, _, err := s.List(t.Context(), a.Tenant, sys, store.Page{})
			return err
		},
		"show": func(a Actor, sys store.SystemID, id store.RemoteID) error {
			_, err := s.Show(t.Context(), a.Tenant, sys, id)
			return err
		},
		"grant": func(a Actor, sys store.SystemID, id store.RemoteID) error {
			_, err := s.Grant(t.Context(), a, sys, id, someLabel, someBrowser)
			return err
		},
		"end": func(a Actor, sys store.SystemID, id store.RemoteID) error { return s.End(t.Context(), a, sys, id) },
	} {
		before := s.record(own)
		foreign, missing := call(s.b, s.sys, own.ID), call(s.b, "nothing", "nothing")
		want(t, name, foreign, CodeNotFound)
		if foreign.Error() != missing.Error() {
			t.Errorf("%s: another's is %v, nothing is %v", name, foreign, missing)
		}
		if name != "ask" && name != "list" {
			want(t, name+", of the own system", call(s.b, s.sysB, own.ID), CodeNotFound)
			want(t, name+", of another own system", call(s.a, s.unpaired, own.ID), CodeNotFound)
		}
		if !reflect.DeepEqual(s.record(own), before) {
			t.Errorf("%s changes another's session", name)
		}
		want(t, name+", positive control", call(s.a, s.sys, own.ID), "")
		own = s.active()
	}
}

// TestThreatViewer: who may only look does not ask, and gets no grant for what he asked
// for before.
func TestThreatViewer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	viewer := s.user(s.a.Tenant, "viewer", store.RoleMonitoring)
	_, err := s.Ask(t.Context(), viewer, s.sys, web)
	want(t, "viewer", err, CodeForbidden)
	if len(s.pbx.asked) != 0 {
		t.Error("the PBX was asked")
	}
	r, err := s.Ask(t.Context(), s.a2, s.sys, web)
	want(t, "administrator", err, "")
	_, err = s.Grant(t.Context(), s.a2, s.sys, r.ID, someLabel, someBrowser)
	want(t, "administrator's grant", err, "")
	s.update(func(tx *store.Tx) error { return tx.SetUserDisabled(s.a.Tenant, s.a2.User, true) })
	_, err = s.Grant(t.Context(), s.a2, s.sys, r.ID, someLabel, someBrowser)
	want(t, "grant when disabled", err, CodeForbidden)
}

// TestThreatLostRight: who is disabled or removed loses what he has open, and the PBX is
// told; others keep theirs.
func TestThreatLostRight(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*site) func(*store.Tx) error{
		"disabled": func(s *site) func(*store.Tx) error {
			return func(tx *store.Tx) error { return tx.SetUserDisabled(s.a.Tenant, s.a2.User, true) }
		},
		"removed": func(s *site) func(*store.Tx) error {
			return func(tx *store.Tx) error { return tx.DeleteUser(s.a.Tenant, s.a2.User) }
		},
		"another role": func(s *site) func(*store.Tx) error {
			return func(tx *store.Tx) error {
				return tx.SetUserGrants(s.a.Tenant, s.a2.User, []store.UserGrant{
					{Role: store.RoleMonitoring}, {Role: store.RoleRemote, Part: store.Part{System: s.unpaired}},
				})
			}
		},
	} {
		s := newSite(t)
		kept := s.active()
		lost, err := s.Ask(t.Context(), s.a2, s.sys, web)
		must(t, err)
		s.tell(s.report(lost, grant.Active))
		must(t, s.look(t.Context()))
		if s.record(lost).State != grant.Active || len(s.pbx.ended()) > 0 {
			t.Fatalf("%s: it ended before", name)
		}
		s.update(lose(s))
		must(t, s.look(t.Context()))
		must(t, s.look(t.Context()))
		got := s.record(lost)
		if got.State != grant.Ended || got.Cause != grant.CauseCCC || got.Ending != "" || s.record(kept).State != grant.Active {
			t.Errorf("%s: %+v", name, got)
		}
		if ends := s.pbx.ended(); len(ends) != 1 || ends[0] != (wire.RemoteEnd{Session: grant.SessionID(lost.ID), Cause: grant.CauseCCC}) {
			t.Errorf("%s: the PBX was told %+v", name, ends)
		}
	}
}

// TestThreatGuest: who was let in by the tenant asks as long as that lasts.
func TestThreatGuest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	guest := s.user(s.b.Tenant, "guest", store.RoleRemote)
	guest.Tenant = s.a.Tenant
	_, err := s.Ask(t.Context(), guest, s.sys, web)
	want(t, "not let in", err, CodeForbidden)
	g := store.TenantGrant{
		ID: store.NewID[store.GrantID](), Tenant: s.a.Tenant, Grantee: s.b.Tenant, Roles: []store.Role{store.RoleRemote},
		Part: store.Part{System: s.sys}, Created: s.now,
	}
	s.update(func(tx *store.Tx) error { return tx.CreateTenantGrant(g) })
	_, err = s.Ask(t.Context(), guest, s.unpaired, web)
	want(t, "to another system", err, CodeForbidden)
	r, err := s.Ask(t.Context(), guest, s.sys, web)
	want(t, "let in", err, "")
	s.tell(s.report(r, grant.Active))
	must(t, s.look(t.Context()))
	if s.record(r).State != grant.Active {
		t.Fatalf("it ended before: %+v", s.record(r))
	}
	s.update(func(tx *store.Tx) error {
		_, err := tx.DeleteTenantGrant(s.a.Tenant, g.ID)
		return err
	})
	must(t, s.look(t.Context()))
	if got := s.record(r); got.State != grant.Ended || got.Cause != grant.CauseCCC {
		t.Errorf("put out: %+v", got)
	}
}

// TestThreatWrongUser: a grant is for who has asked; his colleague, who may end the
// session, does not get in with it.
func TestThreatWrongUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.active()
	_, err := s.Grant(t.Context(), s.a2, s.sys, r.ID, someLabel, someBrowser)
	want(t, "colleague", err, CodeNotRequester)
	_, err = s.Grant(t.Context(), s.a, s.sys, r.ID, someLabel, someBrowser)
	want(t, "positive control", err, "")
}

// TestThreatReport: only the PBX of a session reports on it, and only as long as it has
// no other owner.
func TestThreatReport(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask()
	before := s.record(r)
	unknown := func(what string, serial identity.Serial, m wire.RemoteReport) {
		t.Helper()
		if err := s.Report(t.Context(), serial, m); wire.CodeOf(err) != wire.CodeUnknownSession {
			t.Errorf("%s: %v", what, err)
		}
	}
	unknown("another PBX", other, s.report(r, grant.Active))
	unknown("no such session", serial, s.report(store.Remote{ID: "nothing"}, grant.Active))
	if !reflect.DeepEqual(s.record(r), before) {
		t.Errorf("the record has changed: %+v", s.record(r))
	}
	s.tell(s.report(r, grant.Active))
	if s.record(r).State != grant.Active {
		t.Error("positive control: the own report is not taken")
	}
	// The last report comes after the pairing has ended.
	s.dissolve(serial)
	s.tell(s.report(r, grant.Ended, func(m *wire.RemoteReport) { m.Cause, m.BytesOut = grant.CauseDissolved, 77 }))
	if got := s.record(r); !got.Confirmed || got.BytesOut != 77 || got.Cause != grant.CauseDissolved {
		t.Errorf("after the pairing: %+v", got)
	}
	late, err := s.Ask(t.Context(), s.b, s.sysB, web)
	must(t, err)
	s.dissolve(other)
	s.pair(s.b.Tenant, s.sysB, other)
	before = s.record(late)
	unknown("of a former owner", other, s.report(late, grant.Ended))
	if !reflect.DeepEqual(s.record(late), before) {
		t.Errorf("a former owner's record has changed: %+v", s.record(late))
	}
}

// TestThreatReplayedReport: the same again, and one of before, change nothing, and bring
// no session back.
func TestThreatReplayedReport(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask()
	first := s.report(r, grant.Active)
	s.tell(first)
	once := s.record(r)
	s.now = s.now.Add(time.Minute)
	s.tell(first)
	if got := s.record(r); !reflect.DeepEqual(got, once) {
		t.Errorf("twice:\n%+v\n%+v", once, got)
	}
	s.tell(s.report(r, grant.Ended))
	over := s.record(r)
	if over.State != grant.Ended {
		t.Fatalf("positive control: %+v", over)
	}
	s.now = s.now.Add(time.Minute)
	for _, m := range []wire.RemoteReport{first, s.report(r, grant.Pending), s.report(r, grant.Ended)} {
		s.tell(m)
		if got := s.record(r); !reflect.DeepEqual(got, over) {
			t.Errorf("%s after the end: %+v", m.State, got)
		}
	}
}

// TestThreatGrantAfterEnd: there is no grant for what has not begun, is over, or ended
// with its pairing.
func TestThreatGrantAfterEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, end := range map[string]func(r store.Remote){
		"by the user":      func(r store.Remote) { must(t, s.End(t.Context(), s.a, s.sys, r.ID)) },
		"by a colleague":   func(r store.Remote) { must(t, s.End(t.Context(), s.a2, s.sys, r.ID)) },
		"by the PBX":       func(r store.Remote) { s.tell(s.report(r, grant.Ended)) },
		"by its time":      func(store.Remote) { s.now = s.now.Add(time.Hour) },
		"with its pairing": func(store.Remote) { s.dissolve(serial); s.pair(s.a.Tenant, s.sys, serial) },
		"and was not there": func(r store.Remote) {
			s.update(func(tx *store.Tx) error { r.State = grant.Requested; return tx.SetRemote(r) })
		},
	} {
		r := s.active()
		_, err := s.Grant(t.Context(), s.a, s.sys, r.ID, someLabel, someBrowser)
		want(t, name+", before", err, "")
		end(r)
		_, err = s.Grant(t.Context(), s.a, s.sys, r.ID, someLabel, someBrowser)
		want(t, name, err, CodeOver)
		s.now = s.now.Add(2 * time.Hour) // quotas
		must(t, s.look(t.Context()))
	}
	waiting := s.ask()
	_, err := s.Grant(t.Context(), s.a, s.sys, waiting.ID, someLabel, someBrowser)
	want(t, "pending: for the PIN", err, "")
	s.now = waiting.Expires
	_, err = s.Grant(t.Context(), s.a, s.sys, waiting.ID, someLabel, someBrowser)
	want(t, "pending, too late", err, CodeOver)
}

// TestThreatGrantBound: a grant names label, browser, session, serial, epoch and service,
// is good for a minute, and for nobody but the gateway's host with this label.
func TestThreatGrantBound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.active()
	ticket, err := s.Grant(t.Context(), s.a, s.sys, r.ID, someLabel, someBrowser)
	must(t, err)
	ccc := identity.Service(td, "ccc")
	g, err := grant.Verify(s.ara, s.now, ccc, someLabel+".ara.example.net", ticket.Grant)
	must(t, err)
	g.ID = "g"
	if want := (grant.Grant{
		ID: "g", Audience: someLabel + ".ara.example.net", Session: grant.SessionID(r.ID), Serial: serial, Epoch: 1, Service: grant.Web,
		User: "Acker", Tenant: "Acker GmbH", Browser: secret, Issued: time.Unix(s.now.Unix(), 0), Expires: time.Unix(s.now.Unix()+60, 0),
	}); g != want {
		t.Errorf("got  %+v\nwant %+v", g, want)
	}
	if ticket.URL != "https://"+someLabel+".ara.example.net/.ara/redeem" {
		t.Errorf("URL %s", ticket.URL)
	}
	if _, err := grant.Verify(s.ara, s.now, ccc, strings.Repeat("a", 26)+".ara.example.net", ticket.Grant); !errors.Is(err, grant.ErrAudience) {
		t.Errorf("at another label: %v", err)
	}
	if _, err := grant.Verify(s.ara, s.now.Add(time.Minute), ccc, someLabel+".ara.example.net", ticket.Grant); !errors.Is(err, grant.ErrExpired) {
		t.Errorf("after a minute: %v", err)
	}
	for _, bad := range [][2]string{
		{"", someBrowser},
		{"evil.example", someBrowser},
		{strings.ToUpper(someLabel), someBrowser},
		{someLabel + "a", someBrowser},
		{someLabel, ""},
		{someLabel, someBrowser[:42]},
		{someLabel, strings.Repeat("A", 43)},
		{someLabel, strings.Repeat("!", 43)},
	} {
		_, err := s.Grant(t.Context(), s.a, s.sys, r.ID, bad[0], bad[1])
		want(t, "label "+bad[0]+", browser "+bad[1], err, CodeInvalid)
	}
}

// TestThreatRotation: a hundred grants do not change the record, nor when it ends.
func TestThreatRotation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.active()
	seen := map[string]bool{}
	for range 100 {
		s.now = s.now.Add(30 * time.Second)
		ticket, err := s.Grant(t.Context(), s.a, s.sys, r.ID, someLabel, someBrowser)
		must(t, err)
		seen[ticket.Grant] = true
	}
	if got := s.record(r); !reflect.DeepEqual(got, r) || len(seen) != 100 {
		t.Errorf("%d grants, the record is\n%+v, was\n%+v", len(seen), got, r)
	}
	if asked := len(s.pbx.asked); asked != 1 {
		t.Errorf("the PBX was asked %d times", asked)
	}
	// The PBX's report is what gives more time.
	s.tell(s.report(r, grant.Active))
	if got := s.record(r); !got.Until.After(*r.Until) {
		t.Errorf("positive control: it ends at %v", got.Until)
	}
}
