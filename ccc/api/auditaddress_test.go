package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// addressIn tells whether an address is in some bytes, as text or, where they are too many
// to come up by chance, as its bytes.
func addressIn(text []byte, a netip.Addr) bool {
	return bytes.Contains(text, []byte(a.String())) || !a.Is4() && bytes.Contains(text, a.AsSlice())
}

// Where an entry came from is found by the access log alone, as long as it has it: nothing
// of an address is in the database, in its log, in an export or in the list.
func TestAuditAddress(t *testing.T) {
	t.Parallel()
	access, written := accessLog(t)
	w := newWorld(t, func(o *options) { o.api.AccessLog, o.api.TrustedProxies = access, []string{"127.0.0.1"} }).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	var addresses []netip.Addr
	entries := map[netip.Addr]AuditEntry{}
	for i, text := range []string{"198.51.100.77", "2001:db8:7:8::9"} {
		a := netip.MustParseAddr(text)
		addresses = append(addresses, a)
		c.do(http.MethodPost, "/groups", fmt.Sprintf(`{"name":"G%d"}`, i), "X-Forwarded-For: "+text).want(http.StatusCreated)
		entries[a] = read[AuditList](c.do(http.MethodGet, "/audit?limit=1", "").want(http.StatusOK)).Items[0]
	}
	if n := len(written()); n < 4 {
		t.Fatalf("control: the access log has %d accesses", n)
	}
	for a, e := range entries {
		n := len(w.log(w.north))
		got := read[AuditAddress](c.do(http.MethodGet, fmt.Sprintf("/audit/%d/address", e.Seq), "").want(http.StatusOK))
		if got.State != "known" || got.Address != a.String() || got.Until == nil || e.AddressUntil == nil || !got.Until.Equal(*e.AddressUntil) {
			t.Errorf("%s: %+v, %v", a, got, e.AddressUntil)
		}
		if left := time.Until(*got.Until); left > 14*24*time.Hour || left < 13*24*time.Hour {
			t.Errorf("it is known for %v", left)
		}
		log := w.log(w.north)
		if len(log) != n+1 || log[n].Operation != "getAuditAddress" || log[n].Resource != fmt.Sprintf("audit %d", e.Seq) {
			t.Errorf("who looked at it is not in the log: %+v", log[n:])
		}
	}
	// What the log has forgotten, and what it never had.
	for reference, want := range map[string]string{
		fmt.Sprintf("%016d", time.Now().Add(-15*24*time.Hour).UnixMicro()): "gone", fmt.Sprintf("%016d", time.Now().UnixMicro()-1): "missing", "": "missing",
	} {
		act := &store.Act{Tenant: w.north, Operation: "createGroup", Access: func() string { return reference }}
		w.must(w.db.Settle(context.Background(), act, audit.Done))
		seq := len(w.log(w.north))
		if got := read[AuditAddress](c.do(http.MethodGet, fmt.Sprintf("/audit/%d/address", seq), "").want(http.StatusOK)); got.State != want || got.Address != "" {
			t.Errorf("%q: %+v, want %s", reference, got, want)
		}
	}
	c.do(http.MethodGet, "/audit/999999/address", "").problem(CodeNotFound)

	scan := func() map[string][]byte {
		all := map[string][]byte{
			"the export": c.do(http.MethodGet, "/audit/export", "").want(http.StatusOK).body,
			"the CSV":    c.do(http.MethodGet, "/audit/export?format=csv", "").want(http.StatusOK).body,
			"the list":   c.do(http.MethodGet, "/audit?limit=200", "").want(http.StatusOK).body,
		}
		for _, end := range []string{"", "-wal"} {
			text, err := os.ReadFile(w.path + end)
			w.must(err)
			all["the file "+end] = text
		}
		return all
	}
	for where, text := range scan() {
		for _, a := range addresses {
			if addressIn(text, a) {
				t.Errorf("%s is in %s", a, where)
			}
		}
	}
	// Control: the scan finds what is there.
	made := c.save("0000000001", "One")
	c.do(http.MethodPatch, "/systems/"+made.System.ID, `{"note":"`+addresses[0].String()+`"}`, "If-Match: *").want(http.StatusOK)
	found := false
	for _, text := range scan() {
		found = found || addressIn(text, addresses[0])
	}
	if !found || !addressIn(append([]byte("x"), addresses[1].AsSlice()...), addresses[1]) {
		t.Error("control: an address is not found where it is")
	}
}
