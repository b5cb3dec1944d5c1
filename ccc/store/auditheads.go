package store

import (
	"cmp"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
)

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

// ThinAuditHeads removes the heads of a tenant from before a time that are followed by
// another one of the same day (UTC), but for that of what was removed before the log begins.
// It tells how many.
func (t *Tx) ThinAuditHeads(tenant TenantID, before time.Time) (int, error) {
	return t.sweep(`DELETE FROM audit_heads WHERE tenant_id = $1 AND at < $2
		AND seq > coalesce((SELECT swept FROM audit_chains c WHERE c.tenant_id = $1), 0)
		AND at / 86400000 = (SELECT l.at / 86400000 FROM audit_heads l
			WHERE l.tenant_id = audit_heads.tenant_id AND l.seq > audit_heads.seq ORDER BY l.seq LIMIT 1)`, tenant, before)
}
