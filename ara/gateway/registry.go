package gateway

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// begun waits for its grant.
type begun struct {
	session grant.SessionID
	browser hash // zero: no browser has come yet
	expires time.Time
}

// registry has the sessions by their labels.
type registry struct {
	cfg Config

	mu    sync.Mutex
	begun map[string]*begun   // guarded by mu
	queue []string            // guarded by mu; the labels of begun, the oldest first, some of them gone
	open  map[string]*session // guarded by mu; those that have ended stay for a while, for a page that says so
}

func newRegistry(cfg Config) *registry {
	return &registry{cfg: cfg, begun: make(map[string]*begun), open: make(map[string]*session)}
}

// begin draws a label for a session.
func (r *registry) begin(id grant.SessionID, now time.Time) (label string) {
	label = newLabel()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		first := r.begun[r.queue[0]]
		if first != nil && first.expires.After(now) && len(r.begun) < r.cfg.Limits.Begun {
			break
		}
		delete(r.begun, r.queue[0])
		r.queue = r.queue[1:]
	}
	r.begun[label] = &begun{session: id, expires: now.Add(r.cfg.Timing.Begin)}
	r.queue = append(r.queue, label)
	return label
}

// claim binds a label to the first browser that comes with it.
func (r *registry) claim(label string, browser hash, now time.Time) (id grant.SessionID, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.begun[label]
	if b == nil || !b.expires.After(now) || b.browser != (hash{}) {
		return "", false
	}
	b.browser = browser
	return b.session, true
}

// waiting gives what a label waits for.
func (r *registry) waiting(label string, now time.Time) (b begun, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.begun[label]; b != nil && b.expires.After(now) {
		return *b, true
	}
	return begun{}, false
}

// What redeem fails with.
var (
	errGone     = errors.New("the label waits for nothing")
	errSessions = errors.New("too many sessions")
)

// redeem makes the session of a label that waits for it, in place of one that another
// browser, or another tab, has of the same remote access.
func (r *registry) redeem(s *session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun[s.label] == nil {
		return errGone
	}
	all, serial, user := 0, 0, 0
	var before *session
	for _, o := range r.open {
		switch {
		case o.ctx.Err() != nil:
			continue
		case o.grant.Session == s.grant.Session:
			before = o
			continue
		case o.grant.Serial == s.grant.Serial:
			serial++
		}
		if o.grant.Tenant == s.grant.Tenant && o.grant.User == s.grant.User {
			user++
		}
		all++
	}
	if l := r.cfg.Limits; all >= l.Sessions || serial >= l.SessionsPerSerial || user >= l.SessionsPerUser {
		return errSessions
	}
	if before != nil {
		before.end(grant.CauseUser)
	}
	delete(r.begun, s.label)
	r.open[s.label] = s
	return nil
}

// session gives the session of a label, also one that has ended.
func (r *registry) session(label string) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[label]
}

// known reports whether a label is one, for who hands out certificates.
func (r *registry) known(label string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun[label] != nil || r.open[label] != nil
}

// counts are the sessions that wait and those that go on.
func (r *registry) counts() (waiting, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.open {
		if s.ctx.Err() == nil {
			open++
		}
	}
	return len(r.begun), open
}

// sweep ends what is idle, and forgets what is over.
func (r *registry) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for label, b := range r.begun {
		if !b.expires.After(now) {
			delete(r.begun, label)
		}
	}
	for label, s := range r.open {
		v, _ := s.look()
		switch {
		case !v.ended.IsZero() && now.Sub(v.ended) > r.cfg.Timing.Begin:
			delete(r.open, label)
		case v.ended.IsZero() && now.UnixNano()-s.moved.Load() > int64(r.cfg.Timing.Idle):
			s.end("")
		}
	}
}

// run sweeps until ctx ends.
func (r *registry) run(ctx context.Context) {
	tick := time.NewTicker(min(30*time.Second, max(time.Second, r.cfg.Timing.Idle/4)))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			r.sweep(now)
		case <-ctx.Done():
			return
		}
	}
}

// limiter bounds how often a network does something. It has the same size whoever asks; networks
// that share a place by chance share their limit.
type limiter struct {
	seed   maphash.Seed
	all    *rate.Limiter
	places [4096]*rate.Limiter
}

// placesOfAll is how often everybody may, in limits of one network.
const placesOfAll = 64

func newLimiter(perMinute int) *limiter {
	each := rate.Every(time.Minute / time.Duration(perMinute))
	l := &limiter{seed: maphash.MakeSeed(), all: rate.NewLimiter(placesOfAll*each, placesOfAll*perMinute)}
	for i := range l.places {
		l.places[i] = rate.NewLimiter(each, perMinute)
	}
	return l
}

// allow is asked before a network does it.
func (l *limiter) allow(addr netip.Addr) bool {
	bits := 56
	if addr = addr.Unmap(); addr.Is4() {
		bits = 24
	}
	prefix, err := addr.WithZone("").Prefix(bits)
	return err == nil && l.take(maphash.Comparable(l.seed, prefix))
}

func (l *limiter) take(place uint64) bool {
	return l.places[place%uint64(len(l.places))].Allow() && l.all.Allow()
}
