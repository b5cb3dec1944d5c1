package fleet

import (
	"context"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Change says that the status of a PBX has changed.
type Change struct {
	Serial identity.Serial
	// Status is the newest; what was in between is not told.
	Status Status
	// Moved says that the PBX has come online or gone offline since the last change that
	// was told of it, perhaps more than once: Status.Online says what it is now. Without
	// it only the way to it has changed.
	Moved bool
	// Resync says, without a serial, that changes were dropped: look at all anew.
	Resync bool
}

// subscription is one subscriber's.
type subscription struct {
	limit int
	wake  chan struct{}

	mu     sync.Mutex // taken after Presence.mu
	order  []identity.Serial
	latest map[identity.Serial]Change // guarded by mu, as order
	resync bool                       // guarded by mu
}

// Subscribe gives what changes from now on, until ctx ends, which closes the channel.
// Changes of one PBX that wait become one; a subscriber that does not read, and for
// which more than Config.Pending PBXs' changes wait, gets one with Resync in their place.
func (p *Presence) Subscribe(ctx context.Context) <-chan Change {
	s := &subscription{limit: p.cfg.Pending, wake: make(chan struct{}, 1), latest: make(map[identity.Serial]Change)}
	p.mu.Lock()
	p.subs[s] = struct{}{}
	p.mu.Unlock()
	out := make(chan Change)
	go func() {
		defer close(out)
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.subs, s)
		}()
		for {
			select {
			case <-s.wake:
			case <-ctx.Done():
				return
			}
			for c, ok := s.next(); ok; c, ok = s.next() {
				select {
				case out <- c:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

// tell tells every subscriber of a PBX. Callers hold p.mu.
func (p *Presence) tell(b *pbx, moved bool) {
	for s := range p.subs {
		if !s.add(Change{Serial: b.serial, Status: b.status, Moved: moved}) {
			p.metrics.resyncs.Inc()
		}
	}
}

// add has a change told; false where it and all that wait are given up for a resync.
func (s *subscription) add(c Change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		select {
		case s.wake <- struct{}{}:
		default: // it has not looked yet
		}
	}()
	old, waits := s.latest[c.Serial]
	switch {
	case waits:
		c.Moved = c.Moved || old.Moved
		s.latest[c.Serial] = c
	case len(s.latest) >= s.limit:
		s.resync, s.order = true, nil
		clear(s.latest)
		return false
	default:
		s.order = append(s.order, c.Serial)
		s.latest[c.Serial] = c
	}
	return true
}

// next takes the change that waits longest.
func (s *subscription) next() (Change, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resync {
		s.resync = false
		return Change{Resync: true}, true
	}
	if len(s.order) == 0 {
		s.order = nil
		return Change{}, false
	}
	c := s.latest[s.order[0]]
	delete(s.latest, s.order[0])
	s.order = s.order[1:]
	return c, true
}
