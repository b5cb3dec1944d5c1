package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a writer that fails when it is told to. It keeps what was committed.
type memory struct {
	begins, commits []error // what the next calls give; nil when none is left
	break_          error   // what broken gives once
	began           int
	committed       []string // the keys of each commit
	onBegin         func()
}

var errPassing, errLasting = errors.New("passing"), errors.New("lasting")

func next(errs *[]error) (err error) {
	if len(*errs) > 0 {
		err, *errs = (*errs)[0], (*errs)[1:]
	}
	return err
}

func (m *memory) begin() (reader, error) {
	m.began++
	if m.onBegin != nil {
		m.onBegin()
	}
	return m, next(&m.begins)
}

func (m *memory) broken() error {
	err := m.break_
	m.break_ = nil
	return err
}

func (m *memory) commit(c changes) error {
	err := next(&m.commits)
	if err == nil {
		keys := make([]string, 0, len(c[things]))
		for k := range c[things] {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		m.committed = append(m.committed, strings.Join(keys, " "))
	}
	return err
}

func (m *memory) rollback()                                       {}
func (m *memory) transient(err error) bool                        { return errors.Is(err, errPassing) }
func (m *memory) get(Bucket, []byte) ([]byte, error)              { return nil, nil }
func (m *memory) entries(Bucket, []byte, []byte) ([]entry, error) { return nil, nil }
func (m *memory) last(Bucket, []byte) (k, v []byte, err error)    { return nil, nil, nil }
func (m *memory) buckets() ([]Bucket, error)                      { return nil, nil }

func putting(key string) func(Tx) error {
	return func(tx Tx) error { return tx.Put(things, []byte(key), []byte("1")) }
}

// together lets all calls wait before the first transaction begins, and gives what
// each of them gave.
func together(t *testing.T, m *memory, max int, fs ...func(Tx) error) (errs []error) {
	t.Helper()
	errs = make([]error, len(fs))
	synctest.Test(t, func(t *testing.T) {
		g := &group{writer: m, max: max, retryFor: time.Minute}
		var wg sync.WaitGroup
		m.onBegin = func() {
			m.onBegin = nil
			time.Sleep(time.Second) // of the bubble: all wait by then
		}
		for i, f := range fs {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				defer func() {
					if r := recover(); r != nil {
						errs[i] = r.(error)
					}
				}()
				errs[i] = g.update(t.Context(), f)
			})
		}
		wg.Wait()
		g.close()
		if err := g.update(t.Context(), putting("late")); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
	return errs
}

func TestGroup(t *testing.T) {
	t.Parallel()
	failing := func(tx Tx) error {
		_ = tx.Put(things, []byte("a"), []byte("changed"))
		_ = tx.Put(things, []byte("failed"), []byte("1"))
		_ = tx.Put("other", []byte("failed"), []byte("1"))
		return errLasting
	}
	panicking := func(tx Tx) error { _ = failing(tx); panic(errLasting) }
	ending := func(tx Tx) error { _ = failing(tx); runtime.Goexit(); return nil }
	seeing := func(tx Tx) error {
		if v, err := tx.Get(things, []byte("a")); string(v) != "1" || err != nil {
			return errors.New("a change before is not seen")
		}
		return putting("z")(tx)
	}
	for name, c := range map[string]struct {
		m         memory
		max       int
		fs        []func(Tx) error
		errs      []error
		committed []string
		began     int
	}{
		"one commit for all": {max: 8, fs: []func(Tx) error{putting("a"), seeing, putting("b")}, committed: []string{"a b z"}, began: 1},
		"no more than max":   {max: 2, fs: []func(Tx) error{putting("a"), putting("b"), putting("c")}, committed: []string{"a b", "c"}, began: 2},
		"one fails": {
			max: 8, fs: []func(Tx) error{putting("a"), failing, seeing}, errs: []error{nil, errLasting, nil},
			committed: []string{"a z"}, began: 1,
		},
		"one panics": {
			max: 8, fs: []func(Tx) error{putting("a"), panicking, seeing}, errs: []error{nil, errLasting, nil},
			committed: []string{"a z"}, began: 1,
		},
		"one ends its goroutine": {
			max: 8, fs: []func(Tx) error{putting("a"), ending, seeing}, committed: []string{"a z"}, began: 1,
		},
		"all fail": {max: 8, fs: []func(Tx) error{failing, failing}, errs: []error{errLasting, errLasting}, began: 1},
		"cannot begin at first": {
			m: memory{begins: []error{errPassing, errPassing}}, max: 8, fs: []func(Tx) error{putting("a"), seeing},
			committed: []string{"a z"}, began: 3,
		},
		"cannot begin": {
			m: memory{begins: []error{errLasting}}, max: 8, fs: []func(Tx) error{putting("a"), seeing},
			errs: []error{errLasting, errLasting}, began: 1,
		},
		"the commit is lost": {
			m: memory{commits: []error{errPassing, errPassing}}, max: 8, fs: []func(Tx) error{putting("a"), failing, seeing},
			errs: []error{nil, errLasting, nil}, committed: []string{"a z"}, began: 3,
		},
		"more are lost than go into one commit": {
			m: memory{commits: []error{errPassing}, begins: []error{nil, errPassing}}, max: 2,
			fs:        []func(Tx) error{putting("a"), putting("b"), putting("c")},
			committed: []string{"a b", "c"}, began: 4,
		},
		"the commit fails": {
			m: memory{commits: []error{errLasting}}, max: 8, fs: []func(Tx) error{putting("a"), putting("b")},
			errs: []error{errLasting, errLasting}, began: 1,
		},
		"the transaction breaks for a while": {
			m: memory{break_: errPassing}, max: 8, fs: []func(Tx) error{putting("a"), seeing}, committed: []string{"a z"}, began: 2,
		},
		"one breaks the transaction": {
			m: memory{break_: errLasting}, max: 8, fs: []func(Tx) error{putting("b"), putting("a"), seeing},
			errs: []error{errLasting, nil, nil}, committed: []string{"a z"}, began: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			errs := together(t, &c.m, c.max, c.fs...)
			for i, err := range errs {
				var want error
				if c.errs != nil {
					want = c.errs[i]
				}
				if !errors.Is(err, want) {
					t.Errorf("call %d: %v, want %v", i, err, want)
				}
			}
			if !slices.Equal(c.m.committed, c.committed) || c.m.began != c.began {
				t.Errorf("committed %q in %d transactions, want %q in %d", c.m.committed, c.m.began, c.committed, c.began)
			}
		})
	}
}

