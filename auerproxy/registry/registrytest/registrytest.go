// Package registrytest is the contract suite of the route registry, and a
// wrapper that makes an engine fail in the ways in which distributed ones do.
//
// The test of a new engine:
//
//	func TestContract(t *testing.T) {
//		registrytest.Run(t, func() registry.Registry { return newEngine(t) })
//	}
package registrytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/registry"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Run tests the contract of [registry.Registry]. Every call of make gives an
// empty registry.
func Run(t *testing.T, make func() registry.Registry) {
	t.Run("claim, look up, release", func(t *testing.T) { t.Parallel(); testLife(t, make()) })
	t.Run("newest wins", func(t *testing.T) { t.Parallel(); testNewestWins(t, make()) })
	t.Run("slots are apart", func(t *testing.T) { t.Parallel(); testSlots(t, make()) })
	t.Run("late release", func(t *testing.T) { t.Parallel(); testLateRelease(t, make()) })
	t.Run("release twice around a claim", func(t *testing.T) { t.Parallel(); testReleaseTwice(t, make()) })
	t.Run("late close 1000 times", func(t *testing.T) { t.Parallel(); testLateCloseRace(t, make()) })
	t.Run("concurrent claims", func(t *testing.T) { t.Parallel(); testConcurrentClaims(t, make()) })
	t.Run("bad keys", func(t *testing.T) { t.Parallel(); testBadKeys(t, make()) })
	t.Run("cancelled", func(t *testing.T) { t.Parallel(); testCancelled(t, make()) })
	t.Run("results belong to the caller", func(t *testing.T) { t.Parallel(); testOwnership(t, make()) })
}

// Key is the key of the n-th device, slot "0".
func Key(n int) registry.Key {
	serial := identity.Serial(fmt.Sprintf("%010d", n))
	return registry.Key{Endpoint: identity.Device(identity.DefaultTrustDomain, serial), Slot: "0"}
}

// Route is a route to a session of the relay r1.
func Route(session string) registry.Route {
	return registry.Route{Relay: "r1", Incarnation: "i1", Session: registry.SessionID(session), Since: time.UnixMilli(1)}
}

func claim(t *testing.T, r registry.Registry, k registry.Key, route registry.Route) (uint64, *registry.Route) {
	t.Helper()
	epoch, prev, err := r.Claim(t.Context(), k, route)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return epoch, prev
}

func release(t *testing.T, r registry.Registry, k registry.Key, epoch uint64, want bool) {
	t.Helper()
	got, err := r.Release(t.Context(), k, epoch)
	if err != nil || got != want {
		t.Fatalf("release gives %v, %v; want %v", got, err, want)
	}
}

// sessions lists the sessions that a lookup gives, in its order.
func sessions(t *testing.T, r registry.Registry, id identity.ID) string {
	t.Helper()
	routes, err := r.Lookup(t.Context(), id)
	if err != nil {
		t.Fatalf("lookup: %v", err)
	}
	var s []string
	for _, route := range routes {
		s = append(s, string(route.Session))
	}
	return strings.Join(s, " ")
}

func wantSessions(t *testing.T, r registry.Registry, id identity.ID, want string) {
	t.Helper()
	if got := sessions(t, r, id); got != want {
		t.Fatalf("lookup gives sessions %q, want %q", got, want)
	}
}

func testLife(t *testing.T, r registry.Registry) {
	k := Key(1)
	wantSessions(t, r, k.Endpoint, "")
	before := time.Now().UnixMilli()
	route := Route("s1")
	route.Services, route.Epoch = []string{"web", "ssh"}, 1<<60 // the epoch of the argument is ignored
	epoch, prev := claim(t, r, k, route)
	if prev != nil {
		t.Errorf("first claim replaced %+v", prev)
	}
	if epoch < uint64(before) || epoch > uint64(time.Now().Add(time.Hour).UnixMilli()) { //nolint:gosec // not negative
		t.Errorf("epoch %d, want about the time in ms", epoch)
	}
	routes, err := r.Lookup(t.Context(), k.Endpoint)
	if err != nil || len(routes) != 1 {
		t.Fatalf("lookup gives %+v, %v", routes, err)
	}
	got := routes[0]
	if !got.Since.Equal(route.Since) {
		t.Errorf("since %v, want %v", got.Since, route.Since)
	}
	route.Epoch, route.Since = epoch, got.Since
	if !reflect.DeepEqual(got, route) {
		t.Errorf("lookup gives %+v, want %+v", got, route)
	}
	wantSessions(t, r, Key(2).Endpoint, "")
	release(t, r, k, epoch, true)
	wantSessions(t, r, k.Endpoint, "")
	release(t, r, k, epoch, false)
}

