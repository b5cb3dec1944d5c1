package pairing

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The tests of this file are the threats that the control centre decides about, each
// under its name.

// TestThreatWrongSerial: an offer that came to somebody else's PBX makes nothing there,
// and its administrator can give it back.
func TestThreatWrongSerial(t *testing.T) {
	t.Parallel()
	for why, want := range map[wire.Why]struct {
		state store.State
		offer store.OfferState
		step  string
	}{
		wire.WhyRejected: {store.StateDeclined, store.OfferDeclined, "a:declined"},
		wire.WhyReported: {store.StateDeclined, store.OfferDeclined, "a:declined"},
		wire.WhyTries:    {store.StateError, store.OfferVoid, "a:failed"},
		wire.WhyExpired:  {store.StateExpired, store.OfferExpired, "a:expired"},
	} {
		s := newSite(t)
		p := s.newPBX(serial)
		sys, offer := s.save(s.a, serial)
		s.deliver()
		if len(p.offers) != 1 || p.user.Reveal() != "" || p.pairing != "" {
			t.Errorf("%s: the PBX has %d offers, user %v, pairing %q", why, len(p.offers), p.user.Reveal() != "", p.pairing)
		}
		s.steps()
		// Another PBX cannot give it back.
		if err := s.newPBX(other).ccc.Declined(t.Context(), wire.Declined{Offer: wire.OfferID(offer.Offer), Reason: why}); err != nil {
			t.Fatal(err)
		}
		if got := s.system(s.a, sys.ID).State; got != store.StateReceived {
			t.Fatalf("%s: another PBX made it %s", why, got)
		}
		for range 2 { // the second time, the answer was lost
			if err := p.ccc.Declined(t.Context(), wire.Declined{Offer: wire.OfferID(offer.Offer), Reason: why}); err != nil {
				t.Fatal(err)
			}
		}
		s.consistent()
		o := read(s, func(tx *store.Tx) (store.Offer, error) { return tx.Offer(offer.Offer) })
		if got := s.system(s.a, sys.ID).State; got != want.state || o.State != want.offer || !slices.Equal(s.steps(), []string{want.step}) {
			t.Errorf("%s: system %s, offer %s", why, got, o.State)
		}
		if e := s.events(s.a, sys.ID)[0]; e.Detail["reason"] != string(why) {
			t.Errorf("%s: event %+v", why, e)
		}
		if err := p.typed(offer.Token); wire.CodeOf(err) != wire.CodeOfferVoid {
			t.Errorf("%s: typed after that: %v", why, err)
		}
	}
}

// TestThreatSerialKnown: saving a serial says nothing about it. The same rows are made in
// the same transactions whether it is free, paired by another tenant, offline, blocked,
// has as many offers as it may get, or does not exist.
func TestThreatSerialKnown(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		free, taken, offline, unknown, blocked, full := identity.Serial("0000000001"), identity.Serial("0000000002"),
			identity.Serial("0000000003"), identity.Serial("0000000004"), identity.Serial("0000000005"), identity.Serial("0000000006")
		s.newPBX(free)
		s.pair(s.b, taken)
		s.newPBX(offline).disconnect()
		s.newPBX(blocked)
		s.newPBX(full)
		s.cfg.OffersPerPBX = 1
		s.open()
		s.SetBlocks(blocks.NewList(1, identity.Device(td, blocked).Path()))
		s.save(s.b, full)
		s.deliver()

		var first string
		for _, serial := range []identity.Serial{free, taken, offline, unknown, blocked, full} {
			s.faults.set(0, faultBefore) // counts
			before := strings.Split(random.ReplaceAllString(s.dump(), "RANDOM"), "\n")
			sys, offer, err := s.Save(t.Context(), s.a, NewSystem{Serial: string(serial), Name: "x"})
			if err != nil {
				t.Fatalf("%s: %v", serial, err)
			}
			transactions := s.faults.count.Load()
			var added []string
			for line := range strings.SplitSeq(random.ReplaceAllString(s.dump(), "RANDOM"), "\n") {
				if i := slices.Index(before, line); i >= 0 {
					before = slices.Delete(before, i, i+1)
				} else {
					added = append(added, strings.ReplaceAll(line, string(serial), "SERIAL"))
				}
			}
			sys.ID, sys.Serial, sys.Created, sys.StateSince = "", "", time.Time{}, time.Time{}
			got := fmt.Sprintf("%d transactions, %+v, %s %s %d %d %d\n%s", transactions, sys, offer.State, offer.Expires.Sub(offer.Created),
				len(offer.Token.Reveal()), len(offer.QR), len(offer.Code), strings.Join(added, "\n"))
			if first == "" {
				first = got
				if len(added) < 4 || !strings.Contains(got, "SERIAL") {
					t.Fatalf("nothing to compare: %s", got)
				}
			}
			if got != first {
				t.Errorf("%s: %s\nwant\n%s", serial, got, first)
			}
		}
		// What differs is known to the service only, and comes later.
		s.deliver()
		for serial, want := range map[identity.Serial]store.State{
			free: store.StateReceived, taken: store.StateOffered, offline: store.StateOffered,
			unknown: store.StateOffered, blocked: store.StateOffered, full: store.StateOffered,
		} {
			got := read(s, func(tx *store.Tx) (store.System, error) { return tx.SystemBySerial(s.a.Tenant, serial) })
			if got.State != want || got.ErrorCode != "" {
				t.Errorf("%s: %s %s, want %s", serial, got.State, got.ErrorCode, want)
			}
		}
	})
}

