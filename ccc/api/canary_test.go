package api

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// pathID finds the parameters of a path.
var pathID = regexp.MustCompile(`\{[a-z]+\}`)

// TestCanary: whatever the users of some tenants do, and whoever lets in whom and takes
// that back, none sees anything of a tenant that has not let him in then and there. With
// the race detector it is tried less; "make test" does so without it, too.
func TestCanary(t *testing.T) {
	t.Parallel()
	seeds, steps := uint64(4), 400
	if raceDetector {
		seeds, steps = 1, 250
	}
	var own, let, taken, tokens int
	for seed := range seeds {
		tr := newTravels(t)
		all := tr.wander(seed, steps)
		if len(tr.leaks) > 0 {
			_, shown := shrink(t, all)
			t.Errorf("seed %d leaks:\n%s\nanswers %s", seed, shown, tr.leaks[0].answer)
		}
		own, let, taken, tokens = own+tr.own, let+tr.let, taken+tr.taken, tokens+tr.tokens
	}
	if own == 0 || !raceDetector && (own < 20*int(seeds) || let < int(seeds) || tokens == 0 || taken == 0) {
		t.Errorf("users saw their own %d times and what they were let in to %d times, took over %d systems, and used tokens %d times", own, let, taken, tokens)
	}
	t.Logf("own %d, let in %d, taken over %d, by tokens %d", own, let, taken, tokens)
}

// TestCanaryFindsLeaks: leaks that are planted in a copy are found, also one that it takes
// several steps for, which are shown.
func TestCanaryFindsLeaks(t *testing.T) {
	t.Parallel()
	everybodyReads := func(o *options) {
		o.adapt = func(id string, r rule) rule {
			if strings.HasPrefix(id, "list") && r.audience == wholeTenant {
				return member
			}
			return r
		}
	}
	for name, plant := range map[string]struct {
		how  func(*options)
		seed uint64 // from which on it is looked, so that it is soon found
		// steps are of the shortest way to the leak; empty: any.
		steps []string
	}{
		"every tenant can be entered": {func(o *options) {
			everybodyReads(o)
			o.extra = func(a *API) { a.visible = func(access.Actor, store.TenantID) bool { return true } }
		}, 0, []string{""}},
		"a grant that was taken back is remembered": {func(o *options) {
			everybodyReads(o)
			o.extra = func(a *API) {
				var mu sync.Mutex
				known := map[string]bool{}
				a.visible = func(who access.Actor, tenant store.TenantID) bool {
					mu.Lock()
					defer mu.Unlock()
					key := string(who.User) + string(tenant)
					known[key] = known[key] || visible(who, tenant)
					return known[key]
				}
			}
		}, 3, []string{"createTenantGrant or beginBreakGlass", "", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if raceDetector && len(plant.steps) > 1 {
				return // it takes long; "make test" does it without
			}
			for seed := plant.seed; seed < plant.seed+8; seed++ {
				tr := newTravels(t, plant.how)
				all := tr.wander(seed, 600)
				if len(tr.leaks) == 0 {
					continue
				}
				left, shown := shrink(t, all, plant.how)
				t.Logf("seed %d leaks:\n%s", seed, shown)
				if len(left) != len(plant.steps) {
					t.Fatalf("%d steps are left, want %d:\n%s", len(left), len(plant.steps), shown)
				}
				for i, s := range left {
					if plant.steps[i] != "" && !strings.Contains(plant.steps[i], s.op) {
						t.Errorf("step %d is %s, want %s", i, s.op, plant.steps[i])
					}
				}
				return
			}
			t.Error("the planted leak goes unnoticed")
		})
	}
}

// loose takes any field, as no operation is to.
type loose struct {
	_    struct{} `additionalProperties:"true"`
	Name string   `json:"name"`
}

// TestLooseBodyIsFound: the check of TestUnknownIsRefused finds an operation that takes
// what it does not know, which is how fields are set that nobody was to set.
func TestLooseBodyIsFound(t *testing.T) {
	t.Parallel()
	takes := func(c *client, path, body string) bool {
		return c.do(http.MethodPost, path, strings.Replace(body, "{", `{"tenant":"owner",`, 1)).status < http.StatusBadRequest
	}
	w := newWorld(t, func(o *options) {
		o.extra = func(a *API) {
			add(a, operation{id: "hole", method: http.MethodPost, path: "/hole", tag: tagLabels, rule: inTenant(access.TenantWrite)},
				func(_ context.Context, in *body[loose]) (*body[loose], error) { return in, nil })
		}
	}).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	if !takes(c, "/hole", `{"name":"x"}`) {
		t.Error("the planted hole is not found")
	}
	for _, id := range []string{"createGroup", "createSite", "createUser", "createTenantGrant"} {
		if takes(c, documented(t)[id].path, examples[id].body) {
			t.Errorf("%s takes a field that it does not know", id)
		}
	}
}
