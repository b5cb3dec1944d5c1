package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/statistics"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// counted is what the servers say, and what they were asked.
type counted struct {
	servers []statistics.Server
	days    int
	byDay   bool
}

func (c *counted) Gather(_ context.Context, days int, byDay bool) []statistics.Server {
	c.days, c.byDay = days, byDay
	return c.servers
}

// TestAccessStatistics: who runs the control centre sees what each server says, and which
// says nothing; nobody else sees any.
func TestAccessStatistics(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := &counted{servers: []statistics.Server{
		{Name: "ccc", Summary: accesslog.Summary{
			Service: "ccc", Kept: true, From: at, To: at.Add(time.Hour), RawFor: 1209600, Alarm: true, Oldest: &at,
			Totals:   []accesslog.Total{{Time: at, Class: accesslog.Refused, Count: 12, Other: 3}},
			Visitors: []accesslog.Visitors{{Day: accesslog.Day{Time: at}, Service: "ccc", Visitors: 11}},
		}},
		{Name: "relay-1", Failure: statistics.Unreachable},
	}}
	w := newWorld(t, func(o *options) { o.api.Statistics = c }).serve()
	operator := store.NewID[store.TenantID]()
	w.update(func(tx *store.Tx) error {
		return tx.CreateTenant(store.Tenant{ID: operator, Kind: store.KindOperator, Name: "O", LegalName: "O", Created: time.Now()})
	})
	owner := w.signedIn(operator, store.RoleOwner)
	got := read[AccessStatistics](owner.do(http.MethodGet, "/statistics/access?by=hour&days=366", "").want(http.StatusOK))
	if c.byDay || c.days != accesslog.MaxHours || got.By != "hour" || len(got.Servers) != 2 {
		t.Fatalf("asked for %d days, by day: %v; %+v", c.days, c.byDay, got)
	}
	first, second := got.Servers[0], got.Servers[1]
	if first.Name != "ccc" || first.Failure != "" || !first.Kept || !first.Alarm || first.RawFor != 1209600 || !first.Oldest.Equal(at) || !first.From.Equal(at) ||
		len(first.Totals) != 1 || first.Totals[0] != (AccessTotal{at, "refused", 12, 3}) || len(first.Visitors) != 1 || first.Visitors[0] != (AccessVisitors{at, 11}) {
		t.Errorf("%+v", first)
	}
	if second.Name != "relay-1" || second.Failure != statistics.Unreachable || second.Kept || second.From != nil || len(second.Totals) > 0 {
		t.Errorf("%+v", second)
	}
	if read[AccessStatistics](owner.do(http.MethodGet, "/statistics/access", "").want(http.StatusOK)); !c.byDay || c.days != 30 {
		t.Errorf("by default %d days, by day: %v", c.days, c.byDay)
	}
	for _, query := range []string{"?by=minute", "?days=0", "?days=367", "?server=ccc"} {
		owner.do(http.MethodGet, "/statistics/access"+query, "").problem(CodeInvalid)
	}
	c.days = 0
	w.signedIn(w.north, store.RoleOwner).do(http.MethodGet, "/statistics/access", "").problem(CodeForbidden)
	w.client().do(http.MethodGet, "/statistics/access", "").problem(CodeUnauthenticated)
	if c.days != 0 {
		t.Error("the servers were asked for somebody who sees nothing")
	}
}
