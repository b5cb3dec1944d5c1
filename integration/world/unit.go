package world

import (
	"context"
	"errors"
)

// unit is one running part: a process, or goroutines of this one.
type unit interface {
	// stop asks the part to end and waits until it has. When ctx ends before
	// that, a process is killed and a task is given up.
	stop(ctx context.Context) error
	// kill ends the part without asking, and waits until it has ended.
	kill() error
	// done is closed when the part has ended; err is valid then.
	done() <-chan struct{}
	err() error
}

// task is a unit of goroutines.
type task struct {
	cancel context.CancelFunc
	ended  chan struct{}
	result error // written before ended is closed
	// drain, where set, is called before the end of a stop.
	drain func(context.Context)
}

// startTask runs run, which returns when its context ends and only then.
func startTask(run func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		if err := run(ctx); !errors.Is(err, context.Canceled) {
			t.result = err
		}
	}()
	return t
}

func (t *task) stop(ctx context.Context) error {
	if t.drain != nil {
		t.drain(ctx)
	}
	t.cancel()
	select {
	case <-t.ended:
		return t.result
	case <-ctx.Done():
		return errors.Join(errors.New("does not end"), context.Cause(ctx))
	}
}

func (t *task) kill() error {
	t.cancel()
	<-t.ended
	return t.result
}

func (t *task) done() <-chan struct{} { return t.ended }
func (t *task) err() error            { return t.result }
