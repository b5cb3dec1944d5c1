package rollout

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A thousand PBXs in three rings, of which the second and the third have more that fail than
// may: it halts in each of them, and nothing of the next ring is touched. With the race
// detector there are fewer.
func TestRingsHalt(t *testing.T) {
	t.Parallel()
	n := 1000
	if raceDetector {
		n = 100
	}
	third := 1 + n/10 // where that ring begins
	engines(t, n, func(t *testing.T, w *world) {
		for _, i := range []int{5, n/20 + 1, n * 9 / 100, n * 3 / 10, n * 4 / 10, n / 2} {
			w.pbxs[i].refuse = true
		}
		s, _ := w.start()
		plan := DefaultPlan()
		plan.MaxFailures, plan.Parallel = 2, 50
		id := w.create(s, w.wish(plan))
		w.await(id, store.RolloutReady)
		w.want(id, map[string]int{"pending": n})
		for i, p := range w.pbxs {
			if p.written() > 0 {
				t.Fatalf("PBX %d is written to before the start", i)
			}
		}
		w.control(s, id, Start)
		if r := w.await(id, store.RolloutHalted); r.Ring != 1 || r.Reason != "failures" {
			t.Errorf("halted in ring %d: %s", r.Ring, r.Reason)
		}
		count := func(from, to int) (n int) {
			for _, p := range w.pbxs[from:to] {
				n += p.written()
			}
			return n
		}
		if first, rest := count(0, 1), count(third, n); first != 1 || rest != 0 {
			t.Errorf("written: %d of the first ring, %d of the third", first, rest)
		}
		w.control(s, id, Resume)
		if r := w.awaitThat(id, "halted in the third ring", func(r store.Rollout) bool { return r.State == store.RolloutHalted && r.Ring == 2 }); r.Ring != 2 {
			t.Errorf("halted in ring %d", r.Ring)
		}
		if second := count(1, third); second != third-4 {
			t.Errorf("%d of the second ring are written", second)
		}
		w.control(s, id, Resume)
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"done": n - 6, "refused switched_off": 6})
		w.control(s, id, Rollback)
		w.await(id, store.RolloutReverted)
		for i, p := range w.pbxs {
			if p.get("ntp_server") != `"old"` {
				t.Fatalf("PBX %d has %s", i, p.get("ntp_server"))
			}
		}
	})
}

// What the PBX's own administrator has changed since the dry run is left alone, and what is
// so already too; what fails to be written is found.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	inBubble(t, 6, func(t *testing.T, w *world) {
		w.pbxs[1].values["ntp_server"] = []byte(`"new"`)
		w.pbxs[2].silent = true
		w.pbxs[3].deaf = true
		s, _ := w.start()
		id := w.create(s, w.wish(store.RolloutPlan{Rings: []store.Ring{{Percent: 100}}, MaxFailures: 6}))
		w.await(id, store.RolloutReady)
		w.want(id, map[string]int{"pending": 5, "unchanged": 1})
		d := w.devices(id)
		k, restart, err := s.Changes(d[w.systems[0]])
		if err != nil || restart || len(k) != 1 || fmt.Sprintf("%s %s %s", k[0].Key, k[0].Old, k[0].New) != `ntp_server "old" "new"` {
			t.Errorf("%s, %v, %v", k, restart, err)
		}
		if d[w.systems[0]].Diff != d[w.systems[5]].Diff || d[w.systems[0]].Diff == "" {
			t.Error("the same changes have other names")
		}
		w.pbxs[0].edit("country", `"AT"`)
		w.control(s, id, Start)
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"conflict changed": 1, "unchanged": 1, "failed verify ntp_server": 1, "done": 3})
		if w.pbxs[0].get("ntp_server") != `"old"` || w.pbxs[0].written() != 0 {
			t.Error("a conflict is written to")
		}
		if w.pbxs[3].written() != 1 {
			t.Errorf("after a lost answer it is written %d times", w.pbxs[3].written())
		}
		// One of them is changed by somebody else, before all is set back.
		w.pbxs[4].edit("ntp_server", `"third"`)
		w.control(s, id, Rollback)
		w.await(id, store.RolloutReverted)
		w.want(id, map[string]int{"conflict changed": 1, "conflict changed ntp_server": 1, "unchanged": 1, "rolled_back": 3})
		if got := w.pbxs[4].get("ntp_server"); got != `"third"` {
			t.Errorf("what somebody else has set is %s", got)
		}
	})
}

