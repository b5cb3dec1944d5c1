package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/history"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const (
	// gather is how long changes are gathered that are written together: all PBXs of a relay
	// that starts anew come back at once.
	gather = 250 * time.Millisecond
	// mostGathered is how many there are at most in one transaction.
	mostGathered = 1000
	// againFirst and againMost bound the waits where the database did not take them.
	againFirst = time.Second
	againMost  = 30 * time.Second
	// mostKept is how many PBXs' changes wait for the database at most.
	mostKept = 50_000
	// writeTimeout bounds one transaction, and lastTimeout all at the end.
	writeTimeout = 10 * time.Second
	lastTimeout  = 10 * time.Second
)

// coming says that a PBX has come or gone.
type coming struct {
	status fleet.Status
	at     time.Time
}

// comings are those that wait for being written, with the newest of each PBX.
type comings struct {
	s       *Service
	waiting map[identity.Serial]coming
	writing map[identity.Serial]coming // nil: nothing is being written
	written chan error
	again   time.Duration // how long is waited after the next failure
	dropped int           // as too many wait
}

// Presence announces which PBXs come and go, as a subscription of fleet.Presence tells of
// it, until that ends. What the database does not take is kept and tried again, also at
// the end for a while; of a PBX that comes and goes meanwhile only the last is told. What
// happens while the control centre does not run is not told: the next change is.
func (s *Service) Presence(ctx context.Context, changes <-chan fleet.Change) error {
	c := &comings{s: s, waiting: map[identity.Serial]coming{}, written: make(chan error, 1), again: againFirst}
	due := time.NewTimer(gather)
	defer due.Stop()
	due.Stop()
	for {
		select {
		case change, open := <-changes:
			if !open {
				c.last(ctx)
				return ctx.Err()
			}
			none := len(c.waiting) == 0 && c.writing == nil
			if change.Moved && c.keep(change.Serial, coming{change.Status, time.Now()}) && none {
				due.Reset(gather)
			}
		case <-due.C:
			c.begin(ctx)
		case err := <-c.written:
			if wait, more := c.end(err); more {
				due.Reset(wait)
			}
		}
	}
}

// keep has one wait; false where there is no room.
func (c *comings) keep(serial identity.Serial, v coming) bool {
	if _, there := c.waiting[serial]; !there && len(c.waiting) >= mostKept {
		c.dropped++
		return false
	}
	c.waiting[serial] = v
	return true
}

// begin begins to write some that wait.
func (c *comings) begin(ctx context.Context) {
	batch := make(map[identity.Serial]coming, min(len(c.waiting), mostGathered))
	for serial, v := range c.waiting {
		if len(batch) == mostGathered {
			break
		}
		batch[serial] = v
		delete(c.waiting, serial)
	}
	c.writing = batch
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
		defer cancel()
		c.written <- c.s.announce(ctx, batch)
	}()
}

// end takes what came of writing, and gives whether there is more to write, and when.
func (c *comings) end(err error) (wait time.Duration, more bool) {
	batch := c.writing
	c.writing = nil
	switch {
	case errors.Is(err, store.ErrInvalid): // it never will be
		c.s.log.Error("webhooks are not told who has come and gone", "systems", len(batch), "error", err)
	case err != nil:
		for serial, v := range batch {
			if _, newer := c.waiting[serial]; !newer {
				c.keep(serial, v)
			}
		}
		c.s.log.Warn("webhooks are told later who has come and gone", "systems", len(c.waiting), "error", err)
		wait, c.again = c.again, min(2*c.again, againMost)
		return wait, true
	}
	c.again = againFirst
	if c.dropped > 0 {
		c.s.log.Error("webhooks are not told of all who have come and gone, as too many waited for the database", "systems", c.dropped)
		c.dropped = 0
	}
	if len(c.waiting) < mostGathered {
		wait = gather
	}
	return wait, len(c.waiting) > 0
}

// last writes what waits when there will be no more.
func (c *comings) last(ctx context.Context) {
	over := time.After(lastTimeout)
	wait, more := time.Duration(0), len(c.waiting) > 0
	for more || c.writing != nil {
		var now <-chan time.Time
		if c.writing == nil {
			now = time.After(min(wait, againFirst))
		}
		select {
		case <-now:
			c.begin(ctx)
		case err := <-c.written:
			wait, more = c.end(err)
		case <-over:
			if c.writing != nil { // it ends within writeTimeout
				c.end(<-c.written)
			}
			if len(c.waiting) > 0 {
				c.s.log.Error("webhooks are not told who has come and gone before the stop", "systems", len(c.waiting))
			}
			return
		}
	}
}

func (s *Service) announce(ctx context.Context, all map[identity.Serial]coming) error {
	serials := make([]identity.Serial, 0, len(all))
	for serial := range all {
		serials = append(serials, serial)
	}
	var paired []store.Paired
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		paired, err = tx.PairedWithWebhooks(serials)
		return err
	})
	if err != nil || len(paired) == 0 {
		return err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, p := range paired {
			v := all[p.Serial]
			a := store.Announcement{Tenant: p.Tenant, Topic: store.TopicOnline, At: v.at, System: p.System, Serial: p.Serial}
			if !v.status.Online {
				a.Topic = store.TopicOffline
				a.Data = map[string]string{"reason": string(history.ReasonOf(v.status))}
			}
			if err := tx.Announce(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.Wake()
	}
	return err
}
