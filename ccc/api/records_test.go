package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestRemoteRecords: the tenant's records of all systems, by filter and by page, also of a
// system that is gone; for another tenant there are none.
func TestRemoteRecords(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		system := c.scene().paired
		first := w.session
		w.must(w.broker.Report(t.Context(), "0000000002", wire.RemoteReport{
			Session: grant.SessionID(first), State: grant.Refused, Cause: grant.CauseAdmin, At: time.Now(),
		}))
		second := c.ask(system).ID
		viewer := w.signedIn(w.north, store.RoleMonitoring)
		list := func(query string) (ids []string) {
			t.Helper()
			for _, s := range read[RemoteList](viewer.do(http.MethodGet, "/remote"+query, "").want(http.StatusOK)).Items {
				ids = append(ids, s.ID)
				if s.Serial != "0000000002" || s.SystemID != system || s.StartURL != "" || s.Own {
					t.Errorf("%s: %+v", query, s)
				}
			}
			return ids
		}
		check := func(query string, want ...string) {
			t.Helper()
			got := list(query)
			if len(got) != len(want) {
				t.Errorf("%s: %v, want %v", query, got, want)
				return
			}
			for i := range got {
				if got[i] != want[i] {
					t.Errorf("%s: %v, want %v", query, got, want)
				}
			}
		}
		check("", second, first)
		check("?state=refused&state=expired", first)
		check("?state=active")
		check("?system="+system+"&serial=0000000002", second, first)
		check("?system=other")
		check("?serial=0000000009")
		page := read[RemoteList](viewer.do(http.MethodGet, "/remote?limit=1", "").want(http.StatusOK))
		check("?limit=1&cursor="+page.Next, first)
		viewer.do(http.MethodGet, "/remote?state=none", "").problem(CodeInvalid)
		viewer.do(http.MethodGet, "/remote?serial=1", "").problem(CodeInvalid)
		viewer.do(http.MethodGet, "/remote?cursor=nonsense", "").problem(CodeInvalid)

		// One address serves the page that the gateway sends a browser back to.
		own := read[RemoteSession](c.do(http.MethodGet, "/remote/"+second, "").want(http.StatusOK))
		if !own.Own || own.StartURL != "https://ara.example.net:8443/begin?session="+second || own.SystemID != system {
			t.Errorf("who has asked sees %+v", own)
		}
		if over := read[RemoteSession](c.do(http.MethodGet, "/remote/"+first, "").want(http.StatusOK)); over.StartURL != "" {
			t.Errorf("what is over can be begun at %s", over.StartURL)
		}
		if other := read[RemoteSession](viewer.do(http.MethodGet, "/remote/"+second, "").want(http.StatusOK)); other.StartURL != "" || other.Own {
			t.Errorf("another sees %+v", other)
		}
		south := w.signedIn(w.south, store.RoleOwner)
		foreign := south.do(http.MethodGet, "/remote/"+second, "")
		foreign.problem(CodeNotFound)
		for _, missing := range []string{string(store.NewID[store.RemoteID]()), "x", "%00", "%27%20OR%201=1"} {
			if a := south.do(http.MethodGet, "/remote/"+missing, ""); a.status != foreign.status || string(a.body) != string(foreign.body) {
				t.Errorf("%q gives %d %s, what is another's %d %s", missing, a.status, a.body, foreign.status, foreign.body)
			}
		}
		for _, query := range []string{"", "?system=" + system, "?serial=0000000002"} {
			if l := read[RemoteList](south.do(http.MethodGet, "/remote"+query, "").want(http.StatusOK)); len(l.Items) > 0 {
				t.Errorf("another tenant sees %+v", l)
			}
		}
		c.do(http.MethodDelete, "/systems/"+system, "").want(http.StatusNoContent)
		check("", second, first)
	})
}

// TestRecordsOfAPart: who looks after one system comes back from the gateway to his own
// record and sees others of that system; of another one there is none for him.
func TestRecordsOfAPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner := w.signedIn(w.north, store.RoleOwner)
	first := owner.scene().paired
	second := owner.save("0000000003", "Three").System.ID
	w.pair(w.north, second)
	theirs, elsewhere := w.session, owner.ask(second).ID
	owner.do(http.MethodPost, "/users", `{"email":"part@example.com","name":"Part","language":"en","password":"`+testPassword+
		`","roles":[{"role":"remote","system_id":"`+first+`"}]}`).want(http.StatusCreated)
	c := w.client()
	c.signIn("part@example.com")
	own := c.ask(first).ID
	for id, want := range map[string]int{own: http.StatusOK, theirs: http.StatusOK, elsewhere: http.StatusNotFound, "missing": http.StatusNotFound} {
		c.do(http.MethodGet, "/remote/"+id, "").want(want)
	}
	c.do(http.MethodGet, "/remote", "").problem(CodeForbidden)
}

// TestNoStartWithoutGateway: positive control above.
func TestNoStartWithoutGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.remote = remote.Config{} })
	if at := w.broker.Start(store.Remote{ID: "x", State: grant.Active}); at != "" {
		t.Errorf("it begins at %s", at)
	}
}
