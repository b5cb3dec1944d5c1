package audit

import (
	"bytes"
	"context"
	"fmt"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Verified tells what [Log.Verify] looked at.
type Verified struct {
	// Entries is their number.
	Entries uint64 `json:"entries"`
	// Head is the hash of the last entry.
	Head string `json:"head"`
	// Checkpoint is a signed one of exactly these entries.
	Checkpoint Checkpoint `json:"checkpoint"`
}

// Verify reads everything: each entry, its place in the chain, in the tree and in the
// indexes, and the last checkpoint. An error wraps [ErrBroken]. What it cannot see is
// a log that was cut off or rewritten together with its tree and its signed
// checkpoint: compare its checkpoint with one kept elsewhere ([Consistent]).
func (l *Log) Verify(ctx context.Context) (v Verified, err error) {
	if v.Checkpoint, err = l.Sign(ctx); err != nil {
		return v, err
	}
	var tree edge
	for size := uint64(v.Checkpoint.Size); v.Entries < size; {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		err := l.db.View(ctx, func(tx store.Tx) error {
			page, err := verifyPage(tx, v, &tree, min(pageSize, size-v.Entries))
			v.Entries, v.Head = page.Entries, page.Head
			return err
		})
		if err != nil {
			return v, err
		}
	}
	root, err := tree.root(v.Entries)
	if err == nil && root != v.Checkpoint.Root {
		err = fmt.Errorf("%w: its checkpoint is for another tree", ErrBroken)
	}
	return v, err
}

// verifyPage checks the next n entries.
func verifyPage(tx store.Tx, v Verified, tree *edge, n uint64) (Verified, error) {
	var rows [][]byte
	if err := tx.Scan(bucketTree, nil, key(v.Entries+1), func(_, row []byte) (bool, error) {
		rows = append(rows, row)
		return uint64(len(rows)) < n, nil
	}); err != nil {
		return v, err
	}
	first := v.Entries
	err := tx.Scan(Bucket, nil, key(first+1), func(k, data []byte) (bool, error) {
		e, err := parse(data)
		if err != nil {
			return false, err
		}
		if err := follows(e, k, v.Entries, v.Head); err != nil {
			return false, err
		}
		want, err := tree.add(e.Seq, data)
		if err != nil {
			return false, err
		}
		if i := v.Entries - first; i >= uint64(len(rows)) || !bytes.Equal(rows[i], want) {
			return false, fmt.Errorf("%w: entry %d is not the one in its tree", ErrBroken, e.Seq)
		}
		if err := indexed(tx, e); err != nil {
			return false, err
		}
		v.Entries, v.Head = e.Seq, e.Hash
		return v.Entries < first+n, nil
	})
	if err == nil && v.Entries < first+n {
		err = fmt.Errorf("%w: entry %d is missing", ErrBroken, v.Entries+1)
	}
	return v, err
}

// indexed checks that queries find the entry.
func indexed(tx store.Tx, e Entry) error {
	for _, q := range []Query{{Identity: e.Identity}, {Certificate: e.Certificate}} {
		if q.Identity == "" && (e.Event != EventIssue || q.Certificate == "") {
			continue
		}
		q.After = e.Seq - 1
		found := false
		if err := scan(tx, q, func(seq uint64) (bool, error) {
			found = seq == e.Seq
			return false, nil
		}); err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: entry %d is missing in an index", ErrBroken, e.Seq)
		}
	}
	return nil
}
