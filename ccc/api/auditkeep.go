package api

import (
	"context"
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// sweptAtOnce is how many entries are removed in one transaction.
const sweptAtOnce = 5000

// thinEvery is how often older heads are looked through.
const thinEvery = 24 * time.Hour

// keepAudit signs heads of the logs, and removes what is too old, until ctx ends.
func (a *API) keepAudit(ctx context.Context) {
	ticker := time.NewTicker(a.cfg.Audit.HeadEvery)
	defer ticker.Stop()
	var thinned time.Time // zero: not yet
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		err := errors.Join(a.signHeads(ctx), a.sweepAudit(ctx, now.Add(-a.cfg.Audit.Keep)))
		if now.Sub(thinned) >= thinEvery {
			if failed := a.thinHeads(ctx, now.Add(-a.cfg.Audit.Heads)); failed != nil {
				err = errors.Join(err, failed)
			} else {
				thinned = now
			}
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("the audit log was not looked after; it is tried again", "error", err)
		}
	}
}

// thinHeads leaves of the heads from before a time one a day.
func (a *API) thinHeads(ctx context.Context, before time.Time) error {
	chains, err := a.auditChains(ctx)
	for _, c := range chains {
		if err == nil {
			err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				_, err := tx.ThinAuditHeads(c.Tenant, before)
				return err
			})
		}
	}
	return err
}

func (a *API) auditChains(ctx context.Context) (chains []store.AuditChain, err error) {
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		chains, err = tx.AuditChains()
		return err
	})
	return chains, err
}

// signHeads signs those of the logs that went on. They are logged, too: whoever keeps the
// program's log elsewhere can show that the audit log was written anew.
func (a *API) signHeads(ctx context.Context) error {
	if a.cfg.Credentials == nil {
		return nil
	}
	var chains []store.AuditChain
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		chains, err = tx.UnsignedAuditChains()
		return err
	})
	for _, c := range chains {
		c.Last.At = time.Now()
		if _, failed := a.signHead(ctx, c.Last); failed != nil {
			return failed
		}
		a.log.Info("head of an audit log", "tenant", c.Tenant, "entries", c.Last.Seq, "hash", c.Last.Hash.String())
	}
	return err
}

// sweepAudit removes entries of before a time. A signed head of what is removed is left, or
// nothing is removed.
func (a *API) sweepAudit(ctx context.Context, before time.Time) error {
	if a.cfg.Credentials == nil {
		return nil
	}
	chains, err := a.auditChains(ctx)
	if err != nil {
		return err
	}
	for _, c := range chains {
		for removed := sweptAtOnce; removed == sweptAtOnce; {
			if removed, err = a.sweepChain(ctx, c.Tenant, before); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *API) sweepChain(ctx context.Context, tenant store.TenantID, before time.Time) (removed int, err error) {
	err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		removed = 0
		chain, err := tx.AuditChain(tenant)
		if err != nil {
			return err
		}
		// The oldest one tells at once whether there is anything; only then are many looked at.
		last, err := tx.AuditEntry(tenant, chain.Swept.Seq+1)
		if errors.Is(err, store.ErrNotFound) || err == nil && !last.At.Before(before) {
			return nil
		}
		if err == nil {
			last, err = tx.AuditBefore(tenant, before)
		}
		if err == nil && last.Seq > chain.Swept.Seq+sweptAtOnce {
			last, err = tx.AuditEntry(tenant, chain.Swept.Seq+sweptAtOnce)
		}
		if err != nil {
			return err
		}
		head := audit.Head{Tenant: string(tenant), Seq: last.Seq, Hash: last.Hash, At: time.Now()}
		signed, err := audit.SignHead(a.cfg.Credentials, head)
		if err != nil {
			return err
		}
		if err := tx.AddAuditHead(store.AuditHead{Tenant: tenant, Seq: last.Seq, Head: signed, At: head.At}); err != nil {
			return err
		}
		removed, err = tx.SweepAudit(tenant, last.Seq)
		return err
	})
	return removed, err
}