// A ring of which nothing came is no reason to go on with the next one, also where a conflict
// is no failure: somebody has to say so.
func TestPilotWithoutSuccess(t *testing.T) {
	t.Parallel()
	inBubble(t, 6, func(t *testing.T, w *world) {
		s, _ := w.start()
		id := w.create(s, w.wish(store.RolloutPlan{Rings: []store.Ring{{Count: 1}, {Percent: 100}}, MaxFailures: 3}))
		w.await(id, store.RolloutReady)
		w.pbxs[0].edit("country", `"AT"`)
		w.control(s, id, Start)
		if r := w.await(id, store.RolloutHalted); r.Ring != 0 {
			t.Errorf("halted in ring %d", r.Ring)
		}
		w.want(id, map[string]int{"conflict changed": 1, "pending": 5})
		w.control(s, id, Resume)
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"conflict changed": 1, "done": 5})
	})
}

// Who waits for his turn when a rollout is set back is not touched, and does not restart.
func TestRollbackOfWhatWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, func(t *testing.T, w *world) {
		w.pbxs[0].neverBack, w.pbxs[2].neverBack = true, true
		s, _ := w.start()
		wish := w.wish(store.RolloutPlan{Rings: []store.Ring{{Percent: 100}}, Parallel: 2, Restart: true, MaxFailures: 4})
		wish.Settings["country"] = []byte(`"CH"`)
		id := w.create(s, wish)
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.awaitThat(id, "two are away", func(store.Rollout) bool {
			_, err0 := w.pbxs[0].System(t.Context())
			_, err2 := w.pbxs[2].System(t.Context())
			return err0 != nil && err2 != nil
		})
		w.pbxs[3].edit("ntp_server", `"new"`) // by hand, as it happens
		w.control(s, id, Pause)
		w.control(s, id, Rollback)
		w.back(w.pbxs[0], w.pbxs[2])
		w.await(id, store.RolloutReverted)
		if p := w.pbxs[3]; p.written() != 0 || p.boot != 0 || p.get("ntp_server") != `"new"` {
			t.Errorf("written %d times, restarted %d times, has %s", p.written(), p.boot, p.get("ntp_server"))
		}
		for i, p := range w.pbxs[:3] {
			if got := p.get("ntp_server"); got != `"old"` {
				t.Errorf("PBX %d has %s", i, got)
			}
		}
	})
}

// Systems that are offline are waited for, and go with the next ring; the deadline ends it.
func TestOffline(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, func(t *testing.T, w *world) {
		w.pbxs[1].offline, w.pbxs[3].offline = true, true
		s, _ := w.start(seldom)
		wish := w.wish(store.RolloutPlan{Rings: []store.Ring{{Count: 1}, {Count: 1}, {Count: 1}}, Wait: 2 * time.Hour})
		id := w.create(s, wish)
		w.await(id, store.RolloutReady)
		w.want(id, map[string]int{"pending": 2, "offline": 2})
		began := time.Now()
		w.control(s, id, Start)
		w.awaitThat(id, "two are done", func(store.Rollout) bool { return w.states(id)["done"] == 2 })
		w.back(w.pbxs[1])
		w.awaitThat(id, "who is back is done", func(store.Rollout) bool { return w.states(id)["done"] == 3 })
		r := w.await(id, store.RolloutStopped)
		if waited := time.Since(began); r.Reason != "deadline" || waited < 2*time.Hour || waited > 3*time.Hour {
			t.Errorf("ended after %v: %s", waited, r.Reason)
		}
		w.want(id, map[string]int{"done": 3, "offline": 1})
	})
}

// When the right or the pairing ends while it runs, the remaining systems are not touched.
func TestRightsEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, tx *store.Tx) error{
		"right": func(w *world, tx *store.Tx) error { return tx.SetUserDisabled(w.tenant, w.who.ID, true) },
		"pairing": func(w *world, tx *store.Tx) error {
			for _, id := range w.systems[1:] {
				p, err := tx.SystemPairing(w.tenant, id)
				if err == nil {
					err = tx.DeletePairing(p.ID)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
		"nothing": func(*world, *store.Tx) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 5, func(t *testing.T, w *world) {
				s, _ := w.start()
				id := w.create(s, w.wish(store.RolloutPlan{Rings: []store.Ring{{Count: 1}, {Percent: 100}}, Pause: time.Hour, MaxFailures: 10}))
				w.await(id, store.RolloutReady)
				w.control(s, id, Start)
				w.awaitThat(id, "the first ring is over", func(r store.Rollout) bool { return r.Ring == 1 })
				w.must(w.db.Update(context.Background(), func(tx *store.Tx) error { return end(w, tx) }))
				w.await(id, store.RolloutDone)
				code := map[string]string{"right": "refused no_right", "pairing": "refused not_paired", "nothing": "done"}[name]
				want := map[string]int{"done": 1}
				want[code] += 4
				w.want(id, want)
				for i, p := range w.pbxs[1:] {
					if touched := p.written() > 0; touched != (name == "nothing") {
						t.Errorf("PBX %d is written to: %v", i+1, touched)
					}
				}
			})
		})
	}
}

