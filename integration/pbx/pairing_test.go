package pbx

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPairAndDissolve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		before := b.users()
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		s := b.State()
		have, _ := s.Offer("offer-1")
		if s.Phase() != state.PhaseOffered || have.Tenant != "Muster GmbH" || !slices.Equal(b.users(), before) ||
			have.Code != wire.ShortCode(o.ID, serial, o.Tenant, o.Nonce) {
			t.Errorf("after the offer: %+v", s)
		}
		if err := b.Enable(t.Context(), o.Token.Reveal(), ""); err != nil {
			t.Fatal(err)
		}
		s = b.State()
		if s.Phase() != state.PhasePaired || s.Pairing.ID != "pairing-1" || s.Pairing.Tenant != "Muster GmbH" || s.Pairing.Epoch != 1 {
			t.Errorf("paired: %+v", s.Pairing)
		}
		// The control centre signs in with what it got.
		cloud := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		if w := b.ask("GET", "/api/v1/system", "", cloud); w.Code != http.StatusOK {
			t.Errorf("system: %d", w.Code)
		}
		synctest.Wait()
		if n := len(b.ccc.syncs); n == 0 || b.ccc.syncs[n-1].Pairing != "pairing-1" || b.ccc.pairing == nil {
			t.Errorf("syncs %+v", b.ccc.syncs)
		}

		pass, user := b.ccc.pairing.pass, b.ccc.pairing.user
		if err := b.Dissolve(); err != nil {
			t.Fatal(err)
		}
		if got := b.State(); got.Phase() != state.PhaseUnpaired || got.Switches.CCC || !slices.Equal(b.users(), before) {
			t.Errorf("dissolved: %+v", got)
		}
		if w := b.ask("GET", "/api/v1/system", "", cloud); w.Code != http.StatusUnauthorized {
			t.Errorf("the session lives: %d", w.Code)
		}
		if w := b.ask("POST", "/api/v1/login", "", basic(user, pass)); w.Code != http.StatusUnauthorized {
			t.Errorf("the user lives: %d", w.Code)
		}
		synctest.Wait()
		if len(b.ccc.tombs) != 1 || b.ccc.tombs[0].Reason != wire.ReasonSwitchedOff || b.ccc.tombs[0].Epoch != 1 || len(b.State().Tombstones) != 0 {
			t.Errorf("told %+v, left %+v", b.ccc.tombs, b.State().Tombstones)
		}
	})
}

// TestAnswerIsLost: the same completion comes again until it is acknowledged.
func TestAnswerIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.ccc.loseAcks = 3
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		err := b.Enable(t.Context(), o.Token.Reveal(), o.ID)
		if err != nil && !errors.Is(err, ErrPending) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if b.State().Phase() != state.PhasePaired || b.ccc.epoch != 1 || b.ccc.count("complete") < 2 || b.ccc.pairing == nil {
			t.Errorf("%s after %d completions, epoch %d", b.State().Phase(), b.ccc.count("complete"), b.ccc.epoch)
		}
	})
}

// TestNobodyAnswers: after ten minutes the user is removed, and what the control centre
// made of him is lost.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		before := b.users()
		b.ccc.loseAcks = 1 << 30
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		if err := b.Enable(t.Context(), o.Token.Reveal(), o.ID); !errors.Is(err, ErrPending) {
			t.Fatalf("enable: %v", err)
		}
		s := b.State()
		if s.Phase() != state.PhaseCompleting || len(s.Users) != len(before)+1 || !s.Users[len(before)].Disabled {
			t.Fatalf("completing: %+v", s)
		}
		if w := b.ask("POST", "/api/v1/login", "", basic(b.ccc.pairing.user, b.ccc.pairing.pass)); w.Code != http.StatusUnauthorized {
			t.Errorf("a user who is not acknowledged signs in: %d", w.Code)
		}
		if err := b.Enable(t.Context(), o.Token.Reveal(), o.ID); !errors.Is(err, state.ErrCompleting) {
			t.Errorf("typed twice: %v", err)
		}
		time.Sleep(10*time.Minute - 20*time.Second)
		synctest.Wait()
		if b.State().Phase() != state.PhaseCompleting {
			t.Error("given up too early")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		// The offer is used as far as the control centre is concerned.
		if got := b.State(); got.Phase() != state.PhaseUnpaired || !slices.Equal(b.users(), before) {
			t.Errorf("after ten minutes: %s, %v", got.Phase(), b.users())
		}
		if b.ccc.pairing != nil {
			t.Error("the control centre still believes in the pairing")
		}
	})
}

