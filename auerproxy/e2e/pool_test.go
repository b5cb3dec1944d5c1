package e2e

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// poolWorld is a pool whose sessions end at an echoing device.
type poolWorld struct {
	*world
	pool    *Pool
	dials   atomic.Int64
	dialing chan struct{} // closed at the first dial
	hold    chan struct{} // where set, a dial waits for it
	fail    atomic.Pointer[tunnel.Error]
	silent  atomic.Bool // the device answers nothing

	mu   sync.Mutex
	last *Session // guarded by mu; the device's side of the newest session
}

var key = Key{Target: pbx, Service: "echo"}

func newPoolWorld(t *testing.T, idle time.Duration, hold chan struct{}) *poolWorld {
	w := &poolWorld{world: newWorld(t), hold: hold, dialing: make(chan struct{})}
	w.pool = NewPool(PoolConfig{Dial: w.dial, IdleTimeout: idle})
	t.Cleanup(w.pool.Close)
	return w
}

func (w *poolWorld) dial(ctx context.Context, _ Key) (*Session, error) {
	if w.dials.Add(1) == 1 {
		close(w.dialing)
	}
	if w.hold != nil {
		select {
		case <-w.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := w.fail.Load(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c, s, cerr, serr := w.sessions(pbx, nil)
	if err := errors.Join(cerr, serr); err != nil {
		return nil, err
	}
	w.last = s
	go func() {
		_ = Serve(w.ctx, s, ServeConfig{IdleTimeout: -1, Handle: func(_ context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
			if w.silent.Load() {
				<-w.ctx.Done()
			} else if tunnel.WriteAck(st) == nil {
				_, _ = io.Copy(st, st)
			}
			_ = st.Close()
		}})
	}()
	return c, nil
}

func (w *poolWorld) device() *Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *poolWorld) call() (tunnel.Stream, error) {
	st, _, err := w.pool.Open(w.ctx, key, &tunnel.Preamble{})
	return st, err
}

func (w *poolWorld) mustCall() tunnel.Stream {
	w.t.Helper()
	st, err := w.call()
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func echo(t *testing.T, st tunnel.Stream) {
	t.Helper()
	if _, err := st.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(st, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("got %q, %v", buf, err)
	}
}

func TestPoolDialsOnce(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w := newPoolWorld(t, time.Minute, hold)
	const callers = 20
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			st, err := w.call()
			if err != nil {
				t.Error(err)
				return
			}
			defer st.Close()
			echo(t, st)
		})
	}
	close(hold)
	wg.Wait()
	if got := w.dials.Load(); got != 1 {
		t.Errorf("%d dials for %d calls", got, callers)
	}
}

func TestPoolReplaces(t *testing.T) {
	t.Parallel()
	w := newPoolWorld(t, time.Minute, nil)
	_ = w.mustCall().Close()

	// Ended: the next call dials anew without an error.
	_ = w.device().CloseWithError(tunnel.CodeIdle, "test")
	second := w.mustCall()
	echo(t, second)
	if got := w.dials.Load(); got != 2 {
		t.Fatalf("%d dials", got)
	}

	// Draining: the next call dials anew, the running one goes on, and the session
	// ends after it.
	old := w.device()
	if err := old.GoAway(tunnel.CodeReplaced, "test", time.Minute); err != nil {
		t.Fatal(err)
	}
	for w.dials.Load() == 2 { // until the GOAWAY has arrived
		_ = w.mustCall().Close()
	}
	echo(t, second)
	if old.Err() != nil {
		t.Fatalf("the session with a running call ended: %v", old.Err())
	}
	_ = second.Close()
	select {
	case <-old.Done():
	case <-w.ctx.Done():
		t.Error("the drained session outlives its last call")
	}
}

func TestPoolFailedDialIsNotKept(t *testing.T) {
	t.Parallel()
	w := newPoolWorld(t, time.Minute, nil)
	w.fail.Store(&tunnel.Error{Code: tunnel.CodeNotReachable})
	for range 2 {
		if _, err := w.call(); tunnel.CodeOf(err) != tunnel.CodeNotReachable {
			t.Errorf("got %v", err)
		}
	}
	if got := w.dials.Load(); got != 2 {
		t.Errorf("%d dials for two calls: the failure is remembered, or one call dials twice", got)
	}
	w.fail.Store(nil)
	_ = w.mustCall().Close()
}

func TestPoolIdle(t *testing.T) {
	t.Parallel()
	const idle = 100 * time.Millisecond
	w := newPoolWorld(t, idle, nil)
	st := w.mustCall()
	s := w.device()
	select {
	case <-s.Done():
		t.Fatal("a session with a call is not idle")
	case <-time.After(3 * idle):
	}
	echo(t, st)
	start := time.Now()
	st.Reset(tunnel.CodeCancelled)
	_ = st.Close() // counts once
	select {
	case <-s.Done():
	case <-w.ctx.Done():
		t.Fatal("the idle session is kept")
	}
	if took := time.Since(start); took < idle || tunnel.CodeOf(s.Err()) != tunnel.CodeIdle {
		t.Errorf("after %s: %v", took, s.Err())
	}
}

func TestPoolCallerGivesUp(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w := newPoolWorld(t, time.Minute, hold)
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() {
		_, _, err := w.pool.Open(ctx, key, &tunnel.Preamble{})
		done <- err
	}()
	cancel()
	if err := <-done; tunnel.CodeOf(err) != tunnel.CodeCancelled {
		t.Errorf("got %v", err)
	}
	// The dial goes on for the next caller.
	close(hold)
	_ = w.mustCall().Close()
	if got := w.dials.Load(); got > 1 {
		t.Errorf("%d dials", got)
	}
}

// TestPoolSilentDevice: the calls that a session has go on, but it gets no more once one
// had no answer in its time.
func TestPoolSilentDevice(t *testing.T) {
	t.Parallel()
	w := newPoolWorld(t, time.Minute, nil)
	st := w.mustCall()
	defer st.Close()
	w.silent.Store(true)
	ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
	defer cancel()
	if _, _, err := w.pool.Open(ctx, key, &tunnel.Preamble{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the silent device: %v", err)
	}
	w.silent.Store(false)
	again := w.mustCall()
	defer again.Close()
	echo(t, again)
	echo(t, st)
	if got := w.dials.Load(); got != 2 {
		t.Errorf("%d dials, want 2", got)
	}
	gone, stop := context.WithCancel(w.ctx) // control: a caller who gives up says nothing about the session
	w.silent.Store(true)
	stop()
	if _, _, err := w.pool.Open(gone, key, &tunnel.Preamble{}); err == nil {
		t.Fatal("a call without a caller")
	}
	w.silent.Store(false)
	third := w.mustCall()
	defer third.Close()
	if got := w.dials.Load(); got != 2 {
		t.Errorf("after a caller gave up: %d dials, want 2", got)
	}
}

func TestPoolClose(t *testing.T) {
	t.Parallel()
	w := newPoolWorld(t, time.Minute, nil)
	st := w.mustCall()
	w.pool.Close()
	if _, err := st.Read(make([]byte, 1)); err == nil {
		t.Error("a call outlives its pool")
	}
	if _, err := w.call(); tunnel.CodeOf(err) != tunnel.CodeShutdown {
		t.Errorf("a call after Close: %v", err)
	}
	_ = st.Close()

	hold := make(chan struct{})
	w = newPoolWorld(t, time.Minute, hold)
	done := make(chan error, 1)
	go func() { _, err := w.call(); done <- err }()
	<-w.dialing
	w.pool.Close()
	if err := <-done; err == nil {
		t.Error("a call that waited for its session got one after Close")
	}
}
