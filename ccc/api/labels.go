package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func (a *API) listGroups(ctx context.Context, _ *nothing) (*body[GroupList], error) {
	who := mustActor(ctx)
	out := &body[GroupList]{}
	within := who.may.Within(access.SystemRead, who.tenant.ID)
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		var all []store.Group
		if within == nil {
			all, err = tx.Groups(who.tenant.ID)
		} else {
			all, err = tx.GroupsWithin(who.tenant.ID, *within)
		}
		out.Body.Items = make([]Group, len(all))
		for i, g := range all {
			out.Body.Items[i] = group(g)
		}
		return err
	})
	return out, err
}

type createGroupInput struct {
	Idempotency
	Body NewGroup
}

func (a *API) createGroup(ctx context.Context, in *createGroupInput) (*created[Group], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createGroup", in.Body, func(ctx context.Context) (*created[Group], error) {
		g := store.Group{ID: store.NewID[store.GroupID](), Tenant: who.tenant.ID, Name: in.Body.Name, Created: time.Now()}
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.CreateGroup(g) })
		if errors.Is(err, store.ErrLimit) {
			return nil, problem(CodeInvalid, "", FieldError{"body.name", FieldTooMany, fmt.Sprintf("there are %d groups, and no more can be", store.MaxGroups)})
		}
		if err != nil {
			return nil, err
		}
		return &created[Group]{Body: group(g)}, nil
	})
}

type groupPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the group"`
}

func (a *API) removeGroup(ctx context.Context, in *groupPath) (*nothing, error) {
	who, id := mustActor(ctx), store.GroupID(in.ID)
	var members []store.System
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		// One more than readers can be told of singly.
		page := store.Page{Limit: a.cfg.Streams.Queue + 1}
		if members, _, _, err = tx.Systems(who.tenant.ID, store.Filter{Group: id}, page); err != nil {
			return err
		}
		return tx.DeleteGroup(who.tenant.ID, id)
	})
	if err != nil {
		return nil, err
	}
	told := make([]notice, len(members))
	for i, s := range members {
		told[i].subject = subject{eventSystem, s.ID}
	}
	a.hub.publish(who.tenant.ID, told...)
	return nil, nil //nolint:nilnil // as huma has it for no content
}

func (a *API) listTags(ctx context.Context, _ *nothing) (*body[TagList], error) {
	who := mustActor(ctx)
	out := &body[TagList]{}
	within := who.may.Within(access.SystemRead, who.tenant.ID)
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Tags(who.tenant.ID, within)
		out.Body.Items = make([]Tag, len(all))
		for i, t := range all {
			out.Body.Items[i] = Tag{Name: t.Tag, Systems: t.Systems}
		}
		return err
	})
	return out, err
}