// TestRestartWhileCompleting: the user does not outlive the process.
func TestRestartWhileCompleting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		before := b.users()
		b.ccc.loseAcks = 1 << 30
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		if err := b.Enable(t.Context(), o.Token.Reveal(), o.ID); !errors.Is(err, ErrPending) {
			t.Fatal(err)
		}
		b.restart(t)
		synctest.Wait()
		if b.State().Phase() == state.PhaseCompleting || !slices.Equal(b.users(), before) || b.ccc.pairing != nil {
			t.Errorf("after the restart: %+v, the control centre has %+v", b.State(), b.ccc.pairing)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, code := range []wire.Code{wire.CodeOfferVoid, wire.CodeAlreadyPaired, wire.CodeRefused, wire.CodeBadRequest} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				before := b.users()
				b.ccc.refuse = wire.NewProblem(code, "")
				o := b.ccc.offer("offer-1")
				if err := b.ccc.deliver(b.PBX, o); err != nil {
					t.Fatal(err)
				}
				if err := b.Enable(t.Context(), o.Token.Reveal(), o.ID); !errors.Is(err, ErrRefused) {
					t.Errorf("enable: %v", err)
				}
				if b.State().Phase() != state.PhaseUnpaired || !slices.Equal(b.users(), before) || b.ccc.count("complete") != 1 {
					t.Errorf("%s, %v, %d completions", b.State().Phase(), b.users(), b.ccc.count("complete"))
				}
				synctest.Wait()
				if want := []wire.Declined{{Offer: "offer-1", Reason: wire.WhyTries}}; !slices.Equal(b.ccc.declined, want) {
					t.Errorf("told %+v, want %+v", b.ccc.declined, want)
				}
			})
		})
	}
}

func TestWrongTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		// Typing errors cost no try, but time.
		if err := b.Enable(t.Context(), "ABC", ""); !errors.Is(err, token.ErrLength) {
			t.Errorf("too short: %v", err)
		}
		if err := b.Enable(t.Context(), "ABC", ""); !errors.Is(err, ErrTypos) {
			t.Errorf("at once again: %v", err)
		}
		time.Sleep(time.Second)
		wrong := []byte(o.Token.Reveal())
		wrong[0] = token.Alphabet[(slices.Index([]byte(token.Alphabet), wrong[0])+1)%32]
		if err := b.Enable(t.Context(), string(wrong), ""); !errors.Is(err, token.ErrCheck) {
			t.Errorf("one character is wrong: %v", err)
		}
		if have, _ := b.State().Offer("offer-1"); have.Tries != 0 {
			t.Errorf("typing errors cost %d tries", have.Tries)
		}
		for left := state.MaxTries - 1; left >= 0; left-- {
			err := b.Enable(t.Context(), token.New().Reveal(), "")
			if w, ok := errors.AsType[*WrongTokenError](err); !ok || w.Left != left {
				t.Errorf("%d left: %v", left, err)
			}
		}
		if err := b.Enable(t.Context(), o.Token.Reveal(), ""); !errors.Is(err, state.ErrUnknownOffer) {
			t.Errorf("the right token after the last try: %v", err)
		}
		synctest.Wait()
		if !slices.Equal(b.ccc.declined, []wire.Declined{{Offer: "offer-1", Reason: wire.WhyTries}}) || len(b.State().Declined) != 0 {
			t.Errorf("told %+v, left %+v", b.ccc.declined, b.State().Declined)
		}
	})
}

func TestTyposAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := newTypos()
		for range 20 {
			if !limit.allow() {
				t.Fatal("refused within twenty")
			}
			time.Sleep(time.Second)
		}
		if limit.allow() {
			t.Error("the 21st within an hour")
		}
	})
}

