package api

import (
	"context"
	"errors"
	"maps"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// errNoRight: who reads live events may not do that any more.
var errNoRight = errors.New("the right was taken away")

// accessChanged tells a tenant's readers that rights have changed, and has those who read
// in it look at theirs.
func (a *API) accessChanged(tenant store.TenantID) {
	a.hub.publish(tenant, notice{subject: subject{event: eventAccess}})
	a.hub.recheck(func(r *reader) bool { return r.tenant == tenant })
}

// userChanged has a user's readers look at their rights.
func (a *API) userChanged(user store.UserID) {
	a.hub.recheck(func(r *reader) bool { return r.user == user })
}

// hears gives the systems of which an actor hears live; nil: all. Of one that is put at a
// site he hears after the next look at his rights.
func (a *API) hears(ctx context.Context, who actor) (map[store.SystemID]struct{}, error) {
	return a.parts(ctx, who, access.SystemRead)
}

// parts gives the systems for which an actor has a verb; nil: all.
func (a *API) parts(ctx context.Context, who actor, v access.Verb) (map[store.SystemID]struct{}, error) {
	within := who.may.Within(v, who.tenant.ID)
	if within == nil {
		return nil, nil //nolint:nilnil // all
	}
	only := map[store.SystemID]struct{}{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, _, _, err := tx.Systems(who.tenant.ID, store.Filter{Within: within}, store.Page{Limit: store.MaxPage})
		for _, s := range all {
			only[s.ID] = struct{}{}
		}
		return err
	})
	return only, err
}

// hear sets of what a reader hears. Where it has heard of something else before it loads
// everything anew.
func (r *reader) hear(only map[store.SystemID]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (r.only == nil) == (only == nil) && maps.Equal(r.only, only) {
		return
	}
	r.only = only
	r.waiting.lose()
	signal(r.wake)
}

// rehear looks at a reader's rights. The error is errNoRight where there are none.
func (a *API) rehear(ctx context.Context, r *reader, who actor) error {
	tenant := who.tenant.ID
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		who, err = who.fresh(tx)
		return err
	})
	if err != nil {
		return err
	}
	if !who.may.Anywhere(access.SystemRead, tenant) {
		return errNoRight
	}
	only, err := a.hears(ctx, who)
	if err == nil {
		r.hear(only)
	}
	return err
}

// summaryOf counts the systems of which a reader hears.
func (a *API) summaryOf(ctx context.Context, r *reader) (Summary, error) {
	if only := r.heard(); only != nil {
		return a.summaryWithin(r.tenant, only), nil
	}
	return a.summary(ctx, r.tenant)
}

func (r *reader) heard() map[store.SystemID]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.only // replaced, never changed
}

func (a *API) summaryWithin(tenant store.TenantID, only map[store.SystemID]struct{}) Summary {
	sum := Summary{Total: len(only)}
	for _, serial := range a.paired.each(tenant, a.cfg.Fleet.IsOnline) {
		if at, ok := a.paired.find(serial); ok {
			if _, heard := only[at.system]; heard {
				sum.Online++
			}
		}
	}
	return sum
}

// narrow makes the summary among a reader's messages its own.
func (a *API) narrow(r *reader, all []message) {
	only := r.heard()
	if only == nil {
		return
	}
	for i, m := range all {
		if m.event == eventSummary {
			all[i].v, _ = encodeEvent(eventSummary, a.summaryWithin(r.tenant, only)) // has JSON
		}
	}
}
