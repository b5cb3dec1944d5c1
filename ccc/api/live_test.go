package api

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestManyDoNotHideWhatIsLive: an old record that still stands is shown whatever came after.
func TestManyDoNotHideWhatIsLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	operator := w.kind(store.KindOperator, "")
	owner, staff := w.signedIn(w.north, store.RoleOwner), w.signedIn(operator, store.RoleOwner)
	id := read[BreakGlass](staff.do(http.MethodPost, "/break-glass", fmt.Sprintf(`{"tenant_id":%q,"reason":"r","minutes":60}`, w.north)).want(http.StatusCreated)).ID
	w.update(func(tx *store.Tx) error {
		for range 201 {
			now := time.Now().Add(time.Second)
			err := tx.CreateBreakGlass(store.BreakGlass{
				ID: store.NewID[store.BreakGlassID](), Tenant: w.north, Home: operator, User: "another", Name: "Another", Reason: "r",
				Created: now, Expires: now.Add(-time.Minute),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if all := read[TenantList](staff.do(http.MethodGet, "/tenants", "").want(http.StatusOK)).Items; len(all) != 2 || all[1].Via != "break_glass" {
		t.Errorf("tenants: %+v", all)
	}
	for _, c := range []*client{owner, staff} {
		seen, next := 0, ""
		for first := true; first || next != ""; first = false {
			page := read[BreakGlassList](c.do(http.MethodGet, "/break-glass?limit=100&cursor="+next, "").want(http.StatusOK))
			if first && (page.Items[0].ID != id || !page.Items[0].Active || page.Items[1].Active) {
				t.Errorf("the first: %+v", page.Items[:2])
			}
			seen, next = seen+len(page.Items), page.Next
		}
		if seen != 202 {
			t.Errorf("%d records", seen)
		}
		c.do(http.MethodGet, "/break-glass?cursor=x", "").problem(CodeInvalid)
	}
}