// TestTokenOfAnother: with an offer named, only its token counts.
func TestTokenOfAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		a, c := b.ccc.offer("offer-a"), b.ccc.offer("offer-c")
		for _, o := range []*fakeOffer{a, c} {
			if err := b.ccc.deliver(b.PBX, o); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Enable(t.Context(), a.Token.Reveal(), "offer-c"); !errors.Is(err, ErrWrongToken) {
			t.Errorf("the token of another offer: %v", err)
		}
		if have, _ := b.State().Offer("offer-a"); have.Tries != 0 {
			t.Error("the other offer lost a try")
		}
		if err := b.Enable(t.Context(), a.Token.Reveal(), ""); err != nil {
			t.Errorf("without a name: %v", err)
		}
		synctest.Wait()
		if !slices.Contains(b.ccc.declined, wire.Declined{Offer: "offer-c", Reason: wire.WhyRejected}) {
			t.Errorf("declined %+v", b.ccc.declined)
		}
	})
}

func TestOffersThatAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		ca := b.ccc.ca
		send := func(o *fakeOffer) wire.Code { return wire.CodeOf(b.ccc.deliver(b.PBX, o)) }
		if code := send(b.ccc.offer("other", func(o *wire.Offer) { o.Serial = "9999999999" })); code != wire.CodeNotForUs {
			t.Errorf("for another serial: %q", code)
		}
		good := b.ccc.offer("good")
		for name, by := range map[string]identity.ID{"service": identity.Service(td, "ara"), "device": identity.Device(td, serial)} {
			jws, err := wire.Sign(ca.Credentials(by), good.Offer)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.ccc.client(b.PBX).Offer(t.Context(), jws); wire.CodeOf(err) != wire.CodeBadSignature {
				t.Errorf("signed by a %s: %v", name, err)
			}
		}
		jws := b.ccc.sign(good.Offer)
		for _, by := range []identity.ID{{}, identity.Service(td, "ara"), identity.Device(td, "0000000001"), identity.Service("other.test", "ccc")} {
			client := wire.PBX{HTTP: &http.Client{Transport: handlerTransport{b.pairing, by}}}
			if _, err := client.Offer(t.Context(), jws); wire.CodeOf(err) != wire.CodeRefused {
				t.Errorf("called by %q: %v", by, err)
			}
		}
		if b.State().Phase() != state.PhaseUnpaired {
			t.Fatal("an offer that was refused is pending")
		}
		if code := send(good); code != "" {
			t.Fatalf("the good one: %q", code)
		}
		if code := send(good); code != "" {
			t.Errorf("the good one again: %q", code)
		}
		for _, id := range []wire.OfferID{"second", "third"} {
			if code := send(b.ccc.offer(id)); code != "" {
				t.Errorf("%s: %q", id, code)
			}
		}
		if code := send(b.ccc.offer("fourth")); code != wire.CodeTooManyOffers {
			t.Errorf("a fourth: %q", code)
		}
		if err := b.ccc.client(b.PBX).Withdraw(t.Context(), "third"); err != nil {
			t.Error(err)
		}
		if err := b.ccc.client(b.PBX).Withdraw(t.Context(), "third"); err != nil {
			t.Errorf("again: %v", err)
		}
		if err := b.setSwitches(replace(state.Switches{})); err != nil {
			t.Fatal(err)
		}
		if code := send(b.ccc.offer("fifth")); code != wire.CodeOffersDisabled {
			t.Errorf("with offers off: %q", code)
		}
		if err := b.Enable(t.Context(), good.Token.Reveal(), "good"); err != nil {
			t.Fatal(err)
		}
		if code := send(b.ccc.offer("sixth")); code != wire.CodeAlreadyPaired {
			t.Errorf("while paired: %q", code)
		}
	})
}

