package pairing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

var errStop = errors.New("stop")

// run starts the service; the result stops it.
func (s *site) run() (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancelCause(s.t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel(errStop)
		if err := <-ended; !errors.Is(err, errStop) {
			s.t.Errorf("Run: %v", err)
		}
	}
}

// TestRunPairs has the service do by itself what deliver does in other tests.
func TestRunPairs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.run()()
		p := s.newPBX(serial)
		sys, offer := s.save(s.a, serial)
		settle()
		if err := p.typed(offer.Token); err != nil {
			t.Fatal(err)
		}
		settle()
		// The first login may have come before the PBX had the answer.
		if err := p.sync(); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := s.system(s.a, sys.ID).State; got != store.StatePaired {
			t.Errorf("the system is %s", got)
		}
		if err := s.Remove(t.Context(), s.a, sys.ID); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := only(s.dump(), "tombstones"); got != "" || p.pairing != "" {
			t.Errorf("left over: %s, the PBX has %q", got, p.pairing)
		}
		if n := s.calls.len(); n != 0 {
			t.Errorf("%d PBXs are queued", n)
		}
	})
}

// settle waits until everybody waits for the clock, and lets the store try again what was
// in its own way, which takes less than a call that failed waits.
func settle() {
	synctest.Wait()
	time.Sleep(300 * time.Millisecond)
	synctest.Wait()
}

// TestRunExpires: offers end when their time is over, each at its own, without much
// looking in between.
func TestRunExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(s *site) { s.cfg.Online = func(of identity.Serial) bool { return of == serial } })
		defer s.run()()
		p := s.newPBX(serial)
		first, offer1 := s.save(s.a, serial)
		time.Sleep(90 * time.Minute)
		second, offer2 := s.save(s.a, other)
		settle()
		s.steps()
		// An offer's end is the store's: saving it may have taken a while.
		before := func(end time.Time) { time.Sleep(time.Until(end) - time.Millisecond) }
		after := func() { time.Sleep(time.Millisecond); settle() }
		states := func() string {
			return fmt.Sprint(s.system(s.a, first.ID).State, " ", s.system(s.a, second.ID).State)
		}
		before(offer1.Expires)
		if got := states(); got != "received offered" {
			t.Errorf("before the end: %s", got)
		}
		after()
		if got := states(); got != "expired offered" {
			t.Errorf("at the end: %s", got)
		}
		if got := s.steps(); !slices.Equal(got, []string{"a:expired"}) {
			t.Errorf("told %v", got)
		}
		s.consistent()
		before(offer2.Expires)
		if got := states(); got != "expired offered" {
			t.Errorf("before the end of the second: %s", got)
		}
		after()
		if got := states(); got != "expired expired" {
			t.Errorf("at the end of the second: %s", got)
		}
		if got := read(s, func(tx *store.Tx) (store.Offer, error) { return tx.Offer(offer2.Offer) }); got.State != store.OfferExpired || len(got.TokenSealed)+len(got.Nonce) > 0 {
			t.Errorf("%+v", got)
		}
		// The PBX, which has a timer of its own, forgets it at its next sync at the latest.
		if err := p.sync(); err != nil || len(p.offers) != 0 {
			t.Errorf("the PBX has %d offers: %v", len(p.offers), err)
		}
		n := s.faults.count.Load()
		time.Sleep(24 * time.Hour)
		if n = s.faults.count.Load() - n; n > 24 {
			t.Errorf("%d transactions on a day on which nothing happens", n)
		}
	})
}

