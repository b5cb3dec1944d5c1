package registrytest

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/registry"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Faults says how a [Faulty] registry misbehaves. Each probability is from 0,
// never, to 1, always.
type Faults struct {
	// Seed makes the faults repeatable.
	Seed uint64
	// Delay holds each operation back, half of it before and half after it takes
	// effect, by a uniform time of up to so much each.
	Delay time.Duration
	// Unavailable fails operations before they take effect.
	Unavailable float64
	// LostAck fails operations that have taken effect.
	LostAck float64
	// Stale answers a lookup with the answer to an earlier one.
	Stale float64
}

// Faulty is a registry that fails as told. Its methods fail with
// [registry.ErrUnavailable] or the context's error only.
type Faulty struct {
	faults Faults
	make   func() registry.Registry

	mu    sync.Mutex // guards what follows
	rnd   *rand.Rand
	inner registry.Registry
	seen  map[identity.ID][]registry.Route // answers of earlier lookups
}

var _ registry.Registry = (*Faulty)(nil)

// NewFaulty wraps what make gives.
func NewFaulty(make func() registry.Registry, f Faults) *Faulty {
	return &Faulty{
		faults: f, make: make, inner: make(),
		rnd:  rand.New(rand.NewPCG(f.Seed, 0)), //nolint:gosec // repeatable faults
		seen: map[identity.ID][]registry.Route{},
	}
}

// Reset loses every route, as an engine does that is restored from nothing.
func (f *Faulty) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inner = f.make()
}

// Claim implements [registry.Registry].
func (f *Faulty) Claim(ctx context.Context, k registry.Key, r registry.Route) (epoch uint64, prev *registry.Route, err error) {
	err = f.do(ctx, func(inner registry.Registry) (err error) {
		epoch, prev, err = inner.Claim(ctx, k, r)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return epoch, prev, nil
}

// Release implements [registry.Registry].
func (f *Faulty) Release(ctx context.Context, k registry.Key, epoch uint64) (ok bool, err error) {
	err = f.do(ctx, func(inner registry.Registry) (err error) {
		ok, err = inner.Release(ctx, k, epoch)
		return err
	})
	return ok && err == nil, err
}

// Lookup implements [registry.Registry].
func (f *Faulty) Lookup(ctx context.Context, id identity.ID) (routes []registry.Route, err error) {
	f.mu.Lock()
	old, ok := f.seen[id]
	f.mu.Unlock()
	if ok && f.chance(f.faults.Stale) {
		return append([]registry.Route(nil), old...), nil
	}
	err = f.do(ctx, func(inner registry.Registry) (err error) {
		routes, err = inner.Lookup(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.seen[id] = append([]registry.Route(nil), routes...)
	f.mu.Unlock()
	return routes, nil
}

// do runs one operation with its faults.
func (f *Faulty) do(ctx context.Context, op func(registry.Registry) error) error {
	if err := f.wait(ctx); err != nil {
		return err
	}
	if f.chance(f.faults.Unavailable) {
		return registry.ErrUnavailable
	}
	f.mu.Lock()
	inner := f.inner
	f.mu.Unlock()
	if err := op(inner); err != nil {
		return err
	}
	if err := f.wait(ctx); err != nil {
		return err
	}
	if f.chance(f.faults.LostAck) {
		return registry.ErrUnavailable
	}
	return nil
}

func (f *Faulty) chance(p float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.Float64() < p
}

func (f *Faulty) wait(ctx context.Context) error {
	if f.faults.Delay <= 0 {
		return ctx.Err()
	}
	f.mu.Lock()
	d := time.Duration(f.rnd.Int64N(int64(f.faults.Delay)))
	f.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
