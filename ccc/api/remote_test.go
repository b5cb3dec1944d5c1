package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// fakePBX is every PBX, as far as remote access goes.
type fakePBX struct {
	mu      sync.Mutex // guards what follows
	asked   int
	refuses error
	ends    []wire.RemoteEnd
}

func (p *fakePBX) AskRemote(context.Context, identity.Serial, string) (grant.State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	return grant.Pending, p.refuses
}

func (p *fakePBX) EndRemote(_ context.Context, _ identity.Serial, end wire.RemoteEnd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, end)
	return nil
}

// ask asks for remote access.
func (c *client) ask(system string) RemoteSession {
	c.w.t.Helper()
	return read[RemoteSession](c.do(http.MethodPost, "/systems/"+system+"/remote", examples["askRemote"].body).want(http.StatusCreated))
}

// askRefused asks a PBX that does not take it.
func askRefused(err error) func(t *testing.T) answer {
	return func(t *testing.T) answer {
		t.Helper()
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		id := c.scene().paired
		w.pbx.refuses = err
		return c.do(http.MethodPost, "/systems/"+id+"/remote", examples["askRemote"].body)
	}
}

// TestRemote asks, is let in by the PBX, gets grants and ends it; others of the tenant
// see the record, and no address of anybody is in it.
func TestRemote(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleAdministrator)
	system := c.scene().paired
	path := "/systems/" + system + "/remote"
	a := c.do(http.MethodPost, path, `{"reason":"Müller: kein Ton","service":"ssh","target":"switch","minutes":90}`).want(http.StatusCreated)
	s := read[RemoteSession](a)
	if a.header.Get("Location") != Prefix+path+"/"+s.ID || s.State != grant.Pending || s.Minutes != 90 || !s.Own || s.User.ID != string(c.user.ID) ||
		s.Service != grant.SSH || s.Target != "switch" || s.Confirmed || s.StartedAt != nil {
		t.Fatalf("asked: %+v, Location %s", s, a.header.Get("Location"))
	}
	at := time.Now().UTC()
	until := at.Add(time.Hour)
	report := func(m wire.RemoteReport) {
		t.Helper()
		m.Session, m.At = grant.SessionID(s.ID), at
		w.must(w.broker.Report(t.Context(), "0000000002", m))
	}
	report(wire.RemoteReport{State: grant.Active, StartedAt: &at, Until: &until, Consent: wire.ConsentPIN, BytesIn: 5})
	viewer := w.signedIn(w.north, store.RoleMonitoring)
	s = read[RemoteSession](viewer.do(http.MethodGet, path+"/"+s.ID, "").want(http.StatusOK))
	if s.State != grant.Active || s.Consent != "pin" || s.Own || s.BytesIn != 5 || s.Until == nil || s.Reason != "Müller: kein Ton" {
		t.Errorf("a viewer sees %+v", s)
	}
	ticket := read[RemoteTicket](c.do(http.MethodPost, path+"/"+s.ID+"/grant", atGateway).want(http.StatusOK))
	if ticket.URL != "https://abcdefghijklmnopqrstuvwx23.ara.example.net:8443/.ara/redeem" || strings.Count(ticket.Grant, ".") != 2 {
		t.Errorf("ticket %+v", ticket)
	}
	c.do(http.MethodDelete, path+"/"+s.ID, "").want(http.StatusNoContent)
	c.do(http.MethodDelete, path+"/"+s.ID, "").want(http.StatusNoContent) // the answer was lost
	if want := []wire.RemoteEnd{{Session: grant.SessionID(s.ID), Cause: grant.CauseUser}}; !slices.Equal(w.pbx.ends, want) {
		t.Errorf("the PBX was told %+v", w.pbx.ends)
	}
	report(wire.RemoteReport{State: grant.Ended, StartedAt: &at, Consent: wire.ConsentPIN, Cause: grant.CauseUser, BytesIn: 9, BytesOut: 7})
	all := read[RemoteList](viewer.do(http.MethodGet, path, "").want(http.StatusOK))
	if len(all.Items) != 2 || all.Items[0].ID != s.ID || all.Items[0].State != grant.Ended || !all.Items[0].Confirmed || all.Items[0].BytesOut != 7 {
		t.Errorf("list %+v", all)
	}
	page := read[RemoteList](viewer.do(http.MethodGet, path+"?limit=1", "").want(http.StatusOK))
	rest := read[RemoteList](viewer.do(http.MethodGet, path+"?limit=1&cursor="+page.Next, "").want(http.StatusOK))
	if page.Next == "" || rest.Next != "" || len(rest.Items) != 1 || rest.Items[0].ID != w.session {
		t.Errorf("pages %+v and %+v", page, rest)
	}
}

