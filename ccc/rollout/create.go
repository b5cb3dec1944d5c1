package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Bounds of a plan.
const (
	MaxRings = 20
	MaxWait  = 30 * 24 * time.Hour
	MaxPause = 7 * 24 * time.Hour
)

// Actor is who wants something, and what he may in the tenant that it is about.
type Actor struct {
	Tenant store.TenantID
	User   store.UserID
	May    access.Actor
}

// Verb is what it takes to let a rollout of a kind change something.
func Verb(kind store.RolloutKind) access.Verb {
	if kind == store.RolloutFirmware {
		return access.FirmwareWrite
	}
	return access.ConfigWrite
}

// Wish is a rollout that somebody wants.
type Wish struct {
	Name     string
	Kind     store.RolloutKind
	Template store.TemplateID // whose settings; empty: Settings
	Settings Values
	Firmware store.FirmwareID // the image, of a rollout of firmware
	Systems  []store.SystemID // these, the first ones first
	Filter   *store.Filter    // and what fits this; nil: nothing
	Plan     store.RolloutPlan
}

// DefaultPlan is one PBX, then a tenth, then the others, and halts with the first failure.
func DefaultPlan() store.RolloutPlan {
	return store.RolloutPlan{Rings: []store.Ring{{Count: 1}, {Percent: 10}, {Percent: 100}}, Parallel: 10}
}

// Create makes a rollout, whose systems are those of now, and has all of them be read. The
// error is an [*Error].
func (s *Service) Create(ctx context.Context, who Actor, n Wish) (r store.Rollout, err error) {
	values, bad := n.Settings.Parse()
	if bad != nil {
		return r, fault("settings", bad.Error())
	}
	if err := s.checkPlan(&n.Plan); err != nil {
		return r, err
	}
	if n.Kind == store.RolloutFirmware {
		if err := s.HasFirmware(); err != nil {
			return r, err
		}
	}
	at := now()
	r = store.Rollout{
		ID: store.NewID[store.RolloutID](), Tenant: who.Tenant, Name: n.Name, Kind: n.Kind, Plan: n.Plan, State: store.RolloutChecking,
		Created: at, CreatedBy: who.User, Acting: who.User,
	}
	err = s.cfg.update(ctx, func(tx *store.Tx) error {
		if err := s.quota(tx, who.Tenant); err != nil {
			return err
		}
		if err := settingsOf(tx, &r, n, values); err != nil {
			return err
		}
		systems, err := s.choose(tx, who, n)
		if err != nil {
			return err
		}
		return tx.CreateRollout(r, divide(systems, n.Plan.Rings))
	})
	if err != nil {
		return r, err
	}
	s.changed(who.Tenant)
	return r, nil
}

// quota bounds what one tenant has going on.
func (s *Service) quota(tx *store.Tx, tenant store.TenantID) error {
	all, _, err := tx.Rollouts(tenant, nil, store.Page{Limit: 10 * s.cfg.Active})
	if err != nil {
		return err
	}
	open := 0
	for _, r := range all {
		if r.Ended == nil {
			open++
		}
	}
	if open >= s.cfg.Active {
		return &Error{Code: CodeTooMany, Detail: "end some of those that have not ended"}
	}
	return nil
}

// settingsOf puts what is to be set into a rollout.
func settingsOf(tx *store.Tx, r *store.Rollout, n Wish, values Values) error {
	if n.Kind != store.RolloutFirmware && n.Firmware != "" {
		return fault("firmware_id", "is only for a rollout of firmware")
	}
	if n.Kind != store.RolloutSettings {
		if len(values) > 0 || n.Template != "" {
			return fault("settings", "are only for a rollout of settings")
		}
		r.Settings = []byte("{}")
		if n.Kind == store.RolloutFirmware {
			return firmwareOf(tx, r, n)
		}
		return nil
	}
	if n.Template != "" {
		if len(values) > 0 {
			return fault("settings", "and a template cannot both be given")
		}
		t, err := tx.Template(r.Tenant, n.Template)
		if errors.Is(err, store.ErrNotFound) {
			return fault("template_id", "is not there")
		}
		r.Template, r.TemplateVersion, r.Settings = t.ID, t.Version, t.Settings
		return err
	}
	if len(values) == 0 {
		return fault("settings", "are missing")
	}
	r.Settings = encode(values)
	return nil
}

// firmwareOf puts the image into a rollout.
func firmwareOf(tx *store.Tx, r *store.Rollout, n Wish) error {
	if n.Firmware == "" {
		return fault("firmware_id", "is missing")
	}
	v, err := tx.Firmware(n.Firmware)
	if errors.Is(err, store.ErrNotFound) {
		return fault("firmware_id", "is not there")
	}
	r.Firmware, r.FirmwareModel, r.FirmwareVersion = v.ID, v.Model, v.Version
	return err
}

