package muxtun

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// session is a yamux session with its signalling stream.
type session struct {
	mux       *yamux.Session
	conn      *joinConn
	peer      identity.ID
	expires   time.Time // of the peer's certificate
	transport tunnel.Transport
	client    bool
	maxIn     int
	signals   *yamux.Stream // written by the teller, read by the hearer

	signalTimeout time.Duration // shorter in tests

	// Held while a stream is opened or accepted and registered, so that streams are
	// registered in order, and a signal for a later one is known to be early.
	opening, accepting chan struct{}

	requests chan openRequest // to the goroutine that opens streams, while it waits for one

	mu       sync.Mutex         // after a stream's mu where both are held
	streams  map[uint32]*stream // guarded by mu; streams not closed here
	incoming int                // guarded by mu; those of them that the peer opened
	taken    int64              // guarded by mu; streams that the peer opened and that were registered
	came     int64              // guarded by mu; streams that the peer opened, yamux may not have them yet
	announce func()             // guarded by mu; called when the peer opens a stream; may be nil
	early    map[uint32]signal  // guarded by mu; those for streams not yet registered
	newest   [2]uint32          // guarded by mu; id of the newest stream, own and peer's
	heard    int64              // guarded by mu; bytes of signals that have been acted on
	hears    bool               // guarded by mu; a hearer runs
	hearing  chan struct{}      // guarded by mu; closed at the next change of heard; may be nil
	notices  []notice           // guarded by mu; what is to be said to the peer
	telling  bool               // guarded by mu; a teller runs
	err      error              // guarded by mu; why the session ends, the first reason; nothing is written any more
	over     bool               // guarded by mu; nothing is started any more

	begun []byte // owned by the hearer; the start of a signal whose rest is to come

	closing sync.Once
	ending  sync.Once
	done    chan struct{}
	work    sync.WaitGroup // what the session has started
	ended   chan struct{}  // closed when work has ended
}

const (
	// acceptBacklog is how many streams may wait for Accept. yamux counts the
	// opener's side against its own number, so it is part of the protocol.
	acceptBacklog = 64

	// zombieSlack is how many streams beyond twice the limit may wait for the
	// peer's FIN after they were closed here. A peer that sends none would make
	// yamux keep them, and their unread bytes, for ever.
	zombieSlack = 2 * acceptBacklog

	// closeGrace is how long a closed session waits for the peer to have seen why.
	closeGrace = 700 * time.Millisecond

	// endGrace is how long an ended session waits for what it has started. It takes
	// that long only where a connection under it is stuck in a write.
	endGrace = 300 * time.Millisecond

	// yamuxTimeout keeps yamux' own write timeout out of the way: it counts the time
	// in the queue too, and would end a session on a slow line that is merely busy.
	// joinConn has a better one.
	yamuxTimeout = 24 * time.Hour
)

// newSession starts a session on a connection after its TLS handshake. client says
// which side this is, window what a stream may hold. The accepting side waits, until
// ctx ends, for the signalling stream.
func newSession(ctx context.Context, conn *tls.Conn, peer identity.ID, client bool, window uint32, cfg Config) (*session, error) {
	yc := &yamux.Config{
		AcceptBacklog:          acceptBacklog,
		KeepAliveInterval:      time.Minute, // must be set; keep-alive is off
		ConnectionWriteTimeout: yamuxTimeout,
		MaxStreamWindowSize:    window,
		// yamux would apply it to a mere CloseWrite.
		StreamCloseTimeout: 0,
		Logger:             cfg.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Trace}),
	}
	s := &session{
		peer: peer, transport: cfg.Transport,
		client: client, maxIn: cfg.maxIncoming(peer), signalTimeout: defaultSignalTimeout,
		opening: make(chan struct{}, 1), accepting: make(chan struct{}, 1), requests: make(chan openRequest),
		streams: make(map[uint32]*stream), done: make(chan struct{}), ended: make(chan struct{}),
	}
	s.conn = newJoinConn(conn, cfg.WriteTimeout, s)
	shortQueue(s.conn.wire.Conn)
	start := yamux.Server
	if client {
		start = yamux.Client
	}
	var err error
	s.mu.Lock() // yamux' own goroutines may call hear and muxClosed before it returns
	s.mux, err = start(s.conn, yc)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		s.end(&tunnel.Error{Code: tunnel.CodeHandshakeTimeout, Message: "no signalling stream", Cause: ctx.Err()})
	})
	defer stop()
	// The signalling stream is the first to be opened; others follow it in order, so
	// nothing is accepted before it.
	var signals *yamux.Stream
	if client {
		signals, err = s.mux.OpenStream()
	} else {
		signals, err = s.mux.AcceptStreamWithContext(ctx)
	}
	s.mu.Lock()
	s.signals = signals // under the lock for wake; others see it later
	s.mu.Unlock()
	if err == nil && s.signals.StreamID() != signalStream {
		err = &tunnel.Error{Code: tunnel.CodeProtocol, Message: "the first stream is not the signalling stream"}
	}
	if err == nil && s.begin() {
		return s, nil
	}
	s.end(s.lost(err))
	s.await()
	return nil, s.Err()
}

