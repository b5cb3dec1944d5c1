package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"time"
)

// Bounds of a group: the first change in it waits for no more than these.
const (
	groupSize = 64
	groupTime = 20 * time.Millisecond
)

// writer makes changes on SQLite's one connection for them. Those that wait for each
// other anyway share a transaction, so that they wait for the disk once, and views look at
// what has changed once. In it each has a savepoint: what one does is undone without the
// others. A change that nobody waits behind has a transaction of its own.
type writer struct {
	pool  *sql.DB // of one connection
	turns turns
	open  *group // owned by whose turn it is; nil: none
}

// group is a transaction of several changes.
type group struct {
	conn    *sql.Conn
	begun   time.Time
	changes int  // that are not undone
	marked  bool // the present change has a savepoint

	done chan struct{} // closed when it has ended
	err  error         // why nothing of it was kept; owned by who closes done
}

// errUndone: an error of another change has undone the group, and this one did nothing
// wrong.
var errUndone = errors.New("undone because of another change")

// change runs f, and returns when what it did is on the disk or undone.
func (w *writer) change(ctx context.Context, f func(*Tx) error) (erased bool, err error) {
	if err := w.turns.take(ctx); err != nil {
		return false, explain(err)
	}
	var g *group
	func() {
		good := false
		defer func() { g = w.end(good) }() // also where f panics
		erased, err = w.run(ctx, f)
		good = err == nil
	}()
	if err != nil {
		return false, err
	}
	<-g.done
	return erased, g.err
}

// run runs f in the open group, or begins one.
func (w *writer) run(ctx context.Context, f func(*Tx) error) (erased bool, err error) {
	if w.open == nil {
		err = w.begin(ctx)
	} else if err = ctx.Err(); err == nil {
		err = w.exec(savepoint)
		w.open.marked = err == nil
	}
	if err != nil {
		return false, explain(err)
	}
	tx := &Tx{ctx: ctx, tx: w.open.conn, engine: SQLite}
	if err := f(tx); err != nil {
		return false, err
	}
	if tx.failed != nil {
		return false, tx.failed
	}
	if err := ctx.Err(); err != nil {
		return false, explain(err)
	}
	return tx.erased, nil
}

func (w *writer) begin(ctx context.Context) error {
	conn, err := w.pool.Conn(ctx)
	if err != nil {
		return err
	}
	w.open = &group{conn: conn, begun: time.Now(), done: make(chan struct{})}
	_, err = conn.ExecContext(ctx, beginChange)
	return err
}

// The statements around a change that is not the first of its group.
const (
	savepoint = "SAVEPOINT change"
	undo      = "ROLLBACK TO change"
	release   = "RELEASE change"
)

// exec runs a statement that has to be run whatever becomes of the change.
func (w *writer) exec(query string) error {
	_, err := w.open.conn.ExecContext(context.Background(), query)
	return err
}

// end ends a change, which is kept if it was good, and then the group, if nobody goes on
// with it. It gives the group.
func (w *writer) end(good bool) *group {
	g := w.open
	var err error
	switch {
	case g == nil: // there was no connection
		w.turns.pass(false)
		return nil
	case g.changes == 0 && !good:
		w.finish(errUndone) // of nobody
		return g
	case g.marked && good:
		err = w.exec(release)
	case g.marked:
		if err = w.exec(undo); err == nil {
			err = w.exec(release)
		}
	}
	g.marked = false
	if err != nil { // SQLite has undone all of it: a full disk, or a statement that was interrupted
		w.finish(errUndone)
		return g
	}
	if good {
		g.changes++
	}
	if g.changes < groupSize && time.Since(g.begun) < groupTime && w.turns.pass(true) {
		return g
	}
	if err = w.exec(commit); err != nil {
		err = explain(err)
	}
	w.finish(err)
	return g
}

// finish tells everybody in the group how it has ended, and lets the next one begin. err
// is nil where it is kept.
func (w *writer) finish(err error) {
	g := w.open
	if err != nil && w.exec(rollback) != nil {
		// It was undone already, or it is not known what state the connection is in.
		_ = g.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = g.conn.Close() // gives it back
	g.err = err
	close(g.done)
	w.open = nil
	w.turns.pass(false)
}

// turns is a lock that knows whether somebody waits for it. Who waits gets it in order.
type turns struct {
	mu      sync.Mutex // guards what follows
	taken   bool
	waiting []chan struct{} // closed when it is one's turn
}

// take waits for one's turn.
func (t *turns) take(ctx context.Context) error {
	t.mu.Lock()
	if !t.taken {
		t.taken = true
		t.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, c := range t.waiting {
		if c == mine {
			t.waiting = append(t.waiting[:i:i], t.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	return nil // the turn came at the same moment, maybe with a group that needs an end
}

// pass gives the turn to the next one, and tells whether there is one. Without one it
// stays where it is if it is to be kept.
func (t *turns) pass(keep bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.taken = keep
		return false
	}
	close(t.waiting[0])
	t.waiting = t.waiting[1:]
	return true
}
