package audit

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// Two processes on one database, which take over an old log at the same time and then
// both append and sign.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	const old, each = pageSize + 3, 10
	url, secret := pgtest.Database(t), newKey(t)
	var dbs [2]store.DB
	for i := range dbs {
		db, err := store.OpenPostgres(t.Context(), store.PostgresConfig{URL: url, MaxConnections: 4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		dbs[i] = db
	}
	update(t, dbs[0], func(tx store.Tx) error {
		var prev Entry
		for i := range old {
			data := forge(t, entryOf(i), prev)
			if err := errors.Join(json.Unmarshal(data, &prev), tx.Put(Bucket, key(prev.Seq), data)); err != nil {
				return err
			}
		}
		return nil
	})
	var logs [2]*Log
	var heads [2][]Checkpoint
	var wg sync.WaitGroup
	for i, db := range dbs {
		wg.Go(func() {
			l, err := Open(context.Background(), db, origin, secret)
			if err != nil {
				t.Error(err)
				return
			}
			logs[i] = l
			for n := range each {
				if err := db.Update(context.Background(), func(tx store.Tx) error { return Append(tx, entryOf(old+n)) }); err != nil {
					t.Error(err)
				}
				c, err := l.Sign(context.Background())
				if err != nil {
					t.Error(err)
				}
				heads[i] = append(heads[i], c)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, l := range logs {
		verifies(t, l, old+2*each)
		last := signed(t, l)
		for _, c := range heads[1-i] { // what the other one signed
			proof, err := l.Consistency(t.Context(), c.Size, last.Size)
			if err == nil {
				err = Consistent(c, last, proof)
			}
			if err != nil {
				t.Errorf("%d entries in %d: %v", c.Size, last.Size, err)
			}
		}
	}
	if data, err := logs[1].Tile(t.Context(), tlog.Tile{H: TileHeight, W: 1 << TileHeight}); err != nil || len(data) != 256*32 {
		t.Errorf("tile: %d bytes, %v", len(data), err)
	}
}
