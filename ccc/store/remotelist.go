package store

import (
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// RemoteFilter chooses records of remote access: those that fit all of what is set.
type RemoteFilter struct {
	System SystemID        // empty: any, also those that are not there any more
	Serial identity.Serial // empty: any
	States []grant.State   // one of them; empty: any
}

// TenantRemote gives a record of a tenant, whose system need not be there any more.
func (t *Tx) TenantRemote(tenant TenantID, id RemoteID) (Remote, error) {
	return row(t, scanRemote, "SELECT "+remoteColumns+" FROM remote_sessions WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// TenantRemotes gives a page of a tenant's records, the newest first, and the cursor of
// the next page. ErrCursor.
func (t *Tx) TenantRemotes(tenant TenantID, f RemoteFilter, p Page) (items []Remote, next string, err error) {
	w := &where{t: t, args: []any{tenant}}
	w.sql.WriteString("tenant_id = $1")
	if f.System != "" {
		w.id("system_id = ?", string(f.System))
	}
	if f.Serial != "" {
		w.and("serial = ?", f.Serial)
	}
	if len(f.States) > 0 {
		w.and("state IN "+t.list("?"), listOf(f.States))
	}
	if p.Cursor != "" {
		from, err := parseCursor(p.Cursor, "-requested")
		if err != nil {
			return nil, "", err
		}
		w.beyond("requested", "<", from.Number, from.ID)
	}
	items, err = rows(t, scanRemote, "SELECT "+remoteColumns+" FROM remote_sessions WHERE "+
		w.sql.String()+" ORDER BY requested DESC, id DESC LIMIT "+w.parameter(p.limit()+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	if n := p.limit(); len(items) > n {
		items = items[:n]
		last := items[n-1]
		next = cursor{Column: "-requested", Number: millis(last.Requested), ID: string(last.ID)}.String()
	}
	return items, next, nil
}
