package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// part is a started component.
type part struct {
	Component
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
	err    error         // of Run; read after done
}

// supervisor starts and stops the parts of one Run. Its fields are owned by the
// goroutine of Run.
type supervisor struct {
	daemon *Daemon
	base   context.Context // of all parts, without an end
	parts  []*part         // in the order of starting
	ended  chan *part      // whose Run has returned; room for every part
}

// start starts the components, and gives nil when all are ready or else the
// cause to stop.
func (s *supervisor) start(ctx context.Context, signals <-chan os.Signal, components []Component) error {
	for _, c := range components {
		runCtx, cancel := context.WithCancel(s.base)
		p := &part{Component: c, cancel: cancel, done: make(chan struct{})}
		s.parts = append(s.parts, p)
		s.daemon.log.Debug("starting", "component", c.Name)
		go func() {
			p.err = p.Run(runCtx)
			close(p.done)
			s.ended <- p
		}()
		if c.Ready != nil {
			if err := s.waitFor(ctx, signals, c.Ready); err != nil {
				return err
			}
		}
		s.daemon.SetReady(c.Name, nil)
	}
	return nil
}

// wait blocks until there is a cause to stop.
func (s *supervisor) wait(ctx context.Context, signals <-chan os.Signal) error {
	return s.waitFor(ctx, signals, nil)
}

// waitFor blocks until ready is closed (nil) or there is a cause to stop.
func (s *supervisor) waitFor(ctx context.Context, signals <-chan os.Signal, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errStop, context.Cause(ctx))
	case sig := <-signals:
		return fmt.Errorf("%w: %s", errStop, sig)
	case p := <-s.ended:
		err := p.err
		p.err = nil // reported here, not again by stop
		if err == nil {
			err = ErrEnded
		}
		return fmt.Errorf("%s: %w", p.Name, err)
	}
}

// watchSecond ends the process on another signal, until the returned function is
// called.
func (s *supervisor) watchSecond(signals <-chan os.Signal) (end func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case sig := <-signals:
			s.daemon.log.Error("second signal, ending at once", "signal", sig.String())
			s.daemon.exit(1)
		case <-quit:
		}
	}()
	return func() { close(quit); <-done }
}

// stop drains and stops the parts from the last to the first.
func (s *supervisor) stop() error {
	for _, p := range s.parts {
		s.daemon.SetReady(p.Name, ErrDraining)
	}
	ctx, cancel := context.WithTimeout(s.base, s.daemon.cfg.ShutdownTimeout)
	defer cancel()
	// At the deadline all parts are cancelled, also those whose turn has not
	// come.
	defer context.AfterFunc(ctx, func() {
		for _, p := range s.parts {
			p.cancel()
		}
	})()
	var all []error
	for _, p := range slices.Backward(s.parts) {
		all = append(all, s.stopPart(ctx, p))
	}
	return errors.Join(all...)
}

func (s *supervisor) stopPart(ctx context.Context, p *part) error {
	var drained error
	if p.Drain != nil && ctx.Err() == nil && !isClosed(p.done) {
		drained = drain(ctx, p)
	}
	p.cancel()
	if !awaitEnd(ctx, p.done) {
		return errors.Join(drained, fmt.Errorf("stop %s: %w", p.Name, errStuck))
	}
	s.daemon.log.Debug("stopped", "component", p.Name)
	if p.err != nil && !errors.Is(p.err, context.Canceled) {
		return errors.Join(drained, fmt.Errorf("stop %s: %w", p.Name, p.err))
	}
	return drained
}

// errStuck: a component breaks the contract of [Component].
var errStuck = errors.New("does not return although its context has ended")

func drain(ctx context.Context, p *part) error {
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = p.Drain(ctx)
	}()
	if !awaitEnd(ctx, done) {
		return fmt.Errorf("drain %s: %w", p.Name, errStuck)
	}
	if err != nil {
		return fmt.Errorf("drain %s: %w", p.Name, err)
	}
	return nil
}

// awaitEnd waits until done is closed, at most until stopGrace after the end of
// ctx.
func awaitEnd(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-done:
		return true
	case <-grace.C:
		return false
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
