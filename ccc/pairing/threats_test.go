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
		wire.WhyRejected: {store.StateDeclined, store.OfferDeclined, "a:declined rejected"},
		wire.WhyReported: {store.StateDeclined, store.OfferDeclined, "a:declined reported"},
		wire.WhyTries:    {store.StateError, store.OfferVoid, "a:failed tries"},
		wire.WhyExpired:  {store.StateExpired, store.OfferExpired, "a:expired expired"},
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
// the same transactions, and the same is told, whether it is free, paired by another tenant, offline, blocked,
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
			s.steps()
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
			got := fmt.Sprintf("%d transactions, told %v, %+v, %s %s %d %d %d\n%s", transactions, s.steps(), sys, offer.State, offer.Expires.Sub(offer.Created),
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
		// What differs is known to the service only, and comes later. The user hears of it
		// where the PBX has taken the offer.
		s.deliver()
		if got := s.steps(); !slices.Equal(got, []string{"a:received"}) {
			t.Errorf("told %v", got)
		}
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
	if fresh.Offer == old.Offer || fresh.Token.Reveal() == old.Token.Reveal() {
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