// TestRemoteAskedOnce: a repeat with the same key asks the PBX once.
func TestRemoteAskedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	path := "/systems/" + c.scene().paired + "/remote"
	before := w.pbx.asked
	const body = `{"reason":"x","service":"web"}`
	first := c.do(http.MethodPost, path, body, "Idempotency-Key: key-number-1").want(http.StatusCreated)
	again := c.do(http.MethodPost, path, body, "Idempotency-Key: key-number-1").want(http.StatusCreated)
	if string(first.body) != string(again.body) || again.header.Get("Idempotency-Replayed") != "true" || w.pbx.asked != before+1 {
		t.Errorf("asked %d times, %s and %s", w.pbx.asked-before, first.body, again.body)
	}
	c.do(http.MethodPost, path, `{"reason":"y","service":"web"}`, "Idempotency-Key: key-number-1").problem(CodeIdempotencyMismatch)
	c.do(http.MethodPost, path, body).want(http.StatusCreated)
	if w.pbx.asked != before+2 {
		t.Error("positive control: without the key it is not asked again")
	}
}

// TestRemoteRefused: not paired, no gateway, and what is wrong with the fields. The PBX
// hears of none of it.
func TestRemoteRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	s := c.scene()
	before := w.pbx.asked
	c.do(http.MethodPost, "/systems/"+s.offered+"/remote", examples["askRemote"].body).problem(CodeState)
	for body, want := range map[string]string{
		`{"service":"web"}`: "body.reason required", `{"reason":" ","service":"web"}`: "body.reason pattern",
		`{"reason":"x\u202e","service":"web"}`: "body.reason invalid", `{"reason":"x","service":"telnet"}`: "body.service enum",
		`{"reason":"x","service":"web","minutes":1441}`: "body.minutes range", `{"reason":"x","service":"tcp"}`: "body.target invalid",
		`{"reason":"x","service":"web","target":"a"}`: "body.target invalid", `{"reason":"x","service":"tcp","target":"127.0.0.1:22"}`: "body.target pattern",
	} {
		p := c.do(http.MethodPost, "/systems/"+s.paired+"/remote", body).problem(CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Location+" "+string(p.Errors[0].Code) != want {
			t.Errorf("%s: %+v, want %s", body, p.Errors, want)
		}
	}
	if w.pbx.asked != before {
		t.Errorf("the PBX was asked %d times", w.pbx.asked-before)
	}
	none := newWorld(t, func(o *options) { o.remote = remote.Config{RequireSecondFactor: new(false)} }).serve()
	o := none.signedIn(none.north, store.RoleOwner)
	id := o.save("0000000002", "Two").System.ID
	none.pair(none.north, id)
	if p := o.do(http.MethodPost, "/systems/"+id+"/remote", examples["askRemote"].body).problem(CodeUnavailable); p.Detail == "" {
		t.Error("it is not said that there is no gateway")
	}
}

// TestRemoteIsLive: the tenant hears of every change, and nobody else.
func TestRemoteIsLive(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		owner := w.in(w.north, store.RoleOwner)
		system := owner.scene().paired
		own, other := w.in(w.north, store.RoleMonitoring).stream(ctx), w.in(w.south, store.RoleOwner).stream(ctx)
		own.read(w)
		other.read(w)
		want := "event: remote\ndata: {\"system_id\":\"" + system + "\"}\n\n"
		s := owner.ask(system)
		if got := own.read(w) + own.read(w); got != want && got != want+want { // requested and pending
			t.Errorf("asked: %q", got)
		}
		w.must(w.broker.Report(ctx, "0000000002", wire.RemoteReport{
			Session: grant.SessionID(s.ID), State: grant.Refused, Cause: grant.CauseAdmin, At: time.Now(),
		}))
		if got := own.read(w); got != want {
			t.Errorf("refused: %q", got)
		}
		w.api.PairingChanged(pairing.Change{Tenant: w.north, System: store.SystemID(system), Kind: pairing.ChangeRemote})
		if got := own.read(w); got != want {
			t.Errorf("ended with the pairing: %q", got)
		}
		if got := other.read(w); got != "" {
			t.Errorf("another tenant hears %q", got)
		}
		cancel()
		if !own.over() || !other.over() {
			t.Error("the streams go on")
		}
	})
}

// TestRemoteEndsWithThePairing: the record says so, and no grant is given any more.
func TestRemoteEndsWithThePairing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	s := c.scene()
	c.do(http.MethodPost, "/systems/"+s.paired+"/remote/"+w.session+"/grant", atGateway).want(http.StatusOK)
	c.do(http.MethodDelete, "/systems/"+s.paired, "").want(http.StatusNoContent)
	w.update(func(tx *store.Tx) error {
		r, err := tx.Remote(w.north, store.SystemID(s.paired), store.RemoteID(w.session))
		if r.State != grant.Ended || r.Cause != grant.CauseDissolved {
			t.Errorf("the record: %+v", r)
		}
		return err
	})
	c.do(http.MethodPost, "/systems/"+s.paired+"/remote/"+w.session+"/grant", atGateway).problem(CodeNotFound)
}
