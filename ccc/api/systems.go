package api

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func (a *API) listSystems(ctx context.Context, in *SystemQuery) (*body[SystemList], error) {
	who := mustActor(ctx)
	filter := store.Filter{
		Query: in.Query, States: in.State, Tags: in.Tag, Group: store.GroupID(in.Group), Site: store.SiteID(in.Site),
		Within: who.may.Within(access.SystemRead, who.tenant.ID),
		Sort:   store.Sort(strings.TrimSuffix(in.Sort, "_at")), // as the store names them
	}
	switch in.Maintenance {
	case "paid":
		filter.MaintainedAt = time.Now()
	case "over":
		filter.LapsedAt = time.Now()
	}
	if in.Online != "" {
		online := a.paired.each(who.tenant.ID, a.cfg.Fleet.IsOnline)
		if in.Online == "true" {
			filter.Serials = online
		} else {
			filter.NotSerials = online
		}
	}
	if in.OfflineReason != "" {
		filter.Serials = []identity.Serial{} // what is online is so for no reason
		if in.Online != "true" {
			filter.Serials = a.offlineFor(who.tenant.ID, in.OfflineReason)
		}
	}
	out := &body[SystemList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found, next, total, err := tx.Systems(who.tenant.ID, filter, store.Page{Cursor: in.Cursor, Limit: in.Limit})
		if errors.Is(err, store.ErrNotFound) {
			err = nil // what the filter names is nothing, and so nothing fits it
		}
		if err != nil {
			return err
		}
		out.Body = SystemList{Items: make([]System, len(found)), Next: next, Total: total}
		for i, s := range found {
			out.Body.Items[i] = a.system(s)
		}
		return nil
	})
	return out, err
}

func (a *API) getSystem(ctx context.Context, in *SystemPath) (*systemOutput, error) {
	found, err := a.find(ctx, mustActor(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return a.systemOutput(found), nil
}

func (a *API) find(ctx context.Context, who actor, id string) (found store.System, err error) {
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.System(who.tenant.ID, store.SystemID(id))
		return err
	})
	return found, err
}

func (a *API) systemOutput(s store.System) *systemOutput {
	return &systemOutput{ETag: etag(s.Version), Body: a.system(s)}
}

func etag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

// parseETag gives the version of an If-Match (RFC 9110, §13.1.1); 0 for *.
func parseETag(text string) (int64, error) {
	if text == "" {
		return 0, problem(CodeVersionRequired, "")
	}
	if text == "*" {
		return 0, nil
	}
	inner, ok := strings.CutPrefix(text, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	version, err := strconv.ParseInt(inner, 10, 64)
	if !ok || !closed || err != nil || version < 1 {
		// Something that no system has ever had, and so does not have now.
		return 0, problem(CodeVersion, "")
	}
	return version, nil
}

type createSystemInput struct {
	Idempotency
	Body NewSystem
}

func (a *API) createSystem(ctx context.Context, in *createSystemInput) (*created[SystemOffer], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createSystem", in.Body, func(ctx context.Context) (*created[SystemOffer], error) {
		return a.save(ctx, who, pairing.NewSystem{
			Serial: in.Body.Serial, Name: in.Body.Name, Note: in.Body.Note,
			Tags: in.Body.Tags, Groups: ids[store.GroupID](in.Body.Groups),
		})
	})
}

type replaceSystemInput struct {
	SystemPath
	Idempotency
	Body Replacement
}

func (a *API) replaceSystem(ctx context.Context, in *replaceSystemInput) (*created[SystemOffer], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "replaceSystem "+in.ID, in.Body, func(ctx context.Context) (*created[SystemOffer], error) {
		old, err := a.find(ctx, who, in.ID)
		if err != nil {
			return nil, err
		}
		if string(old.Serial) == in.Body.Serial {
			return nil, problem(CodeSerialTaken, "a system does not replace itself")
		}
		return a.save(ctx, who, pairing.NewSystem{
			Serial: in.Body.Serial, Name: in.Body.Name, Replaces: store.SystemID(in.ID),
		})
	})
}

func (a *API) save(ctx context.Context, who actor, system pairing.NewSystem) (*created[SystemOffer], error) {
	saved, offer, err := a.cfg.Pairing.Save(ctx, who.pairing(), system)
	if err != nil {
		return nil, err
	}
	return &created[SystemOffer]{
		Location: Prefix + "/systems/" + url.PathEscape(string(saved.ID)),
		Body:     SystemOffer{System: a.system(saved), Offer: offerOf(offer)},
	}, nil
}

