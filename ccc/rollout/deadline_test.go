package rollout

import (
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// The deadline counts from the start, without the time for which a rollout stands still.
func TestDeadline(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		w.pbxs[1].offline = true
		s, _ := w.start(seldom)
		id := w.create(s, w.wish(store.RolloutPlan{Rings: []store.Ring{{Percent: 100}}, Wait: 3 * time.Hour}))
		w.await(id, store.RolloutReady)
		began := time.Now()
		w.control(s, id, Start)
		for range 2 {
			time.Sleep(time.Hour)
			w.control(s, id, Pause)
			time.Sleep(10 * time.Hour)
			if r := w.rollout(id); r.State != store.RolloutPaused {
				t.Fatalf("it is %s", r.State)
			}
			w.control(s, id, Resume)
		}
		if r := w.await(id, store.RolloutStopped); r.Reason != "deadline" {
			t.Errorf("ended: %s", r.Reason)
		}
		if ran := time.Since(began) - 20*time.Hour; ran < 3*time.Hour || ran > 3*time.Hour+time.Minute {
			t.Errorf("it ran for %v, want 3h", ran)
		}
		w.want(id, map[string]int{"done": 1, "offline": 1})
	})
}

// A halt takes no time from it either. Who lets one go on whose time was over gives it all of
// it again.
func TestDeadlineOfHalted(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, w *world) {
		w.pbxs[0].refuse, w.pbxs[2].offline = true, true
		s, _ := w.start(seldom)
		id := w.create(s, w.wish(store.RolloutPlan{Rings: []store.Ring{{Count: 1}, {Percent: 100}}, Wait: time.Hour}))
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.await(id, store.RolloutHalted)
		time.Sleep(24 * time.Hour)
		began := time.Now()
		w.control(s, id, Resume)
		w.await(id, store.RolloutStopped)
		if ran := time.Since(began); ran < 59*time.Minute || ran > 62*time.Minute {
			t.Errorf("it went on for %v, want an hour", ran)
		}
		w.want(id, map[string]int{"done": 1, "offline": 1, "refused switched_off": 1})
	})
	at := time.Now()
	deadline, before, after := at.Add(-time.Hour), at.Add(-90*time.Minute), at.Add(-30*time.Minute)
	for name, tt := range map[string]struct {
		stood *time.Time
		want  time.Duration
	}{"in time": {&before, 30 * time.Minute}, "over": {&after, 5 * time.Hour}, "not known": {nil, 5 * time.Hour}} {
		r := store.Rollout{Plan: store.RolloutPlan{Wait: 5 * time.Hour}, Deadline: &deadline, Stood: tt.stood}
		if got := later(r, at).Sub(at); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// Nobody has his turn after the window, however long another one took.
func TestWindowOfTurn(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		w.pbxs[0].neverBack = true
		s, _ := w.start(seldom, func(c *Config) { c.ReturnTimeout = 2 * time.Hour })
		// The bubble begins at midnight.
		id := w.create(s, w.restarting(store.RolloutPlan{
			Rings: []store.Ring{{Percent: 100}}, Parallel: 1, MaxFailures: 2, Window: &store.RolloutWindow{From: 0, To: 60, Zone: "UTC"},
		}))
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		time.Sleep(5 * time.Hour)
		w.want(id, map[string]int{"failed not_returned": 1, "pending": 1})
		time.Sleep(19 * time.Hour)
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"failed not_returned": 1, "done": 1})
		if at := time.Now().UTC(); at.Hour() != 0 {
			t.Errorf("it was done at %v", at)
		}
	})
}