// TestThreatGuessToken: five wrong proofs make the offer void. Those of another PBX do not
// count.
func TestThreatGuessToken(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		p, q := s.newPBX(serial), s.newPBX(other)
		sys, offer := s.save(s.a, serial)
		s.deliver()
		there := p.offers[wire.OfferID(offer.Offer)]
		for range 10 {
			if _, err := q.ccc.Complete(t.Context(), q.complete(there, token.New())); wire.CodeOf(err) != wire.CodeRefused {
				t.Fatalf("another PBX: %v", err)
			}
		}
		for i := range 5 {
			if got := s.system(s.a, sys.ID).State; got != store.StateReceived {
				t.Fatalf("after %d wrong proofs: %s", i, got)
			}
			if _, err := p.ccc.Complete(t.Context(), p.complete(there, token.New())); wire.CodeOf(err) != wire.CodeRefused {
				t.Fatalf("wrong proof %d: %v", i, err)
			}
		}
		s.consistent()
		got := s.system(s.a, sys.ID)
		if got.State != store.StateError || got.ErrorCode != ErrorProof {
			t.Errorf("%s %s", got.State, got.ErrorCode)
		}
		if err := p.typed(offer.Token); wire.CodeOf(err) != wire.CodeOfferVoid {
			t.Errorf("the right token after that: %v", err)
		}
		// Positive control: four wrong ones are not too many.
		again, err := s.Regenerate(t.Context(), s.a, sys.ID)
		if err != nil {
			t.Fatal(err)
		}
		s.deliver()
		there = p.offers[wire.OfferID(again.Offer)]
		for range 4 {
			if _, err := p.ccc.Complete(t.Context(), p.complete(there, token.New())); wire.CodeOf(err) != wire.CodeRefused {
				t.Fatal(err)
			}
		}
		if err := p.typed(again.Token); err != nil {
			t.Errorf("the right token after four wrong ones: %v", err)
		}
	})
}

// TestThreatOtherCertificate: the completion has to come from the PBX that the offer is
// for. Who knows the token is not enough.
func TestThreatOtherCertificate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	sys, offer := s.save(s.a, serial)
	s.deliver()
	c, err := p.completion(offer.Token)
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]identity.ID{
		"another PBX":              identity.Device(td, other),
		"a PBX of another domain":  identity.Device("elsewhere.test", serial),
		"a service":                identity.Service(td, "backup"),
		"a relay":                  identity.Relay(td, "r1"),
		"a service with that name": identity.Service(td, string(serial)),
		"nobody":                   {},
	} {
		if _, err := s.as(id).Complete(t.Context(), c); wire.CodeOf(err) != wire.CodeRefused {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.as(id).Sync(t.Context(), wire.Sync{Version: 1}); (wire.CodeOf(err) == wire.CodeRefused) != (id != identity.Device(td, other)) {
			t.Errorf("%s: sync: %v", name, err)
		}
	}
	if got := s.system(s.a, sys.ID).State; got != store.StateReceived {
		t.Errorf("the system is %s", got)
	}
	if _, err := p.ccc.Complete(t.Context(), c); err != nil {
		t.Errorf("the PBX itself: %v", err)
	}
}

