package authority

import (
	"context"
	"encoding/binary"
	"maps"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// failures counts what the store could not do.
type failures struct {
	mu    sync.Mutex // guards what follows
	store map[store.Op]uint64
	audit uint64
}

func (f *failures) note(x store.Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.store == nil {
		f.store = make(map[store.Op]uint64)
	}
	f.store[x.Op]++
	if x.Op == store.OpWrite && x.Bucket == audit.Bucket || x.Written[audit.Bucket] {
		f.audit++
	}
}

// Failures tells how often the store failed since the start, by operation, and how
// many entries of the audit log could not be written. What an entry tells did not
// happen then.
func (a *Authority) Failures() (byOp map[store.Op]uint64, audit uint64) {
	a.failures.mu.Lock()
	defer a.failures.mu.Unlock()
	return maps.Clone(a.failures.store), a.failures.audit
}

// LastAudit gives the sequence number of the newest entry of the audit log, 0 where
// there is none.
func (a *Authority) LastAudit(ctx context.Context) (seq uint64, err error) {
	err = a.db.View(ctx, func(tx store.Tx) error {
		key, _, err := tx.Last(audit.Bucket)
		if err != nil || len(key) != 8 {
			return err
		}
		seq = binary.BigEndian.Uint64(key)
		return nil
	})
	return seq, err
}
