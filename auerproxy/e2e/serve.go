package e2e

import (
	"context"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
)

// The defaults of [ServeConfig].
const (
	DefaultServeIdle       = 5 * time.Minute
	DefaultPreambleTimeout = 5 * time.Second
)

// ServeConfig says how [Serve] answers the streams of a session.
type ServeConfig struct {
	// Handle answers one stream, with tunnel.WriteAck or tunnel.Refuse, and
	// returns when the call is over. Its context ends with the session.
	Handle func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble)
	// Start, where set, takes the place of Handle: it may return before the call is over,
	// so that a call that waits has no goroutine here, and has over called once when
	// it is.
	Start func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble, over func())
	// MaxStreams bounds the calls at once; more are reset with
	// [tunnel.CodeTooManyStreams]. Default [DefaultMaxStreams].
	MaxStreams int
	// PreambleTimeout bounds the time to a stream's whole preamble. Default
	// [DefaultPreambleTimeout].
	PreambleTimeout time.Duration
	// IdleTimeout ends a session that has no call for so long, with
	// [tunnel.CodeIdle]. Default [DefaultServeIdle]; negative: never.
	IdleTimeout time.Duration
	// Drain, where set, is closed when the session is to end after its last call.
	Drain <-chan struct{}
}

// drainIdle is how long a session that drains is kept without a call: calls may
// be on their way.
const drainIdle = 2 * time.Second

// Serve accepts and answers the streams of s until s ends, and returns why it
// ended, after every call is over. If ctx ends first, s is closed with
// [tunnel.CodeShutdown].
func Serve(ctx context.Context, s tunnel.Session, cfg ServeConfig) error {
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = DefaultMaxStreams
	}
	if cfg.PreambleTimeout <= 0 {
		cfg.PreambleTimeout = DefaultPreambleTimeout
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = DefaultServeIdle
	}
	if cfg.Start == nil {
		cfg.Start = func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble, over func()) {
			defer over()
			cfg.Handle(ctx, st, p)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.CloseWithError(tunnel.CodeShutdown, "stopped") })
	defer stop()

	idle := newIdle(s, cfg.IdleTimeout)
	defer idle.stop()
	if cfg.Drain != nil {
		var drain sync.WaitGroup
		defer drain.Wait()
		defer cancel()
		drain.Go(func() {
			select {
			case <-cfg.Drain:
				idle.shorten(drainIdle)
			case <-ctx.Done():
			}
		})
	}
	slots := make(chan struct{}, cfg.MaxStreams)
	var calls sync.WaitGroup
	for {
		st, err := s.Accept(ctx)
		if err != nil {
			if ctx.Err() == nil {
				_ = s.CloseWithError(tunnel.CodeInternal, "accept failed") // has ended already
			}
			<-s.Done()
			cancel()
			calls.Wait()
			return s.Err()
		}
		select {
		case slots <- struct{}{}:
		default:
			st.Reset(tunnel.CodeTooManyStreams)
			continue
		}
		idle.add(1)
		calls.Add(1)
		over := func() {
			idle.add(-1)
			<-slots
			calls.Done()
		}
		go func() {
			stack.Grow()
			p, err := tunnel.ReadPreamble(st, cfg.PreambleTimeout)
			if err != nil {
				tunnel.Refuse(st, preambleError(err))
				over()
				return
			}
			cfg.Start(ctx, st, p, over)
		}()
	}
}

// preambleError gives a preamble that did not come, or came broken, its number.
func preambleError(err error) error {
	switch code := tunnel.CodeOf(err); code {
	case tunnel.CodeOpenTimeout:
		return tunnel.Errorf(tunnel.CodeHandshakeTimeout, "no preamble in time")
	case tunnel.CodeInternal:
		return tunnel.Errorf(tunnel.CodeProtocol, "the stream ended within the preamble")
	default:
		return err
	}
}

// idle ends a session that has had no call for a while.
type idle struct {
	session tunnel.Session

	mu     sync.Mutex    // guards what follows
	after  time.Duration // negative: never
	active int
	timer  *time.Timer // nil while calls run
}

func newIdle(s tunnel.Session, after time.Duration) *idle {
	i := &idle{session: s, after: after}
	i.add(0)
	return i
}

func (i *idle) add(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.active += n
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
	if i.active == 0 && i.after >= 0 {
		i.timer = time.AfterFunc(i.after, i.expire)
	}
}

// shorten makes the time so short from now on.
func (i *idle) shorten(after time.Duration) {
	i.mu.Lock()
	i.after = after
	i.mu.Unlock()
	i.add(0)
}

func (i *idle) expire() {
	i.mu.Lock()
	busy := i.active > 0
	i.mu.Unlock()
	if !busy {
		_ = i.session.CloseWithError(tunnel.CodeIdle, "no call for a while")
	}
}

func (i *idle) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.after = -1
	if i.timer != nil {
		i.timer.Stop()
	}
}
