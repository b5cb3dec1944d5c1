package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/history"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// History knows why PBXs are offline, also of those that the fleet has forgotten; a
// [*history.Recorder] does.
type History interface {
	Now(serial identity.Serial) (store.Interval, bool)
}

// noHistory knows nothing.
type noHistory struct{}

// Now implements [History].
func (noHistory) Now(identity.Serial) (store.Interval, bool) { return store.Interval{}, false }

// HistoryInterval is a time in which the connection of a system was the same.
type HistoryInterval struct {
	ID    string     `json:"id"`
	From  time.Time  `json:"from"`
	To    *time.Time `json:"to,omitempty" doc:"Absent while it lasts"`
	State store.Link `json:"state" enum:"online,offline,quarantined,flapping" doc:"quarantined: two holders of its certificate were connected at once; flapping: it came and went many times"`
	// The texts of enum are those of history.Reasons; a test compares.
	Reason    string      `json:"reason,omitempty" enum:"relay_drain,relay_lost,lost,network,power,restart,shutdown,certificate_expired,certificate_blocked,replaced,clone,idle_timeout,protocol,operator,unknown" doc:"Why it was not online; lost: network or power, which is settled when it is back. Of online: unknown where nobody saw what came then"`
	Relay     string      `json:"relay,omitempty" example:"relay/fra-1" doc:"Of the session, or of the last one"`
	Transport string      `json:"transport,omitempty" enum:"quic,tcp"`
	RTT       *RTTSummary `json:"rtt_ms,omitempty"`
	Changes   int         `json:"changes,omitempty" doc:"Of flapping: how often it came or went"`
	Online    *float64    `json:"online_seconds,omitempty" doc:"Of flapping: how long of it the system was online"`
}

// RTTSummary sums up round trips between a PBX and its relay, in milliseconds.
type RTTSummary struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`
}

// HistoryList is one page of intervals, the newest first.
type HistoryList struct {
	Items        []HistoryInterval `json:"items" nullable:"false"`
	Next         string            `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
	From         time.Time         `json:"from" doc:"Of the time that was asked for"`
	To           time.Time         `json:"to"`
	Watched      float64           `json:"watched_seconds" doc:"Of that time, how long the control centre knew about the system"`
	Availability *float64          `json:"availability,omitempty" doc:"Of that, how much it was online, in percent; absent where nothing is known"`
}

// HistorySummary tells why systems are offline, now and in the last day.
type HistorySummary struct {
	Online      int           `json:"online"`
	Quarantined int           `json:"quarantined"`
	Now         []ReasonNow   `json:"now" nullable:"false" doc:"Of the systems that are offline now, how many are so for which reason"`
	Day         []ReasonOfDay `json:"day" nullable:"false" doc:"How often systems went offline in the last 24 hours, and how many of them"`
}

// ReasonNow counts the systems that are offline for a reason.
type ReasonNow struct {
	Reason  string `json:"reason"`
	Systems int    `json:"systems"`
}

// ReasonOfDay counts how often systems went offline for a reason.
type ReasonOfDay struct {
	Reason  string `json:"reason"`
	Times   int    `json:"times"`
	Systems int    `json:"systems"`
}

const (
	// historyWindow is the time of a history for which nobody asks for another one.
	historyWindow = 24 * time.Hour
	// maxHistoryWindow bounds what one request looks through.
	maxHistoryWindow = 366 * 24 * time.Hour
)

func (a *API) registerHistory() {
	add(a, operation{
		id: "getSystemHistory", method: http.MethodGet, path: "/systems/{id}/history", tag: tagSystems, rule: atSystem(access.MonitoringRead),
		summary:     "When a system was online, and why it was not",
		description: "Of the time between from and to, by default the last 24 hours, within the present ownership: who had the PBX before is not shown.",
	}, a.getSystemHistory)
	add(a, operation{
		id: "getHistorySummary", method: http.MethodGet, path: "/history/summary", tag: tagSystems, rule: inParts(access.MonitoringRead),
		summary: "Why systems are offline, now and in the last 24 hours",
	}, a.getHistorySummary)
}

type systemHistoryInput struct {
	SystemPath
	Page
	From time.Time `query:"from" doc:"Default: 24 hours before to"`
	To   time.Time `query:"to" doc:"Default: now"`
}

