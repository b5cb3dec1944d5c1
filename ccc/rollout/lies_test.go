package rollout

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// What a PBX says of itself is not taken for granted.
func TestLies(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, func(t *testing.T, w *world) {
		s, _ := w.start()
		id := w.create(s, w.restarting(store.RolloutPlan{Rings: []store.Ring{{Percent: 100}}, MaxFailures: 4}))
		w.await(id, store.RolloutReady)
		w.pbxs[0].set(func(p *fakePBX) { p.values["country"] = []byte(`"AT"`) }) // the version stays
		w.pbxs[1].set(func(p *fakePBX) { p.forgets = true })
		w.pbxs[2].set(func(p *fakePBX) { p.noBoot = true })
		w.control(s, id, Start)
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"conflict changed": 1, "failed verify country,ntp_server": 1, "failed answer": 1, "done": 1})
		if n := w.pbxs[0].written(); n != 0 {
			t.Errorf("what was not shown is written over %d times", n)
		}
	})
}

// What a PBX refuses it is not asked again; one that is busy is, a few times.
func TestRefusals(t *testing.T) {
	t.Parallel()
	inBubble(t, 2, func(t *testing.T, w *world) {
		s, _ := w.start()
		for i, code := range []string{"refused", pbxBusy} {
			w.pbxs[i].conflict = code
		}
		id := w.create(s, w.wish(store.RolloutPlan{Rings: []store.Ring{{Percent: 100}}, MaxFailures: 2}))
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"refused refused": 1, "failed answer": 1})
		if a, b := w.pbxs[0].written(), w.pbxs[1].written(); a != 1 || b != s.cfg.Tries {
			t.Errorf("asked %d and %d times, want once and %d times", a, b, s.cfg.Tries)
		}
	})
}

// counted is a PBX of which it is counted how often it is asked.
type counted struct {
	*fakePBX
	n *atomic.Int64
}

func (c counted) System(ctx context.Context) (System, error) {
	c.n.Add(1)
	return c.fakePBX.System(ctx)
}

// Who has lost the lease begins nothing more, and leaves what was begun to who has it now.
func TestLostLease(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, w *world) {
		var asked atomic.Int64
		var down atomic.Bool
		first, _ := w.start(func(c *Config) {
			c.Connect = func(p store.Pairing) PBX { return counted{w.serials[p.Serial], &asked} }
			c.update = func(ctx context.Context, f func(*store.Tx) error) error {
				if down.Load() {
					return errors.New("the store is not there for changes")
				}
				return w.db.Update(ctx, f)
			}
		})
		id := w.create(first, w.restarting(store.RolloutPlan{}))
		w.await(id, store.RolloutReady)
		w.pbxs[0].set(func(p *fakePBX) { p.neverBack = true })
		w.control(first, id, Start)
		w.awaitThat(id, "it restarts", func(store.Rollout) bool { return w.devices(id)[w.systems[0]].Step == store.StepRestarting })
		down.Store(true)
		time.Sleep(time.Minute)
		before := asked.Load()
		time.Sleep(time.Minute)
		if n := asked.Load() - before; before == 0 || n != 0 {
			t.Errorf("after the lease the PBX is asked %d times, and %d times before", n, before)
		}
		w.start()
		w.back(w.pbxs[0])
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"done": 1})
		if p := w.pbxs[0]; p.boot != 1 || p.writes != 1 {
			t.Errorf("restarted %d times, written %d times", p.boot, p.writes)
		}
	})
}

// What is kept of systems is taken to a new key, after which the old one is not needed. Where
// that ends halfway it goes on there.
func TestReseal(t *testing.T) {
	t.Parallel()
	inBubble(t, resealed+10, func(t *testing.T, w *world) {
		old, fresh := seal.NewKey(), seal.NewKey()
		ring := func(keys ...string) *Service {
			var err error
			w.keys, err = seal.New(keys...)
			w.must(err)
			s, err := New(Config{Store: w.db, Keys: w.keys, Connect: func(store.Pairing) PBX { return nil }})
			w.must(err)
			return s
		}
		ring(old)
		s, stop := w.start()
		id := w.done(s, w.wish(store.RolloutPlan{Parallel: 50}))
		stop()
		unopened := func(s *Service) (n int) {
			for _, d := range w.devices(id) {
				if changes, _, err := s.Changes(d); err != nil || len(changes) != 1 || string(changes[0].Old) != `"old"` {
					n++
				}
			}
			return n
		}
		s = ring(fresh)
		if err := s.reseal(t.Context()); !errors.Is(err, errUnopened) {
			t.Errorf("without the old key: %v", err)
		}
		if n := unopened(s); n != resealed+10 {
			t.Errorf("positive control: %d do not open", n)
		}
		s = ring(fresh, old)
		k := &killer{left: 2}
		s.cfg.update = k.update(w.db.Update)
		if err := s.reseal(t.Context()); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		s = ring(fresh)
		if n := unopened(s); n != 10 {
			t.Errorf("halfway: %d do not open", n)
		}
		ring(fresh, old)
		_, stop = w.start()
		time.Sleep(time.Minute)
		stop()
		s = ring(fresh)
		if n := unopened(s); n != 0 {
			t.Errorf("%d do not open without the old key", n)
		}
	})
}
