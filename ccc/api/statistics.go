package api

import (
	"context"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/statistics"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// Statistics gathers what the servers have counted; a [*statistics.Gatherer].
type Statistics interface {
	Gather(ctx context.Context, days int, byDay bool) []statistics.Server
}

// AccessStatistics is how many accesses each server had. It is anonymous: of networks it
// says only how many accesses came from those that are too small to be named.
type AccessStatistics struct {
	By      string             `json:"by" enum:"hour,day"`
	Servers []ServerStatistics `json:"servers" nullable:"false"`
}

// ServerStatistics is what one server has counted.
type ServerStatistics struct {
	Name    string             `json:"name"`
	Failure statistics.Failure `json:"failure,omitempty" enum:"unreachable,unreadable" doc:"Why there is nothing of the server; absent where there is"`
	Kept    bool               `json:"kept" doc:"Whether it keeps an access log"`
	From    *time.Time         `json:"from,omitempty" doc:"The first hour or day, UTC"`
	To      *time.Time         `json:"to,omitempty"`
	Totals  []AccessTotal      `json:"totals" nullable:"false" doc:"By time, of hours that are over"`
	// Visitors are by day whatever is asked for.
	Visitors []AccessVisitors `json:"visitors" nullable:"false"`
	Oldest   *time.Time       `json:"oldest,omitempty" doc:"The beginning of the oldest hour of which addresses are kept; absent where none are"`
	RawFor   int64            `json:"raw_for" doc:"Seconds that addresses are kept at most"`
	Alarm    bool             `json:"alarm" doc:"Whether an address is kept for too long, or something cannot be written or deleted"`
}

// AccessTotal is how many accesses of one result there were.
type AccessTotal struct {
	Time  time.Time `json:"time"`
	Class string    `json:"class" enum:"ok,refused,limited,failed"`
	Count int64     `json:"count"`
	Other int64     `json:"other" doc:"Of these, those from networks that are too small to be named"`
}

// AccessVisitors is how many different addresses there were in a day: an estimate, and an
// upper bound where the server was started within the day.
type AccessVisitors struct {
	Day      time.Time `json:"day"`
	Visitors int64     `json:"visitors" doc:"0: fewer than are told"`
}

// StatisticsQuery is which accesses are wanted.
type StatisticsQuery struct {
	By   string `query:"by" enum:"hour,day" default:"day" doc:"What is added up. By the hour for 31 days at most"`
	Days int    `query:"days" minimum:"1" maximum:"366" default:"30" doc:"How far to look back"`
}

// registerStatistics is the table of the operations about statistics.
func (a *API) registerStatistics() {
	add(a, operation{
		id: "getAccessStatistics", method: http.MethodGet, path: "/statistics/access", tag: tagStatistics, rule: signedIn,
		summary: "How many accesses the servers had", description: "Only in the tenant that runs the control centre.",
	}, a.getAccessStatistics)
}

func (a *API) getAccessStatistics(ctx context.Context, in *StatisticsQuery) (*body[AccessStatistics], error) {
	if mustActor(ctx).tenant.Kind != store.KindOperator {
		return nil, problem(CodeForbidden, "it is for who runs the control centre")
	}
	out := AccessStatistics{By: in.By, Servers: []ServerStatistics{}}
	if a.cfg.Statistics == nil {
		return &body[AccessStatistics]{Body: out}, nil
	}
	days := in.Days
	if in.By == "hour" {
		days = min(days, accesslog.MaxHours)
	}
	for _, s := range a.cfg.Statistics.Gather(ctx, days, in.By == "day") {
		out.Servers = append(out.Servers, serverStatistics(s))
	}
	return &body[AccessStatistics]{Body: out}, nil
}

func serverStatistics(s statistics.Server) ServerStatistics {
	v := s.Summary
	out := ServerStatistics{
		Name: s.Name, Failure: s.Failure, Kept: v.Kept, Totals: make([]AccessTotal, len(v.Totals)), Visitors: make([]AccessVisitors, len(v.Visitors)),
		Oldest: v.Oldest, RawFor: v.RawFor, Alarm: v.Alarm,
	}
	if v.Kept {
		out.From, out.To = &v.From, &v.To
	}
	for i, t := range v.Totals {
		out.Totals[i] = AccessTotal{t.Time, t.Class.String(), int64(t.Count), int64(t.Other)} //nolint:gosec // no server counts so far
	}
	for i, n := range v.Visitors {
		out.Visitors[i] = AccessVisitors{n.Day.Time, int64(n.Visitors)} //nolint:gosec // likewise
	}
	return out
}
