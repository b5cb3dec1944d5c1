package rollout

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Service configures PBXs. Make it with [New]; its methods may be called from several
// goroutines. Several processes may have one on the same database.
type Service struct {
	cfg   Config
	log   hclog.Logger
	keys  firmware.Keys // that images are signed with; nil: there are none
	owner string        // of leases: another one in each process
	wake  chan struct{} // a rollout is new or is to go on; has room for one

	mu     sync.Mutex                 // guards drives
	drives map[store.RolloutID]*drive // that run
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
	keys, err := openFirmware(cfg)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, log: cfg.Logger, keys: keys, owner: uuid.NewString(), wake: make(chan struct{}, 1), drives: map[store.RolloutID]*drive{}}, nil
}

// now is the present as the store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Wake has it be looked at once whether there is something to do. It does not block.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// CameOnline has the turn of a PBX be next that was waited for. It does not block.
func (s *Service) CameOnline(serial identity.Serial) {
	for _, d := range s.running() {
		if d.away.back(serial) {
			d.look()
		}
	}
}

// Resync looks at all PBXs that are waited for: somebody may have come online of whom nobody
// was told. It does not block.
func (s *Service) Resync() {
	for _, d := range s.running() {
		for _, serial := range d.away.serials() {
			if s.cfg.Online(serial) && d.away.back(serial) {
				d.look()
			}
		}
	}
}

func (s *Service) running() []*drive {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.drives))
}

// drive gives the one of a rollout that runs, or begins one.
func (s *Service) drive(r store.Rollout) (d *drive, begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d = s.drives[r.ID]; d != nil {
		return d, false
	}
	d = newDrive(s, r)
	s.drives[r.ID] = d
	return d, true
}

// drop forgets a drive that has ended.
func (s *Service) drop(id store.RolloutID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.drives, id)
}

// Run works on rollouts until ctx ends, and removes old ones. It returns when nothing of it
// runs any more.
func (s *Service) Run(ctx context.Context) error {
	ended := make(chan store.RolloutID)
	defer func() {
		for len(s.running()) > 0 {
			s.drop(<-ended)
		}
	}()
	if err := s.reseal(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("what is kept of rollouts stays with the key that it has", "error", err)
	}
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
			d, begun := s.drive(r)
			if !begun {
				d.look()
				continue
			}
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
			s.drop(id)
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
	err := s.cfg.update(ctx, func(tx *store.Tx) error {
		_, err := tx.SweepRollouts(now().Add(-s.cfg.Keep))
		return err
	})
	return errors.Join(err, s.sweepFirmware(ctx))
}

// release lets others go on with a rollout at once; otherwise they do when the lease is over.
func (s *Service) release(ctx context.Context, id store.RolloutID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
	defer cancel()
	if err := s.cfg.update(ctx, func(tx *store.Tx) error { return tx.ReleaseRollout(id, s.owner) }); err != nil {
		s.log.Warn("the lease of a rollout ends by itself", "rollout", id, "error", err)
	}
}
