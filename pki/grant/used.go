package grant

import (
	"sync"
	"time"
)

// DefaultUsed is how many grants [Used] remembers by default.
const DefaultUsed = 1 << 16

// Used makes grants good once. It lives in memory: a grant from before its time may have
// been used with the one before, so that it is refused. Make it with [NewUsed]; its
// methods are safe for concurrent use.
type Used struct {
	max int

	mu     sync.Mutex
	latest time.Time        // guarded by mu; highest time seen: a clock that goes back forgets nothing
	after  time.Time        // guarded by mu; grants from before this are refused
	used   map[ID]time.Time // guarded by mu; until when each is remembered
	sweep  time.Time        // guarded by mu; when to look for those that have expired
}

// NewUsed remembers up to limit grants (0: [DefaultUsed]), and lets none in that could
// have been issued before now, by a clock that is [Leeway] ahead.
func NewUsed(now time.Time, limit int) *Used {
	if limit <= 0 {
		limit = DefaultUsed
	}
	return &Used{max: limit, after: now.Add(Leeway), latest: now, used: make(map[ID]time.Time)}
}

// Use marks a grant, which [Verify] has given, as used. A second time gives [ErrUsed], and
// so does one from before; see [NewUsed]. One that cannot be remembered is not used:
// [ErrFull].
func (u *Used) Use(g Grant, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.After(u.latest) {
		u.latest = now
	}
	if !u.latest.Before(u.sweep) {
		for id, until := range u.used {
			if !u.latest.Before(until) {
				delete(u.used, id)
			}
		}
		u.sweep = u.latest.Add(MaxLife)
	}
	switch _, used := u.used[g.ID]; {
	case used || g.Issued.Before(u.after):
		return ErrUsed
	case !u.latest.Before(g.Expires):
		return ErrExpired
	case len(u.used) >= u.max:
		u.sweep = time.Time{} // some may have expired when the next one comes
		return ErrFull
	}
	u.used[g.ID] = g.Expires
	return nil
}

// Len is how many grants are remembered.
func (u *Used) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.used)
}
