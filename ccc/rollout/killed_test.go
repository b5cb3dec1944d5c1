package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

var errKilled = errors.New("killed")

// killer ends a process at one of its changes of the store: before it, or after it.
type killer struct {
	mu    sync.Mutex
	left  int // changes until then
	after bool
	dead  bool
}

func (k *killer) update(real func(context.Context, func(*store.Tx) error) error) func(context.Context, func(*store.Tx) error) error {
	return func(ctx context.Context, f func(*store.Tx) error) error {
		k.mu.Lock()
		dead := k.dead
		k.left--
		now := k.left == 0
		k.dead = k.dead || now
		k.mu.Unlock()
		if dead || now && !k.after {
			return errKilled
		}
		err := real(ctx, f)
		if now {
			return errKilled
		}
		return err
	}
}

func (k *killer) killed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

// A process that is killed at any step, before or after what it keeps, leaves something that
// the next one finishes: nothing is written twice, and no PBX restarts twice.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			finished := false
			t.Run(fmt.Sprint(at, after), func(t *testing.T) {
				inBubble(t, 1, func(t *testing.T, w *world) { finished = !killAt(t, w, at, after) })
			})
			if finished || t.Failed() {
				if at < 6 {
					t.Errorf("only %d steps", at)
				}
				break
			}
		}
	}
}

// killAt kills the first process at a change, and tells whether it lived so long.
func killAt(t *testing.T, w *world, at int, after bool) (killed bool) {
	t.Helper()
	first, stopFirst := w.start()
	wish := w.wish(store.RolloutPlan{Restart: true})
	wish.Settings["country"] = []byte(`"CH"`)
	id := w.create(first, wish)
	w.await(id, store.RolloutReady)
	stopFirst()

	k := &killer{left: at, after: after}
	s, stop := w.start(func(c *Config) { c.update = k.update(w.db.Update) })
	w.must(w.db.Update(context.Background(), func(tx *store.Tx) error {
		r := w.rollout(id)
		r.State, r.Started = store.RolloutRunning, &r.Created
		deadline := now().Add(time.Hour)
		r.Deadline = &deadline
		return tx.SetRollout(w.tenant, r, store.RolloutReady)
	}))
	s.Wake()
	w.awaitThat(id, "killed or done", func(r store.Rollout) bool { return k.killed() || r.State == store.RolloutDone })
	stop()
	if !k.killed() {
		return false
	}
	w.start()
	w.await(id, store.RolloutDone)
	w.want(id, map[string]int{"done": 1})
	if p := w.pbxs[0]; p.writes != 1 || p.boot != 1 || p.get("ntp_server") != `"new"` {
		t.Errorf("written %d times, restarted %d times, has %s", p.writes, p.boot, p.get("ntp_server"))
	}
	return true
}

// Several processes on one database do not both work on a rollout.
func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	engines(t, 40, func(t *testing.T, w *world) {
		a, _ := w.start()
		b, _ := w.start()
		id := w.create(a, w.wish(store.RolloutPlan{Rings: []store.Ring{{Count: 3}, {Percent: 100}}}))
		b.Wake()
		w.await(id, store.RolloutReady)
		w.control(b, id, Start)
		a.Wake()
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"done": 40})
		for i, p := range w.pbxs {
			if p.written() != 1 {
				t.Errorf("PBX %d was written to %d times", i, p.written())
			}
		}
	})
}
