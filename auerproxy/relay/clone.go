package relay

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Two holders of one certificate are told apart by what they say in hello:
//
//	instance id   made at enrolment, kept beside the key
//	boot id       made at each start of the program
//
// Another instance id while the incumbent still answers a probe: the newcomer is
// a copy of the certificate. The incumbent stays, the newcomer is refused, an
// alarm is raised.
//
// The same instance id: normally the device came back before the relay noticed
// that it had gone, and the newest wins. A copied disk image looks the same once,
// but then its two holders evict each other in turn: a boot id that was replaced
// comes back. Where that happens cloneFlips times in cloneWindow the identity is
// quarantined: the incumbent stays and newcomers wait, twice as long each time. A
// device that only crashes in a loop never comes back with an old boot id.
const (
	probeTimeout = 2 * time.Second
	cloneFlips   = 3
	cloneWindow  = time.Minute
	holdDownMin  = time.Minute
	holdDownMax  = time.Hour
	// replacedMax bounds the boot ids remembered per identity, and cloneMax the
	// identities.
	replacedMax = 16
	cloneMax    = 100_000
)

// cloneWatch remembers which boot ids were replaced.
type cloneWatch struct {
	mu  sync.Mutex
	ids map[identity.ID]*takeovers // guarded by mu
}

type takeovers struct {
	replaced []string    // boot ids that were replaced, oldest first
	returns  []time.Time // when one of them came back
	until    time.Time   // quarantined until then
	holdDown time.Duration
	last     time.Time
}

// mayReplace decides whether s may take the slot of incumbent.
func (r *Relay) mayReplace(ctx context.Context, incumbent, s *session) *tunnel.Error {
	if string(incumbent.hello.GetInstanceId()) != string(s.hello.GetInstanceId()) {
		if !incumbent.probe(ctx) {
			return nil
		}
		r.metrics.clones.WithLabelValues("instance").Inc()
		r.log.Error("ALARM: two holders of one certificate", "peer", s.peer.Path(), "incumbent", incumbent.ts.Transport(), "rule", "instance")
		return &tunnel.Error{
			Code: tunnel.CodeCloneSuspected, Message: "another holder of this certificate is connected",
			RetryAfterMin: time.Minute, RetryAfterMax: 2 * time.Minute,
		}
	}
	left := r.clones.takeover(time.Now(), s.peer, string(incumbent.hello.GetBootId()), string(s.hello.GetBootId()))
	if left > 0 {
		r.metrics.clones.WithLabelValues("alternating").Inc()
		r.log.Error("ALARM: an identity changes hands in turn and is quarantined", "peer", s.peer.Path(), "for", left, "rule", "alternating")
		return &tunnel.Error{Code: tunnel.CodeQuarantined, RetryAfterMin: left, RetryAfterMax: left + left/2}
	}
	return nil
}

// takeover notes that a session of boot id next replaces one of boot id prev, and
// gives how long the identity is quarantined, 0 if it is not.
func (w *cloneWatch) takeover(now time.Time, id identity.ID, prev, next string) time.Duration {
	if prev == next {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(now)
	t := w.ids[id]
	if t == nil {
		if w.ids == nil {
			w.ids = make(map[identity.ID]*takeovers)
		}
		t = &takeovers{holdDown: holdDownMin}
		w.ids[id] = t
	}
	t.last = now
	if left := t.until.Sub(now); left > 0 {
		return left
	}
	if slices.Contains(t.replaced, next) {
		t.returns = append(t.returns, now)
	}
	for len(t.returns) > 0 && now.Sub(t.returns[0]) > cloneWindow {
		t.returns = t.returns[1:]
	}
	if len(t.returns) >= cloneFlips {
		hold := t.holdDown
		t.until, t.returns = now.Add(hold), nil
		t.holdDown = min(2*t.holdDown, holdDownMax)
		return hold
	}
	t.replaced = append(t.replaced, prev)
	if len(t.replaced) > replacedMax {
		t.replaced = t.replaced[1:]
	}
	return 0
}

// forget drops identities without a takeover for longer than any hold-down, once
// there are many.
func (w *cloneWatch) forget(now time.Time) {
	if len(w.ids) < cloneMax {
		return
	}
	for id, t := range w.ids {
		if now.Sub(t.last) > 2*holdDownMax {
			delete(w.ids, id)
		}
	}
	for id := range w.ids {
		if len(w.ids) < cloneMax {
			return
		}
		delete(w.ids, id)
	}
}

// probe asks the peer whether it is still there.
func (s *session) probe(ctx context.Context) bool {
	nonce, answered := rand.Uint64(), make(chan struct{})
	s.probeMu.Lock()
	if s.probes == nil {
		s.probes = make(map[uint64]chan struct{})
	}
	s.probes[nonce] = answered
	s.probeMu.Unlock()
	defer func() {
		s.probeMu.Lock()
		delete(s.probes, nonce)
		s.probeMu.Unlock()
	}()
	if err := s.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_Probe{Probe: &tunnelpb.Probe{Nonce: nonce}}}); err != nil {
		return false
	}
	t := time.NewTimer(probeTimeout)
	defer t.Stop()
	select {
	case <-answered:
		return true
	case <-s.ts.Done():
	case <-ctx.Done():
	case <-t.C:
	}
	return false
}
