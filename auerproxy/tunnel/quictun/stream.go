package quictun

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// stream is a QUIC stream as a tunnel.Stream.
type stream struct {
	quic    *quic.Stream
	session *session
	own     bool // opened by this side

	writing sync.Mutex // held during Write: quic-go allows no end of writing beside it

	mu     sync.Mutex
	closed bool // guarded by mu; Close was called
	gone   bool // guarded by mu; Close or Reset was called
	noMore bool // guarded by mu; CloseWrite was called

	reset *tunnel.Error // guarded by mu; the peer's reset, once a Read has met it

	ended atomic.Bool // a Read has met its last error
}

var _ tunnel.Awaiter = (*stream)(nil)

var past = time.Unix(1, 0)

func (s *stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	if s.isClosed() {
		return 0, net.ErrClosed
	}
	n, err := s.quic.Read(p)
	if err == nil {
		return n, nil
	}
	err = s.fromQUIC(err)
	s.ended.Store(!errors.Is(err, os.ErrDeadlineExceeded))
	if e, ok := errors.AsType[*tunnel.Error](err); ok && e.Remote {
		s.wasReset(e)
	}
	return n, err
}

// Await implements tunnel.Awaiter. quic-go calls nobody, so a goroutine waits, but one
// without a buffer and of the smallest stack. It ends at the read deadline, too.
func (s *stream) Await(f func()) bool {
	s.mu.Lock()
	gone := s.gone
	s.mu.Unlock()
	if gone || s.ended.Load() {
		return false
	}
	go func() {
		_, _ = s.quic.Peek(make([]byte, 1)) // what it finds Read finds again
		f()
	}()
	return true
}

// wasReset ends the writing of a stream whose peer has reset it. A reset is two
// frames, RESET_STREAM and STOP_SENDING, that may come in different packets: the
// first alone ends both directions here.
func (s *stream) wasReset(e *tunnel.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reset == nil {
		s.reset = e
		s.quic.CancelWrite(quic.StreamErrorCode(e.Code))
	}
}

func (s *stream) resetByPeer() *tunnel.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reset
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.isClosed() {
		return 0, net.ErrClosed
	}
	n, err := s.quic.Write(p)
	if e := s.resetByPeer(); err != nil && e != nil {
		return n, e
	}
	return n, s.fromQUIC(err)
}

// fromQUIC gives an error of Read or Write its meaning.
func (s *stream) fromQUIC(err error) error {
	switch {
	case err == nil:
		return nil
	case s.isClosed(), errors.Is(err, quic.ErrStreamClosed):
		return net.ErrClosed
	case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded): //nolint:errorlint // quic-go returns io.EOF bare
		return err
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok {
		return &tunnel.Error{Code: code(uint64(e.ErrorCode)), Remote: e.Remote}
	}
	return lost(sessionError(err))
}

// lost is the end of a session as its streams see it.
func lost(cause error) error {
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: cause.Error(), Cause: cause}
}

// CloseWrite implements tunnel.Stream.
func (s *stream) CloseWrite() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	done := s.closed || s.noMore
	s.noMore = true
	s.mu.Unlock()
	if done {
		return nil
	}
	if serr := s.session.Err(); serr != nil {
		return lost(serr)
	}
	if e := s.resetByPeer(); e != nil {
		return e
	}
	if err := s.quic.Close(); err != nil {
		// One side has given the direction up; the context knows which, and why.
		return s.fromQUIC(context.Cause(s.quic.Context()))
	}
	return nil
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.leaveLocked()
	// Wakes a Write.
	_ = s.quic.SetWriteDeadline(past)
	s.mu.Unlock()
	s.quic.CancelRead(quic.StreamErrorCode(tunnel.CodeCancelled))
	s.writing.Lock()
	defer s.writing.Unlock()
	// The only error is that the peer wants no more bytes, as this side.
	_ = s.quic.Close()
	return nil
}

// Reset implements tunnel.Stream.
func (s *stream) Reset(c tunnel.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	s.leaveLocked()
	s.quic.CancelRead(quic.StreamErrorCode(c))
	s.quic.CancelWrite(quic.StreamErrorCode(c))
}

// leaveLocked gives the stream's place in the session up, once.
func (s *stream) leaveLocked() {
	s.gone = true
	if s.own {
		<-s.session.opens
	}
}

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return s.quic.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn. A closed stream keeps the deadline that
// woke its writer.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return s.quic.SetWriteDeadline(t)
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.session.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }
