package muxtun

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// session is a yamux session with its signalling stream.
type session struct {
	mux       *yamux.Session
	conn      *joinConn
	peer      identity.ID
	transport tunnel.Transport
	client    bool
	maxIn     int64
	backlog   int64
	signals   *yamux.Stream

	incoming   atomic.Int64 // streams of the peer that are not closed here
	unanswered atomic.Int64 // own streams without a byte from the peer yet

	signalMu sync.Mutex // serialises writes of signals

	mu      sync.Mutex
	streams map[uint32]*stream // guarded by mu; streams not closed here
	early   map[uint32]signal  // guarded by mu; resets of streams not yet accepted
	last    uint32             // guarded by mu; id of the newest accepted stream
	err     error              // guarded by mu; set before done is closed

	done   chan struct{}
	ending sync.Once
	ended  chan struct{} // closed when everything that the session started has ended
}

// maxEarly bounds the resets that are kept for streams not yet accepted. A stream
// beyond it is merely seen as closed instead of reset.
const maxEarly = 256

// zombieSlack is how many streams beyond twice the limit may wait for the peer's
// FIN after they were closed here. A peer that sends none would make yamux keep
// them, and their unread bytes, for ever.
const zombieSlack = 64

// closeGrace is how long a closed session waits for the peer to have seen why.
const closeGrace = 500 * time.Millisecond

// newSession starts a session on a connection after its TLS handshake. client says
// which side this is.
func newSession(conn *tls.Conn, peer identity.ID, client bool, cfg Config) (*session, error) {
	yc := &yamux.Config{
		AcceptBacklog:          cfg.AcceptBacklog,
		KeepAliveInterval:      time.Minute, // must be set; keep-alive is off
		ConnectionWriteTimeout: cfg.WriteTimeout,
		MaxStreamWindowSize:    max(cfg.StreamWindow, 256<<10),
		// yamux would apply it to a mere CloseWrite.
		StreamCloseTimeout: 0,
		Logger:             cfg.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	s := &session{
		conn: newJoinConn(conn), peer: peer, transport: cfg.Transport, client: client,
		maxIn: int64(cfg.maxIncoming(peer)), backlog: int64(cfg.AcceptBacklog),
		streams: make(map[uint32]*stream), done: make(chan struct{}), ended: make(chan struct{}),
	}
	start := yamux.Server
	if client {
		start = yamux.Client
	}
	var err error
	if s.mux, err = start(s.conn, yc); err != nil {
		return nil, err
	}
	if client {
		if s.signals, err = s.mux.OpenStream(); err != nil {
			cause := s.lost(err)
			_ = s.mux.Close()
			return nil, cause
		}
		go s.readSignals(nil)
		return s, nil
	}
	// The signalling stream is the first to arrive; other streams follow it in
	// order, so nothing is accepted before it.
	ready := make(chan struct{})
	go s.readSignals(ready)
	select {
	case <-ready:
		return s, nil
	case <-time.After(cfg.HandshakeTimeout):
		s.end(&tunnel.Error{Code: tunnel.CodeHandshakeTimeout, Message: "no signalling stream"})
		return nil, s.Err()
	}
}

// readSignals acts on the peer's signals until the session ends. On the accepting
// side it first takes the signalling stream and closes ready.
func (s *session) readSignals(ready chan<- struct{}) {
	defer close(s.ended)
	if ready != nil {
		st, err := s.mux.AcceptStream()
		if err != nil {
			s.end(&tunnel.Error{Code: tunnel.CodeSessionLost, Cause: err})
			close(ready)
			return
		}
		s.signals = st
		close(ready)
	}
	for {
		sig, err := readSignal(s.signals)
		if err != nil {
			s.end(s.lost(err))
			return
		}
		switch sig.kind {
		case signalReset, signalStop:
			s.signalled(sig)
		case signalClose:
			s.end(&tunnel.Error{Code: sig.code, Message: sig.reason, Remote: true})
			return
		}
	}
}

// lost says why the connection is gone.
func (s *session) lost(err error) *tunnel.Error {
	if cause := s.conn.cause(); cause != nil {
		return cause
	}
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: "the connection is gone", Cause: err}
}

// signalled passes a signal to its stream.
func (s *session) signalled(sig signal) {
	s.mu.Lock()
	st := s.streams[sig.id]
	// A stream that was accepted and is unknown now has been closed here.
	if st == nil && s.isPeers(sig.id) && sig.id > s.last && len(s.early) < maxEarly {
		if s.early == nil {
			s.early = make(map[uint32]signal)
		}
		s.early[sig.id] = sig
	}
	s.mu.Unlock()
	if st != nil {
		st.signalled(sig)
	}
}

