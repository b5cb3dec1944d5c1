package rollout

import (
	"context"
	"errors"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Configuration is what is set at a PBX, and what runs there.
type Configuration struct {
	System  System
	Version string
	Values  Values
	Schema  []Key
}

// Patch changes some settings of one PBX.
type Patch struct {
	Version string // that is changed; "": the present one
	Values  Values
	Base    Values // what the person has seen; with it a conflict names what differs
	DryRun  bool
}

// Patched is what a patch has done, or would do.
type Patched struct {
	Version string // then
	Changes []Change
	Restart bool // it takes effect with the next one
}

// pbx gives the PBX of a system of the tenant. ErrNotFound without such a system.
func (s *Service) pbx(ctx context.Context, tenant store.TenantID, system store.SystemID) (pbx PBX, p store.Pairing, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.System(tenant, system); err != nil {
			return err
		}
		p, err = tx.SystemPairing(tenant, system)
		if errors.Is(err, store.ErrNotFound) {
			return &Error{Code: CodeState, Detail: "the system is not paired"}
		}
		return err
	})
	if err != nil {
		return nil, p, err
	}
	if !s.cfg.Online(p.Serial) {
		return nil, p, &Error{Code: CodeOffline}
	}
	return s.cfg.Connect(p), p, nil
}

// Configuration reads the settings of a system's PBX. ErrNotFound without the system;
// otherwise the error is an [*Error].
func (s *Service) Configuration(ctx context.Context, tenant store.TenantID, system store.SystemID) (c Configuration, err error) {
	pbx, _, err := s.pbx(ctx, tenant, system)
	if err != nil {
		return c, err
	}
	if c.Version, c.Values, err = pbx.Settings(ctx); err != nil {
		return c, explain(err)
	}
	if c.Schema, err = pbx.Schema(ctx); err != nil {
		return c, explain(err)
	}
	if c.System, err = pbx.System(ctx); err != nil {
		return c, explain(err)
	}
	return c, nil
}

// Change changes settings of a system's PBX. The error is as in Configuration; where somebody
// else was faster it has CodeVersion, and names the settings that are not as in Base.
func (s *Service) Change(ctx context.Context, who Actor, system store.SystemID, in Patch) (out Patched, err error) {
	values, bad := in.Values.Parse()
	if bad != nil {
		return out, fault("values", bad.Error())
	}
	base, bad := in.Base.Parse()
	if bad != nil {
		return out, fault("base", bad.Error())
	}
	pbx, p, err := s.pbx(ctx, who.Tenant, system)
	if err != nil {
		return out, err
	}
	version, has, err := pbx.Settings(ctx)
	if err != nil {
		return out, explain(err)
	}
	out.Version, out.Changes = version, changes(has, values)
	if in.Version != "" && in.Version != version {
		return out, conflict(has, base)
	}
	if len(out.Changes) == 0 {
		return out, nil
	}
	if out.Restart, err = pbx.Try(ctx, version, wanted(out.Changes)); err == nil && !in.DryRun {
		out.Version, err = pbx.Change(ctx, version, wanted(out.Changes))
	}
	if err != nil {
		err = explain(err)
		if e, ok := errors.AsType[*Error](err); ok && e.Code == CodeVersion {
			if _, has, again := pbx.Settings(ctx); again == nil {
				err = conflict(has, base)
			}
		}
		return out, err
	}
	if in.DryRun {
		return out, nil
	}
	return out, s.note(ctx, who, p, "settings_changed", map[string]string{"settings": strings.Join(wanted(out.Changes).Keys(), ", ")})
}

func conflict(has, base Values) *Error {
	e := &Error{Code: CodeVersion}
	for _, key := range differing(has, base) {
		e.Fields = append(e.Fields, Fault{"values." + key, "has another value now"})
	}
	return e
}

// Restart restarts a system's PBX; it does not wait for it. The error is as in Configuration.
func (s *Service) Restart(ctx context.Context, who Actor, system store.SystemID) error {
	pbx, p, err := s.pbx(ctx, who.Tenant, system)
	if err != nil {
		return err
	}
	if err := pbx.Restart(ctx); err != nil {
		return explain(err)
	}
	return s.note(ctx, who, p, "restarted", nil)
}

// note adds a line to the system's history.
func (s *Service) note(ctx context.Context, who Actor, p store.Pairing, kind string, detail map[string]string) error {
	return s.cfg.update(ctx, func(tx *store.Tx) error {
		return tx.AddEvent(store.Event{
			Tenant: who.Tenant, System: p.System, Epoch: p.Epoch, Kind: kind, Actor: who.User, Detail: detail, At: now(),
		})
	})
}
