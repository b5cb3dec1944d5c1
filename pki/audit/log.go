package audit

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Log gives checkpoints and proofs of the log in a store. Make it with [Open]. All
// methods are safe for concurrent use.
type Log struct {
	db     store.DB
	signer signer
	key    Key
}

// KeyOf gives the public key of the log in the store, empty where it has none yet.
func KeyOf(ctx context.Context, db store.DB) (k Key, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		text, err := tx.Get(bucketState, keyPublic)
		k = Key(text)
		return err
	})
	return k, err
}

// Open opens the log in the store. key is an Ed25519 key, and the same for the life
// of the log: errors wrap [ErrKey] where it is another. The origin names the log, as in
// cloud.example.com/audit. A log that is older than its tree gets one, once.
func Open(ctx context.Context, db store.DB, origin string, key crypto.Signer) (*Log, error) {
	s, public, err := newSigner(origin, key)
	if err != nil {
		return nil, err
	}
	known, err := KeyOf(ctx, db)
	if err != nil {
		return nil, err
	}
	if known == "" {
		err = db.Update(ctx, func(tx store.Tx) error {
			text, err := tx.Get(bucketState, keyPublic)
			if known = Key(text); err != nil || known != "" {
				return err
			}
			known = public
			return tx.Put(bucketState, keyPublic, []byte(public))
		})
		if err != nil {
			return nil, err
		}
	}
	if known != public {
		return nil, fmt.Errorf("%w: the log is signed with %s, and this is %s", ErrKey, known, public)
	}
	if err := grow(ctx, db); err != nil {
		return nil, err
	}
	l := &Log{db: db, signer: s, key: public}
	err = db.View(ctx, func(tx store.Tx) error {
		if _, err := end(tx); err != nil {
			return err
		}
		_, _, err := l.stored(tx)
		return err
	})
	return l, err
}

// Key is the log's public key.
func (l *Log) Key() Key { return l.key }

// stored gives the last checkpoint that was signed.
func (l *Log) stored(tx store.Tx) (c Checkpoint, ok bool, err error) {
	text, err := tx.Get(bucketState, keyCheckpoint)
	if err != nil || text == nil {
		return c, false, err
	}
	if c, err = l.key.Checkpoint(text); err != nil {
		return c, false, fmt.Errorf("%w: its last checkpoint: %w", ErrBroken, err)
	}
	return c, true, nil
}

// signedSize is the size of the last checkpoint, without a look at the signature.
func signedSize(tx store.Tx) (uint64, error) {
	text, err := tx.Get(bucketState, keyCheckpoint)
	if err != nil || text == nil {
		return 0, err
	}
	return sizeOf(text)
}

// Last gives the last checkpoint that was signed, and signs one where there is none.
// Entries that are newer are not in it.
func (l *Log) Last(ctx context.Context) (Checkpoint, error) { return l.head(ctx, false) }

// Sign gives a checkpoint that has every entry, and signs it where the last one does
// not. It fails with [ErrBroken] where the tree does not contain that of the last one.
func (l *Log) Sign(ctx context.Context) (Checkpoint, error) { return l.head(ctx, true) }

func (l *Log) head(ctx context.Context, whole bool) (c Checkpoint, err error) {
	found := false
	err = l.db.View(ctx, func(tx store.Tx) error {
		if c, found, err = l.stored(tx); err != nil || !found || !whole {
			return err
		}
		last, err := end(tx)
		found = last.Seq == uint64(c.Size)
		return err
	})
	if err != nil || found {
		return c, err
	}
	err = l.db.Update(ctx, func(tx store.Tx) error {
		c, err = l.advance(tx)
		return err
	})
	return c, err
}

// advance signs the tree as it is. What was signed before must be a part of it: a log
// must never sign what contradicts itself.
func (l *Log) advance(tx store.Tx) (Checkpoint, error) {
	last, err := end(tx)
	if err != nil {
		return Checkpoint{}, err
	}
	old, found, err := l.stored(tx)
	if err != nil {
		return old, err
	}
	if found {
		root, err := tlog.TreeHash(old.Size, hashes{tx})
		if err != nil {
			return old, err
		}
		if root != old.Root {
			return old, fmt.Errorf("%w: its tree is not the one of the last checkpoint (%d entries)", ErrBroken, old.Size)
		}
		if uint64(old.Size) == last.Seq {
			return old, nil // another process was faster
		}
	}
	root, err := tlog.TreeHash(int64(last.Seq), hashes{tx})
	if err != nil {
		return old, err
	}
	c, err := l.signer.sign(int64(last.Seq), root)
	if err != nil {
		return c, err
	}
	return c, tx.Put(bucketState, keyCheckpoint, []byte(c.Note))
}

// ErrRange: there is no such tree, entry or tile below the last checkpoint.
var ErrRange = errors.New("not below the last checkpoint")

// Consistency proves that the tree of size to begins with the tree of size from (RFC
// 6962 §2.1.2), for 0 < from <= to; to may not be above the last checkpoint.
func (l *Log) Consistency(ctx context.Context, from, to int64) (proof tlog.TreeProof, err error) {
	err = l.below(ctx, to, func(tx store.Tx) error {
		if from < 1 || from > to {
			return fmt.Errorf("%w: a proof from %d to %d; want 0 < from <= to", ErrRange, from, to)
		}
		proof, err = tlog.ProveTree(to, from, hashes{tx})
		return err
	})
	return proof, err
}

// below calls f where the last checkpoint has at least size entries.
func (l *Log) below(ctx context.Context, size int64, f func(store.Tx) error) error {
	return l.db.View(ctx, func(tx store.Tx) error {
		last, found, err := l.stored(tx)
		if err != nil {
			return err
		}
		if !found || size > last.Size {
			return fmt.Errorf("%w: %d of %d entries", ErrRange, size, last.Size)
		}
		return f(tx)
	})
}

// TileHeight is the height of the tiles: 256 hashes, 8 KiB.
const TileHeight = 8

// Tile gives the hashes of a tile, full or partial, that some tree below the last
// checkpoint has.
func (l *Log) Tile(ctx context.Context, t tlog.Tile) (data []byte, err error) {
	const levels = 7 // of a tree of maxSize
	if t.H != TileHeight || t.L < 0 || t.L >= levels || t.N < 0 || t.N > maxSize>>TileHeight || t.W < 1 || t.W > 1<<TileHeight {
		return nil, fmt.Errorf("%w: %s", ErrRange, t.Path())
	}
	first := t.N << TileHeight // hash of the level
	most := int64(maxSize) >> (TileHeight * t.L)
	if first+int64(t.W) > most {
		return nil, fmt.Errorf("%w: %s", ErrRange, t.Path())
	}
	err = l.below(ctx, (first+int64(t.W))<<(TileHeight*t.L), func(tx store.Tx) error {
		if t.L > 0 {
			data, err = tlog.ReadTileData(t, hashes{tx})
			return err
		}
		data = make([]byte, 0, t.W*tlog.HashSize)
		return tx.Scan(bucketTree, nil, key(uint64(first)+1), func(_, row []byte) (bool, error) {
			h, err := hashAt(row, 0)
			data = append(data, h[:]...)
			return len(data) < cap(data), err
		})
	})
	return data, err
}