type updateSystemInput struct {
	SystemPath
	IfMatch
	Body SystemChange
}

func (a *API) updateSystem(ctx context.Context, in *updateSystemInput) (*systemOutput, error) {
	who := mustActor(ctx)
	version, err := parseETag(in.Version)
	if err != nil {
		// Whether it exists comes first: what is another tenant's has no versions.
		if _, missing := a.find(ctx, who, in.ID); missing != nil {
			return nil, missing
		}
		return nil, err
	}
	if in.Body == (SystemChange{}) {
		return nil, problem(CodeInvalid, "", FieldError{"body", FieldRequired, "changes nothing"})
	}
	fields := store.Fields{Name: in.Body.Name, Note: in.Body.Note, Tags: in.Body.Tags}
	if in.Body.Groups != nil {
		groups := ids[store.GroupID](*in.Body.Groups)
		fields.Groups = &groups
	}
	if in.Body.SiteID != nil {
		site := store.SiteID(*in.Body.SiteID)
		if err := a.maySite(ctx, who, store.SystemID(in.ID), site); err != nil {
			return nil, err
		}
		fields.Site = &site
	}
	changed, err := a.cfg.Pairing.Update(ctx, who.pairing(), store.SystemID(in.ID), version, fields)
	if err != nil {
		return nil, err
	}
	if in.Body.SiteID != nil {
		a.accessChanged(who.tenant.ID)
	}
	return a.systemOutput(changed), nil
}

// maySite looks whether the actor may put a system at a site, and whether both are there.
// Whose rights are for a site has them for what is there: so it takes who manages users.
func (a *API) maySite(ctx context.Context, who actor, system store.SystemID, site store.SiteID) error {
	if who.standing.Token != nil {
		return problem(CodeTokenScope, "rights follow the site, which no token changes")
	}
	if !who.may.May(access.UsersManage, access.Of(who.tenant.ID)) {
		return problem(CodeForbidden, "rights follow the site, which takes who manages the users of the tenant")
	}
	if _, err := a.find(ctx, who, string(system)); err != nil || site == "" {
		return err
	}
	return a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Site(who.tenant.ID, site)
		if errors.Is(err, store.ErrNotFound) {
			return problem(CodeInvalid, "", FieldError{"body.site_id", FieldReference, "is not there"})
		}
		return err
	})
}

func (a *API) removeSystem(ctx context.Context, in *SystemPath) (*nothing, error) {
	return nil, a.cfg.Pairing.Remove(ctx, mustActor(ctx).pairing(), store.SystemID(in.ID))
}

type listSystemEventsInput struct {
	SystemPath
	Page
}

func (a *API) listSystemEvents(ctx context.Context, in *listSystemEventsInput) (*body[EventList], error) {
	who := mustActor(ctx)
	out := &body[EventList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.System(who.tenant.ID, store.SystemID(in.ID)); err != nil {
			return err
		}
		found, next, err := tx.Events(who.tenant.ID, store.EventFilter{System: store.SystemID(in.ID)}, store.Page{Cursor: in.Cursor, Limit: in.Limit})
		if err != nil {
			return err
		}
		actors := make([]store.UserID, len(found))
		for i, e := range found {
			actors[i] = e.Actor
		}
		names, err := tx.UserNames(actors)
		if err != nil {
			return err
		}
		out.Body = EventList{Items: make([]Event, len(found)), Next: next}
		for i, e := range found {
			out.Body.Items[i] = eventOf(e, names)
			if strings.HasPrefix(e.Kind, "access_") && !who.may.May(access.GrantsRead, access.Of(who.tenant.ID)) {
				out.Body.Items[i].Detail = map[string]string{} // it names who was let in
			}
		}
		return nil
	})
	return out, err
}

func eventOf(e store.Event, names map[store.UserID]string) Event {
	out := Event{ID: string(e.ID), At: e.At, Kind: e.Kind, Detail: e.Detail}
	if out.Detail == nil {
		out.Detail = map[string]string{}
	}
	if e.Actor != "" {
		out.Actor = &Actor{ID: string(e.Actor), Name: names[e.Actor]}
	}
	return out
}

// ids makes ids of a request's texts.
func ids[T ~string](all []string) []T {
	out := make([]T, len(all))
	for i, text := range all {
		out[i] = T(text)
	}
	return out
}
