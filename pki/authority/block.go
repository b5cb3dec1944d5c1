package authority

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Block is one blocked identity.
type Block struct {
	Identity string    `json:"identity"`
	Reason   string    `json:"reason,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	Time     time.Time `json:"time"`
	Epoch    uint64    `json:"epoch"`
}

// Block ends all certificates of the identity, present and future: relays and
// services hear of it within milliseconds, and nothing is issued or renewed for
// it. It gives the block list's epoch. Blocking twice changes nothing.
func (a *Authority) Block(_ context.Context, id identity.ID, reason, actor string) (epoch uint64, err error) {
	if err := a.ours(id); err != nil {
		return 0, err
	}
	if id == a.serviceID() {
		return 0, fmt.Errorf("%w: the PKI cannot block itself", enrol.ErrForbidden)
	}
	return a.changeBlocks(id, true, reason, actor)
}

// Unblock ends a block. Certificates that have not expired work again. It gives
// the block list's epoch. Unblocking what is not blocked changes nothing.
func (a *Authority) Unblock(_ context.Context, id identity.ID, reason, actor string) (epoch uint64, err error) {
	if err := a.ours(id); err != nil {
		return 0, err
	}
	return a.changeBlocks(id, false, reason, actor)
}

// changeBlocks stores the change, then publishes it.
func (a *Authority) changeBlocks(id identity.ID, block bool, reason, actor string) (uint64, error) {
	a.blockMu.Lock() // so that changes are published in the order of their epochs
	defer a.blockMu.Unlock()
	list := a.feed.List()
	if list.Blocked(id) == block {
		return list.Epoch(), nil
	}
	now := time.Now().UTC()
	// Milliseconds, so that a store restored from a backup goes on above every
	// epoch that was given out since.
	epoch := max(list.Epoch()+1, uint64(max(0, now.UnixMilli())))
	path := id.Path()
	err := a.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(bucketMeta).Put(keyEpoch, strconv.AppendUint(nil, epoch, 10)); err != nil {
			return err
		}
		event := EventUnblock
		var err error
		if block {
			event = EventBlock
			err = put(tx.Bucket(bucketBlocks), []byte(path), Block{Identity: path, Reason: reason, Actor: actor, Time: now, Epoch: epoch})
		} else {
			err = tx.Bucket(bucketBlocks).Delete([]byte(path))
		}
		if err != nil {
			return err
		}
		return journal(tx, Entry{Event: event, Actor: actor, Identity: path, Reason: reason, Epoch: epoch})
	})
	if err != nil {
		return 0, err
	}
	a.cfg.Logger.Info("block list changed", "identity", path, "blocked", block, "epoch", epoch, "actor", actor)
	if block {
		return epoch, a.feed.Publish(epoch, []string{path}, nil)
	}
	return epoch, a.feed.Publish(epoch, nil, []string{path})
}

// Blocks lists what is blocked, with reasons, by identity.
func (a *Authority) Blocks() (out []Block, err error) {
	err = a.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketBlocks)
		return b.ForEach(func(k, _ []byte) error {
			v, _, err := get[Block](b, k)
			out = append(out, v)
			return err
		})
	})
	return out, err
}

// Feed publishes the block list. It is also the list in force, for checks.
func (a *Authority) Feed() *blocks.Publisher { return a.feed }

// loadBlocks reads the list at the start.
func loadBlocks(db *bbolt.DB) (list blocks.List, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		var epoch uint64
		if text := tx.Bucket(bucketMeta).Get(keyEpoch); text != nil {
			if epoch, err = strconv.ParseUint(string(text), 10, 64); err != nil {
				return fmt.Errorf("store: epoch: %w", err)
			}
		}
		var paths []string
		if err := tx.Bucket(bucketBlocks).ForEach(func(k, _ []byte) error {
			paths = append(paths, string(k))
			return nil
		}); err != nil {
			return err
		}
		list = blocks.NewList(epoch, paths...)
		return nil
	})
	return list, err
}

// blocked refuses an identity that is blocked, by the store and in the
// transaction that issues: a block that is stored is a block that holds.
func blocked(tx *bbolt.Tx, id identity.ID) error {
	if tx.Bucket(bucketBlocks).Get([]byte(id.Path())) != nil {
		return fmt.Errorf("%w: %s", enrol.ErrBlocked, id)
	}
	return nil
}