// TestThreatBodySaysSerial: nothing in a message or a header makes a PBX another one.
func TestThreatBodySaysSerial(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	_, offer := s.save(s.a, serial)
	s.deliver()
	c, err := p.completion(offer.Token)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"offer":%q,"nonce_pbx":"%s","proof":"%s","user":%q,"password":%q,"version":1,"serial":%q}`,
		c.Offer, base64of(c.NoncePBX), base64of(c.Proof), c.User.Reveal(), c.Password.Reveal(), serial)
	for id, want := range map[identity.Serial]int{other: http.StatusForbidden, serial: http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://s"+string(serial)+".pbx.example/v1/complete", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Auer-Caller", identity.Device(td, serial).String())
		resp, err := s.as(identity.Device(td, id)).HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want && id == other {
			t.Errorf("%s: status %d, want %d", id, resp.StatusCode, want)
		}
	}
	if got := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) }); got.Serial != serial {
		t.Error("positive control: the PBX itself is not paired")
	}
}

// TestThreatReplay: a completion that is sent a hundred times at once makes one pairing,
// and gets the same answer each time. It gets none once the pairing has ended.
func TestThreatReplay(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		s.cfg.RequestsPerMinute = 1000
		s.open()
		p := s.newPBX(serial)
		sys, offer := s.save(s.a, serial)
		s.deliver()
		c, err := p.completion(offer.Token)
		if err != nil {
			t.Fatal(err)
		}
		acks := make([]wire.Ack, 100)
		errs := make([]error, len(acks))
		var wg sync.WaitGroup
		for i := range acks {
			wg.Go(func() {
				var jws string
				if jws, errs[i] = p.ccc.Complete(t.Context(), c); errs[i] == nil {
					errs[i] = wire.Verify(p.creds, time.Now(), identity.Service(td, "ccc"), jws, &acks[i])
				}
			})
		}
		wg.Wait()
		for i := range acks {
			if errs[i] != nil || acks[i] != acks[0] {
				t.Fatalf("answer %d: %+v, %v; the first is %+v", i, acks[i], errs[i], acks[0])
			}
		}
		if acks[0].Epoch != 1 || acks[0].Serial != serial || string(acks[0].Offer) != string(offer.Offer) {
			t.Errorf("%+v", acks[0])
		}
		if n := strings.Count(s.dump(), "\npairings "); n != 1 {
			t.Errorf("%d pairings", n)
		}
		if n := strings.Count(s.dump(), "kind=completed"); n != 1 {
			t.Errorf("%d events of a completion", n)
		}
		s.consistent()

		// The same offer with another user, the same proof with another offer.
		elsewhere := c
		elsewhere.User = wire.NewSecret("ccc-ffffffff")
		if _, err := p.ccc.Complete(t.Context(), elsewhere); wire.CodeOf(err) != wire.CodeOfferVoid {
			t.Errorf("another user: %v", err)
		}
		if err := s.Remove(t.Context(), s.a, sys.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ccc.Complete(t.Context(), c); wire.CodeOf(err) != wire.CodeOfferVoid {
			t.Errorf("after it was removed: %v", err)
		}
		sys, offer = s.save(s.a, serial)
		s.deliver()
		stale := c
		stale.Offer = wire.OfferID(offer.Offer)
		if _, err := p.ccc.Complete(t.Context(), stale); wire.CodeOf(err) != wire.CodeRefused {
			t.Errorf("the old proof for a new offer: %v", err)
		}
		if err := p.typed(offer.Token); err != nil {
			t.Errorf("positive control: %v", err)
		}
		p.switchOff(wire.ReasonSwitchedOff)
		if err := p.settle(); err != nil {
			t.Fatal(err)
		}
		if got := s.system(s.a, sys.ID).State; got != store.StateLeft {
			t.Fatalf("the system is %s", got)
		}
		if _, err := p.ccc.Complete(t.Context(), c); wire.CodeOf(err) != wire.CodeOfferVoid {
			t.Errorf("the first completion after all: %v", err)
		}
	})
}

// TestThreatReplacedOffer: a new token makes the old one worthless, at the PBX, too.
func TestThreatReplacedOffer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	sys, old := s.save(s.a, serial)
	s.deliver()
	c, err := p.completion(old.Token)
	if err != nil {
		t.Fatal(err)
	}
	p.requests()
	fresh, err := s.Regenerate(t.Context(), s.a, sys.ID)
	if err != nil {
		t.Fatal(err)
	}
	if fresh.Offer == old.Offer || fresh.Token.Equal(old.Token) {
		t.Error("the new offer is the old one")
	}
	s.deliver()
	if got := p.requests(); !slices.Equal(got, []string{wire.PathWithdraw, wire.PathOffer}) {
		t.Errorf("the PBX was asked %v", got)
	}
	if _, err := p.ccc.Complete(t.Context(), c); wire.CodeOf(err) != wire.CodeOfferVoid {
		t.Errorf("the old one: %v", err)
	}
	if err := p.typed(old.Token); !errors.Is(err, errToken) {
		t.Errorf("the old token at the PBX: %v", err)
	}
	if err := p.typed(fresh.Token); err != nil {
		t.Errorf("the new one: %v", err)
	}
}

// TestThreatBadFaith: the control centre is told apart from a fake by what it signs, and
// what it signs is what the user sees.
func TestThreatBadFaith(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	foreign := s.ca.Credentials(identity.Service(td, "backup"))
	var stolen string
	p.set(func() {
		p.hook = func(_ http.ResponseWriter, r *http.Request) bool {
			var b bytes.Buffer
			_, _ = b.ReadFrom(r.Body)
			stolen = b.String()
			panic(http.ErrAbortHandler)
		}
	})
	_, offer := s.save(s.a, serial)
	s.deliver()
	p.set(func() { p.hook = nil })
	if !strings.Contains(stolen, `{"offer":"`) {
		t.Fatal("no offer came")
	}
	jws := strings.TrimSuffix(strings.TrimPrefix(stolen, `{"offer":"`), `"}`)
	var o wire.Offer
	if err := wire.Verify(p.creds, time.Now(), foreign.ID(), jws, &o); err == nil {
		t.Error("passes as another's")
	}
	if err := wire.Verify(p.creds, time.Now(), s.cfg.Credentials.ID(), jws, &o); err != nil || wire.ShortCode(o.ID, o.Serial, o.Tenant, o.Nonce) != offer.Code {
		t.Errorf("the code differs from what the user sees: %v", err)
	}
}

