package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/history"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// fakeHistory is a recorder that a test decides.
type fakeHistory struct {
	mu  sync.Mutex
	all map[identity.Serial]store.Interval
}

func (f *fakeHistory) Now(s identity.Serial) (store.Interval, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, ok := f.all[s]
	return now, ok
}

func (f *fakeHistory) set(s identity.Serial, link store.Link, why history.Reason, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[s] = store.Interval{Link: link, Reason: string(why), Started: since}
}

// offlineWorld has three paired PBXs of the north, with a history that a test decides.
func offlineWorld(t *testing.T) (w *world, c *client, past *fakeHistory, ids []string) {
	t.Helper()
	past = &fakeHistory{all: map[identity.Serial]store.Interval{}}
	w = newWorld(t, func(o *options) { o.api.History = past }).serve()
	c = w.signedIn(w.north, store.RoleOwner)
	for i := range 3 {
		ids = append(ids, c.save(fmt.Sprintf("000000000%d", i+1), fmt.Sprint("PBX ", i+1)).System.ID)
		w.pair(w.north, ids[i])
	}
	return w, c, past, ids
}

// A system says why it is offline, and since when: as the history has it, or else as the
// relay has said.
func TestOfflineReason(t *testing.T) {
	t.Parallel()
	w, c, past, ids := offlineWorld(t)
	get := func(id string) System {
		return read[System](c.do(http.MethodGet, "/systems/"+id, "").want(http.StatusOK))
	}
	since := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	if s := get(ids[0]); s.OfflineReason != "unknown" || s.OfflineSince != nil {
		t.Errorf("of one that was never seen: %q since %v", s.OfflineReason, s.OfflineSince)
	}
	w.fleet.set("0000000001", fleet.Status{Online: true, Since: since, Transport: tunnel.QUIC})
	if s := get(ids[0]); s.OfflineReason != "" || s.OfflineSince != nil {
		t.Errorf("of one that is online: %q since %v", s.OfflineReason, s.OfflineSince)
	}
	w.fleet.set("0000000001", fleet.Status{Since: since, Reason: tunnel.CodeHeartbeatLost})
	if s := get(ids[0]); s.OfflineReason != "lost" || s.OfflineSince == nil || !s.OfflineSince.Equal(since) || s.Quarantined {
		t.Errorf("of one that is lost: %q since %v", s.OfflineReason, s.OfflineSince)
	}
	w.fleet.set("0000000002", fleet.Status{Since: since, Reason: tunnel.CodeQuarantined})
	if s := get(ids[1]); s.OfflineReason != "clone" || !s.Quarantined || s.Online {
		t.Errorf("of one in quarantine: %q, %t", s.OfflineReason, s.Quarantined)
	}
	// The history knows more than the end of the last session says.
	past.set("0000000001", store.LinkOffline, history.CertificateExpired, since.Add(time.Minute))
	past.set("0000000003", store.LinkOffline, history.Shutdown, since)
	if s := get(ids[0]); s.OfflineReason != "certificate_expired" || !s.OfflineSince.Equal(since.Add(time.Minute)) {
		t.Errorf("as the history has it: %q since %v", s.OfflineReason, s.OfflineSince)
	}
	if s := get(ids[2]); s.OfflineReason != "shutdown" || !s.OfflineSince.Equal(since) {
		t.Errorf("of one that the fleet has forgotten: %q since %v", s.OfflineReason, s.OfflineSince)
	}
	// In lists.
	for reason, want := range map[string]string{
		"certificate_expired": "PBX 1", "clone": "PBX 2", "shutdown": "PBX 3", "network": "",
		"shutdown&online=false": "PBX 3", "shutdown&online=true": "",
	} {
		list := read[SystemList](c.do(http.MethodGet, "/systems?offline_reason="+reason, "").want(http.StatusOK))
		names := []string{}
		for _, s := range list.Items {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("offline for %s: %q, want %q", reason, got, want)
		}
	}
	c.do(http.MethodGet, "/systems?offline_reason=weather", "").problem(CodeInvalid)
	// In sum.
	w.fleet.set("0000000003", fleet.Status{Online: true, Since: since})
	sum := read[HistorySummary](c.do(http.MethodGet, "/history/summary", "").want(http.StatusOK))
	if want := []ReasonNow{{"certificate_expired", 1}, {"clone", 1}}; sum.Online != 1 || sum.Quarantined != 1 || !slices.Equal(sum.Now, want) {
		t.Errorf("in sum %+v, want %v", sum, want)
	}
	// And live.
	var stored store.System
	w.update(func(tx *store.Tx) (err error) {
		stored, err = tx.System(w.north, store.SystemID(ids[1]))
		return err
	})
	if p := w.api.presence(stored); p.OfflineReason != "clone" || !p.Quarantined {
		t.Errorf("told is %+v", p)
	}
}

