package pairing

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The tests of this file are the threats around the end of a pairing, and of floods; see
// threats_test.go.

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
	if err := s.login(t.Context(), pair); !errors.Is(err, pbxweb.ErrRefused) {
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

// TestThreatTombstoneSaysAnything: a PBX's tombstone ends its pairing whatever the reason
// in it, before and after the login was proved.
func TestThreatTombstoneSaysAnything(t *testing.T) {
	t.Parallel()
	for _, proved := range []bool{false, true} {
		for _, why := range []wire.Reason{wire.ReasonProofFailed, wire.ReasonRevoked, wire.ReasonSwitchedOff} {
			s := newSite(t)
			p := s.newPBX(serial)
			sys, offer := s.save(s.a, serial)
			s.deliver()
			if err := p.typed(offer.Token); err != nil {
				t.Fatal(err)
			}
			if proved {
				s.deliver()
			}
			if got := s.system(s.a, sys.ID).State; (got == store.StatePaired) != proved {
				t.Fatalf("positive control: the system is %s", got)
			}
			p.switchOff(why)
			if err := p.settle(); err != nil {
				t.Errorf("%s, proved %v: %v", why, proved, err)
			}
			s.consistent()
			if got := s.system(s.a, sys.ID); got.State != store.StateLeft || len(p.tombstones) > 0 {
				t.Errorf("%s, proved %v: the system is %s, the PBX has %d tombstones", why, proved, got.State, len(p.tombstones))
			}
		}
	}
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
			time.Sleep(time.Until(offer.Created.Add(tt.after)))
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
