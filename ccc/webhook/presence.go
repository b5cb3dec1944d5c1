package webhook

import (
	"context"
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
)

// Presence announces which PBXs come and go, as a subscription of fleet.Presence tells of
// it, until that ends. What a crash keeps from being written is not told, nor what happens
// while the control centre does not run: the next change is.
func (s *Service) Presence(ctx context.Context, changes <-chan fleet.Change) error {
	waiting := map[identity.Serial]fleet.Status{}
	timer := time.NewTimer(gather)
	defer timer.Stop()
	timer.Stop()
	for {
		select {
		case c, open := <-changes:
			if !open {
				return ctx.Err()
			}
			if !c.Moved {
				continue
			}
			if len(waiting) == 0 {
				timer.Reset(gather)
			}
			if waiting[c.Serial] = c.Status; len(waiting) < mostGathered {
				continue
			}
		case <-timer.C:
		}
		if err := s.announce(ctx, waiting); err != nil && ctx.Err() == nil {
			s.log.Warn("webhooks are not told who has come and gone", "systems", len(waiting), "error", err)
		}
		clear(waiting)
	}
}

func (s *Service) announce(ctx context.Context, all map[identity.Serial]fleet.Status) error {
	serials := make([]identity.Serial, 0, len(all))
	for serial := range all {
		serials = append(serials, serial)
	}
	told := false
	var paired []store.Paired
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		paired, err = tx.PairedWithWebhooks(serials)
		return err
	})
	if err == nil && len(paired) > 0 {
		err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for _, p := range paired {
				a := store.Announcement{Tenant: p.Tenant, Topic: store.TopicOnline, At: time.Now(), System: p.System, Serial: p.Serial}
				if status := all[p.Serial]; !status.Online {
					a.Topic = store.TopicOffline
					a.Data = map[string]string{"reason": string(history.ReasonOf(status))}
				}
				if err := tx.Announce(a); err != nil {
					return err
				}
			}
			return nil
		})
		told = err == nil
	}
	if told {
		s.Wake()
	}
	return err
}