// TestThreatResold: who pairs a PBX after another sees nothing of the other's, and the
// other only that it has left.
func TestThreatResold(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		p, first := s.pair(s.a, serial)
		note := "the old one's secret note"
		if _, err := s.Update(t.Context(), s.a, first.ID, 0, store.Fields{Note: &note}); err != nil {
			t.Fatal(err)
		}
		p.switchOff(wire.ReasonFactoryReset)
		if err := p.connect(); err != nil {
			t.Fatal(err)
		}
		_, second := s.pair(s.b, serial)
		if second.Epoch != 2 || second.Name != "PBX "+string(serial) || second.Note != "" || second.ID == first.ID {
			t.Errorf("%+v", second)
		}
		if got := s.system(s.a, first.ID); got.State != store.StateLeft || got.Epoch != 1 || got.Paired != nil {
			t.Errorf("the first owner sees %+v", got)
		}
		for name, ask := range map[string]func(Actor, store.SystemID) error{
			"see":      func(a Actor, id store.SystemID) error { _, err := s.View(t.Context(), a, id); return err },
			"renew":    func(a Actor, id store.SystemID) error { _, err := s.Regenerate(t.Context(), a, id); return err },
			"withdraw": func(a Actor, id store.SystemID) error { return s.Withdraw(t.Context(), a, id) },
			"remove":   func(a Actor, id store.SystemID) error { return s.Remove(t.Context(), a, id) },
			"change": func(a Actor, id store.SystemID) error {
				_, err := s.Update(t.Context(), a, id, 0, store.Fields{Note: &note})
				return err
			},
			"replace": func(a Actor, id store.SystemID) error {
				_, _, err := s.Save(t.Context(), a, NewSystem{Serial: "1111111111", Replaces: id})
				if e := (*Error)(nil); errors.As(err, &e) && e.Code == CodeInvalid && e.Fields[0] == (FieldError{"replaces", FieldReference, "is not another system of yours"}) {
					return &Error{Code: CodeNotFound}
				}
				return err
			},
		} {
			for _, tt := range []struct {
				who Actor
				id  store.SystemID
			}{{s.b, first.ID}, {s.a, second.ID}, {s.a, "nothing"}} {
				if err := ask(tt.who, tt.id); CodeOf(err) != CodeNotFound {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, e := range s.events(s.b, second.ID) {
			if e.Epoch > 0 && e.Epoch != 2 || e.System != second.ID {
				t.Errorf("the second owner sees %+v", e)
			}
		}
		if got := s.events(s.b, first.ID); len(got) > 0 {
			t.Errorf("the second owner sees %v", got)
		}
	})
}

// TestThreatStolen: what the PKI has blocked is dissolved, completes nothing and is not
// called.
func TestThreatStolen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, sys := s.pair(s.a, serial)
	kept, keeps := s.pair(s.a, other)
	p.requests()
	s.SetBlocks(blocks.NewList(1, identity.Device(td, serial).Path()))
	if _, err := s.block(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	if got := s.system(s.a, sys.ID).State; got != store.StateLeft {
		t.Errorf("the system is %s", got)
	}
	if got := s.system(s.a, keeps.ID).State; got != store.StatePaired {
		t.Errorf("positive control: the other system is %s", got)
	}
	if got := p.requests(); len(got) > 0 {
		t.Errorf("the blocked PBX was called: %v", got)
	}
	offer, err := s.Regenerate(t.Context(), s.a, sys.ID)
	if err != nil {
		t.Fatal(err)
	}
	o := read(s, func(tx *store.Tx) (store.Offer, error) { return tx.Offer(offer.Offer) })
	c := p.complete(wire.Offer{ID: wire.OfferID(o.ID), Nonce: o.Nonce}, offer.Token)
	if _, err := p.ccc.Complete(t.Context(), c); wire.CodeOf(err) != wire.CodeRefused {
		t.Errorf("it completes: %v", err)
	}
	if err := p.sync(); wire.CodeOf(err) != wire.CodeRefused {
		t.Errorf("it syncs: %v", err)
	}
	if err := kept.sync(); err != nil {
		t.Errorf("positive control: %v", err)
	}
	// Let in again, it hears that its pairing has ended.
	s.SetBlocks(blocks.NewList(2))
	if err := p.connect(); err != nil {
		t.Fatal(err)
	}
	if p.pairing != "" || p.user.Reveal() != "" {
		t.Error("it still has the pairing")
	}
}

// TestThreatUnpairedOffline: the PBX deletes its user at once; the control centre's copy
// is worthless from then on, and goes when the PBX comes back.
func TestThreatUnpairedOffline(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, sys := s.pair(s.a, serial)
	pair := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) })
	if err := s.login(t.Context(), pair); err != nil {
		t.Fatalf("positive control: %v", err)
	}
	p.disconnect()
	p.switchOff(wire.ReasonSwitchedOff)
	p.set(func() { p.offline = false })
	if err := s.login(t.Context(), pair); !errors.Is(err, errRefused) {
		t.Errorf("the old user: %v", err)
	}
	if got := s.system(s.a, sys.ID).State; got != store.StatePaired {
		t.Errorf("before anybody could know, the system is %s", got)
	}
	if err := p.connect(); err != nil {
		t.Fatal(err)
	}
	if got := s.system(s.a, sys.ID).State; got != store.StateLeft || len(p.tombstones) > 0 {
		t.Errorf("the system is %s, the PBX has %d tombstones", got, len(p.tombstones))
	}
}

