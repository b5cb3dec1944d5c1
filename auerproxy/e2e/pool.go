package e2e

import (
	"context"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The defaults of [PoolConfig].
const (
	DefaultIdleTimeout = 4 * time.Minute // below the 5 minutes of [Serve]
	DefaultDialTimeout = 15 * time.Second
)

// Key names one pooled session. A relay authorises a caller for a service, so a
// session carries calls to that service only.
type Key struct {
	Target  identity.ID
	Service string
}

// PoolConfig configures a [Pool].
type PoolConfig struct {
	// Dial makes a session. It must return when its context ends.
	Dial func(ctx context.Context, key Key) (*Session, error)
	// DialTimeout bounds one Dial. It goes on when the caller that caused it gives
	// up, for the sake of the next. Default [DefaultDialTimeout].
	DialTimeout time.Duration
	// IdleTimeout is how long a session without a call is kept. Default
	// [DefaultIdleTimeout].
	IdleTimeout time.Duration
}

// Pool keeps one end-to-end session per target and service, made on demand and
// shared by all calls. A session that has ended or drains is replaced. All
// methods may be called at the same time from several goroutines.
type Pool struct {
	cfg    PoolConfig
	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // dials and watchers

	mu       sync.Mutex // guards what follows, and the fields of entries
	sessions map[Key]*entry
	closed   bool
}

// entry is one session of the pool, from the start of its dial.
type entry struct {
	key   Key
	ready chan struct{} // closed when session or err is set

	session *Session // set before ready is closed
	err     error    // set before ready is closed
	active  int      // guarded by Pool.mu; calls that run or are being opened
	idle    *time.Timer
}

// NewPool makes a pool.
func NewPool(cfg PoolConfig) *Pool {
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = DefaultDialTimeout
	}
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = DefaultIdleTimeout
	}
	p := &Pool{cfg: cfg, sessions: make(map[Key]*entry)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Open opens a call: a stream in the session for key, which is dialled where
// there is none. p.Target and p.Service are filled in from key. If a kept session
// turns out to be dead before the open-ack, the call is tried once more in a new
// one; one that does not answer in the time of ctx gets no further calls. The stream must
// be closed, or the session counts as busy for ever.
func (p *Pool) Open(ctx context.Context, key Key, pre *tunnel.Preamble) (tunnel.Stream, *tunnel.OpenAck, error) {
	pre.Target, pre.Service = key.Target.Path(), key.Service
	for {
		e, fresh, err := p.acquire(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		st, ack, err := tunnel.Open(ctx, e.session, pre)
		if err == nil {
			return &pooledStream{Stream: st, done: sync.OnceFunc(func() { p.release(e) })}, ack, nil
		}
		if tunnel.CodeOf(err) == tunnel.CodeOpenTimeout {
			p.forget(e) // its device may be gone without a word, and be back in another one
		}
		p.release(e)
		if fresh || e.usable() || !tunnel.Retryable(err) {
			return nil, ack, err
		}
	}
}

// acquire gives a live session, with its count of calls raised. fresh says that
// this caller waited for it to be dialled.
func (p *Pool) acquire(ctx context.Context, key Key) (_ *entry, fresh bool, _ error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, tunnel.Errorf(tunnel.CodeShutdown, "the pool is closed")
	}
	e := p.sessions[key]
	if e == nil || !e.usable() {
		e = &entry{key: key, ready: make(chan struct{})}
		p.sessions[key] = e
		p.wg.Go(func() { p.dial(e) })
	}
	e.active++
	if e.idle != nil {
		e.idle.Stop()
		e.idle = nil
	}
	p.mu.Unlock()

	select {
	case <-e.ready:
	default:
		fresh = true
		select {
		case <-e.ready:
		case <-ctx.Done():
			p.release(e)
			return nil, false, tunnel.Errorf(tunnel.CodeOf(ctx.Err()), "waiting for the session with %s: %w", key.Target, ctx.Err())
		}
	}
	if e.err != nil {
		p.release(e)
		return nil, false, e.err
	}
	return e, fresh, nil
}

// usable reports whether the entry takes new calls: it is being dialled, or its
// session lives and does not drain.
func (e *entry) usable() bool {
	select {
	case <-e.ready:
	default:
		return true
	}
	if e.err != nil {
		return false
	}
	select {
	case <-e.session.Done():
		return false
	case <-e.session.Draining():
		return false
	default:
		return true
	}
}

func (p *Pool) dial(e *entry) {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.DialTimeout)
	defer cancel()
	e.session, e.err = p.cfg.Dial(ctx, e.key)
	close(e.ready)
	if e.err != nil {
		p.forget(e)
		return
	}
	p.wg.Go(func() { p.watch(e) })
}

// watch drops the session from the pool when it ends or drains, and closes it at
// the end of the pool or after its last call.
func (p *Pool) watch(e *entry) {
	select {
	case <-e.session.Done():
	case <-e.session.Draining():
	case <-p.ctx.Done():
	}
	p.forget(e)
	select {
	case <-e.session.Done():
	case <-p.ctx.Done():
	}
	_ = e.session.CloseWithError(tunnel.CodeShutdown, "caller stopped")
}

// forget removes the entry, so that the next call dials anew; a session without
// calls ends.
func (p *Pool) forget(e *entry) {
	p.mu.Lock()
	if p.sessions[e.key] == e {
		delete(p.sessions, e.key)
	}
	quiet := e.active == 0
	p.mu.Unlock()
	if quiet && e.session != nil {
		_ = e.session.CloseWithError(tunnel.CodeIdle, "no call left")
	}
}

// release takes one call off the entry and starts the idle time after the last.
func (p *Pool) release(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.active--
	if e.active > 0 || p.closed {
		return
	}
	wait := p.cfg.IdleTimeout
	if p.sessions[e.key] != e {
		wait = 0
	}
	e.idle = time.AfterFunc(wait, func() { p.expire(e) })
}

// expire ends a session that is still without a call.
func (p *Pool) expire(e *entry) {
	p.mu.Lock()
	if e.active > 0 {
		p.mu.Unlock()
		return
	}
	if p.sessions[e.key] == e {
		delete(p.sessions, e.key)
	}
	p.mu.Unlock()
	select {
	case <-e.ready:
		if e.session != nil {
			_ = e.session.CloseWithError(tunnel.CodeIdle, "no call for a while")
		}
	default: // still being dialled; its first release comes back here
	}
}

// Close ends every session with its calls, and returns when that is done.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for _, e := range p.sessions {
		if e.idle != nil {
			e.idle.Stop()
		}
	}
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// pooledStream tells the pool when the call is over.
type pooledStream struct {
	tunnel.Stream
	done func()
}

func (s *pooledStream) Close() error {
	defer s.done()
	return s.Stream.Close()
}

func (s *pooledStream) Reset(code tunnel.Code) {
	defer s.done()
	s.Stream.Reset(code)
}
