package authority

import (
	"bytes"
	"time"

	"go.etcd.io/bbolt"
)

// Sweep removes certificates, tokens and lineages that ended longer ago than they
// are kept for, and gives their number. It is called once a day. The journal
// keeps everything.
func (a *Authority) Sweep() (removed int, err error) {
	cutoff := time.Now().Add(-a.cfg.KeepExpired)
	err = a.db.Update(func(tx *bbolt.Tx) error {
		removed = 0
		certs, lineages := tx.Bucket(bucketCerts), make(map[string]bool)
		for _, pass := range []struct {
			bucket []byte
			ended  func(b *bbolt.Bucket, k, v []byte) (bool, error)
		}{
			{bucketIndex, func(_ *bbolt.Bucket, _, serial []byte) (bool, error) {
				c, _, err := get[Certificate](certs, serial)
				if err != nil || c.NotAfter.Before(cutoff) {
					return true, err
				}
				lineages[string(lineageKey(c.Identity, c.Lineage))] = true
				return false, nil
			}},
			{bucketCerts, func(b *bbolt.Bucket, k, _ []byte) (bool, error) {
				c, _, err := get[Certificate](b, k)
				return c.NotAfter.Before(cutoff), err
			}},
			{bucketLineages, func(_ *bbolt.Bucket, k, _ []byte) (bool, error) { return !lineages[string(k)], nil }},
			{bucketTokens, func(b *bbolt.Bucket, k, _ []byte) (bool, error) {
				t, _, err := get[tokenRecord](b, k)
				return t.Expires.Before(cutoff), err
			}},
		} {
			n, err := sweepBucket(tx.Bucket(pass.bucket), pass.ended)
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	return removed, err
}

// sweepBucket deletes the keys that have ended. bbolt allows no deletion while it
// iterates.
func sweepBucket(b *bbolt.Bucket, ended func(b *bbolt.Bucket, k, v []byte) (bool, error)) (int, error) {
	var doomed [][]byte
	err := b.ForEach(func(k, v []byte) error {
		end, err := ended(b, k, v)
		if end {
			doomed = append(doomed, bytes.Clone(k))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, k := range doomed {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(doomed), nil
}