// Who sees a part of the tenant counts that part.
func TestSummaryOfAPart(t *testing.T) {
	t.Parallel()
	w, c, past, ids := offlineWorld(t)
	for i, id := range ids {
		past.set(identity.Serial(fmt.Sprintf("000000000%d", i+1)), store.LinkOffline, history.Lost, time.Now())
		w.remember(id, store.Interval{Link: store.LinkOffline, Reason: "lost", Started: time.Now().Add(-time.Hour)})
	}
	one := w.signedIn(w.north, "")
	c.do(http.MethodPut, "/users/"+string(one.user.ID)+"/roles", `{"roles":[{"role":"monitoring","system_id":"`+ids[1]+`"}]}`).want(http.StatusOK)
	for who, want := range map[*client]int{c: 3, one: 1} {
		sum := read[HistorySummary](who.do(http.MethodGet, "/history/summary", "").want(http.StatusOK))
		if len(sum.Now) != 1 || sum.Now[0].Systems != want || len(sum.Day) != 1 || sum.Day[0] != (ReasonOfDay{"lost", want, want}) {
			t.Errorf("%+v, want %d", sum, want)
		}
	}
	one.do(http.MethodGet, "/systems/"+ids[1]+"/history", "").want(http.StatusOK)
	one.do(http.MethodGet, "/systems/"+ids[0]+"/history", "").problem(CodeNotFound)
}

// remember writes an interval of a system of the north.
func (w *world) remember(id string, i store.Interval) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		s, err := tx.System(w.north, store.SystemID(id))
		if err != nil {
			return err
		}
		i.ID, i.Serial, i.Epoch = store.NewID[store.HistoryID](), s.Serial, s.Epoch
		return tx.PutIntervals([]store.Interval{i})
	})
}

func TestSystemHistory(t *testing.T) {
	t.Parallel()
	w, c, _, ids := offlineWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	at := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	w.remember(ids[0], store.Interval{
		Link: store.LinkOnline, Relay: "relay/a", Transport: "tcp", Started: at(-30), Ended: at(-8),
		RTT: store.RTT{Count: 2, Sum: 30 * time.Millisecond, Min: 10 * time.Millisecond, Max: 20 * time.Millisecond},
	})
	w.remember(ids[0], store.Interval{Link: store.LinkFlapping, Changes: 14, OnlineFor: time.Hour, Started: at(-8), Ended: at(-6)})
	w.remember(ids[0], store.Interval{Link: store.LinkOffline, Reason: "power", Started: at(-6), Ended: at(-5)})
	w.remember(ids[0], store.Interval{Link: store.LinkOnline, Relay: "relay/b", Transport: "quic", Started: at(-5)})
	history := func(query string) HistoryList {
		return read[HistoryList](c.do(http.MethodGet, "/systems/"+ids[0]+"/history"+query, "").want(http.StatusOK))
	}
	all := history("")
	states := []string{}
	for _, i := range all.Items {
		states = append(states, string(i.State)+" "+i.Reason)
	}
	if want := []string{"online ", "offline power", "flapping ", "online "}; !slices.Equal(states, want) {
		t.Errorf("%q, want %q", states, want)
	}
	if all.Availability == nil || *all.Availability < 91.6 || *all.Availability > 91.7 || all.Watched < 86399 || all.Watched > 86401 {
		t.Errorf("of a day %v s, online %v %%; want 22 of 24 hours", all.Watched, *all.Availability)
	}
	if i := all.Items[0]; i.To != nil || i.Relay != "relay/b" || i.Transport != "quic" {
		t.Errorf("what lasts: %+v", i)
	}
	if i := all.Items[2]; i.Changes != 14 || i.Online == nil || *i.Online != 3600 {
		t.Errorf("flapping: %+v", i)
	}
	if i := all.Items[3]; i.RTT == nil || *i.RTT != (RTTSummary{10, 15, 20}) || i.To == nil || !i.To.Equal(at(-8)) {
		t.Errorf("the first: %+v", i)
	}
	// By pages, and of another time.
	first := history("?limit=3")
	if second := history("?limit=3&cursor=" + first.Next); len(first.Items) != 3 || len(second.Items) != 1 || second.Next != "" || second.Items[0].ID != all.Items[3].ID {
		t.Errorf("pages of %d and %d", len(first.Items), len(second.Items))
	}
	stamp := func(t time.Time) string { return url.QueryEscape(t.Format(time.RFC3339Nano)) }
	if part := history("?from=" + stamp(at(-6)) + "&to=" + stamp(at(-5))); len(part.Items) != 1 || *part.Availability != 0 {
		t.Errorf("of the hour without power: %+v", part)
	}
	if old := history("?from=" + stamp(at(-50)) + "&to=" + stamp(at(-40))); len(old.Items) != 0 || old.Availability != nil || old.Watched != 0 {
		t.Errorf("of before: %+v", old)
	}
	for _, wrong := range []string{"?from=" + stamp(at(1)), "?from=" + stamp(at(-9000)), "?from=yesterday", "?cursor=x"} {
		c.do(http.MethodGet, "/systems/"+ids[0]+"/history"+wrong, "").problem(CodeInvalid)
	}
	// Who may only see the system does not see this; and nobody sees another owner's.
	w.signedIn(w.north, store.RoleBackup).do(http.MethodGet, "/systems/"+ids[0]+"/history", "").problem(CodeForbidden)
	w.update(func(tx *store.Tx) error { return tx.SetPaired(w.north, store.SystemID(ids[0]), 99, now) })
	if next := history(""); len(next.Items) != 0 || next.Watched != 0 {
		t.Errorf("the next owner sees %+v", next)
	}
}

