package api

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// repeats keeps a person who is refused again and again from filling the audit log. The
// first refusal of its kind has an entry at once; those that are the same in a while after
// that are counted, and have one entry together with their number. What was done is never
// counted: it has its entry in the transaction that does it.
//
// The numbers are in memory: of a program that is killed the last ones are lost, and the
// entries of the first ones are there.
type repeats struct {
	within time.Duration
	most   int // different ones of a person

	mu      sync.Mutex // guards what follows
	ended   bool       // nobody adds the counted ones any more
	persons map[person]*refusals
}

// person is somebody in a tenant.
type person struct {
	tenant store.TenantID
	user   store.UserID
}

// refusals of a person in a while.
type refusals struct {
	until time.Time
	all   map[refusal]*repeated
}

// refusal is what is the same of those that are counted together.
type refusal struct{ actor, right, operation, resource, outcome string }

// repeated is how often there was another.
type repeated struct {
	times  int64
	act    *store.Act // what its entry says
	access string     // of the last one
}

func newRepeats(within time.Duration, most int) *repeats {
	return &repeats{within: within, most: most, persons: map[person]*refusals{}}
}

// counted tells whether a refusal is one of those that have an entry together: then it has
// none of its own.
func (r *repeats) counted(act *store.Act, outcome string, now time.Time) bool {
	if act.User == "" {
		return false // of those who are not known the number is bounded
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	who := person{act.Tenant, act.User}
	of := r.persons[who]
	if of == nil {
		of = &refusals{until: now.Add(r.within), all: map[refusal]*repeated{}}
		r.persons[who] = of
	}
	key := refusal{act.Actor, act.Right, act.Operation, act.Resource, outcome}
	system, serial := act.System, act.Serial
	seen := of.all[key]
	if seen == nil && len(of.all) >= r.most {
		// He tries one thing after the other, which need not be there.
		key.resource, _, _ = strings.Cut(key.resource, " ")
		system, serial = "", ""
		seen = of.all[key]
	}
	if seen == nil {
		of.all[key] = &repeated{act: &store.Act{
			Tenant: act.Tenant, Actor: act.Actor, User: act.User, Home: act.Home, Right: act.Right, Operation: act.Operation,
			Resource: key.resource, System: system, Serial: serial,
		}}
		return false
	}
	seen.times++
	if act.Access != nil {
		seen.access = act.Access()
	}
	return true
}

// lost has the next refusal of its kind be the first: the entry of this one was not written.
func (r *repeats) lost(act *store.Act, outcome string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.persons[person{act.Tenant, act.User}]
	if of == nil {
		return
	}
	kind, _, _ := strings.Cut(act.Resource, " ")
	for _, resource := range []string{act.Resource, kind} {
		key := refusal{act.Actor, act.Right, act.Operation, resource, outcome}
		if seen := of.all[key]; seen != nil && seen.times == 0 {
			delete(of.all, key)
			return
		}
	}
}

// counting is one kind of refusal with its number.
type counting struct {
	outcome string
	*repeated
}

// take gives those whose time is over, or all where it is the last time.
func (r *repeats) take(now time.Time, last bool) (all []counting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = r.ended || last
	for who, of := range r.persons {
		if !last && now.Before(of.until) {
			continue
		}
		for key, v := range of.all {
			if v.times > 0 {
				all = append(all, counting{key.outcome, v})
			}
		}
		delete(r.persons, who)
	}
	return all
}

// tellRepeats adds the entries of refusals that were counted, until ctx ends, and then those
// that are left.
func (a *API) tellRepeats(ctx context.Context) {
	ticker := time.NewTicker(min(a.cfg.Audit.RepeatsWithin, time.Minute))
	defer ticker.Stop()
	var left []counting
	for {
		last := false
		select {
		case <-ctx.Done():
			last = true
		case <-ticker.C:
		}
		var err error
		if left, err = a.addRepeats(context.WithoutCancel(ctx), append(left, a.repeats.take(time.Now(), last)...)); err != nil {
			a.log.Warn("some refusals that were counted are not in the audit log", "left", len(left), "again", !last, "error", err)
		}
		if last {
			return
		}
	}
}

// addRepeats gives those whose entries could not be written.
func (a *API) addRepeats(ctx context.Context, all []counting) (left []counting, err error) {
	ctx, cancel := context.WithTimeout(ctx, repeatsTimeout)
	defer cancel()
	for _, c := range all {
		c.act.Repeats = c.times
		if c.access != "" {
			c.act.Access = func() string { return c.access }
		}
		if failed := a.cfg.Store.Settle(ctx, c.act, c.outcome); failed != nil {
			left, err = append(left, c), errors.Join(err, failed)
		}
	}
	return left, err
}

// repeatsTimeout bounds that.
const repeatsTimeout = 10 * time.Second
