package store

import (
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
	if _, err := t.exec(`INSERT INTO audit (`+auditColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		e.Tenant, e.Seq, e.At, e.Actor, e.User, e.Home, e.Right, e.Operation, e.Resource, e.Serial, e.Outcome,
		strings.Join(e.Fields, " "), e.Access, e.Prev.String(), hash.String(), e.Repeats); err != nil {
		return err
	}
	return t.change("UPDATE audit_chains SET seq = $2, hash = $3, at = $4 WHERE tenant_id = $1", e.Tenant, e.Seq, hash.String(), e.At)
}

const auditColumns = "tenant_id, seq, at, actor, user_id, home, by_right, operation, resource, serial, outcome, fields, access, prev, hash, repeats"

func scanAudit(s scanner) (v AuditEntry, err error) {
	var at moment
	var fields string
	var prev, hash hashText
	err = s.Scan(&v.Tenant, &v.Seq, &at, &v.Actor, &v.User, &v.Home, &v.Right, &v.Operation, &v.Resource, &v.Serial, &v.Outcome,
		&fields, &v.Access, &prev, &hash, &v.Repeats)
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

// AuditEntry gives one. ErrNotFound.
func (t *Tx) AuditEntry(tenant TenantID, seq int64) (AuditEntry, error) {
	return row(t, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE tenant_id = $1 AND seq = $2", tenant, seq)
}

// AuditAfter gives those after a number, in their order.
func (t *Tx) AuditAfter(tenant TenantID, after int64, limit int) ([]AuditEntry, error) {
	return rows(t, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3", tenant, after, limit)
}

// AuditBefore gives the last entry of a tenant from before a time; ErrNotFound: there is
// none.
func (t *Tx) AuditBefore(tenant TenantID, before time.Time) (AuditEntry, error) {
	return row(t, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE tenant_id = $1 AND at < $2 ORDER BY at DESC, seq DESC LIMIT 1", tenant, before)
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
