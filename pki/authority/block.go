package authority

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Block is one blocked or retired identity.
type Block struct {
	Identity string    `json:"identity"`
	State    string    `json:"state,omitempty"` // blocked (also when empty) or retired
	Reason   string    `json:"reason,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	Time     time.Time `json:"time"`
	Epoch    uint64    `json:"epoch"`
}

func (b Block) state() string {
	if b.State == "" {
		return StateBlocked
	}
	return b.State
}

// Block ends all certificates of the identity, present and future: relays and
// services hear of it within milliseconds, and nothing is issued or renewed for
// it. It gives the block list's epoch. Blocking twice changes nothing.
func (a *Authority) Block(ctx context.Context, id identity.ID, reason, actor string) (epoch uint64, err error) {
	if id == a.serviceID() {
		return 0, fmt.Errorf("%w: the PKI cannot block itself", enrol.ErrForbidden)
	}
	return a.changeBlocks(ctx, id, audit.EventBlock, reason, actor)
}

// Unblock ends a block. Certificates that have not expired work again. It gives
// the block list's epoch. Unblocking what is not blocked changes nothing.
func (a *Authority) Unblock(ctx context.Context, id identity.ID, reason, actor string) (epoch uint64, err error) {
	return a.changeBlocks(ctx, id, audit.EventUnblock, reason, actor)
}

// changeBlocks stores the change that an event of the audit log names, then
// publishes it.
func (a *Authority) changeBlocks(ctx context.Context, id identity.ID, event, reason, actor string) (epoch uint64, err error) {
	if err := a.ours(id); err != nil {
		return 0, err
	}
	a.blockMu.Lock() // so that changes are published in the order of their epochs
	defer a.blockMu.Unlock()
	now := time.Now().UTC()
	path := []byte(id.Path())
	changed := false
	err = a.db.Update(ctx, func(tx store.Tx) error {
		changed = false
		old, isBlocked, err := get[Block](tx, bucketBlocks, path)
		if err != nil {
			return err
		}
		next, err := transition(old, isBlocked, event)
		if err != nil {
			return fmt.Errorf("%w: %s", err, id)
		}
		if epoch, err = storedEpoch(tx); err != nil {
			return err
		}
		if isBlocked && old.state() == next || !isBlocked && next == StateActive {
			return nil
		}
		changed = true
		// Milliseconds, so that a store restored from a backup goes on above every
		// epoch that was given out since.
		epoch = max(epoch+1, a.feed.List().Epoch()+1, uint64(max(0, now.UnixMilli())))
		if err := tx.Put(bucketMeta, keyEpoch, strconv.AppendUint(nil, epoch, 10)); err != nil {
			return err
		}
		if next == StateActive {
			err = tx.Delete(bucketBlocks, path)
		} else {
			err = errors.Join(register(tx, id, now),
				put(tx, bucketBlocks, path, Block{Identity: id.Path(), State: next, Reason: reason, Actor: actor, Time: now, Epoch: epoch}))
		}
		if err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{Event: event, Actor: actor, Identity: id.Path(), Reason: reason, Epoch: epoch})
	})
	if err != nil {
		return 0, err
	}
	if changed {
		a.cfg.Logger.Info("block list changed", "identity", id.Path(), "event", event, "epoch", epoch, "actor", actor)
	}
	return epoch, a.refresh(ctx)
}

// transition gives the state after an event of the audit log.
func transition(old Block, isBlocked bool, event string) (string, error) {
	retired := isBlocked && old.state() == StateRetired
	switch event {
	case audit.EventBlock:
		if retired {
			return StateRetired, nil
		}
		return StateBlocked, nil
	case audit.EventUnblock:
		if retired {
			return "", fmt.Errorf("%w: retired devices stay so; if it was a mistake, reinstate it", enrol.ErrForbidden)
		}
		return StateActive, nil
	case audit.EventRetire:
		return StateRetired, nil
	default: // reinstate
		if isBlocked && !retired {
			return "", fmt.Errorf("%w: blocked, not retired; unblock it", enrol.ErrForbidden)
		}
		return StateActive, nil
	}
}

func storedEpoch(tx store.Tx) (uint64, error) {
	text, err := tx.Get(bucketMeta, keyEpoch)
	if err != nil || text == nil {
		return 0, err
	}
	epoch, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("store: epoch: %w", err)
	}
	return epoch, nil
}

// refresh publishes what the store has and the feed has not: a change of this
// process or of another one.
func (a *Authority) refresh(ctx context.Context) error {
	list, err := loadBlocks(ctx, a.db)
	if err != nil {
		return err
	}
	return a.feed.Update(list)
}

// followEvery is how often the store is looked at for changes by other processes
// whose wakeup was missed.
const followEvery = 5 * time.Second

// Follow publishes the block list's changes by other processes on the same store,
// until ctx ends. Where there can be none, it only waits.
func (a *Authority) Follow(ctx context.Context) error {
	wakeups := a.db.Wakeups()
	if wakeups == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wakeups:
		case <-tick.C:
		}
		a.blockMu.Lock()
		err := a.refresh(ctx)
		a.blockMu.Unlock()
		if err != nil && ctx.Err() == nil {
			a.cfg.Logger.Error("the block list cannot be read; the last one stays in force", "error", err)
		}
	}
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

// loadBlocks reads the list.
func loadBlocks(ctx context.Context, db store.DB) (list blocks.List, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		epoch, err := storedEpoch(tx)
		if err != nil {
			return err
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
	b, ok, err := get[Block](tx, bucketBlocks, []byte(id.Path()))
	if err == nil && ok {
		return fmt.Errorf("%w: %s is %s", enrol.ErrBlocked, id, b.state())
	}
	return err
}