// TestOfferExpires by the time since it came, whatever the clock.
func TestOfferExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		o := b.ccc.offer("offer-1", func(o *wire.Offer) {
			// This control centre's clock is years ahead.
			o.IssuedAt = o.IssuedAt.AddDate(5, 0, 0)
			o.ExpiresIn = 10 * time.Minute
			o.ExpiresAt = o.IssuedAt.Add(o.ExpiresIn)
		})
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute - time.Nanosecond)
		synctest.Wait()
		if b.State().Phase() != state.PhaseOffered {
			t.Error("expired too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if b.State().Phase() != state.PhaseUnpaired {
			t.Error("not expired")
		}
		if err := b.Enable(t.Context(), o.Token.Reveal(), ""); !errors.Is(err, state.ErrUnknownOffer) {
			t.Errorf("its token: %v", err)
		}
		if !slices.Equal(b.ccc.declined, []wire.Declined{{Offer: "offer-1", Reason: wire.WhyExpired}}) {
			t.Errorf("declined %+v", b.ccc.declined)
		}
	})
}

// TestOfflineSwitchOff: the tombstone waits for the next connection, also over a
// restart.
func TestOfflineSwitchOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		synctest.Wait()
		b.ccc.set(func() { b.ccc.down = true })
		if err := b.Dissolve(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if b.State().Phase() != state.PhaseUnpaired || len(b.State().Tombstones) != 1 || len(b.ccc.tombs) != 0 || b.ccc.pairing == nil {
			t.Fatalf("offline: %+v", b.State())
		}
		b.restart(t)
		time.Sleep(time.Hour)
		b.ccc.set(func() { b.ccc.down = false })
		time.Sleep(b.cfg.Limits.RetryMax + 6*time.Minute)
		synctest.Wait()
		if len(b.ccc.tombs) != 1 || b.ccc.tombs[0].Reason != wire.ReasonSwitchedOff || b.ccc.pairing != nil || len(b.State().Tombstones) != 0 {
			t.Errorf("told %+v, left %+v", b.ccc.tombs, b.State().Tombstones)
		}
	})
}

