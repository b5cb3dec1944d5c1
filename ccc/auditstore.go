package main

import (
	"context"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// verifiedAtOnce is how many entries are read in one view.
const verifiedAtOnce = 1000

// storeVerifier looks through the logs of a database, and compares them with the heads that
// are kept there. A control centre may use it meanwhile: entries come, and its sweep removes
// old ones.
type storeVerifier struct {
	db       *store.DB
	open     func(string) (audit.Head, error)
	heads    []audit.Head // of the command line
	progress func(int64)  // optional
}

func (v storeVerifier) run(ctx context.Context) ([]audit.Report, error) {
	var chains []store.AuditChain
	err := v.db.View(ctx, func(tx *store.Tx) (err error) {
		chains, err = tx.AuditChains()
		return err
	})
	reports := make([]audit.Report, 0, len(chains))
	for _, c := range chains {
		r, failed := v.chain(ctx, c.Tenant)
		if failed != nil {
			return reports, failed
		}
		reports = append(reports, r)
	}
	for _, h := range v.heads {
		if !slices.ContainsFunc(chains, func(c store.AuditChain) bool { return string(c.Tenant) == h.Tenant }) {
			reports = append(reports, audit.Report{Tenant: h.Tenant, Fault: &audit.Fault{Kind: audit.Truncated, Seq: 1, Text: "there is no log of this tenant any more"}})
		}
	}
	return reports, err
}

// chain looks through one log. Where a sweep has removed entries that were not looked at
// yet, it begins anew after them: of which there has to be a signed head, too.
func (v storeVerifier) chain(ctx context.Context, tenant store.TenantID) (audit.Report, error) {
	for {
		r, swept, err := v.once(ctx, tenant)
		if err != nil || !swept {
			return r, err
		}
	}
}

// once looks through one log until a sweep is in the way.
func (v storeVerifier) once(ctx context.Context, tenant store.TenantID) (r audit.Report, swept bool, err error) {
	var c store.AuditChain
	var kept []store.AuditHead
	err = v.db.View(ctx, func(tx *store.Tx) (err error) {
		if c, err = tx.AuditChain(tenant); err == nil {
			kept, err = tx.AuditHeads(tenant)
		}
		return err
	})
	from := c.Swept
	r = audit.Report{Tenant: string(tenant), After: from.Seq, Hash: from.Hash, Last: from.Seq}
	if err != nil {
		return r, false, err
	}
	if from.Seq == 0 && from.Hash != audit.Genesis(r.Tenant).Hash {
		r.Fault = &audit.Fault{Kind: audit.Forked, Seq: 1, Text: "the beginning is not that of the tenant's chain"}
		return r, false, nil
	}
	check := audit.NewChecker(from)
	defer func() {
		r.Last, r.Hash = check.Head().Seq, check.Head().Hash
		r.Signed = r.Fault == nil && err == nil
	}()
	if r.Fault = v.known(c, kept, check); r.Fault != nil {
		return r, false, nil
	}
	for check.Head().Seq < c.Last.Seq {
		var some []store.AuditEntry
		var now store.AuditChain
		err = v.db.View(ctx, func(tx *store.Tx) (err error) {
			if now, err = tx.AuditChain(tenant); err == nil {
				some, err = tx.AuditAfter(tenant, check.Head().Seq, verifiedAtOnce)
			}
			return err
		})
		if err != nil {
			return r, false, err
		}
		if now.Swept.Seq > check.Head().Seq {
			return r, true, nil
		}
		for _, e := range some {
			if r.Fault = check.Add(e.Entry, e.Hash); r.Fault != nil {
				return r, false, nil
			}
			r.Entries++
		}
		if len(some) == 0 {
			break
		}
		if v.progress != nil {
			v.progress(r.Entries)
		}
	}
	r.Fault = check.End()
	return r, false, nil
}

// known tells the checker what is known of a chain: where it says that it stands, the heads
// of the command line, and those that the database keeps. One is there of what was removed.
func (v storeVerifier) known(c store.AuditChain, kept []store.AuditHead, check *audit.Checker) *audit.Fault {
	swept := c.Swept.Seq == 0
	for _, k := range kept {
		h, err := v.open(k.Head)
		if err != nil {
			return &audit.Fault{Kind: audit.Unsigned, Seq: k.Seq, Text: err.Error()}
		}
		swept = swept || h.Seq == c.Swept.Seq
		if f := check.Know(h); f != nil {
			return f
		}
	}
	if !swept {
		return &audit.Fault{Kind: audit.Missing, Seq: c.Swept.Seq, Text: "no head was left of what was removed before"}
	}
	for _, h := range v.heads {
		if h.Tenant != string(c.Tenant) {
			continue
		}
		if f := check.Know(h); f != nil {
			return f
		}
	}
	return check.Know(c.Last)
}
