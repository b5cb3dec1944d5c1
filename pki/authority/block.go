package authority

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
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
func (a *Authority) Block(ctx context.Context, id identity.ID, reason, actor string) (epoch uint64, err error) {
	if err := a.ours(id); err != nil {
		return 0, err
	}
	if id == a.serviceID() {
		return 0, fmt.Errorf("%w: the PKI cannot block itself", enrol.ErrForbidden)
	}
	return a.changeBlocks(ctx, id, true, reason, actor)
}

// Unblock ends a block. Certificates that have not expired work again. It gives
// the block list's epoch. Unblocking what is not blocked changes nothing.
func (a *Authority) Unblock(ctx context.Context, id identity.ID, reason, actor string) (epoch uint64, err error) {
	if err := a.ours(id); err != nil {
		return 0, err
	}
	return a.changeBlocks(ctx, id, false, reason, actor)
}

// changeBlocks stores the change, then publishes it.
func (a *Authority) changeBlocks(ctx context.Context, id identity.ID, block bool, reason, actor string) (uint64, error) {
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
	err := a.db.Update(ctx, func(tx store.Tx) error {
		if err := tx.Put(bucketMeta, keyEpoch, strconv.AppendUint(nil, epoch, 10)); err != nil {
			return err
		}
		event := audit.EventUnblock
		var err error
		if block {
			event = audit.EventBlock
			err = put(tx, bucketBlocks, []byte(path), Block{Identity: path, Reason: reason, Actor: actor, Time: now, Epoch: epoch})
		} else {
			err = tx.Delete(bucketBlocks, []byte(path))
		}
		if err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{Event: event, Actor: actor, Identity: path, Reason: reason, Epoch: epoch})
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
func (a *Authority) Blocks(ctx context.Context) (out []Block, err error) {
	err = a.db.View(ctx, func(tx store.Tx) error {
		out = nil
		return tx.Scan(bucketBlocks, nil, nil, func(_, v []byte) (bool, error) {
			b, err := parse[Block](v)
			out = append(out, b)
			return true, err
		})
	})
	return out, err
}

// Feed publishes the block list. It is also the list in force, for checks.
func (a *Authority) Feed() *blocks.Publisher { return a.feed }

// loadBlocks reads the list at the start.
func loadBlocks(ctx context.Context, db store.DB) (list blocks.List, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		var epoch uint64
		text, err := tx.Get(bucketMeta, keyEpoch)
		if err != nil {
			return err
		}
		if text != nil {
			if epoch, err = strconv.ParseUint(string(text), 10, 64); err != nil {
				return fmt.Errorf("store: epoch: %w", err)
			}
		}
		var paths []string
		if err := tx.Scan(bucketBlocks, nil, nil, func(k, _ []byte) (bool, error) {
			paths = append(paths, string(k))
			return true, nil
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
func blocked(tx store.Tx, id identity.ID) error {
	block, err := tx.Get(bucketBlocks, []byte(id.Path()))
	if err == nil && block != nil {
		return fmt.Errorf("%w: %s", enrol.ErrBlocked, id)
	}
	return err
}