// TestTriggers: whatever ends a pairing, the end is the same.
func TestTriggers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reason  wire.Reason // that the control centre is told
		trigger func(*testing.T, *box)
	}{
		"switched off": {wire.ReasonSwitchedOff, func(t *testing.T, b *box) {
			admin := b.logIn(t, "admin", first)
			if w := b.ask("POST", "/api/v1/ccc/disable", "", admin); w.Code != http.StatusOK {
				t.Errorf("disable: %d %s", w.Code, w.Body)
			}
		}},
		"switch": {wire.ReasonSwitchedOff, func(t *testing.T, b *box) {
			admin := b.logIn(t, "admin", first)
			if w := b.ask("PUT", "/api/v1/switches", `{"ccc":false}`, admin); w.Code != http.StatusOK {
				t.Errorf("switches: %d %s", w.Code, w.Body)
			}
		}},
		"switched off offline": {wire.ReasonSwitchedOff, func(t *testing.T, b *box) {
			b.ccc.set(func() { b.ccc.down = true })
			if err := b.Dissolve(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
			b.ccc.set(func() { b.ccc.down = false })
			time.Sleep(time.Hour)
		}},
		"removed": {wire.ReasonRemoved, func(t *testing.T, b *box) {
			tomb := wire.Tombstone{Pairing: "pairing-1", Serial: serial, Epoch: 1, Reason: wire.ReasonRemoved, By: wire.SideCCC, At: time.Now().UTC()}
			jws, err := b.ccc.client(b.PBX).Dissolve(t.Context(), b.ccc.sign(tomb))
			if err != nil {
				t.Fatal(err)
			}
			var got wire.Tombstone
			if err := wire.Verify(b.ccc.creds, time.Now(), identity.Device(td, serial), jws, &got); err != nil {
				t.Error(err)
			}
			if got.Pairing != tomb.Pairing || got.By != wire.SidePBX || got.Reason != wire.ReasonRemoved {
				t.Errorf("the PBX's tombstone: %+v", got)
			}
		}},
		"removed while offline": {wire.ReasonUnknownPairing, func(t *testing.T, b *box) {
			b.ccc.set(func() { b.ccc.pairing = nil })
			time.Sleep(2 * time.Hour) // until the next sync
		}},
		"factory reset": {wire.ReasonFactoryReset, func(t *testing.T, b *box) {
			admin := b.logIn(t, "admin", first)
			if w := b.ask("POST", "/api/v1/factory-reset", `{"password":"`+first+`"}`, admin); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "first_password") {
				t.Errorf("reset: %d %s", w.Code, w.Body)
			}
		}},
		"revoked": {wire.ReasonRevoked, func(_ *testing.T, b *box) {
			b.tunnelChanged(slotEnded(1105))
		}},
		"without contact": {wire.ReasonExpiredContact, func(t *testing.T, b *box) {
			shortContact(t, b)
			b.ccc.set(func() { b.ccc.down = true })
			time.Sleep(10*24*time.Hour + time.Hour)
			b.ccc.set(func() { b.ccc.down = false })
			time.Sleep(time.Hour)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				before := b.users()
				o := b.pair(t)
				synctest.Wait()
				user, pass := b.ccc.pairing.user, b.ccc.pairing.pass
				cloud := b.logIn(t, user, pass)
				tt.trigger(t, b)
				synctest.Wait()
				s := b.State()
				if s.Phase() != state.PhaseUnpaired || s.Switches.CCC || !slices.Equal(b.users(), before) || len(s.Offers) != 0 || len(s.Tombstones) != 0 {
					t.Errorf("the end: %+v", s)
				}
				if b.ccc.pairing != nil || len(b.ccc.tombs) == 0 || b.ccc.tombs[0].Reason != tt.reason || b.ccc.tombs[0].Pairing != "pairing-1" {
					t.Errorf("the control centre has %+v and was told %+v", b.ccc.pairing, b.ccc.tombs)
				}
				if w := b.ask("POST", "/api/v1/login", "", basic(user, pass)); w.Code != http.StatusUnauthorized {
					t.Errorf("old credentials: %d", w.Code)
				}
				if w := b.ask("GET", "/api/v1/system", "", cloud); w.Code != http.StatusUnauthorized {
					t.Errorf("old session: %d", w.Code)
				}
				if err := b.Enable(t.Context(), o.Token.Reveal(), ""); !errors.Is(err, state.ErrUnknownOffer) {
					t.Errorf("the old token: %v", err)
				}
				// A new pairing needs everything anew, and gets other names.
				b.pair(t)
				if b.ccc.pairing.user == user || b.ccc.pairing.pass == pass || b.State().Pairing.Epoch != 2 {
					t.Errorf("the next pairing: %+v", b.State().Pairing)
				}
			})
		})
	}
}

// shortContact sets the days without contact to 10, which the test's certificates
// outlive.
func shortContact(t *testing.T, b *box) {
	t.Helper()
	set := b.State().Settings
	if set.ContactDays != 30 {
		t.Errorf("the default is %d days", set.ContactDays)
	}
	set.ContactDays = 10
	if err := b.update(func(s *state.State) error { s.Settings = set; return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestContactKeeps: a PBX that hears of the control centre stays paired.
func TestContactKeeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		shortContact(t, b)
		b.ccc.set(func() { b.ccc.down = true })
		for range 2 {
			time.Sleep(9 * 24 * time.Hour)
			b.ccc.set(func() { b.ccc.down = false })
			time.Sleep(2 * time.Hour)
			b.ccc.set(func() { b.ccc.down = true })
		}
		if b.State().Phase() != state.PhasePaired {
			t.Error("dissolved in spite of contact")
		}
		if since := time.Since(b.State().Pairing.Contact); since > 26*time.Hour {
			t.Errorf("the state's last contact is %v ago", since)
		}
	})
}

