package pairing

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// life is a pairing from the saved serial to its end. Everybody goes on after a failure
// as they do in the world: a process starts again, a user clicks again, a PBX sends
// again.
type life struct {
	*site
	p   *pbx
	sys store.System
}

// do does a step until it succeeds, and looks at the database after each try.
func (l *life) do(what string, f func() error) {
	l.t.Helper()
	var err error
	for range 4 {
		err = f()
		if l.faults.fired() {
			l.faults.set(0, faultBefore)
			l.restart()
		}
		l.consistent()
		if err == nil {
			return
		}
	}
	l.t.Fatalf("%s: %v", what, err)
}

// restart is what a crash of the control centre leaves: a new process that knows what the
// database holds.
func (l *life) restart() {
	l.open()
	if _, err := l.start(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) pair() {
	var offer OfferView
	l.do("save", func() error {
		var err error
		if l.sys, offer, err = l.Save(l.t.Context(), l.a, NewSystem{Serial: string(serial), Name: "PBX " + string(serial)}); CodeOf(err) == CodeSerialTaken {
			l.sys = read(l.site, func(tx *store.Tx) (store.System, error) { return tx.SystemBySerial(l.a.Tenant, serial) })
			offer, err = l.View(l.t.Context(), l.a, l.sys.ID)
		}
		return err
	})
	l.do("offer", func() error {
		l.CameOnline(serial)
		l.deliver()
		if got := l.system(l.a, l.sys.ID).State; got != store.StateReceived {
			return fmt.Errorf("the system is %s", got)
		}
		return nil
	})
	l.do("type", func() error {
		if l.p.pending != nil {
			return l.p.send()
		}
		return l.p.typed(offer.Token)
	})
	l.do("sync", l.p.sync)
	l.do("prove", func() error {
		l.CameOnline(serial)
		l.deliver()
		if got := l.system(l.a, l.sys.ID).State; got != store.StatePaired {
			return fmt.Errorf("the system is %s", got)
		}
		return nil
	})
	if l.p.pairing == "" || !l.p.enabled {
		l.t.Fatal("the PBX is not paired")
	}
}

// ends are the triggers in a form that can be done again after it failed.
var ends = []struct {
	name string
	want string
	end  func(l *life) error
}{
	{"switched off", strings.NewReplacer("BY", "pbx", "REASON", "switched-off").Replace(left), func(l *life) error {
		l.p.switchOff(wire.ReasonSwitchedOff)
		return nil
	}},
	{"removed", strings.NewReplacer("BY", "ccc", "REASON", "removed").Replace(removed), func(l *life) error {
		err := l.Remove(l.t.Context(), l.a, l.sys.ID)
		if CodeOf(err) == CodeNotFound {
			return nil
		}
		return err
	}},
	{"lost", strings.NewReplacer("BY", "pbx", "REASON", "lost").Replace(left), func(l *life) error {
		l.p.set(l.p.forget)
		return nil
	}},
}

// TestCrashAtEveryStep lets the control centre die at every transaction of a life, in
// every way, and loses every request and every answer. The end is always the same.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			live := func(t *testing.T, set func(*site)) (transactions, requests int64) {
				s := newSite(t)
				l := &life{site: s, p: s.newPBX(serial)}
				set(s)
				l.pair()
				l.do("end", func() error { return end.end(l) })
				l.do("settle", func() error {
					s.CameOnline(serial)
					return l.p.settle()
				})
				l.do("settle again", l.p.settle) // what a lost answer has left
				if l.p.pairing != "" || l.p.user.Reveal() != "" || len(l.p.tombstones) > 0 {
					t.Errorf("the PBX keeps %q and %d tombstones", l.p.pairing, len(l.p.tombstones))
				}
				if got := normal(s.dump()); got != end.want {
					t.Errorf("got\n%s\nwant\n%s", got, end.want)
				}
				return s.faults.count.Load(), s.losses.count.Load()
			}
			transactions, requests := live(t, func(s *site) { s.faults.set(0, faultBefore); s.losses.set(0, faultBefore) })
			if transactions < 5 || requests < 8 {
				t.Fatalf("positive control: %d transactions, %d requests", transactions, requests)
			}
			for n := range transactions {
				if skipped(n) {
					continue
				}
				for _, mode := range []fault{faultRollback, faultAfter} {
					t.Run(fmt.Sprintf("transaction %d %s", n+1, mode), func(t *testing.T) {
						live(t, func(s *site) { s.faults.set(n+1, mode); s.losses.set(0, faultBefore) })
					})
				}
			}
			for n := range requests {
				if skipped(n) {
					continue
				}
				for _, mode := range []fault{faultBefore, faultAfter} {
					t.Run(fmt.Sprintf("request %d %s", n+1, mode), func(t *testing.T) {
						live(t, func(s *site) { s.faults.set(0, faultBefore); s.losses.set(n+1, mode) })
					})
				}
			}
		})
	}
}

// skipped leaves out most steps where the machine is slow.
func skipped(n int64) bool { return (raceDetector || testing.Short()) && n%4 != 1 }

