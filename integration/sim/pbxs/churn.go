package pbxs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// awayMax bounds how long a PBX is without power.
const awayMax = 2 * time.Second

// idle are serials to which nothing happens at the moment.
type idle struct {
	mu   sync.Mutex
	list []identity.Serial // guarded by mu
}

// take takes the one at a random place.
func (i *idle) take(place uint64) (s identity.Serial, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.list)
	if n == 0 {
		return "", false
	}
	at := int(place % uint64(n)) //nolint:gosec // below n
	s = i.list[at]
	i.list[at] = i.list[n-1]
	i.list = i.list[:n-1]
	return s, true
}

func (i *idle) give(s identity.Serial) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.list = append(i.list, s)
}

// take takes one of the preferred ones, or of the others where all of those are busy.
func take(paired, others *idle, preferPaired bool, place uint64) (from *idle, s identity.Serial) {
	from, second := paired, others
	if !preferPaired {
		from, second = others, paired
	}
	s, ok := from.take(place)
	if !ok {
		from = second
		s, _ = from.take(place)
	}
	return from, s
}

// churn has things happen to PBXs at fixed times: those that are paired are paired anew,
// and any of them lose their power for a moment. To one PBX
// happens one thing at a time.
func (s *simulation) churn(ctx context.Context) error {
	paired, others := new(idle), new(idle)
	for _, p := range s.good.PBXs() {
		if p.State().Phase() == state.PhasePaired {
			paired.give(p.Serial())
		} else {
			others.give(p.Serial())
		}
	}
	again, back := s.newPairs(), load.NewHistogram()
	n := int(s.Churn * s.Duration.Seconds())
	r := &Churn{Events: n}
	var done atomic.Int64
	line := func() string { return fmt.Sprintf("churn: %d of %d events are over", done.Load(), n) }
	rng := rand.New(rand.NewPCG(s.Seed, streamChurn)) //nolint:gosec // not a secret
	begin := time.Now()
	err := s.Progress.While(ctx, line, func(ctx context.Context) error {
		var g errgroup.Group
		g.SetLimit(min(atOnce, s.good.Counts().PBXs)) // so that one is always idle
		for i := range n {
			due := begin.Add(time.Duration(float64(i) / s.Churn * float64(time.Second)))
			if !wait(ctx, time.Until(due)) {
				break
			}
			place, away := rng.Uint64(), time.Duration(rng.Int64N(int64(awayMax)))
			pair := rng.Uint64()%2 == 0 && s.client != nil
			g.Go(func() error {
				defer done.Add(1)
				pool, serial := take(paired, others, pair || place%2 == 0, place)
				pair := pair && pool == paired
				defer pool.give(serial)
				var err error
				what := "power"
				if pair {
					what = "pair anew"
					err = s.anew(ctx, again, serial)
				} else {
					err = s.power(ctx, back, serial, away)
				}
				if err != nil && ctx.Err() == nil {
					s.tally.failed("churn, "+what, err)
				}
				return nil
			})
		}
		_ = g.Wait() // each error is counted
		return ctx.Err()
	})
	r.Elapsed = time.Since(begin)
	r.Anew, r.Back = again.paired.Summary(), back.Summary()
	s.report.Churn = r
	return err
}

// streamChurn keeps the numbers of the churn apart from others of the seed.
const streamChurn = 1 << 40

// wait waits; it tells whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// anew dissolves a pairing and makes another.
func (s *simulation) anew(ctx context.Context, p *pairs, serial identity.Serial) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Patience, errPatience)
	defer cancel()
	device := s.good.PBX(serial)
	if err := s.dissolve(ctx, device); err != nil {
		return err
	}
	return p.one(ctx, device)
}

// power takes the power from a PBX and gives it back.
func (s *simulation) power(ctx context.Context, back *load.Histogram, serial identity.Serial, away time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Patience, errPatience)
	defer cancel()
	before := pairing(s.good.PBX(serial))
	if err := s.good.Off(ctx, serial); err != nil {
		return err
	}
	wait(ctx, away)
	begin := time.Now()
	if err := s.good.On(ctx, serial); err != nil {
		return err
	}
	if err := cloud.Poll(ctx, func() (bool, error) { return s.good.IsOnline(serial), nil }); err != nil {
		return fmt.Errorf("%s does not come back: %w", serial, err)
	}
	if after := pairing(s.good.PBX(serial)); after != before {
		return fmt.Errorf("%s came back with pairing %q, had %q", serial, after, before)
	}
	back.Add(time.Since(begin))
	return nil
}

// pairing is the id of a PBX's pairing; empty where there is none.
func pairing(p *pbx.PBX) string {
	if p := p.State().Pairing; p != nil {
		return string(p.ID)
	}
	return ""
}
