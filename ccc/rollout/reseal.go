package rollout

import (
	"context"
	"errors"
	"fmt"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// resealed is how many systems are taken to another key in one transaction.
const resealed = 200

// reseal takes what is kept of systems to the newest key, so that the key files before it can
// go. What is done stays done: after an error or an end it goes on where it was.
func (s *Service) reseal(ctx context.Context) error {
	var after store.RolloutDevice
	done, bad := 0, 0 // systems that are, and that do not open
	for {
		var some []store.RolloutDevice
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			some, err = tx.SealedElsewise(s.cfg.Keys.Head(), after, resealed)
			return err
		})
		if err != nil || len(some) == 0 {
			if done > 0 {
				s.log.Info("what is kept of rollouts is sealed with the newest key", "systems", done)
			}
			if bad > 0 {
				err = errors.Join(err, fmt.Errorf("of %d systems in rollouts: %w", bad, errUnopened))
			}
			return err
		}
		fresh := make([][]byte, len(some))
		for i, d := range some {
			var failed error
			if fresh[i], _, failed = s.cfg.Keys.Reseal(sealPurpose, sealID(d), d.Sealed); failed != nil {
				fresh[i] = nil
				bad++
				done--
			}
		}
		err = s.cfg.update(ctx, func(tx *store.Tx) error {
			for i, d := range some {
				if fresh[i] == nil {
					continue
				}
				if err := tx.ResealRolloutDevice(d, fresh[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		after = some[len(some)-1]
		done += len(some)
	}
}

// errUnopened: a key is missing.
var errUnopened = errors.New("what is kept does not open: a key file is missing in keys")
