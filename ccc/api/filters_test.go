package api

import (
	"fmt"
	"net/http"
	"reflect"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestFilters: one's own are one's own, what all have changes who manages users, and a
// filter says what it said.
func TestFilters(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		owner, viewer := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleMonitoring)
		stranger := w.signedIn(w.south, store.RoleOwner)
		list := func(c *client) []Filter {
			t.Helper()
			return read[FilterList](c.do(http.MethodGet, "/filters", "").want(http.StatusOK)).Items
		}
		const fields = `{"q":"büro","state":["paired","left"],"online":false,"offline_reason":"power","tag":["vip"],"group":"g","site":"s","sort":"-state_since"}`
		own := read[Filter](viewer.do(http.MethodPost, "/filters", `{"name":"Mine","filter":`+fields+`}`).want(http.StatusCreated))
		viewer.do(http.MethodPost, "/filters", `{"name":"All","shared":true,"filter":{}}`).problem(CodeForbidden)
		shared := read[Filter](owner.do(http.MethodPost, "/filters", `{"name":"All","shared":true,"filter":{"q":"x"}}`).want(http.StatusCreated))
		want := FilterFields{
			Query: "büro", State: []store.State{"paired", "left"}, Online: new(false), OfflineReason: "power", Tag: []string{"vip"}, Group: "g", Site: "s", Sort: "-state_since",
		}
		if got := list(viewer); len(got) != 2 || got[0].ID != shared.ID || !got[0].Shared || got[1].ID != own.ID || !reflect.DeepEqual(got[1].Filter, want) {
			t.Errorf("the viewer has %+v", got)
		}
		if got := list(owner); len(got) != 1 || got[0].ID != shared.ID {
			t.Errorf("the owner has %+v", got)
		}
		if got := list(stranger); len(got) != 0 {
			t.Errorf("another tenant has %+v", got)
		}
		viewer.do(http.MethodPost, "/filters", `{"name":"Mine","filter":{}}`).problem(CodeConflict)
		for _, c := range []*client{owner, stranger} { // another person's is as one of another tenant
			c.do(http.MethodPut, "/filters/"+own.ID, `{"name":"Taken","filter":{}}`).problem(CodeNotFound)
			c.do(http.MethodDelete, "/filters/"+own.ID, "").problem(CodeNotFound)
			c.do(http.MethodPut, "/default-filter", `{"filter_id":"`+own.ID+`"}`).problem(CodeInvalid)
		}
		viewer.do(http.MethodPut, "/filters/"+shared.ID, `{"name":"Mine now","filter":{}}`).problem(CodeForbidden)
		viewer.do(http.MethodDelete, "/filters/"+shared.ID, "").problem(CodeForbidden)

		viewer.do(http.MethodPut, "/default-filter", `{"filter_id":"`+shared.ID+`"}`).want(http.StatusNoContent)
		viewer.do(http.MethodPut, "/default-filter", `{"filter_id":"`+own.ID+`"}`).want(http.StatusNoContent)
		changed := read[Filter](viewer.do(http.MethodPut, "/filters/"+own.ID, `{"name":"Renamed","filter":{"tag":["a"]}}`).want(http.StatusOK))
		if !changed.Default || changed.Name != "Renamed" || fmt.Sprint(changed.Filter.Tag) != "[a]" || changed.Filter.Query != "" {
			t.Errorf("changed: %+v", changed)
		}
		if got := list(viewer); got[0].Default || !got[1].Default || !reflect.DeepEqual(got[1], changed) {
			t.Errorf("then the viewer has %+v", got)
		}
		viewer.do(http.MethodPut, "/default-filter", `{"filter_id":""}`).want(http.StatusNoContent)
		owner.do(http.MethodDelete, "/filters/"+shared.ID, "").want(http.StatusNoContent)
		viewer.do(http.MethodDelete, "/filters/"+own.ID, "").want(http.StatusNoContent)
		if got := list(viewer); len(got) != 0 {
			t.Errorf("in the end: %+v", got)
		}
	})
}
