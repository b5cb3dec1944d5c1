package pbx

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// TestStaleVerdict: a slot keeps the code of its last failure; only where it is refused
// for that now, the code is a verdict.
func TestStaleVerdict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		for _, code := range []tunnel.Code{tunnel.CodeBlocked, tunnel.CodeCertificateRefused} {
			for _, st := range []agent.State{agent.StateConnecting, agent.StateOnline, agent.StateMoving, agent.StateWaiting, agent.StateStopped} {
				for range 3 {
					stale := slotEnded(code)
					stale.State = st
					b.tunnelChanged(stale)
					time.Sleep(time.Second)
				}
				if b.State().Phase() != state.PhasePaired {
					t.Fatalf("dissolved by %d of a slot that is %s", code, st)
				}
			}
		}
		b.tunnelChanged(slotEnded(tunnel.CodeBlocked))
		synctest.Wait()
		if b.State().Phase() != state.PhaseUnpaired {
			t.Error("a slot that is refused now: still paired")
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		failures          int
		least, most, want time.Duration // want: before the draw
	}{
		{0, time.Second, time.Minute, time.Second},
		{3, time.Second, time.Minute, 8 * time.Second},
		{6, time.Second, time.Minute, time.Minute},
		{1 << 30, time.Second, time.Minute, time.Minute},
		{29, 20 * time.Second, time.Minute, time.Minute}, // 2^29 of them are more than a duration holds
		{63, time.Nanosecond, math.MaxInt64, math.MaxInt64},
		{0, time.Hour, time.Minute, time.Minute},
	} {
		for range 100 {
			if d := backoff(tt.failures, tt.least, tt.most); d < tt.want/2 || d > tt.want {
				t.Fatalf("after %d failures, %v to %v: %v, want %v or half of it", tt.failures, tt.least, tt.most, d, tt.want)
			}
		}
	}
}

// TestTypedWhileDissolving: a token that is typed after somebody has begun to dissolve
// does not keep the next one out.
func TestTypedWhileDissolving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		if err := b.ccc.deliver(b.PBX, b.ccc.offer("offer-1")); err != nil {
			t.Fatal(err)
		}
		late := &completion{done: make(chan struct{})}
		_, err := b.dissolve(wire.ReasonSwitchedOff, anyPairing, func(s *state.State) state.UserName {
			b.mu.Lock()
			b.completion = late // as begin does, which was first at the store
			b.mu.Unlock()
			if err := s.Begin("offer-1", state.User{Name: "ccc-1", Hash: "$x"}, time.Now()); err != nil {
				t.Error(err)
			}
			return s.Dissolve(wire.ReasonSwitchedOff, time.Now())
		})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-late.done:
			if !errors.Is(late.err, errDissolved) {
				t.Errorf("who typed it hears %v", late.err)
			}
		default:
			t.Error("who typed it hears nothing")
		}
		b.pair(t)
	})
}

// TestDiskIsBroken: an end that cannot be written is tried again, but not all the time.
func TestDiskIsBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := &broken{Memory: new(state.Memory), heal: 1000}
		b := newBox(t, func(c *Config) { c.Disk = disk })
		b.pair(t)
		if err := b.update(func(s *state.State) error { s.Settings.ContactDays = 1; return nil }); err != nil {
			t.Fatal(err)
		}
		b.ccc.set(func() { b.ccc.down = true })
		disk.breaks.Store(true)
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if n := disk.failed.Load(); n < 2 || n > 30 {
			t.Errorf("%d tries in an hour, want one in %v", n, b.PBX.cfg.Limits.RetryMax)
		}
		disk.breaks.Store(false)
		time.Sleep(time.Hour)
		if b.State().Phase() != state.PhaseUnpaired {
			t.Error("not dissolved when the disk can be written")
		}
	})
}

// broken is a disk that cannot be written for a while, until so many writes have failed
// at most.
type broken struct {
	*state.Memory
	heal   int64
	breaks atomic.Bool
	failed atomic.Int64
}

func (d *broken) Write(name string, data []byte) error {
	if d.breaks.Load() && d.failed.Add(1) <= d.heal {
		return errors.New("the disk is full")
	}
	return d.Memory.Write(name, data)
}