// TestRandomWalks lets two tenants, their PBX and the network do anything in any order,
// with crashes. Whatever happened, both sides are paired with one another, or neither is.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		s.cfg.RequestsPerMinute, s.cfg.OffersPerHour, s.cfg.OffersPerSerial = 1_000_000, 1_000_000, 1_000_000
		s.open()
		rng := rand.New(rand.NewPCG(11, 97))
		l := &life{site: s, p: s.newPBX(serial)}
		ends := map[string]int{}
		tokens := map[store.OfferID]OfferView{}
		walk := func(step int) error {
			a := []Actor{s.a, s.b}[rng.IntN(2)]
			var sys store.System // with an id that nobody has, where there is none
			_ = s.cfg.Store.View(t.Context(), func(tx *store.Tx) (err error) {
				sys, err = tx.SystemBySerial(a.Tenant, serial)
				return err
			})
			switch step {
			case 0:
				_, o, err := s.Save(t.Context(), a, NewSystem{Serial: string(serial), Name: "x"})
				if err == nil {
					tokens[o.Offer] = o
				}
				return err
			case 1:
				o, err := s.Regenerate(t.Context(), a, sys.ID)
				if err == nil {
					tokens[o.Offer] = o
				}
				return err
			case 2:
				return s.Withdraw(t.Context(), a, sys.ID)
			case 3:
				return s.Remove(t.Context(), a, sys.ID)
			case 4:
				l.p.switchOff(wire.ReasonSwitchedOff)
			case 5:
				l.p.giveUp()
			case 6:
				l.p.set(l.p.forget) // and its tombstone is lost
			case 7:
				l.p.disconnect()
			case 8:
				return l.p.connect()
			case 9:
				return l.p.sync()
			case 10:
				return l.p.send()
			case 11:
				if l.p.pending == nil && l.p.pairing == "" {
					for id := range l.p.offers {
						return l.p.typed(tokens[store.OfferID(id)].Token)
					}
				}
			case 12:
				l.restart()
			default:
				s.CameOnline(serial)
				s.deliver()
			}
			return nil
		}
		// How often each of the steps is done; what is left are deliveries.
		var often []int
		for step, n := range []int{6, 3, 1, 1, 1, 1, 1, 1, 3, 2, 2, 8, 2} {
			often = append(often, slices.Repeat([]int{step}, n)...)
		}
		rounds := 40
		if s.url != "" || raceDetector || testing.Short() {
			rounds = 8 // a transaction takes longer
		}
		for range rounds {
			for range 25 {
				switch rng.IntN(8) {
				case 0:
					s.faults.set(1+int64(rng.IntN(3)), []fault{faultBefore, faultRollback, faultAfter}[rng.IntN(3)])
				case 1:
					s.losses.set(1+int64(rng.IntN(3)), []fault{faultBefore, faultAfter}[rng.IntN(2)])
				}
				step := 13
				if i := rng.IntN(len(often) + 12); i < len(often) {
					step = often[i]
				}
				err := walk(step)
				if s.faults.fired() {
					s.faults.set(0, faultBefore)
					l.restart()
				}
				s.consistent()
				if err != nil && !errors.Is(err, errFault) && CodeOf(err) == "" && wire.CodeOf(err) == "" && !errors.Is(err, errToken) &&
					!strings.Contains(err.Error(), "EOF") {
					t.Fatalf("an error that nobody expects: %v", err)
				}
			}
			// The storm is over.
			s.faults.set(0, faultBefore)
			s.losses.set(0, faultBefore)
			if err := l.p.send(); err != nil && wire.CodeOf(err) == "" {
				t.Fatal(err)
			}
			l.p.giveUp()
			if err := errors.Join(l.p.connect(), l.p.settle()); err != nil {
				t.Fatal(err)
			}
			s.consistent()
			alive := only(s.dump(), "pairings")
			if left := only(s.dump(), "tombstones"); left != "" || len(l.p.tombstones) > 0 {
				t.Fatalf("not told: %s, by the PBX %d", left, len(l.p.tombstones))
			}
			if (alive == "") != (l.p.pairing == "") {
				t.Fatalf("the PBX has %q, the database %q", l.p.pairing, alive)
			}
			if alive == "" {
				ends["unpaired"]++
				if l.p.user.Reveal() != "" || l.p.enabled {
					t.Fatal("an orphan user")
				}
				continue
			}
			ends["paired"]++
			pair := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) })
			if err := s.login(t.Context(), pair); err != nil || string(pair.ID) != string(l.p.pairing) || pair.Proved == nil {
				t.Fatalf("paired, but: %v, %+v, %q", err, pair, l.p.pairing)
			}
		}
		if ends["paired"] < rounds/8 || ends["unpaired"] < rounds/8 {
			t.Errorf("the walks do not go everywhere: %v", ends)
		}
		kinds := map[string]bool{}
		for line := range strings.SplitSeq(only(s.dump(), "events"), "\n") {
			for word := range strings.FieldsSeq(line) {
				if k, ok := strings.CutPrefix(word, "kind="); ok {
					kinds[k] = true
				}
			}
		}
		for _, k := range []string{EventOffered, EventReceived, EventCompleted, EventPaired, EventDissolved, EventRemoved, EventWithdrawn} {
			if !kinds[k] {
				t.Errorf("the walks had no %s", k)
			}
		}
	})
}