// A restart is waited for, and who does not come back has failed.
func TestRestart(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, w *world) {
		w.pbxs[2].neverBack = true
		s, _ := w.start()
		wish := w.wish(store.RolloutPlan{Restart: true, MaxFailures: 1})
		wish.Settings["country"] = []byte(`"CH"`)
		id := w.create(s, wish)
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"done": 2, "failed not_returned": 1})
		for i, p := range w.pbxs {
			if p.boot != 1 {
				t.Errorf("PBX %d was restarted %d times", i, p.boot)
			}
		}
	})
}

// The rings wait for one another, and for the time of day.
func TestPauseAndWindow(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		s, _ := w.start(seldom)
		// The bubble begins at midnight.
		id := w.create(s, w.wish(store.RolloutPlan{
			Rings: []store.Ring{{Count: 1}, {Percent: 100}}, Pause: 90 * time.Minute, Window: &store.RolloutWindow{From: 3 * 60, To: 60, Zone: "UTC"},
		}))
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.awaitThat(id, "the first ring is over", func(r store.Rollout) bool { return r.Ring == 1 })
		if w.pbxs[0].written() != 1 || w.pbxs[1].written() != 0 {
			t.Error("the rings are not one after the other")
		}
		w.await(id, store.RolloutDone)
		if at := time.Now().UTC(); at.Hour() != 3 {
			t.Errorf("the second ring was done at %v, want at 3:00", at)
		}
	})
}

// Pause and stop begin nothing more.
func TestPauseAndStop(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		s, _ := w.start(seldom)
		id := w.create(s, w.wish(store.RolloutPlan{Rings: []store.Ring{{Count: 1}, {Percent: 100}}, Pause: time.Hour}))
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.awaitThat(id, "the first ring is over", func(r store.Rollout) bool { return r.Ring == 1 })
		w.control(s, id, Pause)
		time.Sleep(24 * time.Hour)
		w.want(id, map[string]int{"done": 1, "pending": 1})
		w.control(s, id, Stop)
		time.Sleep(24 * time.Hour)
		w.want(id, map[string]int{"done": 1, "pending": 1})
		if r := w.rollout(id); r.Ended == nil || w.pbxs[1].written() != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// TestStateMachine: what people can do in which state.
func TestStateMachine(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, w *world) {
		s, stop := w.start()
		id := w.create(s, w.wish(store.RolloutPlan{}))
		w.await(id, store.RolloutReady)
		stop()
		started := now()
		table := map[store.RolloutState]string{
			store.RolloutChecking:  "stop",
			store.RolloutReady:     "check start stop",
			store.RolloutRunning:   "pause stop",
			store.RolloutPaused:    "resume stop rollback",
			store.RolloutHalted:    "resume stop rollback",
			store.RolloutStopped:   "rollback",
			store.RolloutDone:      "rollback",
			store.RolloutReverting: "",
			store.RolloutReverted:  "",
		}
		for state, want := range table {
			got := ""
			for _, a := range []Action{Check, Start, Pause, Resume, Stop, Rollback} {
				w.must(w.db.Update(context.Background(), func(tx *store.Tx) error {
					r := w.rollout(id)
					from := r.State
					r.State, r.Started, r.Deadline = state, &started, &started
					return tx.SetRollout(w.tenant, r, from)
				}))
				_, err := s.Control(context.Background(), w.actor(), id, a)
				if e, ok := errors.AsType[*Error](err); ok && e.Code == CodeState {
					continue
				}
				w.must(err)
				if to := w.rollout(id).State; to != steps[a].to {
					t.Errorf("%s in %s leads to %s", a, state, to)
				}
				if got != "" {
					got += " "
				}
				got += string(a)
			}
			if got != want {
				t.Errorf("in %s: %q, want %q", state, got, want)
			}
		}
	})
}

// Who may not change settings at all of the systems makes and controls nothing.
func TestOnlyWhoMay(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		s, _ := w.start()
		id := w.create(s, w.wish(store.RolloutPlan{}))
		w.await(id, store.RolloutReady)
		// From now on he looks after one of the two.
		w.must(w.db.Update(context.Background(), func(tx *store.Tx) error {
			return tx.SetUserGrants(w.tenant, w.who.ID, []store.UserGrant{{User: w.who.ID, Role: store.RoleAdministrator, Part: store.Part{System: w.systems[0]}}})
		}))
		_, err := s.Create(context.Background(), w.actor(), w.wish(store.RolloutPlan{}))
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeNoRights {
			t.Errorf("he makes one for both: %v", err)
		}
		if _, err := s.Control(context.Background(), w.actor(), id, Start); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("he starts the one for both: %v", err)
		}
		wish := w.wish(store.RolloutPlan{})
		wish.Systems, wish.Filter = nil, &store.Filter{}
		own := w.create(s, wish)
		w.await(own, store.RolloutReady)
		w.control(s, own, Start)
		w.await(own, store.RolloutDone)
		w.want(own, map[string]int{"done": 1})
		if w.pbxs[1].written() != 0 {
			t.Error("the other one is written to")
		}
	})
}