// TestRunRetries: what fails is tried again, less and less often, and at once when the PBX
// connects.
func TestRunRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		var calls atomic.Int64
		p := s.newPBX(serial)
		p.set(func() {
			p.hook = func(w http.ResponseWriter, _ *http.Request) bool { calls.Add(1); w.WriteHeader(503); return true }
		})
		defer s.run()()
		settle() // it has looked at what waits; else it may find the offer, too
		sys, _ := s.save(s.a, serial)
		settle()
		if calls.Load() != 1 {
			t.Fatalf("%d calls at first", calls.Load())
		}
		time.Sleep(time.Minute)
		if n := calls.Load(); n < 4 || n > 12 {
			t.Errorf("%d calls in the first minute", n)
		}
		time.Sleep(time.Hour)
		calls.Store(0)
		time.Sleep(5 * time.Hour)
		if n := calls.Load(); n < 29 || n > 61 {
			t.Errorf("%d calls in 5 hours, with 5 to 10 minutes in between", n)
		}
		p.set(func() { p.hook = nil })
		s.CameOnline(serial)
		settle()
		if got := s.system(s.a, sys.ID).State; got != store.StateReceived {
			t.Errorf("the system is %s", got)
		}
		if n := s.calls.len(); n != 0 {
			t.Errorf("%d PBXs are queued", n)
		}
	})
}

// TestRunBacksOffWhatCannotBeStored: where the end of a pairing cannot be written, the PBX
// is called less and less often, too.
func TestRunBacksOffWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Bool
		var tried atomic.Int64
		s := newSite(t)
		update := s.cfg.update
		s.cfg.update = func(ctx context.Context, f func(*store.Tx) error) error {
			return update(ctx, func(tx *store.Tx) error {
				if err := f(tx); err != nil || !failing.Load() {
					return err
				}
				if tried.Add(1) > 100 {
					t.Error("a hundred tries") // and does not go on for ever
					failing.Store(false)
				}
				return errFault
			})
		}
		s.open()
		p := s.newPBX(serial)
		sys, offer := s.save(s.a, serial)
		s.deliver()
		if err := p.typed(offer.Token); err != nil {
			t.Fatal(err)
		}
		if err := p.sync(); err != nil { // it has the answer, so that refusals count
			t.Fatal(err)
		}
		p.set(func() {
			p.hook = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true }
		})
		defer s.run()()
		settle() // the first refusal of three; and what the others of Run store is stored
		failing.Store(true)
		time.Sleep(10 * time.Minute)
		if n := tried.Load(); n < 4 || n > 12 {
			t.Errorf("%d tries in 10 minutes", n)
		}
		p.set(func() { p.hook = nil })
		failing.Store(false)
		s.CameOnline(serial)
		settle()
		if got := s.system(s.a, sys.ID).State; got != store.StatePaired {
			t.Errorf("the system is %s", got)
		}
	})
}

// TestRunWaitsForPresence: a PBX that is not connected is not called, and gets all when it
// connects.
func TestRunWaitsForPresence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var online atomic.Bool
		var dialled atomic.Int64
		s := newSite(t, func(s *site) {
			s.cfg.Online = func(identity.Serial) bool { return online.Load() }
			dial := s.cfg.Dial
			s.cfg.Dial = func(ctx context.Context, serial identity.Serial, service string) (net.Conn, error) {
				dialled.Add(1)
				return dial(ctx, serial, service)
			}
		})
		defer s.run()()
		s.newPBX(serial)
		sys, _ := s.save(s.a, serial)
		time.Sleep(time.Hour)
		if n := dialled.Load(); n != 0 || s.calls.len() != 0 {
			t.Errorf("%d calls to a PBX that is not connected, %d queued", n, s.calls.len())
		}
		online.Store(true)
		s.CameOnline(serial)
		settle()
		if got := s.system(s.a, sys.ID).State; got != store.StateReceived || dialled.Load() != 1 {
			t.Errorf("the system is %s after %d calls", got, dialled.Load())
		}
		// The next one is missed, and found.
		online.Store(false)
		if _, err := s.Regenerate(t.Context(), s.a, sys.ID); err != nil {
			t.Fatal(err)
		}
		settle()
		online.Store(true)
		time.Sleep(time.Hour)
		if got := s.system(s.a, sys.ID).State; got != store.StateOffered {
			t.Errorf("the system is %s", got)
		}
		s.Resync()
		settle()
		if got := s.system(s.a, sys.ID).State; got != store.StateReceived {
			t.Errorf("the system is %s", got)
		}
	})
}