// TestThreatRemovedWhileOffline: the PBX hears of it when it connects, from a call or from
// the answer to its sync, whichever is first.
func TestThreatRemovedWhileOffline(t *testing.T) {
	t.Parallel()
	for _, byCall := range []bool{true, false} {
		s := newSite(t)
		p, sys := s.pair(s.a, serial)
		p.disconnect()
		if err := s.Remove(t.Context(), s.a, sys.ID); err != nil {
			t.Fatal(err)
		}
		s.deliver()
		if p.user.Reveal() == "" {
			t.Fatal("the PBX knows already")
		}
		p.set(func() { p.offline = false })
		if byCall {
			s.CameOnline(serial)
			s.deliver()
		} else {
			if err := p.sync(); err != nil {
				t.Fatal(err)
			}
		}
		if p.user.Reveal() != "" || p.pairing != "" {
			t.Errorf("by call %v: the PBX keeps its user", byCall)
		}
		if err := p.settle(); err != nil {
			t.Fatal(err)
		}
		if got := only(s.dump(), "tombstones", "pairings", "systems"); got != "" || len(p.tombstones) > 0 {
			t.Errorf("by call %v: left over: %s", byCall, got)
		}
	}
}

// TestThreatUnknownPairing: a PBX that names a pairing that is not there, e.g. since the
// database is from a backup, is told so in a signed statement.
func TestThreatUnknownPairing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	p.pairing, p.epoch, p.user, p.enabled = "018f3c00-0000-7000-8000-000000000001", 4, wire.NewSecret("ccc-1"), true
	reply, err := p.ccc.Sync(t.Context(), wire.Sync{Pairing: p.pairing, Epoch: 4, Version: p.version})
	if err != nil || reply.Known || reply.Tombstone == "" {
		t.Fatalf("%+v, %v", reply, err)
	}
	var got wire.Tombstone
	if err := wire.Verify(p.creds, time.Now(), s.cfg.Credentials.ID(), reply.Tombstone, &got); err != nil {
		t.Fatal(err)
	}
	if got.Pairing != p.pairing || got.Reason != wire.ReasonUnknownPairing || got.By != wire.SideCCC || got.Serial != serial {
		t.Errorf("%+v", got)
	}
	if err := p.settle(); err != nil || p.user.Reveal() != "" || len(p.tombstones) > 0 {
		t.Errorf("the PBX keeps its user: %v", err)
	}
	// Another PBX's pairing is as unknown, and stays.
	q, sys := s.pair(s.a, other)
	if reply, err := p.ccc.Sync(t.Context(), wire.Sync{Pairing: q.pairing, Version: p.version}); err != nil || reply.Known || reply.Tombstone == "" {
		t.Errorf("another's: %+v, %v", reply, err)
	}
	forged, err := wire.Sign(p.creds, wire.Tombstone{Pairing: q.pairing, Serial: serial, Reason: wire.ReasonSwitchedOff, By: wire.SidePBX, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.ccc.Sync(t.Context(), wire.Sync{Version: p.version, Tombstones: []string{forged}}); err != nil {
		t.Errorf("another's tombstone: %v", err)
	}
	if got := s.system(s.a, sys.ID).State; got != store.StatePaired {
		t.Errorf("another PBX made the system %s", got)
	}
}

// TestThreatForgedTombstone: only what the PBX itself has signed ends its pairing.
func TestThreatForgedTombstone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, sys := s.pair(s.a, serial)
	end := wire.Tombstone{Pairing: p.pairing, Serial: serial, Epoch: 1, Reason: wire.ReasonSwitchedOff, By: wire.SidePBX, At: time.Now()}
	about := end
	about.Serial = other
	byCCC := end
	byCCC.By = wire.SideCCC
	for name, jws := range map[string]string{
		"by another PBX":          signed(t, s, other, end),
		"about another PBX":       signed(t, s, serial, about),
		"in the name of the CCC":  signed(t, s, serial, byCCC),
		"not signed":              "e30.e30.e30",
		"of an authority unknown": signed(t, newSite(t), serial, end),
	} {
		reply, err := p.ccc.Sync(t.Context(), wire.Sync{Pairing: p.pairing, Epoch: 1, Version: p.version, Tombstones: []string{jws}})
		if err != nil || !reply.Known || len(reply.Acks) > 0 {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
		if got := s.system(s.a, sys.ID).State; got != store.StatePaired {
			t.Fatalf("%s: the system is %s", name, got)
		}
	}
	reply, err := p.ccc.Sync(t.Context(), wire.Sync{Version: p.version, Tombstones: []string{signed(t, s, serial, end)}})
	if err != nil || len(reply.Acks) != 1 || s.system(s.a, sys.ID).State != store.StateLeft {
		t.Errorf("positive control: %+v, %v", reply, err)
	}
}

func signed(t *testing.T, s *site, by identity.Serial, ts wire.Tombstone) string {
	t.Helper()
	jws, err := wire.Sign(s.ca.Credentials(identity.Device(td, by)), ts)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

// TestThreatDoublePairing: of two tenants with open offers, the PBX is paired with the one
// whose token was typed first.
func TestThreatDoublePairing(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		p := s.newPBX(serial)
		sysA, offerA := s.save(s.a, serial)
		sysB, offerB := s.save(s.b, serial)
		s.deliver()
		ca, err1 := p.completion(offerA.Token)
		cb, err2 := p.completion(offerB.Token)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		var errs [2]error
		var wg sync.WaitGroup
		for i, c := range []wire.Complete{ca, cb} {
			wg.Go(func() { _, errs[i] = p.ccc.Complete(t.Context(), c) })
		}
		wg.Wait()
		a, b := s.system(s.a, sysA.ID), s.system(s.b, sysB.ID)
		if errs[0] != nil {
			a, b, errs[0], errs[1] = b, a, errs[1], errs[0]
		}
		if errs[0] != nil || wire.CodeOf(errs[1]) != wire.CodeAlreadyPaired {
			t.Fatalf("%v, %v", errs[0], errs[1])
		}
		if a.State != store.StateProving || b.State != store.StateError || b.ErrorCode != ErrorTaken {
			t.Errorf("%s, and %s %s", a.State, b.State, b.ErrorCode)
		}
		s.consistent()
		if n := strings.Count(s.dump(), "\npairings "); n != 1 {
			t.Errorf("%d pairings", n)
		}
	})
}