// choose gives the systems of a rollout: those that are paired and at which the actor may do
// it. Those that can be reached come first.
func (s *Service) choose(tx *store.Tx, who Actor, n Wish) ([]store.SystemID, error) {
	within := who.May.Within(Verb(n.Kind), who.Tenant)
	chosen, err := tx.SystemsByID(who.Tenant, n.Systems)
	if err != nil {
		return nil, err
	}
	place := make(map[store.SystemID]int, len(n.Systems))
	for i, id := range n.Systems {
		place[id] = i
	}
	if len(chosen) != len(place) {
		return nil, fault("system_ids", "name a system that is not there")
	}
	slices.SortFunc(chosen, func(a, b store.System) int { return place[a.ID] - place[b.ID] })
	for _, one := range chosen {
		if !who.May.May(Verb(n.Kind), access.Resource{Tenant: who.Tenant, Site: one.Site, System: one.ID}) {
			return nil, &Error{Code: CodeNoRights}
		}
	}
	if n.Filter != nil {
		f := *n.Filter
		f.Within = within
		fit, _, total, err := tx.Systems(who.Tenant, f, store.Page{Limit: s.cfg.Devices})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if total > s.cfg.Devices {
			return nil, fault("filter", fmt.Sprintf("fits %d systems, and a rollout has %d at most", total, s.cfg.Devices))
		}
		chosen = append(chosen, fit...)
	}
	var online, offline []store.SystemID
	seen := map[store.SystemID]bool{}
	for _, one := range chosen {
		switch paired := one.State == store.StatePaired || one.State == store.StateProving; {
		case seen[one.ID] || !paired && n.Filter != nil && place[one.ID] == 0 && !slices.Contains(n.Systems, one.ID):
		case !paired:
			return nil, fault("system_ids", "name a system that is not paired")
		case s.cfg.Online(one.Serial):
			online = append(online, one.ID)
		default:
			offline = append(offline, one.ID)
		}
		seen[one.ID] = true
	}
	all := append(online, offline...)
	switch {
	case len(all) == 0:
		return nil, fault("system_ids", "and the filter choose no paired system")
	case len(all) > s.cfg.Devices:
		return nil, fault("system_ids", fmt.Sprintf("choose %d systems, and a rollout has %d at most", len(all), s.cfg.Devices))
	}
	return all, nil
}

// divide gives the systems of each ring; rings that would have none are left out, and the
// last one has all others.
func divide(systems []store.SystemID, rings []store.Ring) [][]store.SystemID {
	var all [][]store.SystemID
	rest := systems
	for i, r := range rings {
		n := r.Count
		if r.Percent > 0 {
			n = (len(systems)*r.Percent + 99) / 100
		}
		if n = min(n, len(rest)); i == len(rings)-1 {
			n = len(rest)
		}
		if n > 0 {
			all, rest = append(all, rest[:n]), rest[n:]
		}
	}
	return all
}

// checkPlan completes a plan, and finds fault with it.
func (s *Service) checkPlan(p *store.RolloutPlan) error {
	d := DefaultPlan()
	if len(p.Rings) == 0 {
		p.Rings = d.Rings
	}
	if p.Parallel == 0 {
		p.Parallel = d.Parallel
	}
	if p.Wait == 0 {
		p.Wait = s.cfg.Wait
	}
	bad := &Error{Code: CodeInvalid}
	fail := func(field, message string) { bad.Fields = append(bad.Fields, Fault{field, message}) }
	if len(p.Rings) > MaxRings {
		fail("rings", fmt.Sprintf("are more than %d", MaxRings))
	}
	for i, r := range p.Rings {
		if (r.Count > 0) == (r.Percent > 0) || r.Count < 0 || r.Percent < 0 || r.Percent > 100 {
			fail(fmt.Sprintf("rings[%d]", i), "has neither a count nor a percentage from 1 to 100, or both")
		}
	}
	if p.Parallel < 1 || p.Parallel > s.cfg.Calls {
		fail("parallel", fmt.Sprintf("is not from 1 to %d", s.cfg.Calls))
	}
	if p.Pause < 0 || p.Pause > MaxPause {
		fail("pause_minutes", "is not from 0 to 10080")
	}
	if p.Wait < time.Minute || p.Wait > MaxWait {
		fail("wait_hours", "is not from 1 to 720")
	}
	if p.MaxFailures < 0 {
		fail("max_failures", "is below 0")
	}
	if p.MaxPercent < 0 || p.MaxPercent > 100 {
		fail("max_percent", "is not from 0 to 100")
	}
	if w := p.Window; w != nil {
		if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "" || w.Zone == "Local" {
			fail("window.zone", "is not a time zone of the IANA database, as Europe/Berlin")
		}
		if w.From == w.To || min(w.From, w.To) < 0 || max(w.From, w.To) >= 24*60 {
			fail("window", "is not from one time of a day to another")
		}
	}
	if bad.Fields != nil {
		return bad
	}
	return nil
}

// changed tells of a change, and has it be looked at.
func (s *Service) changed(tenant store.TenantID) {
	s.cfg.Notify(tenant)
	s.Wake()
}