// TestRunTakesUp: a process that starts finds all that waits: an offer, a pairing that is
// not proved, a tombstone.
func TestRunTakesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		gone, sysGone := s.pair(s.a, "0000000001")
		unproved := s.newPBX("0000000002")
		sysUnproved, offer := s.save(s.a, "0000000002")
		s.deliver()
		c, err := unproved.completion(offer.Token)
		if err != nil {
			t.Fatal(err)
		}
		unproved.set(func() { unproved.pending, unproved.user, unproved.password = &c, c.User, c.Password })
		if err := unproved.send(); err != nil {
			t.Fatal(err)
		}
		gone.disconnect()
		if err := s.Remove(t.Context(), s.a, sysGone.ID); err != nil {
			t.Fatal(err)
		}
		s.newPBX("0000000003")
		sysOffered, _ := s.save(s.a, "0000000003")
		gone.set(func() { gone.offline = false })

		s.open() // and nothing of before is queued
		defer s.run()()
		settle()
		if a, b := s.system(s.a, sysUnproved.ID).State, s.system(s.a, sysOffered.ID).State; a != store.StatePaired || b != store.StateReceived || gone.pairing != "" {
			t.Errorf("%s, %s, %q", a, b, gone.pairing)
		}
	})
}

// TestRunFollowsBlocks ends the pairings of blocked PBXs, also when the database fails at
// first.
func TestRunFollowsBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		_, sys := s.pair(s.a, serial)
		_, kept := s.pair(s.a, other)
		defer s.run()()
		settle()
		s.faults.set(1, faultBefore)
		s.SetBlocks(blocks.NewList(1, identity.Device(td, serial).Path(), identity.Device(td, "5555555555").Path()))
		settle()
		if got := s.system(s.a, sys.ID).State; got != store.StatePaired || !strings.Contains(s.logs.String(), "end blocked pairings") {
			t.Errorf("with a database that fails, the system is %s", got)
		}
		time.Sleep(2 * time.Second)
		settle()
		if got := s.system(s.a, sys.ID).State; got != store.StateLeft {
			t.Errorf("the system is %s", got)
		}
		if got := s.system(s.a, kept.ID).State; got != store.StatePaired {
			t.Errorf("the other system is %s", got)
		}
	})
}

// TestRunIsBounded: many PBXs at once are called a few at a time, at the pace that is set.
func TestRunIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const pbxs = 60
		var now, most atomic.Int64
		s := newSite(t, func(s *site) {
			s.cfg.Calls, s.cfg.CallsPerSecond, s.cfg.OffersPerHour = 8, 10, 1000
			dial := s.cfg.Dial
			s.cfg.Dial = func(ctx context.Context, serial identity.Serial, service string) (net.Conn, error) {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(100 * time.Millisecond)
				defer now.Add(-1)
				return dial(ctx, serial, service)
			}
		})
		for i := range pbxs {
			serial := identity.Serial(fmt.Sprintf("%010d", i))
			s.newPBX(serial)
			s.save(s.a, serial)
		}
		began := time.Now()
		defer s.run()()
		for s.calls.len() > 0 {
			time.Sleep(50 * time.Millisecond)
		}
		took := time.Since(began)
		if most.Load() > 8 || most.Load() < 2 {
			t.Errorf("%d calls at once", most.Load())
		}
		if want := (pbxs - 10) * time.Second / 10; took < want || took > want+2*time.Second {
			t.Errorf("%d PBXs in %s, want about %s", pbxs, took, want)
		}
		if n := strings.Count(s.dump(), "state=received"); n != 2*pbxs {
			t.Errorf("%d lines of systems and offers that are received", n)
		}
	})
}

