package api

import (
	"context"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Maintenance says until when a system's maintenance is paid.
type Maintenance struct {
	Until *time.Time `json:"until,omitempty" nullable:"false" doc:"Absent: it is not paid"`
}

// registerMaintenance is an operation of its own, as who manages licences changes nothing else
// of a system.
func (a *API) registerMaintenance() {
	add(a, operation{
		id: "setMaintenance", method: http.MethodPut, path: "/systems/{id}/maintenance", tag: tagSystems, rule: atSystem(access.LicencesWrite),
		summary: "Say until when a system's maintenance is paid",
	}, a.setMaintenance)
}

type setMaintenanceInput struct {
	SystemPath
	Body Maintenance
}

func (a *API) setMaintenance(ctx context.Context, in *setMaintenanceInput) (*systemOutput, error) {
	who := mustActor(ctx)
	id := store.SystemID(in.ID)
	var changed store.System
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if err := tx.SetMaintenance(who.tenant.ID, id, in.Body.Until); err != nil {
			return err
		}
		if changed, err = tx.System(who.tenant.ID, id); err != nil {
			return err
		}
		detail := map[string]string{}
		if in.Body.Until != nil {
			detail["until"] = in.Body.Until.UTC().Format(time.RFC3339)
		}
		return tx.AddEvent(store.Event{Tenant: who.tenant.ID, System: id, Kind: "maintenance_set", Actor: who.user.ID, Detail: detail, At: time.Now()})
	})
	if err != nil {
		return nil, err
	}
	a.PairingChanged(pairing.Change{Tenant: who.tenant.ID, System: id})
	return a.systemOutput(changed), nil
}
