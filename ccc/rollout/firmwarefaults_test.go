package rollout

import (
	"context"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// bringing is a rollout of firmware to all PBXs.
func (w *world) bringing(s *Service, plan store.RolloutPlan) store.RolloutID {
	w.t.Helper()
	id := w.create(s, Wish{Name: "1.3", Kind: store.RolloutFirmware, Firmware: w.upload(s, "1.3.0"), Systems: w.systems, Plan: plan})
	w.await(id, store.RolloutReady)
	w.control(s, id, Start)
	return id
}

// slotted is a PBX that is sent an image when it is its turn, for 50 minutes.
type slotted struct {
	*fakePBX
	slot *semaphore.Weighted
}

func (p slotted) Install(ctx context.Context, image Image, downgrade bool) error {
	if err := p.slot.Acquire(ctx, 1); err != nil {
		return err
	}
	defer p.slot.Release(1)
	if err := image.Begin(ctx); err != nil {
		return err
	}
	time.Sleep(50 * time.Minute)
	image.Begin = func(context.Context) error { return nil }
	return p.fakePBX.Install(ctx, image, downgrade)
}

// Who waits for his turn to be sent an image gets none when it comes, if nobody may bring it
// any more. Each image takes 50 minutes, one after the other.
func TestNothingIsSentAfterTheWait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		do   func(w *world, s *Service, id store.RolloutID)
		sent int // until six o'clock
	}{
		"nothing":    {func(*world, *Service, store.RolloutID) {}, 3},
		"pause":      {func(w *world, s *Service, id store.RolloutID) { w.control(s, id, Pause) }, 1},
		"stop":       {func(w *world, s *Service, id store.RolloutID) { w.control(s, id, Stop) }, 1},
		"the window": {nil, 2},
		"the right": {func(w *world, _ *Service, _ store.RolloutID) {
			w.must(w.db.Update(context.Background(), func(tx *store.Tx) error { return tx.SetUserDisabled(w.tenant, w.who.ID, true) }))
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 3, func(t *testing.T, w *world) {
				slot := semaphore.NewWeighted(1)
				s, _ := w.start(seldom, withFirmware(t, t.TempDir()), func(c *Config) {
					c.Connect = func(p store.Pairing) PBX { return slotted{w.serials[p.Serial], slot} }
				})
				plan := store.RolloutPlan{Rings: []store.Ring{{Percent: 100}}, Parallel: 3, MaxFailures: 3}
				if tt.do == nil { // the bubble begins at midnight
					plan.Window = &store.RolloutWindow{From: 0, To: 60, Zone: "UTC"}
				}
				id := w.bringing(s, plan)
				time.Sleep(30 * time.Minute)
				if tt.do != nil {
					tt.do(w, s, id)
				}
				time.Sleep(6 * time.Hour)
				sent, begun := 0, 0
				for _, p := range w.pbxs {
					sent += p.firmware().sent
				}
				for _, d := range w.devices(id) {
					if d.Boot != "" {
						begun++
					}
				}
				if sent != tt.sent || begun != tt.sent {
					t.Errorf("%d were sent an image and %d were noted, want %d: %v", sent, begun, tt.sent, w.states(id))
				}
			})
		})
	}
}

// A PBX that does not go back is not told so for ever: once where it answers, and a few times
// where it does not.
func TestWayBackThatFails(t *testing.T) {
	t.Parallel()
	for code, tt := range map[string]struct {
		fault func(*fakePBX)
		told  int
	}{
		"rolled_back":                   {func(*fakePBX) {}, 1},
		"failed version":                {func(p *fakePBX) { p.box.stays = true }, 1},
		"failed install install_failed": {func(p *fakePBX) { p.box.breaks = true }, 1},
		"failed not_returned":           {func(p *fakePBX) { p.box.idle = true }, 1},
		"failed answer":                 {func(p *fakePBX) { p.box.idle, p.box.deaf = true, errGone }, 3},
		"failed busy":                   {func(p *fakePBX) { p.box.state = FirmwareVerifying }, 0},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, func(t *testing.T, w *world) {
				s, _ := w.start(withFirmware(t, t.TempDir()))
				id := w.bringing(s, store.RolloutPlan{Wait: 3 * time.Hour})
				w.await(id, store.RolloutDone)
				w.pbxs[0].set(tt.fault)
				w.control(s, id, Rollback)
				w.await(id, store.RolloutReverted)
				w.want(id, map[string]int{code: 1})
				if b := w.pbxs[0].firmware(); b.rollbacks != tt.told {
					t.Errorf("told %d times to go back, want %d", b.rollbacks, tt.told)
				}
			})
		})
	}
}

// A PBX that does not take the image is not sent it for ever.
func TestImageNotTaken(t *testing.T) {
	t.Parallel()
	answers := func(err error) func(*fakePBX) { return func(p *fakePBX) { p.box.answer = err } }
	for name, tt := range map[string]struct {
		fault      func(*fakePBX)
		want       string
		sent       int
		least, max time.Duration
	}{
		"the same by another name": {answers(&pbxweb.Error{Status: http.StatusConflict, Code: "image_current"}), "unchanged", 1, 0, time.Minute},
		"never signed in":          {answers(errLogin), "failed unreachable", 3, 0, time.Minute},
		"busy for images":          {answers(&pbxweb.Error{Status: http.StatusConflict, Code: pbxBusy}), "failed answer", 3, 0, time.Minute},
		"receives for ever":        {func(p *fakePBX) { p.box.state = FirmwareReceiving }, "failed busy", 0, 30 * time.Minute, 31 * time.Minute},
		"starts again once":        {func(p *fakePBX) { p.box.cut = 1 }, "done", 2, 0, time.Minute},
		"starts again each time":   {func(p *fakePBX) { p.box.cut = 9 }, "failed version", 2, 0, time.Minute},
		"fails as before, unheard": {func(p *fakePBX) { p.box.failed, p.box.breaks, p.box.lost = "install_failed", true, true }, "failed install install_failed", 1, 0, time.Minute},
		"fails otherwise before":   {func(p *fakePBX) { p.box.failed = "install_failed" }, "done", 1, 0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, func(t *testing.T, w *world) {
				tt.fault(w.pbxs[0])
				s, _ := w.start(withFirmware(t, t.TempDir()))
				began := time.Now()
				id := w.bringing(s, store.RolloutPlan{Wait: 3 * time.Hour})
				w.awaitThat(id, "its turn is over", func(r store.Rollout) bool { return r.State != store.RolloutRunning })
				w.want(id, map[string]int{tt.want: 1})
				if took := time.Since(began); took < tt.least || took > tt.max {
					t.Errorf("it took %v, want %v to %v", took, tt.least, tt.max)
				}
				if b := w.pbxs[0].firmware(); b.sent != tt.sent {
					t.Errorf("%d images were sent, want %d", b.sent, tt.sent)
				}
			})
		})
	}
}

// Somebody else's image is waited for.
func TestBusyWithOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, w *world) {
		w.pbxs[0].box.state = FirmwareReceiving
		s, _ := w.start(withFirmware(t, t.TempDir()))
		id := w.bringing(s, store.RolloutPlan{})
		time.Sleep(20 * time.Minute)
		w.want(id, map[string]int{"running": 1})
		w.pbxs[0].set(func(p *fakePBX) { p.box.state = "" })
		w.await(id, store.RolloutDone)
		w.want(id, map[string]int{"done": 1})
	})
}