// TestRunBringsNoEndedOffer: an offer that ends while its call waits is not brought.
func TestRunBringsNoEndedOffer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *site, *pbx, store.SystemID, OfferView){
		"withdrawn": func(t *testing.T, s *site, _ *pbx, sys store.SystemID, _ OfferView) {
			if err := s.Withdraw(t.Context(), s.a, sys); err != nil {
				t.Fatal(err)
			}
		},
		"removed": func(t *testing.T, s *site, _ *pbx, sys store.SystemID, _ OfferView) {
			if err := s.Remove(t.Context(), s.a, sys); err != nil {
				t.Fatal(err)
			}
		},
		"received": func(t *testing.T, s *site, p *pbx, _ store.SystemID, o OfferView) {
			if _, err := p.ccc.Sync(t.Context(), wire.Sync{Version: p.version, Offers: []wire.OfferID{wire.OfferID(o.Offer)}}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, func(s *site) { s.cfg.CallsPerSecond = 0.1 })
				p, q := s.newPBX(serial), s.newPBX(other)
				defer s.run()()
				settle()
				s.save(s.b, other)
				settle()
				if got := q.requests(); !slices.Equal(got, []string{wire.PathOffer}) {
					t.Fatalf("positive control: the other PBX was asked %v", got)
				}
				sys, offer := s.save(s.a, serial)
				settle() // its call waits
				end(t, s, p, sys.ID, offer)
				time.Sleep(time.Minute)
				if got := p.requests(); slices.Contains(got, wire.PathOffer) {
					t.Errorf("the PBX was asked %v", got)
				}
				if strings.Contains(s.logs.String(), `"@level":"warn"`) {
					t.Error(s.logs.String())
				}
			})
		})
	}
}

// TestOfferOfTheLastSecond: an offer that nobody could type any more is not brought.
func TestOfferOfTheLastSecond(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration][]string{time.Minute: {wire.PathOffer}, time.Second / 2: nil} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			p := s.newPBX(serial)
			_, offer := s.save(s.a, serial)
			time.Sleep(time.Until(offer.Expires) - left)
			s.deliver()
			if got := p.requests(); !slices.Equal(got, want) {
				t.Errorf("with %s left, the PBX was asked %v", left, got)
			}
		})
	}
}

// TestRunForgetsTombstones: a PBX that never comes back is given up after a while; it is
// told all the same when it does.
func TestRunForgetsTombstones(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Not a year: certificates do not last so long.
		s := newSite(t, func(s *site) { s.cfg.TombstoneKeep = 24 * time.Hour })
		p, sys := s.pair(s.a, serial)
		p.disconnect()
		if err := s.Remove(t.Context(), s.a, sys.ID); err != nil {
			t.Fatal(err)
		}
		defer s.run()()
		time.Sleep(24*time.Hour - time.Minute)
		if got := only(s.dump(), "tombstones"); got == "" {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Hour)
		if got := only(s.dump(), "tombstones"); got != "" {
			t.Errorf("not forgotten: %s", got)
		}
		p.set(func() { p.offline = false })
		if err := p.sync(); err != nil || p.pairing != "" {
			t.Errorf("the PBX has %q: %v", p.pairing, err)
		}
		if len(p.tombstones) != 1 || p.tombstones[0].Reason != wire.ReasonUnknownPairing {
			t.Errorf("%+v", p.tombstones)
		}
	})
}

// TestRunForgetsEvents: the history of a system goes back as far as it is to.
func TestRunForgetsEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(s *site) { s.cfg.EventsKeep = 24 * time.Hour })
		s.pair(s.a, serial)
		defer s.run()()
		time.Sleep(24*time.Hour - time.Minute)
		if got := only(s.dump(), "events"); got == "" {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Hour)
		if got := only(s.dump(), "events"); got != "" {
			t.Errorf("not forgotten: %s", got)
		}
	})
}

func TestBackOff(t *testing.T) {
	t.Parallel()
	q := newQueue(Limits{RetryMin: time.Second, RetryMax: 10 * time.Second})
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 5: 10 * time.Second, 1000: 10 * time.Second} {
		for range 100 {
			if got := q.backOff(failures); got < want/2 || got > want {
				t.Fatalf("after %d failures: %s, want %s to %s", failures, got, want/2, want)
			}
		}
	}
}
