package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// RolloutPath is the rollout in an address.
type RolloutPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the rollout"`
}

// registerRollouts is the table of the operations about changes of many systems.
func (a *API) registerRollouts() {
	const one = "/rollouts/{id}"
	add(a, operation{
		id: "listRollouts", method: http.MethodGet, path: "/rollouts", tag: tagConfiguration, rule: inParts(access.ConfigRead),
		summary: "Changes of many systems, the newest first", description: "Those of which the person may see all systems.",
	}, a.listRollouts)
	add(a, operation{
		id: "createRollout", method: http.MethodPost, path: "/rollouts", tag: tagConfiguration, rule: inParts(access.ConfigWrite), status: http.StatusCreated,
		summary:     "Prepare a change of many systems",
		description: "All systems are read, and nothing is changed before it is started. A filter chooses of those at which the person may change settings.",
		codes:       []Code{CodeQuotaRollouts, CodeFirmwareOff, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createRollout)
	add(a, operation{
		id: "getRollout", method: http.MethodGet, path: one, tag: tagConfiguration, rule: inParts(access.ConfigRead),
		summary: "Get a rollout with its progress",
	}, a.getRollout)
	add(a, operation{
		id: "listRolloutDevices", method: http.MethodGet, path: one + "/systems", tag: tagConfiguration, rule: inParts(access.ConfigRead),
		summary: "The systems of a rollout, ring by ring",
	}, a.listRolloutDevices)
	add(a, operation{
		id: "listRolloutDiffs", method: http.MethodGet, path: one + "/diffs", tag: tagConfiguration, rule: inParts(access.ConfigRead),
		summary: "What changes, and at how many systems", description: "The most frequent hundred.",
	}, a.listRolloutDiffs)
	add(a, operation{
		id: "controlRollout", method: http.MethodPost, path: one + "/control", tag: tagConfiguration, rule: inParts(access.ConfigWrite),
		summary: "Start, pause, resume, stop or roll back", description: "For who may change settings at all of its systems: from now on it is looked before each of them whether that person still may.",
		codes: []Code{CodeState},
	}, a.controlRollout)
}

// seen gives the parts of the tenant whose rollouts the actor sees.
func (a actor) seen() *store.Within { return a.may.Within(access.ConfigRead, a.tenant.ID) }

// rolloutsOf completes rollouts with their progress and names.
func rolloutsOf(tx *store.Tx, tenant store.TenantID, all []store.Rollout) ([]Rollout, error) {
	ids, users := make([]store.RolloutID, len(all)), make([]store.UserID, len(all))
	at := map[store.RolloutID]*Rollout{}
	out := make([]Rollout, len(all))
	for i, r := range all {
		ids[i], users[i] = r.ID, r.CreatedBy
		out[i] = Rollout{
			ID: string(r.ID), Name: r.Name, Kind: r.Kind, State: r.State, Reason: r.Reason, TemplateID: string(r.Template), TemplateVersion: r.TemplateVersion,
			Plan: planOf(r.Plan), Ring: r.Ring, Rings: []RingProgress{}, CreatedAt: r.Created, StartedAt: r.Started, Deadline: r.Deadline, EndedAt: r.Ended,
		}
		if r.Kind == store.RolloutFirmware {
			out[i].Firmware = &FirmwareRef{string(r.Firmware), r.FirmwareModel, r.FirmwareVersion}
		}
		if r.Stood != nil {
			out[i].Deadline = nil // the time for which it stands still does not count
		}
		if !r.NotBefore.IsZero() {
			out[i].NotBefore = &r.NotBefore
		}
		if err := json.Unmarshal(r.Settings, &out[i].Settings); err != nil {
			return nil, err
		}
		at[r.ID] = &out[i]
	}
	counts, err := tx.RolloutCounts(tenant, ids)
	if err != nil {
		return nil, err
	}
	for _, c := range counts {
		r := at[c.Rollout]
		if n := len(r.Rings); n == 0 || r.Rings[n-1].Ring != c.Ring {
			r.Rings = append(r.Rings, RingProgress{Ring: c.Ring, States: map[string]int{}})
		}
		ring := &r.Rings[len(r.Rings)-1]
		ring.Systems += c.Systems
		ring.States[string(c.State)] += c.Systems
		r.Systems += c.Systems
	}
	names, err := tx.UserNames(users)
	for i := range out {
		out[i].By = Actor{string(users[i]), names[users[i]]}
	}
	return out, err
}

func (a *API) listRollouts(ctx context.Context, in *Page) (*body[RolloutList], error) {
	who := mustActor(ctx)
	out := &body[RolloutList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, next, err := tx.Rollouts(who.tenant.ID, who.seen(), store.Page{Cursor: in.Cursor, Limit: in.Limit})
		if err == nil {
			out.Body.Next = next
			out.Body.Items, err = rolloutsOf(tx, who.tenant.ID, all)
		}
		return err
	})
	return out, err
}

func (a *API) getRollout(ctx context.Context, in *RolloutPath) (*body[Rollout], error) {
	who := mustActor(ctx)
	out := &body[Rollout]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Rollout(who.tenant.ID, store.RolloutID(in.ID), who.seen())
		if err != nil {
			return err
		}
		all, err := rolloutsOf(tx, who.tenant.ID, []store.Rollout{r})
		if err == nil {
			out.Body = all[0]
		}
		return err
	})
	return out, err
}

