package state

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func fresh() *State {
	return &State{
		Format: Format, Created: now, Settings: settings.Default(), Switches: DefaultSwitches,
		Users: []User{{Name: Administrator, Role: RoleAdministrator, Hash: "$x"}},
	}
}

func offer(id wire.OfferID) Offer {
	return Offer{ID: id, Tenant: "Tenant " + string(id), Code: "123 456", TokenHash: "$x", Received: now, Expires: now.Add(time.Hour)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in gives a state of each phase.
func in(t *testing.T, p Phase) *State {
	t.Helper()
	s := fresh()
	if p == PhaseUnpaired {
		return s
	}
	must(t, s.Add(offer("a")))
	if p == PhaseOffered {
		return s
	}
	must(t, s.Begin("a", User{Name: "ccc-1", Hash: "$c"}, now))
	if p == PhaseCompleting {
		return s
	}
	must(t, s.Acknowledge("p1", 7, now))
	return s
}

// TestTransitions goes through every phase and every step.
func TestTransitions(t *testing.T) {
	t.Parallel()
	steps := map[string]func(*State) error{
		"same offer":  func(s *State) error { return s.Add(offer("a")) },
		"other offer": func(s *State) error { return s.Add(offer("b")) },
		"withdraw":    func(s *State) error { return s.Withdraw("a") },
		"reject":      func(s *State) error { return s.Decline("a", wire.WhyRejected) },
		"wrong token": func(s *State) error { _, err := s.Wrong("a"); return err },
		"5 wrong": func(s *State) error {
			for range MaxTries {
				if _, err := s.Wrong("a"); err != nil {
					return err
				}
			}
			return nil
		},
		"token":     func(s *State) error { return s.Begin("a", User{Name: "ccc-2", Hash: "$d"}, now) },
		"ack":       func(s *State) error { return s.Acknowledge("p2", 8, now) },
		"no answer": func(s *State) error { s.Abandon(false); return nil },
		"refused":   func(s *State) error { s.Abandon(true); return nil },
		"dissolve":  func(s *State) error { s.Dissolve("switched-off", now); return nil },
		"reset": func(s *State) error {
			s.Reset("factory-reset", User{Name: Administrator, Role: RoleAdministrator, Hash: "$y"}, nil, now)
			return nil
		},
		"boot":       func(s *State) error { s.Boot(now); return nil },
		"boot later": func(s *State) error { s.Boot(now.Add(time.Hour)); return nil },
	}
	const (
		un, of, co, pa = PhaseUnpaired, PhaseOffered, PhaseCompleting, PhasePaired
	)
	for _, tt := range []struct {
		step string
		from Phase
		to   Phase
		err  error
	}{
		{"same offer", un, of, nil},
		{"same offer", of, of, nil},
		{"same offer", co, co, nil},
		{"same offer", pa, pa, ErrPaired},
		{"other offer", un, of, nil},
		{"other offer", of, of, nil},
		{"other offer", co, co, nil},
		{"other offer", pa, pa, ErrPaired},
		{"withdraw", un, un, ErrUnknownOffer},
		{"withdraw", of, un, nil},
		{"withdraw", co, co, nil},
		{"withdraw", pa, pa, ErrUnknownOffer},
		{"reject", un, un, ErrUnknownOffer},
		{"reject", of, un, nil},
		{"reject", co, co, nil},
		{"reject", pa, pa, ErrUnknownOffer},
		{"wrong token", un, un, ErrUnknownOffer},
		{"wrong token", of, of, nil},
		{"wrong token", co, co, nil},
		{"wrong token", pa, pa, ErrUnknownOffer},
		{"5 wrong", un, un, ErrUnknownOffer},
		{"5 wrong", of, un, nil},
		{"5 wrong", co, co, nil},
		{"5 wrong", pa, pa, ErrUnknownOffer},
		{"token", un, un, ErrUnknownOffer},
		{"token", of, co, nil},
		{"token", co, co, ErrCompleting},
		{"token", pa, pa, ErrPaired},
		{"ack", un, un, ErrNotPaired},
		{"ack", of, of, ErrNotPaired},
		{"ack", co, pa, nil},
		{"ack", pa, pa, ErrNotPaired},
		{"no answer", un, un, nil},
		{"no answer", of, of, nil},
		{"no answer", co, of, nil},
		{"no answer", pa, pa, nil},
		{"refused", un, un, nil},
		{"refused", of, of, nil},
		{"refused", co, un, nil},
		{"refused", pa, pa, nil},
		{"dissolve", un, un, nil},
		{"dissolve", of, un, nil},
		{"dissolve", co, un, nil},
		{"dissolve", pa, un, nil},
		{"reset", un, un, nil},
		{"reset", of, un, nil},
		{"reset", co, un, nil},
		{"reset", pa, un, nil},
		{"boot", un, un, nil},
		{"boot", of, of, nil},
		{"boot", co, of, nil},
		{"boot", pa, pa, nil},
		{"boot later", un, un, nil},
		{"boot later", of, un, nil},
		{"boot later", co, un, nil},
		{"boot later", pa, pa, nil},
	} {
		t.Run(fmt.Sprintf("%s in %s", tt.step, tt.from), func(t *testing.T) {
			t.Parallel()
			s := in(t, tt.from)
			if s.Phase() != tt.from {
				t.Fatalf("starts %s", s.Phase())
			}
			if err := steps[tt.step](s); !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if s.Phase() != tt.to {
				t.Errorf("leads to %s, want %s", s.Phase(), tt.to)
			}
			if err := s.check(); err != nil {
				t.Error(err)
			}
			var clouds int
			for _, u := range s.Users {
				if u.Role == RoleCloud {
					clouds++
					if u.Disabled != (tt.to == co) {
						t.Errorf("user %s: disabled is %v", u.Name, u.Disabled)
					}
				}
			}
			if want := map[Phase]int{co: 1, pa: 1}[tt.to]; clouds != want {
				t.Errorf("%d users of pairings, want %d", clouds, want)
			}
			if want := tt.to == co || tt.to == pa; s.Switches.CCC != want {
				t.Errorf("the switch is %v", s.Switches.CCC)
			}
			wantTombs := 0
			if tt.from == pa && (tt.step == "dissolve" || tt.step == "reset") {
				wantTombs = 1
			}
			if len(s.Tombstones) != wantTombs {
				t.Errorf("tombstones %+v", s.Tombstones)
			}
		})
	}
}

func TestOfferLimits(t *testing.T) {
	t.Parallel()
	s := fresh()
	for _, id := range []wire.OfferID{"a", "b", "c"} {
		must(t, s.Add(offer(id)))
	}
	if err := s.Add(offer("d")); !errors.Is(err, ErrTooMany) {
		t.Errorf("a fourth offer: %v", err)
	}
	must(t, s.Add(offer("a"))) // again
	must(t, s.Withdraw("b"))
	must(t, s.Add(offer("d")))
	s.Switches.Offers = false
	if err := s.Add(offer("e")); !errors.Is(err, ErrOffersOff) {
		t.Errorf("with offers off: %v", err)
	}
}

func TestWrongTokens(t *testing.T) {
	t.Parallel()
	s := fresh()
	must(t, s.Add(offer("a")))
	must(t, s.Add(offer("b")))
	for want := MaxTries - 1; want >= 0; want-- {
		if left, err := s.Wrong("a"); err != nil || left != want {
			t.Fatalf("left %d, %v, want %d", left, err, want)
		}
	}
	if _, ok := s.Offer("a"); ok || !slices.Contains(s.Declined, Declined{"a", wire.WhyTries}) {
		t.Errorf("after %d wrong tokens: %+v", MaxTries, s)
	}
	if o, ok := s.Offer("b"); !ok || o.Tries != 0 {
		t.Errorf("the other offer: %+v", o)
	}
}

// TestAcknowledgeDeclinesOthers: the offers of others end when one is accepted.
func TestAcknowledgeDeclinesOthers(t *testing.T) {
	t.Parallel()
	s := in(t, PhaseCompleting)
	must(t, s.Add(offer("b")))
	must(t, s.Acknowledge("p", 1, now))
	if len(s.Offers) != 0 || !slices.Equal(s.Declined, []Declined{{"b", wire.WhyRejected}}) {
		t.Errorf("offers %+v, declined %+v", s.Offers, s.Declined)
	}
}

// TestNoOfferEndsInSilence: the control centre hears of every offer that ends here, but
// for those that it has taken back itself.
func TestNoOfferEndsInSilence(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(*State) error
		want []Declined
	}{
		"dissolved":       {func(s *State) error { s.Dissolve("switched-off", now); return nil }, []Declined{{"a", wire.WhyRejected}}},
		"reset":           {func(s *State) error { s.Reset("factory-reset", s.Users[0], nil, now); return nil }, []Declined{{"a", wire.WhyRejected}}},
		"refused":         {func(s *State) error { s.Abandon(true); return nil }, []Declined{{"a", wire.WhyTries}}},
		"given up, again": {func(s *State) error { s.Abandon(false); return s.Decline("a", wire.WhyReported) }, []Declined{{"a", wire.WhyReported}}},
		"withdrawn":       {func(s *State) error { return s.Withdraw("a") }, nil},
		"acknowledged":    {func(s *State) error { return s.Acknowledge("p", 1, now) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := in(t, PhaseCompleting)
			must(t, tt.end(s))
			if len(s.Offers) != 0 || !slices.Equal(s.Declined, tt.want) {
				t.Errorf("offers %+v, declined %+v, want %+v", s.Offers, s.Declined, tt.want)
			}
		})
	}
}

// TestEndedOfferDoesNotBeginAnew: one that comes again while the control centre has not
// heard of its end would have all its tries again.
func TestEndedOfferDoesNotBeginAnew(t *testing.T) {
	t.Parallel()
	s := in(t, PhaseOffered)
	for range MaxTries {
		if _, err := s.Wrong("a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(offer("a")); !errors.Is(err, ErrUnknownOffer) || len(s.Offers) != 0 {
		t.Errorf("again after %d wrong tokens: %v, %+v", MaxTries, err, s.Offers)
	}
	must(t, s.Add(offer("b")))
	must(t, s.Withdraw("b"))
	must(t, s.Add(offer("b"))) // which the control centre has taken back, and may send again
}

func TestUsersAfterDissolvingAreThoseBefore(t *testing.T) {
	t.Parallel()
	before := in(t, PhaseOffered)
	before.Users = append(before.Users, User{Name: "ccc-looks-like-one", Role: RoleUser, Hash: "$u"})
	s := before.Clone()
	must(t, s.Begin("a", User{Name: "ccc-1", Hash: "$c"}, now))
	must(t, s.Acknowledge("p", 1, now))
	if gone := s.Dissolve("removed", now); gone != "ccc-1" {
		t.Errorf("gone: %q", gone)
	}
	if !slices.Equal(s.Users, before.Users) {
		t.Errorf("users %+v, want %+v", s.Users, before.Users)
	}
	if err := in(t, PhaseOffered).Begin("a", User{Name: Administrator}, now); !errors.Is(err, ErrOtherUser) {
		t.Errorf("a user that exists: %v", err)
	}
}

func TestQueuesAreBounded(t *testing.T) {
	t.Parallel()
	s := fresh()
	for i := range MaxTombstones + 3 {
		id := wire.OfferID(fmt.Sprint(i))
		must(t, s.Add(offer(id)))
		must(t, s.Begin(id, User{Name: "ccc-1"}, now))
		must(t, s.Acknowledge(wire.PairingID(id), 1, now))
		s.Dissolve("removed", now)
		must(t, s.Add(offer("x"+id)))
		must(t, s.Decline("x"+id, wire.WhyReported))
	}
	if len(s.Tombstones) != MaxTombstones || s.Tombstones[0].Pairing != "3" || len(s.Declined) != MaxDeclined {
		t.Errorf("%d tombstones from %q, %d declined", len(s.Tombstones), s.Tombstones[0].Pairing, len(s.Declined))
	}
	s.Told("3", "5")
	if len(s.Tombstones) != MaxTombstones-2 {
		t.Errorf("%d tombstones", len(s.Tombstones))
	}
	s.ToldDeclined("x18")
	if len(s.Declined) != MaxDeclined-1 || s.Declined[0].Offer != "x3" {
		t.Errorf("declined %+v", s.Declined)
	}
}

// TestBootBoundsLives: the life of an offer does not grow by a clock that went back.
func TestBootBoundsLives(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		start time.Time
		want  time.Duration // from start; 0: gone
	}{
		{now.Add(20 * time.Minute), 40 * time.Minute},
		{now.Add(-50 * time.Hour), time.Hour},
		{now.Add(59*time.Minute + 59*time.Second), time.Second},
		{now.Add(time.Hour), 0},
	} {
		s := fresh()
		must(t, s.Add(offer("a")))
		changed := s.Boot(tt.start)
		o, ok := s.Offer("a")
		if ok != (tt.want > 0) || changed == ok || ok && !o.Expires.Equal(tt.start.Add(tt.want)) {
			t.Errorf("start at %v: there %v until %v", tt.start, ok, o.Expires)
		}
	}
}