// begin takes the signalling stream up, with what has arrived in it; false after
// the session's end.
func (s *session) begin() bool {
	s.mu.Lock()
	s.newest[s.whose(s.signals.StreamID())] = s.signals.StreamID()
	s.mu.Unlock()
	s.hear()
	return !s.isOver()
}

// muxClosed ends the session when yamux has ended by itself, which nobody else may
// notice.
func (s *session) muxClosed() {
	s.start(func() { s.end(s.lost(yamux.ErrSessionShutdown)) })
}

// await waits for what an ended session has started.
func (s *session) await() {
	t := time.NewTimer(endGrace)
	defer t.Stop()
	select {
	case <-s.ended:
	case <-t.C:
	}
}

// start runs f in a goroutine that belongs to the session; not after its end.
func (s *session) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.work.Go(func() {
		stack.Grow()
		f()
	})
	return true
}

// lost says why the connection is gone. err is what a stream saw of it.
func (s *session) lost(err error) *tunnel.Error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e
	}
	if cause := s.conn.cause(); cause != nil {
		err = cause
	}
	if e, ok := errors.AsType[*tunnel.Error](tunnel.FromTLS(err)); ok {
		return e
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		// Not as the cause: the end of a session is no timeout of a Read.
		return &tunnel.Error{Code: tunnel.CodeHeartbeatLost, Message: "the connection takes no data: " + err.Error()}
	}
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: "the connection is gone", Cause: err}
}

// CloseWithError implements tunnel.Session.
func (s *session) CloseWithError(code tunnel.Code, reason string) error {
	s.closing.Do(func() {
		if s.claim(&tunnel.Error{Code: code, Message: reason}) {
			s.sayClose(code, reason)
		}
		s.end(nil)
	})
	s.await()
	return nil
}

// claim makes err the reason of the end unless there is one already.
func (s *session) claim(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.err = err
	return true
}

// writable says whether streams may still write: nothing should get ahead of the
// word that the session ends.
func (s *session) writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return lost(s.err)
	}
	return nil
}

// write hands bytes to yamux. The connection is told of them, so that it can send
// several frames at once.
func (s *session) write(st *yamux.Stream, p []byte) (int, error) {
	s.conn.expect(len(p))
	n, err := st.Write(p)
	if n < len(p) {
		s.conn.expect(n - len(p))
	}
	return n, err
}

// broken ends the session after a write failed that yamux does not know of.
func (s *session) broken(err error) { s.start(func() { s.end(s.lost(err)) }) }

// sayClose tells the peer why the session ends, and waits until it has seen it.
func (s *session) sayClose(code tunnel.Code, reason string) {
	t := time.NewTimer(closeGrace)
	defer t.Stop()
	told := make(chan struct{})
	s.say(notice{signal: &signal{kind: signalClose, code: code, reason: reason}, told: told})
	select {
	case <-told:
	case <-s.done:
		return
	case <-t.C:
		return
	}
	// The peer closes the connection when it has read the signal; closing first could
	// destroy it on the way.
	select {
	case <-s.mux.CloseChan():
	case <-t.C:
	}
}

// end closes the session, for the first reason given. It does not wait for what
// the session has started.
func (s *session) end(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.over = true
	s.notices = nil
	s.mu.Unlock()
	s.ending.Do(func() {
		s.wake()
		s.work.Go(func() { _ = s.mux.Close() })
		<-s.mux.CloseChan()
		close(s.done)
		go func() {
			s.work.Wait()
			close(s.ended)
		}()
	})
}

// isOver says that end was called; then a read was woken, not timed out.
func (s *session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// Done implements tunnel.Session.
func (s *session) Done() <-chan struct{} { return s.done }

// Err implements tunnel.Session.
func (s *session) Err() error {
	select {
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	default:
		return nil
	}
}

func (s *session) Peer() identity.ID { return s.peer }

// Expires implements tunnel.Certified.
func (s *session) Expires() time.Time { return s.expires }

func (s *session) Transport() tunnel.Transport { return s.transport }
func (s *session) LocalAddr() net.Addr         { return s.conn.LocalAddr() }
func (s *session) RemoteAddr() net.Addr        { return s.conn.RemoteAddr() }

// wake ends the reads that wait on the session's streams. From the start of yamux'
// Close to its end they would spin (Stream.Read in yamux 0.1.2 selects on the
// closed shutdownCh and starts again), and hundreds of them leave no processor
// time for the Close itself.
func (s *session) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		_ = st.mux.SetReadDeadline(past)
		s.stirLocked(st)
	}
	if s.signals != nil {
		_ = s.signals.SetReadDeadline(past)
	}
}
