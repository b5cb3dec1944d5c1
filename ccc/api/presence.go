package api

import (
	"context"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/history"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Fleet tells who is connected; a [*fleet.Presence] does.
type Fleet interface {
	Status(serial identity.Serial) (status fleet.Status, known bool)
	IsOnline(serial identity.Serial) bool
	Known() <-chan struct{}
	Subscribe(ctx context.Context) <-chan fleet.Change
}

// unclear tells whether a PBX that is not online may be so all the same.
func (a *API) unclear(status fleet.Status) bool {
	if status.Online || status.Reason == tunnel.CodeUnreachable {
		return !status.Online
	}
	select {
	case <-a.cfg.Fleet.Known():
		return false
	default:
		return true
	}
}

// system merges what is stored with presence. Of a PBX that is not paired with the
// tenant no presence is told.
func (a *API) system(s store.System) System {
	out := System{
		ID: string(s.ID), SiteID: string(s.Site), Serial: string(s.Serial), Name: s.Name, Note: s.Note,
		State: s.State, ErrorCode: s.ErrorCode, StateSince: s.StateSince, Version: s.Version,
		CreatedAt: s.Created, PairedAt: s.Paired, Epoch: strconv.FormatUint(s.Epoch, 10),
		Tags: s.Tags, Groups: make([]Group, len(s.Groups)), Replaces: string(s.Replaces), LastSeenAt: s.LastSeen,
		MaintenanceUntil: s.Maintenance,
	}
	for i, g := range s.Groups {
		out.Groups[i] = group(g)
	}
	if s.State != store.StatePaired && s.State != store.StateProving {
		return out
	}
	status, known := a.cfg.Fleet.Status(s.Serial)
	out.Unclear = a.unclear(status)
	since := status.Since.UTC()
	if why, from := a.why(s.Serial, status, known); why != "" && (why != history.Unknown || !out.Unclear) {
		out.OfflineReason, out.Quarantined = string(why), why == history.Clone
		if !from.IsZero() {
			from = from.UTC()
			out.OfflineSince = &from
		}
	}
	switch {
	case status.Online:
		out.Online, out.OnlineSince, out.LastSeenAt = true, &since, nil
		out.Transport, out.RTT = string(status.Transport), milliseconds(status.RTT)
	case known && !out.Unclear && (s.LastSeen == nil || s.LastSeen.Before(since)):
		out.LastSeenAt = &since // which is noted soon
	}
	return out
}

// presence is the part of a system that changes most.
func (a *API) presence(s store.System) Presence {
	full := a.system(s)
	out := Presence{ID: full.ID, Online: full.Online, Unclear: full.Unclear, Transport: full.Transport, RTT: full.RTT, Since: s.StateSince, OfflineReason: full.OfflineReason, Quarantined: full.Quarantined}
	switch {
	case full.OnlineSince != nil:
		out.Since = *full.OnlineSince
	case full.LastSeenAt != nil:
		out.Since = *full.LastSeenAt
	}
	return out
}

func group(g store.Group) Group { return Group{ID: string(g.ID), Name: g.Name} }

// milliseconds gives a round trip, to a tenth; nil: not measured.
func milliseconds(d time.Duration) *float64 {
	if d <= 0 {
		return nil
	}
	ms := float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
	return &ms
}
