package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 0)
	empty := signed(t, l)
	if want, err := tlog.TreeHash(0, nil); err != nil || empty.Size != 0 || empty.Root != want || empty.Origin != origin {
		t.Errorf("of an empty log: %+v, %v", empty, err)
	}
	add(t, db, 0, 3)
	if c, err := l.Last(t.Context()); err != nil || c != empty {
		t.Errorf("the last one is %+v, want %+v, %v", c, empty, err)
	}
	three := signed(t, l)
	if got, err := l.Key().Checkpoint([]byte(three.Note)); err != nil || got != three || got.Size != 3 {
		t.Errorf("read back %+v, want %+v, %v", got, three, err)
	}
	if again := signed(t, l); again != three {
		t.Errorf("signed anew without need: %+v", again)
	}
	// The tree is that of RFC 6962 over the bytes as they are stored.
	var leaves []tlog.Hash
	for seq := range 3 {
		leaves = append(leaves, tlog.RecordHash(dump(t, db)[Bucket][string(key(uint64(seq)+1))]))
	}
	if want := tlog.NodeHash(tlog.NodeHash(leaves[0], leaves[1]), leaves[2]); three.Root != want {
		t.Errorf("root %s, want %s", three.Root, want)
	}
}

func TestCheckpointsThatAreNone(t *testing.T) {
	t.Parallel()
	l, _ := opened(t, 3)
	c := signed(t, l)
	_, foreign, err := newSigner(origin, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	huge, err := l.signer.sign(maxSize+1, c.Root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Key().Checkpoint([]byte(c.Note + "— witness.example AAAAAAAAAAAAAAAA\n")); err != nil {
		t.Errorf("with a signature of somebody else beside ours: %v", err)
	}
	for name, x := range map[string]struct {
		key  Key
		text string
	}{
		"another key":     {foreign, c.Note},
		"other size":      {l.Key(), strings.Replace(c.Note, "\n3\n", "\n4\n", 1)},
		"other root":      {l.Key(), strings.Replace(c.Note, c.Root.String(), tlog.Hash{}.String(), 1)},
		"other origin":    {l.Key(), strings.Replace(c.Note, origin+"\n", "x"+origin+"\n", 1)},
		"no signature":    {l.Key(), c.Note[:strings.Index(c.Note, "\n\n")+2]},
		"nothing":         {l.Key(), ""},
		"too large":       {l.Key(), c.Note + strings.Repeat("\n", MaxCheckpoint)},
		"beyond all size": {l.Key(), huge.Note},
	} {
		if _, err := x.key.Checkpoint([]byte(x.text)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "x", origin + "+00000000+AAAA", string(l.Key()) + "x"} {
		if _, err := ParseKey(text); !errors.Is(err, ErrKey) {
			t.Errorf("key %q: %v", text, err)
		}
	}
}

func TestConsistency(t *testing.T) {
	t.Parallel()
	const many = 37
	l, db := opened(t, 0)
	heads := []Checkpoint{signed(t, l)}
	for i := range many {
		add(t, db, i, i+1)
		heads = append(heads, signed(t, l))
	}
	for from := 1; from <= many; from++ {
		for to := from; to <= many; to++ {
			proof, err := l.Consistency(t.Context(), int64(from), int64(to))
			if err == nil {
				err = Consistent(heads[from], heads[to], proof)
			}
			if err != nil {
				t.Fatalf("from %d to %d: %v", from, to, err)
			}
			if len(proof) > 0 {
				proof[0][0] ^= 1
				if err := Consistent(heads[from], heads[to], proof); !errors.Is(err, ErrForked) {
					t.Fatalf("from %d to %d with a changed proof: %v", from, to, err)
				}
			}
		}
	}
	if err := Consistent(heads[0], heads[many], nil); err != nil {
		t.Errorf("everything contains nothing: %v", err)
	}
	add(t, db, many, many+1) // not signed yet
	for _, r := range [][2]int64{{0, 1}, {2, 1}, {-1, 1}, {1, many + 1}, {1, maxSize}, {many + 1, many + 1}} {
		if _, err := l.Consistency(t.Context(), r[0], r[1]); !errors.Is(err, ErrRange) {
			t.Errorf("from %d to %d: %v", r[0], r[1], err)
		}
	}
}

// Two logs with one key: what somebody who copied the store can show to different
// people, and what a restored backup does.
func TestForks(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 5)
	kept := signed(t, l)
	rows := dump(t, db)
	add(t, db, 5, 9)
	ours := signed(t, l)

	restore(t, db, rows)
	if err := Consistent(ours, signed(t, l), nil); !errors.Is(err, ErrForked) {
		t.Errorf("rolled back to %d entries from %d: %v", 5, 9, err)
	}
	if err := Consistent(kept, signed(t, l), nil); err != nil {
		t.Errorf("the checkpoint that fits: %v", err)
	}
	add(t, db, 5, 9)
	theirs := signed(t, l)
	if err := Consistent(ours, theirs, nil); ours.Size != theirs.Size || !errors.Is(err, ErrForked) {
		t.Errorf("a split view of %d and %d entries: %v", ours.Size, theirs.Size, err)
	}
	add(t, db, 9, 20)
	later := signed(t, l)
	proof, err := l.Consistency(t.Context(), ours.Size, later.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := Consistent(ours, later, proof); !errors.Is(err, ErrForked) {
		t.Errorf("the other branch, longer: %v", err)
	}
	if err := Consistent(theirs, later, proof); err != nil {
		t.Errorf("its own branch: %v", err)
	}
	verifies(t, l, 20) // by itself it looks whole, which is why checkpoints are kept
}

// A log never signs what contradicts the last thing that it signed.
func TestNeverSignsAFork(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 5)
	old := signed(t, l)
	rows := dump(t, db)
	add(t, db, 5, 6)
	update(t, db, func(tx store.Tx) error { // all of entry 5, consistent by itself
		list := all(t, db)
		data := forge(t, Entry{Event: EventIssue, Identity: "device/9"}, list[3])
		hashes, err := row(5, data, hashes{tx})
		return errors.Join(err, tx.Put(Bucket, key(5), data), tx.Put(bucketTree, key(5), hashes))
	})
	if c, err := l.Sign(t.Context()); !errors.Is(err, ErrBroken) {
		t.Errorf("signed %+v after %+v, %v", c, old, err)
	}
	restore(t, db, rows)
	add(t, db, 5, 6)
	if c := signed(t, l); c.Size != 6 {
		t.Errorf("the control: %+v", c)
	}
}

func TestTiles(t *testing.T) {
	t.Parallel()
	const many = 256*3 + 70
	l, db := opened(t, many)
	head := signed(t, l)
	add(t, db, many, many+10) // not signed yet
	tiles := 0
	reader := tlog.TileHashReader(tlog.Tree{N: head.Size, Hash: head.Root}, tileReader(func(want tlog.Tile) ([]byte, error) {
		tiles++
		return l.Tile(t.Context(), want)
	}))
	// Package tlog checks the tiles against the root.
	for _, from := range []int64{1, 255, 256, 257, 512, 700, many - 1} {
		proof, err := tlog.ProveTree(head.Size, from, reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := l.Consistency(t.Context(), from, head.Size)
		if err != nil || fmt.Sprint(proof) != fmt.Sprint(want) {
			t.Errorf("from %d: %v, want %v, %v", from, proof, want, err)
		}
	}
	if tiles == 0 {
		t.Error("no tile was read")
	}
	for _, bad := range []tlog.Tile{
		{H: 8, L: 0, N: 3, W: 71},
		{H: 8, L: 0, N: 4, W: 1},
		{H: 8, L: 1, N: 0, W: 4},
		{H: 8, L: 2, N: 0, W: 1},
		{H: 8, L: 6, N: 0, W: 1},
		{H: 8, L: 7, N: 0, W: 1},
		{H: 8, L: 63, N: 0, W: 1},
		{H: 8, L: 0, N: 1 << 55, W: 256},
		{H: 8, L: 5, N: 1 << 40, W: 256},
		{H: 8, L: -1, N: 0, W: 256},
		{H: 7, L: 0, N: 0, W: 128},
		{H: 8, L: 0, N: 0, W: 0},
		{H: 8, L: 0, N: -1, W: 1},
	} {
		if data, err := l.Tile(t.Context(), bad); !errors.Is(err, ErrRange) {
			t.Errorf("%+v: %d bytes, %v", bad, len(data), err)
		}
	}
}

type tileReader func(tlog.Tile) ([]byte, error)

func (tileReader) Height() int                     { return TileHeight }
func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r tileReader) ReadTiles(tiles []tlog.Tile) (out [][]byte, err error) {
	for _, t := range tiles {
		data, err := r(t)
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// Entries and checkpoints of many at once: every checkpoint contains those before it.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 12
	l, db := opened(t, 0)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := db.Update(context.Background(), func(tx store.Tx) error { return Append(tx, entryOf(w*each+i)) }); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			var last Checkpoint
			for range each {
				c, err := l.Sign(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				var proof tlog.TreeProof
				if last.Size > 0 && last.Size < c.Size {
					if proof, err = l.Consistency(context.Background(), last.Size, c.Size); err != nil {
						t.Error(err)
						return
					}
				}
				if err := Consistent(last, c, proof); err != nil {
					t.Error(err)
				}
				last = c
			}
		})
	}
	wg.Wait()
	verifies(t, l, writers*each)
}

// What is rolled back leaves nothing in tree and indexes.
func TestRollback(t *testing.T) {
	t.Parallel()
	l, db := opened(t, 5)
	no := errors.New("no")
	err := db.Update(t.Context(), func(tx store.Tx) error { return errors.Join(Append(tx, entryOf(5)), no) })
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	verifies(t, l, 5)
	add(t, db, 6, 7)
	verifies(t, l, 6)
	if p, err := l.Find(t.Context(), Query{Identity: "device/5"}); err != nil || len(p.Entries) != 0 {
		t.Errorf("found %+v, %v", p.Entries, err)
	}
}