// A server that stays away is an error after retryFor, not before and not never.
func TestGroupGivesUp(t *testing.T) {
	t.Parallel()
	m := &memory{begins: slices.Repeat([]error{errPassing}, 1000)}
	synctest.Test(t, func(t *testing.T) {
		g := &group{writer: m, max: maxGroup, retryFor: time.Minute}
		begin := time.Now()
		err := g.update(t.Context(), putting("a"))
		if took := time.Since(begin); !errors.Is(err, errPassing) || took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A caller who leaves is gone at once and his change is not made, while he waits
// for his turn, and when he has to wait again. During the commit there is no leaving.
func TestGroupCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		g := &group{writer: m, max: maxGroup, retryFor: time.Hour}
		hold := make(chan struct{})
		m.onBegin = func() { <-hold }
		ctx, cancel := context.WithCancel(t.Context())
		leaving := make(chan error)
		go func() { leaving <- g.update(ctx, putting("left")) }()
		synctest.Wait()
		cancel()
		if err := <-leaving; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting: %v", err)
		}
		if err := g.update(ctx, putting("late")); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		close(hold)
		synctest.Wait()

		m.commits, m.begins = []error{errPassing}, append([]error{nil}, slices.Repeat([]error{errPassing}, 20)...)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := g.update(ctx, putting("lost")); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("waiting again: %v after %v", err, time.Since(begin))
		}

		ctx, cancel = context.WithCancel(t.Context())
		err := g.update(ctx, func(tx Tx) error {
			if err := putting("made")(tx); err != nil {
				return err
			}
			cancel()
			return nil
		})
		if err != nil {
			t.Errorf("cancelled when all was done: %v", err)
		}
		g.close()
		if !slices.Equal(m.committed, []string{"made"}) {
			t.Errorf("committed %q", m.committed)
		}
	})
}