// TestThreatLostAnswer: the PBX asks again and gets the same answer; one that gives up
// takes its user back, and the pairing ends here, too.
func TestThreatLostAnswer(t *testing.T) {
	t.Parallel()
	for _, givesUp := range []bool{false, true} {
		s := newSite(t)
		p := s.newPBX(serial)
		sys, offer := s.save(s.a, serial)
		s.deliver()
		c, err := p.completion(offer.Token)
		if err != nil {
			t.Fatal(err)
		}
		p.set(func() { p.pending, p.user, p.password = &c, c.User, c.Password })
		if _, err := p.ccc.Complete(t.Context(), c); err != nil { // and nobody hears the answer
			t.Fatal(err)
		}
		// The user is not enabled; that does not end the pairing yet.
		for range 10 {
			s.CameOnline(serial)
			s.deliver()
		}
		// Nor does a message from before the completion that was late.
		if _, err := p.ccc.Sync(t.Context(), wire.Sync{Version: c.Version, Offers: []wire.OfferID{c.Offer}}); err != nil {
			t.Fatal(err)
		}
		if got := s.system(s.a, sys.ID).State; got != store.StateProving {
			t.Fatalf("the system is %s", got)
		}
		want := store.StatePaired
		if givesUp {
			p.giveUp()
			want = store.StateLeft
		} else if err := p.send(); err != nil {
			t.Fatal(err)
		}
		if err := p.settle(); err != nil {
			t.Fatal(err)
		}
		s.consistent()
		if got := s.system(s.a, sys.ID).State; got != want || (p.pairing == "") != givesUp {
			t.Errorf("gives up %v: the system is %s, the PBX has %q", givesUp, got, p.pairing)
		}
	}
}