type createRolloutInput struct {
	Idempotency
	Body NewRollout
}

func (a *API) createRollout(ctx context.Context, in *createRolloutInput) (*created[Rollout], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createRollout", in.Body, func(ctx context.Context) (*created[Rollout], error) {
		wish := rollout.Wish{
			Name: in.Body.Name, Kind: in.Body.Kind, Template: store.TemplateID(in.Body.TemplateID), Settings: in.Body.Settings,
			Firmware: store.FirmwareID(in.Body.FirmwareID),
			Systems:  ids[store.SystemID](in.Body.SystemIDs), Plan: in.Body.Plan.store(),
		}
		if f := in.Body.Filter; f != nil {
			wish.Filter = &store.Filter{Query: f.Query, Tags: f.Tags, Group: store.GroupID(f.GroupID), Site: store.SiteID(f.SiteID)}
		}
		r, err := a.cfg.Rollouts.Create(ctx, who.rollout(), wish)
		if err != nil {
			return nil, err
		}
		out, err := a.getRollout(ctx, &RolloutPath{ID: string(r.ID)})
		if err != nil {
			return nil, err
		}
		return &created[Rollout]{Location: Prefix + "/rollouts/" + url.PathEscape(string(r.ID)), Body: out.Body}, nil
	})
}

type listRolloutDevicesInput struct {
	RolloutPath
	Page
	State []store.RolloutDeviceState `query:"state,explode" nullable:"false" maxItems:"9" enum:"pending,running,offline,done,unchanged,conflict,refused,failed,rolled_back" doc:"Any of these"`
	Diff  string                     `query:"diff" maxLength:"64" pattern:"^[0-9a-f]*$" patternDescription:"from the list of diffs" doc:"With these changes"`
}

func (a *API) listRolloutDevices(ctx context.Context, in *listRolloutDevicesInput) (*body[RolloutDeviceList], error) {
	who := mustActor(ctx)
	out := &body[RolloutDeviceList]{}
	var found []store.RolloutDevice
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if _, err = tx.Rollout(who.tenant.ID, store.RolloutID(in.ID), who.seen()); err != nil {
			return err
		}
		filter := store.RolloutDeviceFilter{States: in.State, Diff: in.Diff}
		found, out.Body.Next, err = tx.RolloutDevices(who.tenant.ID, store.RolloutID(in.ID), filter, store.Page{Cursor: in.Cursor, Limit: in.Limit})
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Body.Items = make([]RolloutDevice, len(found))
	for i, d := range found {
		changes, restart, err := a.cfg.Rollouts.Changes(d)
		if err != nil {
			a.log.Warn("what is kept of a rollout does not open", "rollout", d.Rollout, "serial", d.Serial, "error", err)
		}
		code, detail, _ := strings.Cut(d.Code, " ")
		out.Body.Items[i] = RolloutDevice{
			SystemID: string(d.System), Serial: string(d.Serial), Name: d.Name, Ring: d.Ring, State: d.State, Code: code, Detail: detail,
			Changes: settingChanges(changes), RestartNeeded: restart, ChangedAt: d.Changed,
		}
	}
	return out, nil
}

// maxDiffs is how many groups are listed.
const maxDiffs = 100

func (a *API) listRolloutDiffs(ctx context.Context, in *RolloutPath) (*body[RolloutDiffList], error) {
	who := mustActor(ctx)
	out := &body[RolloutDiffList]{Body: RolloutDiffList{Items: []RolloutDiff{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.Rollout(who.tenant.ID, store.RolloutID(in.ID), who.seen()); err != nil {
			return err
		}
		all, err := tx.RolloutDiffs(who.tenant.ID, store.RolloutID(in.ID))
		if err != nil {
			return err
		}
		items := make([]RolloutDiff, 0, len(all))
		for _, v := range all[:min(len(all), maxDiffs)] {
			d, err := tx.RolloutDeviceOf(who.tenant.ID, store.RolloutID(in.ID), v.System)
			if err != nil {
				return err
			}
			changes, restart, err := a.cfg.Rollouts.Changes(d)
			if err != nil {
				a.log.Warn("what is kept of a rollout does not open", "rollout", d.Rollout, "serial", d.Serial, "error", err)
			}
			items = append(items, RolloutDiff{Diff: v.Diff, Systems: v.Systems, Changes: settingChanges(changes), RestartNeeded: restart})
		}
		out.Body.Items = items
		return nil
	})
	return out, err
}

type controlRolloutInput struct {
	RolloutPath
	Body RolloutControl
}

func (a *API) controlRollout(ctx context.Context, in *controlRolloutInput) (*body[Rollout], error) {
	if _, err := a.cfg.Rollouts.Control(ctx, mustActor(ctx).rollout(), store.RolloutID(in.ID), in.Body.Action); err != nil {
		return nil, err
	}
	return a.getRollout(ctx, &in.RolloutPath)
}

// RolloutChanged tells readers that rollouts of a tenant have progressed. It does not block.
func (a *API) RolloutChanged(tenant store.TenantID) {
	a.hub.publish(tenant, notice{subject: subject{event: eventRollout}})
}