func testNewestWins(t *testing.T, r registry.Registry) {
	k := Key(1)
	last := uint64(0)
	for i := range 5 {
		epoch, prev := claim(t, r, k, Route(fmt.Sprint("s", i)))
		if epoch <= last {
			t.Fatalf("claim %d: epoch %d after %d", i, epoch, last)
		}
		if i > 0 && (prev == nil || prev.Epoch != last || prev.Session != registry.SessionID(fmt.Sprint("s", i-1))) {
			t.Fatalf("claim %d replaced %+v, want session s%d with epoch %d", i, prev, i-1, last)
		}
		wantSessions(t, r, k.Endpoint, fmt.Sprint("s", i))
		last = epoch
	}
}

func testSlots(t *testing.T, r registry.Registry) {
	a := Key(1)
	b := registry.Key{Endpoint: a.Endpoint, Slot: "fe01-x_Y"}
	epochA, _ := claim(t, r, a, Route("a"))
	if _, prev := claim(t, r, b, Route("b")); prev != nil {
		t.Fatalf("a claim of another slot replaced %+v", prev)
	}
	claim(t, r, a, Route("a2")) // its epoch may be that of b
	claim(t, r, a, Route("a3"))
	wantSessions(t, r, a.Endpoint, "a3 b")
	release(t, r, a, epochA, false)
	routes, _ := r.Lookup(t.Context(), a.Endpoint)
	release(t, r, a, routes[0].Epoch, true)
	wantSessions(t, r, a.Endpoint, "b")
}

func testLateRelease(t *testing.T, r registry.Registry) {
	k := Key(1)
	first, _ := claim(t, r, k, Route("old"))
	second, _ := claim(t, r, k, Route("new"))
	release(t, r, k, first, false)
	wantSessions(t, r, k.Endpoint, "new")
	release(t, r, k, second+1, false)
	wantSessions(t, r, k.Endpoint, "new")
	release(t, r, k, second, true) // the positive control
	wantSessions(t, r, k.Endpoint, "")
}

// A release whose answer was lost is repeated, and the repetition comes after the
// next claim.
func testReleaseTwice(t *testing.T, r registry.Registry) {
	k := Key(1)
	for range 50 { // often within one millisecond
		first, _ := claim(t, r, k, Route("old"))
		release(t, r, k, first, true)
		second, _ := claim(t, r, k, Route("new"))
		if second <= first {
			t.Fatalf("epoch %d after %d was released", second, first)
		}
		release(t, r, k, first, false)
		wantSessions(t, r, k.Endpoint, "new")
		release(t, r, k, second, true)
	}
}

// testLateCloseRace is the flapping device: session n+1 is claimed while the
// close of session n is on its way, with any delay between them.
func testLateCloseRace(t *testing.T, r registry.Registry) {
	const rounds = 1000
	k := Key(1)
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a repeatable choice of delays
	old, _ := claim(t, r, k, Route("s0"))
	removed := 0
	for i := 1; i <= rounds; i++ {
		closeDelay, claimDelay := time.Duration(rnd.IntN(100))*time.Microsecond, time.Duration(rnd.IntN(100))*time.Microsecond
		var wg sync.WaitGroup
		var gone bool
		var next uint64
		var rerr, cerr error
		wg.Go(func() {
			<-time.After(closeDelay)
			gone, rerr = r.Release(t.Context(), k, old)
		})
		wg.Go(func() {
			<-time.After(claimDelay)
			next, _, cerr = r.Claim(t.Context(), k, Route(fmt.Sprint("s", i)))
		})
		wg.Wait()
		if err := errors.Join(rerr, cerr); err != nil {
			t.Fatal(err)
		}
		if gone {
			removed++
		}
		if next <= old {
			t.Fatalf("round %d: epoch %d after %d", i, next, old)
		}
		wantSessions(t, r, k.Endpoint, fmt.Sprint("s", i))
		old = next
	}
	t.Logf("the close came first in %d of %d rounds", removed, rounds)
}

