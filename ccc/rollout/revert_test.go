package rollout

import (
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// restarting is a rollout whose settings take a restart.
func (w *world) restarting(plan store.RolloutPlan) Wish {
	plan.Restart = true
	wish := w.wish(plan)
	wish.Settings["country"] = []byte(`"CH"`)
	return wish
}

// seldom has a service claim rollouts seldom, for tests of days.
func seldom(c *Config) { c.Lease = time.Hour }

// done makes a rollout that has ended.
func (w *world) done(s *Service, wish Wish) store.RolloutID {
	w.t.Helper()
	id := w.create(s, wish)
	w.await(id, store.RolloutReady)
	w.control(s, id, Start)
	w.await(id, store.RolloutDone)
	return id
}

// What was set back takes effect: the PBX restarts, once, also where the answer to the change
// was lost, and its return is waited for.
func TestRollbackRestarts(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, w *world) {
		s, _ := w.start()
		id := w.done(s, w.restarting(store.RolloutPlan{}))
		w.pbxs[1].set(func(p *fakePBX) { p.deaf = true })
		w.pbxs[2].set(func(p *fakePBX) { p.neverBack = true })
		w.control(s, id, Rollback)
		w.await(id, store.RolloutReverted)
		w.want(id, map[string]int{"rolled_back": 2, "failed not_returned": 1})
		for i, p := range w.pbxs {
			if p.boot != 2 || p.writes != 2 {
				t.Errorf("PBX %d was restarted %d times and written to %d times, want 2 of each", i, p.boot, p.writes)
			}
		}
	})
}

// A PBX that only says that it has taken the old values is found.
func TestRollbackIsVerified(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		s, _ := w.start()
		id := w.done(s, w.wish(store.RolloutPlan{}))
		w.pbxs[0].set(func(p *fakePBX) { p.silent = true })
		w.control(s, id, Rollback)
		w.await(id, store.RolloutReverted)
		w.want(id, map[string]int{"failed verify ntp_server": 1, "rolled_back": 1})
	})
}

// Who is away when all is set back is not asked for again and again: he comes when he comes.
func TestRevertingWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, 20, func(t *testing.T, w *world) {
		s, _ := w.start(seldom)
		id := w.done(s, w.wish(store.RolloutPlan{Wait: 48 * time.Hour}))
		for _, p := range w.pbxs[5:] {
			p.set(func(p *fakePBX) { p.offline = true })
		}
		w.control(s, id, Rollback)
		w.awaitThat(id, "those that are there are set back", func(store.Rollout) bool { return w.states(id)["rolled_back"] == 5 })
		before := w.asked.Load()
		time.Sleep(24 * time.Hour)
		if n := w.asked.Load() - before; n > 2*15 {
			t.Errorf("in a day it was asked %d times whether somebody is online", n)
		}
		if r := w.rollout(id); r.State != store.RolloutReverting {
			t.Errorf("it is %s", r.State)
		}
		w.back(w.pbxs[5:]...)
		w.await(id, store.RolloutReverted)
		w.want(id, map[string]int{"rolled_back": 20})
	})
}

// Who has his turn when the rollout is to be set back is set back as well once that turn is
// over, whoever else is waited for.
func TestRollbackOfWhoIsAtIt(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		s, _ := w.start(seldom)
		wish := w.restarting(store.RolloutPlan{Wait: 48 * time.Hour, Rings: []store.Ring{{Percent: 100}}})
		id := w.create(s, wish)
		w.await(id, store.RolloutReady)
		w.pbxs[0].set(func(p *fakePBX) { p.neverBack = true })
		w.control(s, id, Start)
		w.awaitThat(id, "one is done, and one restarts", func(store.Rollout) bool { return w.states(id)["done"] == 1 })
		w.pbxs[1].set(func(p *fakePBX) { p.offline = true })
		w.control(s, id, Pause)
		w.control(s, id, Rollback)
		time.Sleep(time.Minute)
		w.back(w.pbxs[0])
		w.awaitThat(id, "who was there is set back", func(r store.Rollout) bool {
			return w.states(id)["rolled_back"] == 1 || r.State != store.RolloutReverting
		})
		w.want(id, map[string]int{"rolled_back": 1, "done": 1})
		w.back(w.pbxs[1])
		w.await(id, store.RolloutReverted)
		w.want(id, map[string]int{"rolled_back": 2})
	})
}

// Who was away until the deadline can be set back later: what was not set back in time is kept.
func TestRollbackAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, 3, func(t *testing.T, w *world) {
		s, _ := w.start(seldom)
		id := w.done(s, w.wish(store.RolloutPlan{Wait: time.Hour}))
		w.pbxs[2].set(func(p *fakePBX) { p.offline = true })
		w.control(s, id, Rollback)
		if r := w.await(id, store.RolloutReverted); r.Reason != reasonDeadline {
			t.Errorf("ended: %q", r.Reason)
		}
		w.want(id, map[string]int{"done": 1, "rolled_back": 2})
		w.back(w.pbxs[2])
		w.control(s, id, Rollback)
		if r := w.await(id, store.RolloutReverted); r.Reason != "" {
			t.Errorf("ended: %q", r.Reason)
		}
		w.want(id, map[string]int{"rolled_back": 3})
		if _, err := s.Control(t.Context(), w.actor(), id, Rollback); err == nil {
			t.Error("what is set back is set back once more")
		}
	})
}

// So it is with those that are to be changed; and where it was not told who came, all are
// looked at.
func TestRunningWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, 20, func(t *testing.T, w *world) {
		for _, p := range w.pbxs[5:] {
			p.offline = true
		}
		s, _ := w.start(seldom)
		id := w.create(s, w.wish(store.RolloutPlan{Wait: 48 * time.Hour}))
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.awaitThat(id, "those that are there are done", func(store.Rollout) bool { return w.states(id)["done"] == 5 })
		before := w.asked.Load()
		time.Sleep(24 * time.Hour)
		if n := w.asked.Load() - before; n > 2*15 {
			t.Errorf("in a day it was asked %d times whether somebody is online", n)
		}
		for _, p := range w.pbxs[5:] {
			p.set(func(p *fakePBX) { p.offline = false })
		}
		s.Resync()
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"done": 20})
	})
}
