package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestImportIsTold: who looks for a system in the audit log finds who has added it, also
// where it came with a list; what the list has not added leaves nothing.
func TestImportIsTold(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleAdministrator)
		owner := w.signedIn(w.north, store.RoleOwner)
		const lines = importedAtOnce + 5 // in two transactions
		list := "serial,name,site,groups\n"
		for i := range lines {
			list += fmt.Sprintf("%010d,PBX %d,Berlin,A|B\n", i+1, i+1)
		}
		list += "17,wrong,,\n"
		var made ImportReport
		entries := w.newEntries(w.north, func() { made = c.sendList("?missing=create", list) })
		kinds := map[string]int{}
		for _, e := range entries {
			kind, _ := e.Split()
			kinds[kind]++
			if e.Operation != "importSystems" || e.User != string(c.user.ID) || e.Outcome != "done" || (kind == "system") != (e.Serial != "") {
				t.Errorf("the entry %+v", e.Entry)
			}
		}
		if got := fmt.Sprint(kinds); got != fmt.Sprintf("map[group:2 site:1 system:%d]", lines) {
			t.Errorf("entries: %s", got)
		}
		for _, i := range []int{0, 1, importedAtOnce, lines - 1} {
			l := made.Lines[i]
			for _, query := range []string{"?serial=" + l.Serial, "?resource=system+" + l.SystemID} {
				found := read[AuditList](owner.do(http.MethodGet, "/audit"+query, "").want(http.StatusOK)).Items
				if len(found) != 1 || found[0].Operation != "importSystems" || found[0].Resource.ID != l.SystemID || found[0].Serial != l.Serial {
					t.Errorf("line %d, %s: %+v", l.Line, query, found)
				}
			}
		}
		// The same list again changes nothing, which one entry says.
		if entries := w.newEntries(w.north, func() { c.sendList("?missing=create", list) }); len(entries) != 1 || strings.Contains(entries[0].Resource, " ") {
			t.Errorf("again: %+v", entries)
		}
	})
}
