package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

const (
	bucketTree         store.Bucket = "audit_tree"
	bucketIdentities   store.Bucket = "audit_identities"
	bucketCertificates store.Bucket = "audit_certificates"
	bucketState        store.Bucket = "audit_state"
)

// Keys of the state bucket.
var (
	keyPublic     = []byte("key")        // the log's public key
	keyCheckpoint = []byte("checkpoint") // the last one that was signed
	keyWhole      = []byte("whole")      // there since the tree has every entry
)

// maxSize bounds the trees that are looked at. Package tlog does not end for sizes
// near 1<<62.
const maxSize = 1 << 56

// hashes reads the tree's hashes for package tlog.
type hashes struct{ tx store.Tx }

// ReadHashes gives the hashes at the indexes of tlog.StoredHashIndex.
func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		row, err := h.tx.Get(bucketTree, key(uint64(n+1)<<level)) // the entry that completes the subtree
		if err != nil {
			return nil, err
		}
		if out[i], err = hashAt(row, level); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hashAt gives the hash of one level from a row of the tree.
func hashAt(row []byte, level int) (h tlog.Hash, err error) {
	if len(row) < (level+1)*tlog.HashSize {
		return h, fmt.Errorf("%w: a hash of its tree is missing", ErrBroken)
	}
	copy(h[:], row[level*tlog.HashSize:])
	return h, nil
}

// row gives the hashes that entry seq completes. r is only asked for hashes of
// entries before it.
func row(seq uint64, data []byte, r tlog.HashReader) ([]byte, error) {
	stored, err := tlog.StoredHashes(int64(seq)-1, data, r)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(stored)*tlog.HashSize)
	for _, h := range stored {
		out = append(out, h[:]...)
	}
	return out, nil
}

// enter adds the entry to the tree and to the indexes.
func enter(tx store.Tx, e Entry, data []byte) error {
	hashes, err := row(e.Seq, data, hashes{tx})
	if err != nil {
		return err
	}
	if err := tx.Put(bucketTree, key(e.Seq), hashes); err != nil {
		return err
	}
	if err := tx.Put(bucketIdentities, indexKey(e.Identity, e.Seq), nil); err != nil {
		return err
	}
	if e.Event != EventIssue {
		return nil
	}
	return tx.Put(bucketCertificates, indexKey(e.Certificate, e.Seq), nil)
}

func indexKey(of string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(of), 0), seq)
}

// end gives the last entry, with Seq 0 in an empty log, and checks that tree and
// checkpoint know it.
func end(tx store.Tx) (last Entry, err error) {
	k, data, err := tx.Last(Bucket)
	if err != nil {
		return last, err
	}
	at, hashes, err := tx.Last(bucketTree)
	if err != nil {
		return last, err
	}
	if !bytes.Equal(k, at) {
		return last, fmt.Errorf("%w: it ends with entry %d and its tree with %d", ErrBroken, seqOf(k), seqOf(at))
	}
	if data != nil {
		if last, err = parse(data); err != nil {
			return last, err
		}
		leaf, err := hashAt(hashes, 0)
		if err != nil {
			return last, err
		}
		if last.Seq != seqOf(k) || leaf != tlog.RecordHash(data) {
			return last, fmt.Errorf("%w: its tree has another last entry (%d)", ErrBroken, last.Seq)
		}
	}
	signed, err := signedSize(tx)
	if err == nil && signed > last.Seq {
		err = fmt.Errorf("%w: it ends with entry %d, and had %d when its last checkpoint was signed", ErrBroken, last.Seq, signed)
	}
	return last, err
}

// seqOf reads a key, 0 where there is none.
func seqOf(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// grow enters the entries of a log that is older than its tree, once. Later an entry
// that is not in the tree is not one of ours.
func grow(ctx context.Context, db store.DB) error {
	for done := false; !done; {
		err := db.View(ctx, func(tx store.Tx) error {
			whole, err := tx.Get(bucketState, keyWhole)
			done = whole != nil
			return err
		})
		if err != nil || done {
			return err
		}
		err = db.Update(ctx, func(tx store.Tx) error {
			done, err = growPage(tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// growPage enters the next entries and tells whether there were no more.
func growPage(tx store.Tx) (done bool, err error) {
	at, _, err := tx.Last(bucketTree)
	if err != nil {
		return false, err
	}
	seq, prev := seqOf(at), ""
	if seq > 0 {
		data, err := tx.Get(Bucket, at)
		if err != nil {
			return false, err
		}
		last, err := parse(data)
		if err != nil {
			return false, err
		}
		prev = last.Hash
	}
	n := 0
	err = tx.Scan(Bucket, nil, key(seq+1), func(k, data []byte) (bool, error) {
		e, err := parse(data)
		if err == nil {
			err = follows(e, k, seq, prev)
		}
		if err != nil {
			return false, err
		}
		seq, prev = e.Seq, e.Hash
		n++
		return n < pageSize, enter(tx, e, data)
	})
	if err != nil || n == pageSize {
		return false, err
	}
	return true, tx.Put(bucketState, keyWhole, []byte("1"))
}

// follows checks an entry's place in the chain.
func follows(e Entry, key []byte, seq uint64, prev string) error {
	sum, err := e.sum()
	if err != nil {
		return err
	}
	if e.Seq != seq+1 || seqOf(key) != e.Seq || e.Prev != prev || e.Hash != sum {
		return fmt.Errorf("%w: at entry %d", ErrBroken, seq+1)
	}
	return nil
}

// edge has the hashes of the right edge of a tree that is computed anew, by level.
type edge [64]tlog.Hash

// ReadHashes gives the left neighbours that the next row is made with.
func (e *edge) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, _ := tlog.SplitStoredHashIndex(index)
		out[i] = e[level]
	}
	return out, nil
}

// add computes the row of the next entry and takes it in.
func (e *edge) add(seq uint64, data []byte) ([]byte, error) {
	hashes, err := row(seq, data, e)
	if err != nil {
		return nil, err
	}
	top := bits.TrailingZeros64(seq)
	copy(e[top][:], hashes[top*tlog.HashSize:])
	return hashes, nil
}

// root is the hash of the tree with the first size entries, which were added.
func (e *edge) root(size uint64) (tlog.Hash, error) { return tlog.TreeHash(int64(size), e) }
