package registry

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Local is the registry of one process: a map. It never fails with
// [ErrUnavailable], and its answers are never old. Routes last as long as the
// process.
type Local struct {
	now func() time.Time

	mu     sync.RWMutex // guards what follows
	routes map[identity.ID][]slotRoute
	// released is the highest epoch that was released. A new route of a released
	// key starts above it, whatever the clock says, because a second release of
	// the old one may still be on its way.
	released uint64
}

// slotRoute is one slot of an endpoint. Endpoints have one or two, so a search
// is cheaper than a map per endpoint.
type slotRoute struct {
	slot  string
	route Route
}

var _ Registry = (*Local)(nil)

// NewLocal makes an empty registry.
func NewLocal() *Local {
	return &Local{now: time.Now, routes: make(map[identity.ID][]slotRoute)}
}

// Claim implements [Registry].
func (l *Local) Claim(ctx context.Context, k Key, r Route) (uint64, *Route, error) {
	if err := check(ctx, k); err != nil {
		return 0, nil, err
	}
	r.Services = slices.Clone(r.Services)
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Epoch = max(l.released+1, uint64(max(l.now().UnixMilli(), 0))) //nolint:gosec // not negative
	list := l.routes[k.Endpoint]
	i := slotIndex(list, k.Slot)
	if i < 0 {
		l.routes[k.Endpoint] = append(list, slotRoute{k.Slot, r})
		return r.Epoch, nil, nil
	}
	prev := list[i].route
	r.Epoch = max(r.Epoch, prev.Epoch+1)
	list[i].route = r
	return r.Epoch, &prev, nil
}

// Release implements [Registry].
func (l *Local) Release(ctx context.Context, k Key, epoch uint64) (bool, error) {
	if err := check(ctx, k); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.routes[k.Endpoint]
	i := slotIndex(list, k.Slot)
	if i < 0 || list[i].route.Epoch != epoch {
		return false, nil
	}
	l.released = max(l.released, epoch)
	if list = slices.Delete(list, i, i+1); len(list) > 0 {
		l.routes[k.Endpoint] = list
	} else {
		delete(l.routes, k.Endpoint)
	}
	return true, nil
}

// Lookup implements [Registry].
func (l *Local) Lookup(ctx context.Context, endpoint identity.ID) ([]Route, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := l.routes[endpoint]
	out := make([]Route, len(list))
	for i, s := range list {
		out[i] = s.route
		out[i].Services = slices.Clone(s.route.Services)
	}
	slices.SortFunc(out, func(a, b Route) int { return cmp.Compare(b.Epoch, a.Epoch) })
	return out, nil
}

func check(ctx context.Context, k Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return k.Validate()
}

func slotIndex(list []slotRoute, slot string) int {
	return slices.IndexFunc(list, func(s slotRoute) bool { return s.slot == slot })
}