func TestPlaceOfASite(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	id := read[Site](c.do(http.MethodPost, "/sites", `{"name":"Hamburg"}`).want(http.StatusCreated)).ID
	place := func(body string) answer { return c.do(http.MethodPut, "/sites/"+id+"/place", body) }
	if s := read[Site](place(`{"address":"Rathausmarkt 1\n20095 Hamburg","latitude":53.550341,"longitude":9.993682}`).want(http.StatusOK)); s.Latitude == nil ||
		*s.Latitude != 53.550341 || *s.Longitude != 9.993682 || s.Address != "Rathausmarkt 1\n20095 Hamburg" {
		t.Errorf("placed at %+v", s)
	}
	if s := read[Site](c.do(http.MethodPut, "/sites/"+id, `{"name":"Hamburg 2"}`).want(http.StatusOK)); s.Latitude == nil || s.Address == "" {
		t.Errorf("after a new name it is at %+v", s)
	}
	if all := read[SiteList](c.do(http.MethodGet, "/sites", "").want(http.StatusOK)); len(all.Items) != 1 || all.Items[0].Latitude == nil {
		t.Errorf("in the list: %+v", all)
	}
	for _, wrong := range []string{
		`{"address":"","latitude":90.1,"longitude":0}`, `{"address":"","latitude":0,"longitude":-180.5}`, `{"address":"","latitude":1}`,
		`{"address":"","longitude":1}`, `{"address":"\u0000"}`, `{}`,
	} {
		place(wrong).problem(CodeInvalid)
	}
	if s := read[Site](place(`{"address":""}`).want(http.StatusOK)); s.Latitude != nil || s.Longitude != nil || s.Address != "" {
		t.Errorf("taken back: %+v", s)
	}
	w.signedIn(w.north, store.RoleMonitoring).do(http.MethodPut, "/sites/"+id+"/place", `{"address":""}`).problem(CodeForbidden)
}

// The document names the reasons that there are.
func TestReasonsOfTheDocument(t *testing.T) {
	t.Parallel()
	schemas := newAPI(Config{}, asItIs).huma.OpenAPI().Components.Schemas.Map()
	want := []any{}
	for _, r := range history.Reasons() {
		want = append(want, string(r))
	}
	for name, field := range map[string]string{"System": "offline_reason", "Presence": "offline_reason", "HistoryInterval": "reason"} {
		if got := schemas[name].Properties[field].Enum; !slices.Equal(got, want) {
			t.Errorf("%s.%s has %v, want %v", name, field, got, want)
		}
	}
	if len(slices.Collect(maps.Keys(schemas))) == 0 {
		t.Error("there are no schemas")
	}
}