// TestContactOfOneDay: a PBX that was in contact until it was switched off, and is not
// for an hour after that, stays paired also where the least days are set.
func TestContactOfOneDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		if err := b.update(func(s *state.State) error { s.Settings.ContactDays = 1; return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(23*time.Hour + 30*time.Minute)
		b.ccc.set(func() { b.ccc.down = true })
		b.stop()
		time.Sleep(time.Hour)
		b.start(t)
		time.Sleep(time.Hour)
		if b.State().Phase() != state.PhasePaired {
			t.Error("dissolved two hours after the last contact")
		}
		time.Sleep(23 * time.Hour)
		if b.State().Phase() != state.PhaseUnpaired {
			t.Error("not dissolved after a day")
		}
	})
}

// TestRefusedCertificate: one refusal can be a mistake of a relay; a second is believed,
// where no session is between.
func TestRefusedCertificate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		refused := slotEnded(1104)
		b.tunnelChanged(refused)
		b.tunnelChanged(refused) // the same one
		synctest.Wait()
		b.tunnelChanged(slotOnline())
		time.Sleep(time.Minute)
		b.tunnelChanged(slotEnded(1104))
		synctest.Wait()
		if b.State().Phase() != state.PhasePaired {
			t.Fatal("dissolved after one refusal")
		}
		time.Sleep(time.Minute)
		b.tunnelChanged(slotEnded(1104))
		synctest.Wait()
		if b.State().Phase() != state.PhaseUnpaired || b.ccc.tombs[0].Reason != wire.ReasonRevoked {
			t.Errorf("after two: %s, %+v", b.State().Phase(), b.ccc.tombs)
		}
	})
}

// TestSyncOnEverySession: of each slot, and once for each.
func TestSyncOnEverySession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		synctest.Wait()
		before := b.ccc.count("sync")
		zero, one := slotOnline(), slotOnline()
		one.Slot, one.Session = 1, "another"
		for range 3 {
			for _, st := range []agent.SlotStatus{zero, one} {
				b.tunnelChanged(st)
				synctest.Wait()
			}
		}
		if n := b.ccc.count("sync") - before; n != 2 {
			t.Errorf("%d syncs for two sessions", n)
		}
	})
}

// TestForeignTombstones dissolve nothing.
func TestForeignTombstones(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		tomb := wire.Tombstone{Pairing: "pairing-1", Serial: serial, Epoch: 1, Reason: wire.ReasonRemoved, By: wire.SideCCC, At: time.Now().UTC()}
		send := func(jws string) error {
			_, err := b.ccc.client(b.PBX).Dissolve(t.Context(), jws)
			return err
		}
		jws, err := wire.Sign(b.ccc.ca.Credentials(identity.Service(td, "ara")), tomb)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(jws); wire.CodeOf(err) != wire.CodeBadSignature {
			t.Errorf("of another service: %v", err)
		}
		other := tomb
		other.Serial = "9999999999"
		if err := send(b.ccc.sign(other)); wire.CodeOf(err) != wire.CodeNotForUs {
			t.Errorf("for another serial: %v", err)
		}
		other = tomb
		other.Pairing = "pairing-0"
		if err := send(b.ccc.sign(other)); err != nil {
			t.Errorf("for a former pairing: %v", err)
		}
		if b.State().Phase() != state.PhasePaired {
			t.Error("dissolved")
		}
		if err := send(b.ccc.sign(tomb)); err != nil || b.State().Phase() != state.PhaseUnpaired {
			t.Errorf("the right one: %v, %s", err, b.State().Phase())
		}
	})
}

// TestWithdrawnBySync: an offer that the control centre does not know goes.
func TestWithdrawnBySync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.ccc.nextSync = 60
		keep := b.ccc.offer("keep")
		gone := b.ccc.offer("gone")
		for _, o := range []*fakeOffer{keep, gone} {
			if err := b.ccc.deliver(b.PBX, o); err != nil {
				t.Fatal(err)
			}
		}
		b.ccc.set(func() { delete(b.ccc.offers, "gone") })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		s := b.State()
		if _, ok := s.Offer("keep"); !ok || len(s.Offers) != 1 || len(b.ccc.declined) != 0 {
			t.Errorf("offers %+v, declined %+v", s.Offers, b.ccc.declined)
		}
		if n := b.ccc.count("sync"); n < 60 || n > 130 {
			t.Errorf("%d syncs in two hours of one a minute", n)
		}
	})
}
