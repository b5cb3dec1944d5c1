package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestFigures: what is counted for those who watch over all tenants.
func TestFigures(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		figures := func() store.Figures {
			t.Helper()
			return get(t, db, func(tx *store.Tx) (store.Figures, error) { return tx.Figures(now.Add(time.Hour)) })
		}
		equal(t, "with nothing", figures(), store.Figures{Rollouts: map[store.RolloutState]int{}})
		good := newWebhook(store.NewID[store.WebhookID](), s.Tenant, store.TopicOffline)
		bad := newWebhook(store.NewID[store.WebhookID](), s.Tenant, store.TopicOffline)
		update(t, db, func(tx *store.Tx) error {
			halted := newRollout(store.NewID[store.RolloutID](), s.Tenant)
			err := errors.Join(tx.CreateRollout(halted, [][]store.SystemID{{s.ID}, {}}), tx.CreateWebhook(good), tx.CreateWebhook(bad))
			halted.State = store.RolloutHalted
			bad.Failures, bad.FailingSince = 3, new(now)
			return errors.Join(err, tx.SetRollout(s.Tenant, halted, store.RolloutChecking), tx.SetWebhookHealth(bad))
		})
		want := store.Figures{Rollouts: map[store.RolloutState]int{store.RolloutHalted: 1}, FailingWebhooks: 1}
		equal(t, "a rollout that has halted, a webhook that fails", figures(), want)
	})
}
