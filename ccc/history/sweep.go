package history

import (
	"context"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// sweeps removes what is too old or too much, now and then, until ctx ends.
func (r *Recorder) sweeps(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("the history was not swept; it is tried again", "error", err)
		}
	}
}

// sweep removes what is too old or too much, in transactions that are short, as others wait
// for each.
func (r *Recorder) sweep(ctx context.Context) error {
	before := time.Now().Add(-r.cfg.Keep)
	err := r.batches(ctx, func(tx *store.Tx) (int, error) { return tx.SweepHistory(before, r.cfg.Batch) })
	var after store.Ownership
	for err == nil {
		var some []store.HistoryLength
		err = r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			some, err = tx.HistoryLengths(after, countedAtOnce)
			return err
		})
		for _, v := range some {
			if err == nil && v.Intervals > r.cfg.Intervals {
				err = r.batches(ctx, func(tx *store.Tx) (int, error) { return tx.TrimHistory(v.Ownership, r.cfg.Intervals, r.cfg.Batch) })
			}
			after = v.Ownership
		}
		if len(some) < countedAtOnce {
			break
		}
	}
	return err
}

// countedAtOnce is of how many PBXs the intervals are counted in one view.
const countedAtOnce = 100

// batches removes batches until one is not full.
func (r *Recorder) batches(ctx context.Context, remove func(*store.Tx) (int, error)) error {
	for removed := r.cfg.Batch; removed == r.cfg.Batch; {
		err := r.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
			removed, err = remove(tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
