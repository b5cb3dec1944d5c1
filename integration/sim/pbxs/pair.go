package pbxs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// atOnce is how many pairings and attacks go on at the same time.
const atOnce = 64

// pairs are pairings that go on.
type pairs struct {
	s                      *simulation
	saved, offered, paired *load.Histogram

	done   atomic.Int64
	offers atomic.Int64
}

func (s *simulation) newPairs() *pairs {
	return &pairs{s: s, saved: load.NewHistogram(), offered: load.NewHistogram(), paired: load.NewHistogram()}
}

// one pairs one PBX within the patience.
func (p *pairs) one(ctx context.Context, device *pbx.PBX) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.s.Patience, errPatience)
	defer cancel()
	begin := time.Now()
	return p.s.client.Pair(ctx, p.s.live, device, "Praxis "+string(device.Serial()), func(step cloud.Step) {
		switch since := time.Since(begin); step {
		case cloud.StepSaved:
			p.saved.Add(since)
		case cloud.StepOffered:
			p.offered.Add(since)
			p.offers.Add(1)
		case cloud.StepPaired:
			p.paired.Add(since)
			p.done.Add(1)
		}
	})
}

// pair pairs as many as are asked for.
func (s *simulation) pair(ctx context.Context) error {
	p := s.newPairs()
	todo := s.Pair - s.report.Restored
	r := &Pairings{Asked: max(0, todo)}
	begin := time.Now()
	line := func() string { return fmt.Sprintf("pairing: %d of %d paired", p.done.Load(), r.Asked) }
	if r.Asked == 0 {
		return nil
	}
	err := s.Progress.While(ctx, line, func(ctx context.Context) error {
		var g errgroup.Group
		g.SetLimit(atOnce)
		for _, device := range s.good.PBXs() {
			if todo <= 0 || ctx.Err() != nil {
				break
			}
			if device.State().Phase() == state.PhasePaired {
				continue
			}
			todo--
			g.Go(func() error {
				if err := p.one(ctx, device); err != nil && ctx.Err() == nil {
					s.tally.failed("pair", err)
				}
				return nil
			})
		}
		_ = g.Wait() // each error is counted
		return ctx.Err()
	})
	r.Elapsed = time.Since(begin)
	r.Paired, r.Offers = int(p.done.Load()), int(p.offers.Load())
	r.Saved, r.Offered, r.Latency = p.saved.Summary(), p.offered.Summary(), p.paired.Summary()
	s.report.Pair = r
	return err
}