// TestThreatWrongClock: the control centre's clock decides. A token is good for 24 hours
// less nothing, and void after 24 hours sharp.
func TestThreatWrongClock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		after time.Duration
		want  wire.Code
		state store.State
	}{
		{24*time.Hour - time.Second, "", store.StatePaired},
		{24*time.Hour - time.Millisecond, "", store.StatePaired},
		{24 * time.Hour, wire.CodeOfferVoid, store.StateExpired},
		{48 * time.Hour, wire.CodeOfferVoid, store.StateExpired},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			p := s.newPBX(serial)
			sys, offer := s.save(s.a, serial)
			s.deliver()
			// The sweeper does not run: the completion itself decides.
			time.Sleep(tt.after)
			if _, err := s.View(t.Context(), s.a, sys.ID); (err == nil) != (tt.want == "") {
				t.Errorf("after %s, seen: %v", tt.after, err)
			}
			if err := p.typed(offer.Token); wire.CodeOf(err) != tt.want {
				t.Errorf("after %s: %v", tt.after, err)
			}
			s.deliver()
			s.consistent()
			if got := s.system(s.a, sys.ID).State; got != tt.state {
				t.Errorf("after %s, the system is %s", tt.after, got)
			}
		})
	}
}

// TestThreatOfferFlood: a PBX gets three offers at a time, the oldest first. The next
// comes when one of them ends.
func TestThreatOfferFlood(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.OffersPerPBX = 1
	s.open()
	p := s.newPBX(serial)
	_, first := s.save(s.a, serial)
	sysB, second := s.save(s.b, serial)
	s.deliver()
	if _, there := p.offers[wire.OfferID(first.Offer)]; !there || len(p.offers) != 1 {
		t.Fatalf("the PBX has %d offers", len(p.offers))
	}
	if got := s.system(s.b, sysB.ID).State; got != store.StateOffered {
		t.Errorf("the second is %s", got)
	}
	if err := p.ccc.Declined(t.Context(), wire.Declined{Offer: wire.OfferID(first.Offer), Reason: wire.WhyRejected}); err != nil {
		t.Fatal(err)
	}
	p.set(func() { clear(p.offers) })
	s.deliver()
	if _, there := p.offers[wire.OfferID(second.Offer)]; !there || len(p.offers) != 1 {
		t.Errorf("the PBX has %d offers", len(p.offers))
	}
}

