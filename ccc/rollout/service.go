package rollout

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Service configures PBXs. Make it with [New]; its methods may be called from several
// goroutines. Several processes may have one on the same database.
type Service struct {
	cfg   Config
	log   hclog.Logger
	owner string        // of leases: another one in each process
	wake  chan struct{} // a rollout is new or is to go on; has room for one
}

// New checks the configuration. Nothing runs before [Service.Run].
func New(cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Store == nil || cfg.Keys == nil || cfg.Connect == nil {
		return nil, errors.New("rollout: Store, Keys and Connect are needed")
	}
	cfg = cfg.withDefaults()
	return &Service{cfg: cfg, log: cfg.Logger, owner: uuid.NewString(), wake: make(chan struct{}, 1)}, nil
}

// now is the present as the store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Wake has it be looked at once whether there is something to do, as where PBXs have come
// online. It does not block.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run works on rollouts until ctx ends, and removes old ones. It returns when nothing of it
// runs any more.
func (s *Service) Run(ctx context.Context) error {
	drives := map[store.RolloutID]*drive{}
	ended := make(chan store.RolloutID)
	defer func() {
		for len(drives) > 0 {
			delete(drives, <-ended)
		}
	}()
	var swept time.Time
	for {
		claimed, err := s.claim(ctx)
		if err == nil && time.Since(swept) > time.Hour {
			swept = now()
			err = s.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("rollouts wait for the store", "error", err)
		}
		for _, r := range claimed {
			if d := drives[r.ID]; d != nil {
				d.look()
				continue
			}
			d := newDrive(s, r)
			drives[r.ID] = d
			go func() {
				d.run(ctx)
				s.release(ctx, r.ID)
				ended <- r.ID
			}()
		}
		timer := time.NewTimer(s.cfg.Lease / 3)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case id := <-ended:
			delete(drives, id)
			timer.Stop()
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// claim takes what nobody works on, and extends the leases of what this process has.
func (s *Service) claim(ctx context.Context) (all []store.Rollout, err error) {
	err = s.cfg.update(ctx, func(tx *store.Tx) (err error) {
		at := now()
		all, err = tx.ClaimRollouts(s.owner, at, at.Add(s.cfg.Lease))
		return err
	})
	return all, err
}

func (s *Service) sweep(ctx context.Context) error {
	return s.cfg.update(ctx, func(tx *store.Tx) error {
		_, err := tx.SweepRollouts(now().Add(-s.cfg.Keep))
		return err
	})
}

// release lets others go on with a rollout at once; otherwise they do when the lease is over.
func (s *Service) release(ctx context.Context, id store.RolloutID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
	defer cancel()
	if err := s.cfg.update(ctx, func(tx *store.Tx) error { return tx.ReleaseRollout(id, s.owner) }); err != nil {
		s.log.Warn("the lease of a rollout ends by itself", "rollout", id, "error", err)
	}
}
