package authority

import (
	"context"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Sweep removes certificates, tokens and lineages that ended longer ago than they
// are kept for, and gives their number. It is called once a day. The audit log
// keeps everything.
func (a *Authority) Sweep(ctx context.Context) (removed int, err error) {
	cutoff := time.Now().Add(-a.cfg.KeepExpired)
	err = a.db.Update(ctx, func(tx store.Tx) error {
		removed = 0
		lineages := make(map[string]bool) // those that are left
		for _, pass := range []struct {
			bucket store.Bucket
			ended  func(k, v []byte) (bool, error)
		}{
			{bucketIndex, func(_, serial []byte) (bool, error) {
				c, _, err := get[Certificate](tx, bucketCerts, serial)
				if err != nil || c.NotAfter.Before(cutoff) {
					return true, err
				}
				lineages[string(lineageKey(c.Identity, c.Lineage))] = true
				return false, nil
			}},
			{bucketExpiry, func(k, _ []byte) (bool, error) {
				when, err := expiryOf(k)
				return when.Before(cutoff), err
			}},
			{bucketCerts, func(_, v []byte) (bool, error) {
				c, err := parse[Certificate](v)
				return c.NotAfter.Before(cutoff), err
			}},
			{bucketLineages, func(k, _ []byte) (bool, error) { return !lineages[string(k)], nil }},
			{bucketReports, func(k, _ []byte) (bool, error) { return !lineages[string(k)], nil }},
			{bucketTokens, func(_, v []byte) (bool, error) {
				t, err := parse[tokenRecord](v)
				return t.Expires.Before(cutoff), err
			}},
		} {
			err := tx.Scan(pass.bucket, nil, nil, func(k, v []byte) (bool, error) {
				end, err := pass.ended(k, v)
				if err != nil || !end {
					return true, err
				}
				removed++
				return true, tx.Delete(pass.bucket, k)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return removed, err
}
