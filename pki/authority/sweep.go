package authority

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// sweepPage is how many records one transaction looks at or removes, so that nobody
// waits long for it.
const sweepPage = 1000

// Sweep removes certificates, tokens and lineages that ended longer ago than they
// are kept for, and gives their number. It is called once a day. The audit log
// keeps everything. What it costs follows the number of what it removes, and of the
// tokens.
func (a *Authority) Sweep(ctx context.Context) (removed int, err error) {
	cutoff := time.Now().Add(-a.cfg.KeepExpired)
	for more := true; more; {
		n := 0
		err := a.db.Update(ctx, func(tx store.Tx) error {
			n = 0
			return tx.Scan(bucketExpiry, nil, nil, func(k, _ []byte) (bool, error) {
				when, err := expiryOf(k)
				if err != nil || !when.Before(cutoff) {
					return false, err
				}
				n++
				return n < sweepPage, forget(tx, k)
			})
		})
		if err != nil {
			return removed, err
		}
		removed, more = removed+n, n == sweepPage
	}
	n, err := a.sweepTokens(ctx, cutoff)
	return removed + n, err
}

// forget removes the certificate of a key in the bucket expiry, and its lineage if it
// was the last of it.
func forget(tx store.Tx, key []byte) error {
	if err := tx.Delete(bucketExpiry, key); err != nil {
		return err
	}
	serial := key[expiryTime:]
	c, ok, err := get[Certificate](tx, bucketCerts, serial)
	if err != nil || !ok {
		return err
	}
	for _, k := range []struct {
		bucket store.Bucket
		key    []byte
	}{{bucketCerts, serial}, {bucketIndex, indexKey(c)}} {
		if err := tx.Delete(k.bucket, k.key); err != nil {
			return err
		}
	}
	last := true
	err = eachCertificate(tx, c.Identity, func(other Certificate) error {
		last = last && other.Lineage != c.Lineage
		return nil
	})
	if err != nil || !last {
		return err
	}
	lineage := lineageKey(c.Identity, c.Lineage)
	return errors.Join(tx.Delete(bucketLineages, lineage), tx.Delete(bucketReports, lineage))
}

// sweepTokens looks at all tokens, page by page, and removes those that expired before
// the cutoff.
func (a *Authority) sweepTokens(ctx context.Context, cutoff time.Time) (removed int, err error) {
	for at := []byte(nil); ; {
		var ended [][]byte
		seen := 0
		err := a.db.View(ctx, func(tx store.Tx) error {
			ended, seen = nil, 0
			return tx.Scan(bucketTokens, nil, at, func(k, v []byte) (bool, error) {
				seen++
				t, err := parse[tokenRecord](v)
				if err == nil && t.Expires.Before(cutoff) {
					ended = append(ended, slices.Clone(k))
				}
				if seen == sweepPage {
					at = append(slices.Clone(k), 0) // the next page begins after it
				}
				return seen < sweepPage, err
			})
		})
		if err == nil && len(ended) > 0 { // a token that has expired changes no more
			err = a.db.Update(ctx, func(tx store.Tx) error {
				for _, k := range ended {
					if err := tx.Delete(bucketTokens, k); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return removed, err
		}
		if removed += len(ended); seen < sweepPage {
			return removed, nil
		}
	}
}
