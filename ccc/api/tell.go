package api

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// tellRetry is the longest wait before the store is asked again that did not answer.
const tellRetry = 10 * time.Second

// tell makes messages of what waits in the hub, until ctx ends. What comes within
// Streams.Coalesce is told together; while the store does not answer it waits.
func (a *API) tell(ctx context.Context) {
	pause := a.cfg.Streams.Coalesce
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.hub.wake:
		}
		if err := a.tellNow(ctx); err == nil {
			pause = a.cfg.Streams.Coalesce
		} else if ctx.Err() == nil {
			pause = min(2*pause, tellRetry)
			a.log.Warn("live events wait for the store", "for", pause, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// tellNow tells what waits. What cannot be told waits again; the error is the first.
func (a *API) tellNow(ctx context.Context) (first error) {
	for _, b := range a.hub.take() {
		if first != nil {
			a.hub.putBack(b)
			continue
		}
		all, err := a.messages(ctx, b)
		if err != nil {
			first = err
			a.hub.putBack(b)
			continue
		}
		a.hub.deliver(b.tenant, all)
	}
	return first
}

// messages completes notices with what is the case now. What is gone meanwhile is left
// out: its removal is an event of its own.
func (a *API) messages(ctx context.Context, b batch) (out []message, err error) {
	var ids []store.SystemID
	seen := map[store.SystemID]*store.System{}
	for _, n := range b.notices {
		if _, there := seen[n.system]; !there && n.system != "" && n.event != eventRemoved {
			seen[n.system] = nil
			ids = append(ids, n.system)
		}
	}
	if len(ids) > 0 {
		err = a.view(ctx, func(tx *store.Tx) error {
			found, err := tx.SystemsByID(b.tenant, ids)
			for i := range found {
				seen[found[i].ID] = &found[i]
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, n := range b.notices {
		data, err := a.data(ctx, b.tenant, n, seen[n.system])
		if err != nil {
			return nil, err
		}
		if data == nil {
			continue
		}
		text, err := encodeEvent(n.event, data)
		if err != nil {
			return nil, err
		}
		out = append(out, message{n.subject, text})
	}
	return out, nil
}

// data gives what an event says; nil: there is nothing to say.
func (a *API) data(ctx context.Context, tenant store.TenantID, n notice, s *store.System) (any, error) {
	switch n.event {
	case eventRemoved:
		return Removed{ID: string(n.system)}, nil
	case eventSummary:
		return a.summary(ctx, tenant)
	case eventAccess:
		return AccessChange{}, nil
	case eventRollout:
		return RolloutChange{}, nil
	}
	if s == nil {
		return nil, nil //nolint:nilnil // it is gone
	}
	switch n.event {
	case eventPresence:
		return a.presence(*s), nil
	case eventOffer:
		n.v.Detail = cmp.Or(s.ErrorCode, n.v.Detail)
		return n.v, nil
	case eventRemote:
		return RemoteChange{SystemID: string(s.ID)}, nil
	default:
		return a.system(*s), nil
	}
}

// summary counts a tenant's systems; those in the store only if some have come or gone.
func (a *API) summary(ctx context.Context, tenant store.TenantID) (Summary, error) {
	total, known, counts := a.hub.systems(tenant)
	if !known {
		err := a.view(ctx, func(tx *store.Tx) (err error) {
			total, err = tx.CountSystems(tenant)
			return err
		})
		if err != nil {
			return Summary{}, err
		}
		a.hub.setSystems(tenant, total, counts)
	}
	return Summary{Total: total, Online: len(a.paired.each(tenant, a.cfg.Fleet.IsOnline))}, nil
}

// encodeEvent writes a server-sent event (HTML, §9.2).
func encodeEvent(name string, data any) ([]byte, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return []byte("event: " + name + "\ndata: " + string(text) + "\n\n"), nil
}