func testConcurrentClaims(t *testing.T, r registry.Registry) {
	k := Key(1)
	const claims = 64
	epochs := make([]uint64, claims)
	prevs := make([]uint64, claims)
	var wg sync.WaitGroup
	for i := range claims {
		wg.Go(func() {
			epoch, prev, err := r.Claim(t.Context(), k, Route(fmt.Sprint(i)))
			if err != nil {
				t.Error(err)
				return
			}
			epochs[i] = epoch
			if prev != nil {
				prevs[i] = prev.Epoch
			}
		})
	}
	wg.Wait()
	// Each claim replaced exactly one other: the claims form one chain.
	seen := map[uint64]bool{}
	for _, p := range prevs {
		if seen[p] {
			t.Fatalf("two claims replaced the route with epoch %d", p)
		}
		seen[p] = true
	}
	highest := 0
	for i, e := range epochs {
		if e > epochs[highest] {
			highest = i
		}
	}
	wantSessions(t, r, k.Endpoint, fmt.Sprint(highest))
}

func testBadKeys(t *testing.T, r registry.Registry) {
	good := Key(1)
	for _, k := range []registry.Key{
		{},
		{Slot: "0"},
		{Endpoint: good.Endpoint},
		{Endpoint: good.Endpoint, Slot: "a.b"},
		{Endpoint: good.Endpoint, Slot: "a b"},
		{Endpoint: good.Endpoint, Slot: ">"},
		{Endpoint: good.Endpoint, Slot: strings.Repeat("x", registry.MaxSlotLen+1)},
		{Endpoint: identity.ID{TrustDomain: "x", Kind: identity.KindDevice, Name: "123"}, Slot: "0"},
	} {
		if _, _, err := r.Claim(t.Context(), k, Route("s")); !errors.Is(err, registry.ErrKey) {
			t.Errorf("claim of %q gives %v, want ErrKey", k, err)
		}
		if _, err := r.Release(t.Context(), k, 1); !errors.Is(err, registry.ErrKey) {
			t.Errorf("release of %q gives %v, want ErrKey", k, err)
		}
	}
	long := registry.Key{Endpoint: good.Endpoint, Slot: strings.Repeat("x", registry.MaxSlotLen)}
	claim(t, r, long, Route("s"))
}

func testCancelled(t *testing.T, r registry.Registry) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k := Key(1)
	if _, _, err := r.Claim(ctx, k, Route("s")); err == nil {
		t.Error("claim succeeds with a cancelled context")
	}
	if _, err := r.Release(ctx, k, 1); err == nil {
		t.Error("release succeeds with a cancelled context")
	}
	if _, err := r.Lookup(ctx, k.Endpoint); err == nil {
		t.Error("lookup succeeds with a cancelled context")
	}
}

func testOwnership(t *testing.T, r registry.Registry) {
	k := Key(1)
	route := Route("s")
	route.Services = []string{"web"}
	claim(t, r, k, route)
	route.Services[0] = "changed"
	first, _ := r.Lookup(t.Context(), k.Endpoint)
	if len(first) != 1 || first[0].Services[0] != "web" {
		t.Fatalf("a change of the argument after the claim is seen: %+v", first)
	}
	first[0].Services[0] = "changed"
	second, _ := r.Lookup(t.Context(), k.Endpoint)
	if second[0].Services[0] != "web" {
		t.Fatalf("a change of one result is seen in the next: %+v", second)
	}
}