// isPeers reports whether the peer opens streams with such ids: clients use odd
// ones, servers even ones.
func (s *session) isPeers(id uint32) bool { return (id%2 == 0) == s.client }

func (s *session) send(sig signal) error {
	s.signalMu.Lock()
	defer s.signalMu.Unlock()
	_, err := s.signals.Write(sig.encode())
	return err
}

// Open implements tunnel.Session.
func (s *session) Open(ctx context.Context) (tunnel.Stream, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	// yamux blocks without a context when too many streams wait for the peer to
	// accept them. That can only be when many have not been answered.
	if s.unanswered.Add(1) <= s.backlog/2 {
		return s.opened(s.mux.OpenStream())
	}
	type result struct {
		st  *yamux.Stream
		err error
	}
	ch := make(chan result, 1)
	go func() {
		st, err := s.mux.OpenStream()
		ch <- result{st, err}
	}()
	select {
	case r := <-ch:
		return s.opened(r.st, r.err)
	case <-ctx.Done():
		go func() {
			if r := <-ch; r.err == nil {
				_ = r.st.Close()
			}
			s.unanswered.Add(-1)
		}()
		return nil, context.Cause(ctx)
	}
}

func (s *session) opened(st *yamux.Stream, err error) (tunnel.Stream, error) {
	if err != nil {
		s.unanswered.Add(-1)
		if serr := s.Err(); serr != nil {
			return nil, serr
		}
		return nil, s.fromMux(err)
	}
	return s.register(st, false), nil
}

// Accept implements tunnel.Session.
func (s *session) Accept(ctx context.Context) (tunnel.Stream, error) {
	for {
		ys, err := s.mux.AcceptStreamWithContext(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, s.fromMux(err)
		}
		st := s.register(ys, true)
		if s.incoming.Add(1) <= s.maxIn {
			return st, nil
		}
		st.Reset(tunnel.CodeTooManyStreams)
		if s.zombies() > 2*s.maxIn+zombieSlack {
			s.end(&tunnel.Error{Code: tunnel.CodeProtocol, Message: "the peer does not end its streams"})
		}
	}
}

func (s *session) register(ys *yamux.Stream, incoming bool) *stream {
	st := &stream{Stream: ys, session: s, incoming: incoming}
	s.mu.Lock()
	s.streams[ys.StreamID()] = st
	if incoming {
		s.last = ys.StreamID()
	}
	sig, early := s.early[ys.StreamID()]
	delete(s.early, ys.StreamID())
	s.mu.Unlock()
	if early {
		st.signalled(sig)
	}
	return st
}

// zombies counts the streams that are closed here and not by the peer.
func (s *session) zombies() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.mux.NumStreams() - len(s.streams))
}

func (s *session) forget(st *stream) {
	s.mu.Lock()
	_, known := s.streams[st.StreamID()]
	delete(s.streams, st.StreamID())
	s.mu.Unlock()
	if known && st.incoming {
		s.incoming.Add(-1)
	}
}

// fromMux gives an error of yamux its number.
func (s *session) fromMux(err error) error {
	if errors.Is(err, yamux.ErrConnectionWriteTimeout) {
		// The peer may wait for ever for what was not sent: the session is dead.
		s.end(&tunnel.Error{Code: tunnel.CodeSlowReader, Message: "the connection takes no data", Cause: err})
	}
	if s.mux.IsClosed() {
		<-s.done
		return s.Err()
	}
	return err
}

// CloseWithError implements tunnel.Session.
func (s *session) CloseWithError(code tunnel.Code, reason string) error {
	s.mu.Lock()
	over := s.err != nil
	if !over {
		s.err = &tunnel.Error{Code: code, Message: reason}
	}
	s.mu.Unlock()
	if !over {
		sent := make(chan error, 1)
		go func() { sent <- s.send(signal{kind: signalClose, code: code, reason: reason}) }()
		t := time.NewTimer(closeGrace)
		select {
		case err := <-sent:
			if err == nil {
				// The peer closes the connection when it has read the signal;
				// closing first could destroy it on the way.
				select {
				case <-s.mux.CloseChan():
				case <-t.C:
				}
			}
		case <-t.C:
		}
		t.Stop()
	}
	s.end(nil)
	<-s.ended
	return nil
}

// end closes the session for the first reason given.
func (s *session) end(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.ending.Do(func() {
		_ = s.mux.Close()
		close(s.done)
	})
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

func (s *session) Peer() identity.ID           { return s.peer }
func (s *session) Transport() tunnel.Transport { return s.transport }
func (s *session) LocalAddr() net.Addr         { return s.conn.LocalAddr() }
func (s *session) RemoteAddr() net.Addr        { return s.conn.RemoteAddr() }
