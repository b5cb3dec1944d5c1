package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxGroup is how many changes share a commit, so that the first of them does not
// wait for a whole crowd.
const maxGroup = 128

// writer makes the changes of one kind of store. Its methods are called one after
// the other.
type writer interface {
	// begin opens a transaction when no other is open, in any process.
	begin() (reader, error)
	// broken gives the error, if any, after which the transaction cannot be
	// committed.
	broken() error
	// commit makes the changes and ends the transaction.
	commit(changes) error
	rollback()
	// transient tells whether what failed is worth beginning again.
	transient(error) bool
}

// errLeft: a function ended its goroutine instead of returning.
var errLeft = errors.New("the function of a change did not return")

// call is a change that a caller waits for.
type call struct {
	ctx context.Context //nolint:containedctx // it is the call's
	// turn gives the caller the transaction to run its function in; nil after
	// its changes were lost, before another turn.
	turn   chan *layered
	ran    chan error    // what its function gave
	result chan error    // buffered; the end
	gone   chan struct{} // closed when the caller no longer waits
}

// group makes the changes of all callers, one after the other, as many as wait in
// one commit.
type group struct {
	writer   writer
	max      int           // changes in a commit
	retryFor time.Duration // how long transient errors are kept from the callers

	mu      sync.Mutex
	waiting []*call
	running bool // a goroutine makes changes
	closed  bool
	wg      sync.WaitGroup // that goroutine
}

// update is [DB.Update].
func (g *group) update(ctx context.Context, f func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{
		ctx: ctx, turn: make(chan *layered), ran: make(chan error), result: make(chan error, 1),
		gone: make(chan struct{}),
	}
	defer close(c.gone)
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return ErrClosed
	}
	g.waiting = append(g.waiting, c)
	if !g.running {
		g.running = true
		g.wg.Go(g.run)
	}
	g.mu.Unlock()
	done := ctx.Done()
	for {
		select {
		case <-done:
			return ctx.Err()
		case tx := <-c.turn:
			if tx == nil {
				done = ctx.Done()
				continue
			}
			done = nil // the change may be made from now on
			c.run(f, tx)
		case err := <-c.result:
			return err
		}
	}
}

func (c *call) run(f func(Tx) error, tx *layered) {
	err := errLeft // f may panic
	defer func() { c.ran <- err }()
	err = f(tx)
}

// close waits for the changes that were begun.
func (g *group) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

func (g *group) closing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// run makes changes until none waits.
func (g *group) run() {
	var (
		lost  []*call // their transaction failed; they come first in the next
		since time.Time
		pause time.Duration
	)
	for g.more(lost) {
		reader, err := g.writer.begin()
		if err == nil {
			lost, err = g.transaction(reader, lost)
		}
		switch now := time.Now(); {
		case err == nil:
			since, pause = time.Time{}, 0
		case g.writer.transient(err) && !g.closing() && (since.IsZero() || now.Sub(since) < g.retryFor):
			if since.IsZero() {
				since = now
			}
			time.Sleep(pause) // the first time at once: an idle connection was lost
			pause = min(max(2*pause, 5*time.Millisecond), 500*time.Millisecond)
		default:
			for _, c := range append(lost, g.take(-1)...) {
				c.result <- err
			}
			lost, since, pause = nil, time.Time{}, 0
		}
	}
}

// more tells whether there is something to do; if not, the next caller has to start
// run again.
func (g *group) more(lost []*call) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = len(lost)+len(g.waiting) > 0
	return g.running
}

// take takes up to n of those who wait, all where n is below zero.
func (g *group) take(n int) []*call {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n < 0 || n > len(g.waiting) {
		n = len(g.waiting)
	}
	taken := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return taken
}

// transaction runs the functions of lost and of those who wait, and commits. The
// callers who have to be served again, all that have not got their result, are lost.
func (g *group) transaction(r reader, lost []*call) ([]*call, error) {
	type ended struct {
		call *call
		err  error
	}
	var (
		all  = changes{}
		ran  []ended
		todo = lost
		fail = func(err error) ([]*call, error) {
			g.writer.rollback()
			var again []*call
			for _, e := range ran {
				if e.call.lose() {
					again = append(again, e.call)
				}
			}
			return append(again, todo...), err
		}
	)
	for len(ran) < g.max {
		if len(todo) == 0 {
			if todo = g.take(1); len(todo) == 0 {
				break
			}
		}
		c := todo[0]
		todo = todo[1:]
		if err := c.ctx.Err(); err != nil {
			c.result <- err
			continue
		}
		tx := &layered{ctx: c.ctx, reader: r, changes: all}
		select {
		case <-c.gone:
			continue
		case c.turn <- tx:
		}
		err := <-c.ran
		if err != nil {
			tx.rollback()
		}
		if broken := g.writer.broken(); broken != nil {
			if g.writer.transient(broken) {
				ran = append(ran, ended{c, nil})
				return fail(broken)
			}
			// It is this call that the store cannot serve. The others begin again.
			c.result <- broken
			lost, _ := fail(nil)
			return lost, nil
		}
		if !errors.Is(err, errLeft) {
			ran = append(ran, ended{c, err})
		}
	}
	if len(all) == 0 {
		g.writer.rollback()
	} else if err := g.writer.commit(all); err != nil {
		if g.writer.transient(err) {
			return fail(err)
		}
		for i := range ran {
			ran[i].err = err
		}
	}
	for _, e := range ran {
		e.call.result <- e.err
	}
	return todo, nil
}

// lose tells the caller that what it did is lost, so that it waits as before. It
// gives false where it has left.
func (c *call) lose() bool {
	select {
	case <-c.gone:
		return false
	case c.turn <- nil:
		return true
	}
}
