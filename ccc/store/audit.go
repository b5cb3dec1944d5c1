package store

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// AuditEntry is an entry of the audit log as it is kept.
type AuditEntry struct {
	audit.Entry
	Hash audit.Hash
}

// AuditChain is where the audit log of a tenant stands.
type AuditChain struct {
	Tenant TenantID
	Last   audit.Head // without a time
	// Swept is the last entry that was removed from the beginning; audit.Genesis where
	// none was.
	Swept audit.Head
}

// append adds an entry to its chain: the number, the time and the hash of the one before
// are those of the chain.
func (t *Tx) append(e audit.Entry) error {
	chain, at, err := t.chain(TenantID(e.Tenant))
	if errors.Is(err, ErrNotFound) {
		genesis := audit.Genesis(e.Tenant).Hash.String()
		_, err = t.exec(`INSERT INTO audit_chains (tenant_id, seq, hash, at, swept, swept_hash) VALUES ($1, 0, $2, 0, 0, $2)`, e.Tenant, genesis)
		if err == nil {
			chain, at, err = t.chain(TenantID(e.Tenant))
		}
	}
	if err != nil {
		return err
	}
	e.Seq, e.Prev = chain.Last.Seq+1, chain.Last.Hash
	if e.At = time.Now().UTC().Truncate(time.Millisecond); e.At.Before(at) {
		e.At = at // the clock was set back
	}
	hash, err := e.Sum()
	if err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO audit (`+auditColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		e.Tenant, e.Seq, e.At, e.Actor, e.User, e.Home, e.Right, e.Operation, e.Resource, e.Serial, e.Outcome,
		strings.Join(e.Fields, " "), e.Access, e.Prev.String(), hash.String()); err != nil {
		return err
	}
	return t.change("UPDATE audit_chains SET seq = $2, hash = $3, at = $4 WHERE tenant_id = $1", e.Tenant, e.Seq, hash.String(), e.At)
}

const auditColumns = "tenant_id, seq, at, actor, user_id, home, by_right, operation, resource, serial, outcome, fields, access, prev, hash"

func scanAudit(s scanner) (v AuditEntry, err error) {
	var at moment
	var fields string
	var prev, hash hashText
	err = s.Scan(&v.Tenant, &v.Seq, &at, &v.Actor, &v.User, &v.Home, &v.Right, &v.Operation, &v.Resource, &v.Serial, &v.Outcome,
		&fields, &v.Access, &prev, &hash)
	v.At, v.Fields, v.Prev, v.Hash = at.Time, strings.Fields(fields), audit.Hash(prev), audit.Hash(hash)
	return v, err
}

// hashText is a hash as it is kept. What is none, as somebody has written there, is read
// as zeros, which are the hash of nothing.
type hashText audit.Hash

// Scan reads it.
func (h *hashText) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("a hash is kept as %T", v)
	}
	if (*audit.Hash)(h).UnmarshalText([]byte(text)) != nil {
		*h = hashText{}
	}
	return nil
}

type chainRow struct {
	AuditChain
	at time.Time
}

func scanChain(s scanner) (v chainRow, err error) {
	var last, swept hashText
	var at moment
	err = s.Scan(&v.Tenant, &v.Last.Seq, &last, &at, &v.Swept.Seq, &swept)
	v.Last.Tenant, v.Swept.Tenant = string(v.Tenant), string(v.Tenant)
	v.Last.Hash, v.Swept.Hash, v.at = audit.Hash(last), audit.Hash(swept), at.Time
	return v, err
}

const chainColumns = "tenant_id, seq, hash, at, swept, swept_hash"

func (t *Tx) chain(tenant TenantID) (AuditChain, time.Time, error) {
	v, err := row(t, scanChain, "SELECT "+chainColumns+" FROM audit_chains WHERE tenant_id = $1", tenant)
	return v.AuditChain, v.at, err
}

// systemSerial gives the serial of a system; empty where it is not there.
func (t *Tx) systemSerial(tenant TenantID, id SystemID) (identity.Serial, error) {
	serial, err := row(t, value[identity.Serial], "SELECT serial FROM systems WHERE tenant_id = $1 AND id = $2", tenant, id)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return serial, err
}

// AuditChain gives where the audit log of a tenant stands. One that has none yet is at its
// beginning.
func (t *Tx) AuditChain(tenant TenantID) (AuditChain, error) {
	c, _, err := t.chain(tenant)
	if errors.Is(err, ErrNotFound) {
		g := audit.Genesis(string(tenant))
		return AuditChain{tenant, g, g}, nil
	}
	return c, err
}

// AuditChains gives all, by tenant.
func (t *Tx) AuditChains() ([]AuditChain, error) {
	all, err := rows(t, scanChain, "SELECT "+chainColumns+" FROM audit_chains ORDER BY tenant_id")
	out := make([]AuditChain, len(all))
	for i, c := range all {
		out[i] = c.AuditChain
	}
	return out, err
}

// AuditFilter chooses entries: those that fit all of what is set.
type AuditFilter struct {
	User      UserID          // whose rights were used, or who is the actor
	Actor     string          // "ccc", or all of one kind: "token", "device", "nobody"
	Operation string          // as in the entry
	Resource  string          // "KIND ID"
	Serial    identity.Serial // of the PBX
	Outcome   string          // done, refused or failed
	From, To  time.Time       // zero: no bound; To is not in it
}

// AuditEntries gives a page of a tenant's audit log, the newest first, and the cursor of
// the next page. ErrCursor.
func (t *Tx) AuditEntries(tenant TenantID, f AuditFilter, p Page) (items []AuditEntry, next string, err error) {
	w := &where{t: t, args: []any{tenant}}
	w.sql.WriteString("tenant_id = $1")
	for _, c := range []struct{ condition, value string }{
		{"user_id = ?", string(f.User)}, {"operation = ?", f.Operation}, {"resource = ?", f.Resource}, {"serial = ?", string(f.Serial)},
	} {
		if c.value != "" {
			w.and(c.condition, c.value)
		}
	}
	if f.Actor != "" {
		w.and("actor LIKE ?", f.Actor+"%") // one of a few words
	}
	if f.Outcome != "" {
		w.and("outcome LIKE ?", f.Outcome+"%")
	}
	if !f.From.IsZero() {
		w.and("at >= ?", f.From)
	}
	if !f.To.IsZero() {
		w.and("at < ?", f.To)
	}
	if p.Cursor != "" {
		c, err := parseCursor(p.Cursor, "-seq")
		if err != nil {
			return nil, "", err
		}
		w.and("seq < ?", c.Number)
	}
	items, err = rows(t, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE "+w.sql.String()+" ORDER BY seq DESC LIMIT "+w.parameter(p.limit()+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	if n := p.limit(); len(items) > n {
		items = items[:n]
		next = cursor{Column: "-seq", Number: items[n-1].Seq, ID: "x"}.String()
	}
	return items, next, nil
}

// AuditEntry gives one. ErrNotFound.
func (t *Tx) AuditEntry(tenant TenantID, seq int64) (AuditEntry, error) {
	return row(t, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE tenant_id = $1 AND seq = $2", tenant, seq)
}

// AuditAfter gives those after a number, in their order.
func (t *Tx) AuditAfter(tenant TenantID, after int64, limit int) ([]AuditEntry, error) {
	return rows(t, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3", tenant, after, limit)
}

// AuditHead is a signed head as it is kept.
type AuditHead struct {
	Tenant TenantID
	Seq    int64
	Head   string
	At     time.Time
}

func scanHead(s scanner) (v AuditHead, err error) {
	var at moment
	err = s.Scan(&v.Tenant, &v.Seq, &v.Head, &at)
	v.At = at.Time
	return v, err
}

// AddAuditHead keeps a signed head. One of the same entry that is kept already stays.
func (t *Tx) AddAuditHead(v AuditHead) error {
	_, err := t.exec("INSERT INTO audit_heads (tenant_id, seq, head, at) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, seq) DO NOTHING",
		cmp.Or(v.Tenant, audit.Nowhere), v.Seq, v.Head, v.At)
	return err
}

// AuditHeads gives those of a tenant that are kept, by their numbers.
func (t *Tx) AuditHeads(tenant TenantID) ([]AuditHead, error) {
	return rows(t, scanHead, "SELECT tenant_id, seq, head, at FROM audit_heads WHERE tenant_id = $1 ORDER BY seq", tenant)
}

// UnsignedAuditChains gives the chains that have gone on since a head of them was signed.
func (t *Tx) UnsignedAuditChains() ([]AuditChain, error) {
	all, err := t.AuditChains()
	if err != nil {
		return nil, err
	}
	signed, err := rows(t, scanHead, `SELECT tenant_id, max(seq), '', CAST(0 AS BIGINT) FROM audit_heads GROUP BY tenant_id`)
	last := map[TenantID]int64{}
	for _, h := range signed {
		last[h.Tenant] = h.Seq
	}
	out := []AuditChain{}
	for _, c := range all {
		if c.Last.Seq > last[c.Tenant] {
			out = append(out, c)
		}
	}
	return out, err
}

// AuditBefore gives the last entry of a tenant from before a time; ErrNotFound: there is
// none.
func (t *Tx) AuditBefore(tenant TenantID, before time.Time) (AuditEntry, error) {
	return row(t, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE tenant_id = $1 AND at < $2 ORDER BY seq DESC LIMIT 1", tenant, before)
}

// SweepAudit removes the entries of a chain up to a number, of which a signed head is
// kept. It tells how many.
func (t *Tx) SweepAudit(tenant TenantID, seq int64) (int, error) {
	last, err := t.AuditEntry(tenant, seq)
	if err != nil {
		return 0, err
	}
	if err := t.change("UPDATE audit_chains SET swept = $2, swept_hash = $3 WHERE tenant_id = $1", tenant, seq, last.Hash.String()); err != nil {
		return 0, err
	}
	if _, err := t.exec("DELETE FROM audit_heads WHERE tenant_id = $1 AND seq < $2", tenant, seq); err != nil {
		return 0, err
	}
	return t.sweep("DELETE FROM audit WHERE tenant_id = $1 AND seq <= $2", tenant, seq)
}
