package store

import (
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// AuditFilter chooses entries: those that fit all of what is set.
type AuditFilter struct {
	User      UserID          // whose rights were used, or who is the actor
	Actor     string          // all of one kind: "user", "token", "provider", "device", "ccc" or "nobody"
	Operation string          // as in the entry
	Resource  string          // "KIND ID"
	Serial    identity.Serial // of the PBX
	Outcome   string          // done, refused or failed
	From, To  time.Time       // zero: no bound; To is not in it
}

// AuditEntries gives a page of a tenant's audit log, the newest first, and the cursor of
// the next page. ErrCursor.
func (t *Tx) AuditEntries(tenant TenantID, f AuditFilter, p Page) (items []AuditEntry, next string, err error) {
	query, args, err := t.auditQuery(tenant, f, p)
	if errors.Is(err, ErrNotFound) {
		return []AuditEntry{}, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	items, err = rows(t, scanAudit, query, args...)
	if err != nil {
		return nil, "", err
	}
	if n := p.limit(); len(items) > n {
		items = items[:n]
		next = cursor{Column: "-seq", Number: items[n-1].Seq, ID: "x"}.String()
	}
	return items, next, nil
}

// auditQuery makes the query. What it looks for is found by an index that is in the order of
// the log. So that this is so with a time, too, that is turned into numbers first: entries
// are never older than those before them. ErrNotFound: there is none since From.
func (t *Tx) auditQuery(tenant TenantID, f AuditFilter, p Page) (query string, args []any, err error) {
	w := &where{t: t, args: []any{tenant}}
	w.sql.WriteString("tenant_id = $1")
	for _, c := range []struct{ condition, value string }{
		{"user_id = ?", string(f.User)},
		{"operation = ?", f.Operation},
		{"resource = ?", f.Resource},
		{"serial = ?", string(f.Serial)},
		{"substr(actor, 1, 3) = ?", f.Actor[:min(len(f.Actor), 3)]},
	} {
		if c.value != "" {
			w.and(c.condition, c.value)
		}
	}
	if f.Serial != "" {
		w.sql.WriteString(" AND serial <> ''") // as the index has it
	}
	switch f.Outcome {
	case "":
	case "done":
		w.and("outcome = ?", f.Outcome)
	default:
		w.sql.WriteString(" AND outcome <> 'done'")
		w.and("substr(outcome, 1, 4) = ?", f.Outcome[:min(len(f.Outcome), 4)])
	}
	if !f.From.IsZero() {
		first, err := t.auditSince(tenant, f.From)
		if err != nil {
			return "", nil, err
		}
		w.and("seq >= ?", first)
	}
	if !f.To.IsZero() {
		switch first, err := t.auditSince(tenant, f.To); {
		case err == nil:
			w.and("seq < ?", first)
		case !errors.Is(err, ErrNotFound):
			return "", nil, err
		}
	}
	if p.Cursor != "" {
		c, err := parseCursor(p.Cursor, "-seq")
		if err != nil {
			return "", nil, err
		}
		w.and("seq < ?", c.Number)
	}
	query = "SELECT " + auditColumns + " FROM audit WHERE " + w.sql.String() + " ORDER BY seq DESC LIMIT " + w.parameter(p.limit()+1)
	return query, w.args, nil
}

// auditSince gives the number of the first entry since a time.
func (t *Tx) auditSince(tenant TenantID, since time.Time) (int64, error) {
	return row(t, value[int64], auditSince, tenant, since)
}

const auditSince = "SELECT seq FROM audit WHERE tenant_id = $1 AND at >= $2 ORDER BY at, seq LIMIT 1"