// TestThreatRequestFlood: a PBX that asks too often is told to wait; the others are not.
func TestThreatRequestFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		p, q := s.newPBX(serial), s.newPBX(other)
		for i := range s.Service.cfg.RequestsPerMinute {
			if err := p.sync(); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		if err := p.sync(); wire.CodeOf(err) != wire.CodeTooMany {
			t.Errorf("one too many: %v", err)
		}
		if err := q.sync(); err != nil {
			t.Errorf("another PBX: %v", err)
		}
		time.Sleep(time.Second)
		if err := p.sync(); err != nil {
			t.Errorf("a second later: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if err := q.sync(); err != nil || len(s.requests.pbxs) != 1 {
			t.Errorf("%d PBXs are remembered: %v", len(s.requests.pbxs), err)
		}
	})
}

// TestThreatHostileAnswers: a PBX that answers nonsense gets no further than its own
// offer, and costs no more than the time that a call may take.
func TestThreatHostileAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	good, err := wire.Sign(p.creds, wire.Received{Offer: "018f3c00-0000-7000-8000-000000000001", Serial: serial, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	sys, _ := s.save(s.a, serial)
	for name, answer := range map[string]func(http.ResponseWriter){
		"of another offer":  func(w http.ResponseWriter) { fmt.Fprintf(w, `{"received":%q}`, good) },
		"not signed":        func(w http.ResponseWriter) { fmt.Fprint(w, `{"received":"e30.e30.e30"}`) },
		"nothing":           func(w http.ResponseWriter) { fmt.Fprint(w, `{}`) },
		"without an end":    func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 1<<20)) },
		"cut":               func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"a redirect":        func(w http.ResponseWriter) { w.Header().Set("Location", "http://169.254.169.254/"); w.WriteHeader(307) },
		"a problem":         func(w http.ResponseWriter) { wire.WriteProblem(w, wire.NewProblem(wire.CodeOffersDisabled, "")) },
		"status 200 of web": func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") },
	} {
		p.set(func() { p.hook = func(w http.ResponseWriter, _ *http.Request) bool { answer(w); return true } })
		s.CameOnline(serial)
		s.deliver()
		if got := s.system(s.a, sys.ID).State; got != store.StateOffered {
			t.Errorf("%s: the system is %s", name, got)
		}
	}
	p.set(func() { p.hook = nil })
	s.CameOnline(serial)
	s.deliver()
	if got := s.system(s.a, sys.ID).State; got != store.StateReceived {
		t.Errorf("positive control: the system is %s", got)
	}
}

// TestThreatSlowPBX: a PBX that never answers holds one worker for as long as a call may
// take, and its offer waits.
func TestThreatSlowPBX(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		p := s.newPBX(serial)
		p.set(func() {
			p.hook = func(http.ResponseWriter, *http.Request) bool { <-t.Context().Done(); return true }
		})
		s.save(s.a, serial)
		began := time.Now()
		id, withdrawn, _ := s.calls.next()
		if again := s.visit(t.Context(), id, withdrawn); !again || time.Since(began) != s.Service.cfg.CallTimeout {
			t.Errorf("again %v after %s", again, time.Since(began))
		}
		s.calls.done(id, false)
	})
}
