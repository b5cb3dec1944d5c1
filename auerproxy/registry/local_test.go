package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/registry"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/registry/registrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLocal() registry.Registry { return registry.NewLocal() }

func TestLocal(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, newLocal)
}

// A wrapper without faults changes nothing.
func TestFaultyWithoutFaults(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func() registry.Registry { return registrytest.NewFaulty(newLocal, registrytest.Faults{}) })
}

// Late closes again, with delays of seconds, lost answers, and callers that
// repeat until they have one: the last claim is what remains.
func TestLateCloseWithFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := registrytest.NewFaulty(newLocal, registrytest.Faults{
			Seed: 7, Delay: 2 * time.Second, Unavailable: 0.2, LostAck: 0.2,
		})
		k := registrytest.Key(1)
		faults := 0
		claim := func(session string) (epoch uint64) {
			for {
				epoch, _, err := r.Claim(t.Context(), k, registrytest.Route(session))
				if err == nil {
					return epoch
				}
				if !errors.Is(err, registry.ErrUnavailable) {
					t.Fatal(err)
				}
				faults++
			}
		}
		old := claim("s0")
		for i := 1; i <= 1000; i++ {
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 3 { // a close that is repeated, also after it has succeeded
					_, _ = r.Release(context.Background(), k, old)
				}
			})
			next := claim(fmt.Sprint("s", i))
			wg.Wait()
			if next <= old {
				t.Fatalf("round %d: epoch %d after %d", i, next, old)
			}
			old = next
			for {
				routes, err := r.Lookup(t.Context(), k.Endpoint)
				if err != nil {
					continue
				}
				if len(routes) != 1 || routes[0].Epoch != next {
					t.Fatalf("round %d: routes %+v, want epoch %d", i, routes, next)
				}
				break
			}
		}
		if faults == 0 {
			t.Error("no claim failed: the test has tested nothing")
		}
	})
}

func TestFaultyStaleAndReset(t *testing.T) {
	t.Parallel()
	ctx, k := t.Context(), registrytest.Key(1)
	r := registrytest.NewFaulty(newLocal, registrytest.Faults{Stale: 1})
	first, _, _ := r.Claim(ctx, k, registrytest.Route("s1"))
	_, _ = r.Lookup(ctx, k.Endpoint)
	_, _, _ = r.Claim(ctx, k, registrytest.Route("s2"))
	if routes, err := r.Lookup(ctx, k.Endpoint); err != nil || len(routes) != 1 || routes[0].Epoch != first {
		t.Errorf("stale lookup gives %+v, %v", routes, err)
	}
	r.Reset()
	if _, prev, err := r.Claim(ctx, k, registrytest.Route("s3")); prev != nil || err != nil {
		t.Errorf("a claim after the loss replaced %+v, %v", prev, err)
	}
}

func BenchmarkClaimRelease(b *testing.B) {
	r := registry.NewLocal()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		k := registrytest.Key(1)
		for pb.Next() {
			epoch, _, err := r.Claim(b.Context(), k, registrytest.Route("s"))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = r.Release(b.Context(), k, epoch)
		}
	})
}
