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

// killer ends a process at one of its steps, which are the changes of the store and what it
// has PBXs do: before it, or after it.
type killer struct {
	mu    sync.Mutex
	left  int // steps until then
	after bool
	dead  bool
}

func (k *killer) update(real func(context.Context, func(*store.Tx) error) error) func(context.Context, func(*store.Tx) error) error {
	return func(ctx context.Context, f func(*store.Tx) error) error {
		return k.step(func() error { return real(ctx, f) })
	}
}

func (k *killer) step(do func() error) error {
	k.mu.Lock()
	dead := k.dead
	k.left--
	now := k.left == 0
	k.dead = k.dead || now
	k.mu.Unlock()
	if dead || now && !k.after {
		return errKilled
	}
	err := do()
	if now {
		return errKilled
	}
	return err
}

// victim is a PBX as a process that may be killed has it.
type victim struct {
	*fakePBX
	k *killer
}

func (v victim) Change(ctx context.Context, version string, values Values) (now string, err error) {
	err = v.k.step(func() (err error) {
		now, err = v.fakePBX.Change(ctx, version, values)
		return err
	})
	return now, err
}

func (v victim) Restart(ctx context.Context) error {
	return v.k.step(func() error { return v.fakePBX.Restart(ctx) })
}

func (k *killer) killed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

// A process that is killed at any step, before or after what it does, leaves something that
// the next one finishes: nothing is written twice, and no PBX restarts twice or not at all.
// So it is when all is set back.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string]int{"forward": 8, "back": 7} {
		for _, after := range []bool{false, true} {
			for at := 1; ; at++ {
				finished := false
				t.Run(fmt.Sprint(name, at, after), func(t *testing.T) {
					inBubble(t, 1, func(t *testing.T, w *world) { finished = !killAt(t, w, name == "back", at, after) })
				})
				if finished || t.Failed() {
					if at < steps {
						t.Errorf("only %d steps %s", at, name)
					}
					break
				}
			}
		}
	}
}

// killAt kills a process at a step, and tells whether it lived so long.
func killAt(t *testing.T, w *world, back bool, at int, after bool) (killed bool) {
	t.Helper()
	first, stopFirst := w.start()
	wish := w.wish(store.RolloutPlan{Restart: true})
	wish.Settings["country"] = []byte(`"CH"`)
	id := w.create(first, wish)
	from, to, end := store.RolloutReady, store.RolloutRunning, store.RolloutDone
	want, writes, has := "done", 1, `"new"`
	w.await(id, store.RolloutReady)
	if back {
		w.control(first, id, Start)
		w.await(id, store.RolloutDone)
		from, to, end = store.RolloutDone, store.RolloutReverting, store.RolloutReverted
		want, writes, has = "rolled_back", 2, `"old"`
	}
	stopFirst()

	k := &killer{left: at, after: after}
	s, stop := w.start(func(c *Config) {
		c.update = k.update(w.db.Update)
		c.Connect = func(p store.Pairing) PBX { return victim{w.serials[p.Serial], k} }
	})
	w.must(w.db.Update(context.Background(), func(tx *store.Tx) error {
		r := w.rollout(id)
		deadline := now().Add(time.Hour)
		r.State, r.Started, r.Deadline, r.Ended = to, &r.Created, &deadline, nil
		return tx.SetRollout(w.tenant, r, from)
	}))
	s.Wake()
	w.awaitThat(id, "killed or over", func(r store.Rollout) bool { return k.killed() || r.State == end })
	stop()
	if !k.killed() {
		return false
	}
	w.start()
	w.await(id, end)
	w.want(id, map[string]int{want: 1})
	if p := w.pbxs[0]; p.writes != writes || p.boot != writes || p.get("ntp_server") != has {
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
