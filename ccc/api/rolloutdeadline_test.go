package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// A rollout that stands still has no deadline, as that time does not count.
func TestRolloutDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleAdministrator)
	c.configurable("0000000001")
	made := read[Rollout](c.do(http.MethodPost, "/rollouts", `{"name":"All","kind":"restart","filter":{}}`).want(http.StatusCreated))
	at := time.Now().Add(time.Hour)
	for _, stood := range []*time.Time{nil, &at} {
		w.update(func(tx *store.Tx) error {
			r, err := tx.Rollout(w.north, store.RolloutID(made.ID), nil)
			if err != nil {
				return err
			}
			from := r.State
			r.State, r.Started, r.Deadline, r.Stood = store.RolloutPaused, &at, &at, stood
			return tx.SetRollout(w.north, r, from)
		})
		got := read[Rollout](c.do(http.MethodGet, "/rollouts/"+made.ID, "").want(http.StatusOK))
		if (got.Deadline == nil) != (stood != nil) {
			t.Errorf("stands still: %v; deadline %v", stood != nil, got.Deadline)
		}
	}
}