func (a *API) getSystemHistory(ctx context.Context, in *systemHistoryInput) (*body[HistoryList], error) {
	who, now := mustActor(ctx), time.Now().UTC()
	if in.To.IsZero() {
		in.To = now
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-historyWindow)
	}
	if !in.From.Before(in.To) || in.To.Sub(in.From) > maxHistoryWindow {
		return nil, problem(CodeInvalid, "", FieldError{"query.from", FieldRange, "is to be before to, by 366 days at most"})
	}
	from, to := in.From.UTC(), in.To.UTC()
	if to.After(now) {
		to = now // of what comes nothing is known
	}
	out := &body[HistoryList]{Body: HistoryList{Items: []HistoryInterval{}, From: from, To: to}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found, next, err := tx.History(who.tenant.ID, store.SystemID(in.ID), store.HistoryFilter{From: from, To: to}, store.Page{Cursor: in.Cursor, Limit: in.Limit})
		if err != nil {
			return err
		}
		share, err := tx.Availability(who.tenant.ID, store.SystemID(in.ID), from, to)
		if err != nil {
			return err
		}
		out.Body.Next, out.Body.Watched = next, share.Watched.Seconds()
		if share.Watched > 0 {
			percent := 100 * share.Online.Seconds() / share.Watched.Seconds()
			out.Body.Availability = &percent
		}
		out.Body.Items = make([]HistoryInterval, len(found))
		for i, one := range found {
			out.Body.Items[i] = historyInterval(one)
		}
		return nil
	})
	return out, err
}

func historyInterval(v store.Interval) HistoryInterval {
	out := HistoryInterval{
		ID: string(v.ID), From: v.Started, State: v.Link, Reason: v.Reason, Relay: v.Relay, Transport: v.Transport, Changes: v.Changes,
	}
	if !v.Ended.IsZero() {
		out.To = &v.Ended
	}
	if v.RTT.Count > 0 {
		out.RTT = &RTTSummary{*milliseconds(v.RTT.Min), *milliseconds(v.RTT.Mean()), *milliseconds(v.RTT.Max)}
	}
	if v.Link == store.LinkFlapping {
		online := v.OnlineFor.Seconds()
		out.Online = &online
	}
	return out
}

func (a *API) getHistorySummary(ctx context.Context, _ *nothing) (*body[HistorySummary], error) {
	who := mustActor(ctx)
	only, err := a.parts(ctx, who, access.MonitoringRead)
	if err != nil {
		return nil, err
	}
	out := &body[HistorySummary]{Body: HistorySummary{Now: []ReasonNow{}, Day: []ReasonOfDay{}}}
	counts := map[history.Reason]int{}
	for _, serial := range a.paired.within(who.tenant.ID, only) {
		status, known := a.cfg.Fleet.Status(serial)
		switch why, _ := a.why(serial, status, known); {
		case status.Online:
			out.Body.Online++
		case why == history.Clone:
			out.Body.Quarantined++
			counts[why]++
		default:
			counts[why]++
		}
	}
	for _, r := range history.Reasons() {
		if counts[r] > 0 {
			out.Body.Now = append(out.Body.Now, ReasonNow{string(r), counts[r]})
		}
	}
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found, err := tx.Reasons(who.tenant.ID, who.may.Within(access.MonitoringRead, who.tenant.ID), time.Now().Add(-historyWindow))
		out.Body.Day = slices.Grow([]ReasonOfDay{}, len(found))
		for _, r := range found {
			out.Body.Day = append(out.Body.Day, ReasonOfDay{r.Reason, r.Times, r.Systems})
		}
		return err
	})
	return out, err
}

// why gives why a PBX is not online, and since when; zero where that is not known. What the
// history has is newer than the end of the last session: that may be settled since, and the
// fleet may have forgotten it.
func (a *API) why(serial identity.Serial, status fleet.Status, known bool) (history.Reason, time.Time) {
	if status.Online {
		return "", time.Time{}
	}
	if now, ok := a.cfg.History.Now(serial); ok && now.Link != store.LinkOnline && now.Reason != "" {
		if now.Link == store.LinkFlapping {
			return history.Reason(now.Reason), status.Since
		}
		return history.Reason(now.Reason), now.Started
	}
	if known && status.Reason != tunnel.CodeOK {
		return history.ReasonOf(status), status.Since
	}
	return history.Unknown, time.Time{}
}

// offlineFor gives the serials of a tenant's PBXs that are offline for a reason.
func (a *API) offlineFor(tenant store.TenantID, reason string) []identity.Serial {
	return a.paired.each(tenant, func(serial identity.Serial) bool {
		status, known := a.cfg.Fleet.Status(serial)
		why, _ := a.why(serial, status, known)
		return !status.Online && string(why) == reason
	})
}
