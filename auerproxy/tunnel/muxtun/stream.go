package muxtun

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// stream is a yamux stream with resets.
type stream struct {
	*yamux.Stream
	session  *session
	incoming bool
	answered atomic.Bool // a byte of the peer has been read

	mu       sync.Mutex
	readErr  error // guarded by mu; why nothing more is read
	writeErr error // guarded by mu; why nothing more is written
	eof      bool  // guarded by mu; the peer's last byte has been read
	finSent  bool  // guarded by mu
	gone     bool  // guarded by mu; closed or reset here
}

var past = time.Unix(1, 0)

func (s *stream) state() (readErr, writeErr error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readErr, s.writeErr
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	if err, _ := s.state(); err != nil {
		return 0, err
	}
	n, err := s.Stream.Read(p)
	if n > 0 && !s.incoming && s.answered.CompareAndSwap(false, true) {
		s.session.unanswered.Add(-1)
	}
	if err == nil {
		return n, nil
	}
	if rerr, _ := s.state(); rerr != nil {
		return 0, rerr
	}
	if err == io.EOF && !s.session.mux.IsClosed() { //nolint:errorlint // yamux returns it bare
		s.mu.Lock()
		s.eof = true
		s.mu.Unlock()
		return n, io.EOF
	}
	s.mu.Lock()
	eof := s.eof
	s.mu.Unlock()
	if eof {
		return n, io.EOF
	}
	return n, s.fromMux(err)
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	if _, err := s.state(); err != nil {
		return 0, err
	}
	n, err := s.Stream.Write(p)
	if err == nil {
		return n, nil
	}
	if _, werr := s.state(); werr != nil {
		return n, werr
	}
	return n, s.fromMux(err)
}

// fromMux gives an error of yamux its meaning for a stream.
func (s *stream) fromMux(err error) error {
	switch {
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case errors.Is(err, yamux.ErrConnectionReset):
		return &tunnel.Error{Code: tunnel.CodeReset, Remote: true}
	case errors.Is(err, yamux.ErrStreamClosed) && !s.session.mux.IsClosed():
		return net.ErrClosed
	}
	cause := s.session.fromMux(err)
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: cause.Error(), Cause: cause}
}

// signalled acts on a signal of the peer.
func (s *stream) signalled(sig signal) {
	err := &tunnel.Error{Code: sig.code, Remote: true}
	s.mu.Lock()
	if s.writeErr == nil {
		s.writeErr = err
	}
	if sig.kind == signalReset && s.readErr == nil {
		s.readErr = err
	}
	s.mu.Unlock()
	_ = s.Stream.SetWriteDeadline(past)
	if sig.kind == signalReset {
		_ = s.Stream.SetReadDeadline(past)
	}
	// Nothing more is written, so the peer may forget the stream, whatever the
	// owner of this side does.
	_ = s.fin()
}

// SetReadDeadline implements net.Conn. A stream that reads no more keeps the
// deadline that woke its reader.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr != nil {
		return nil
	}
	return s.Stream.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeErr != nil {
		return nil
	}
	return s.Stream.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// fin sends FIN once.
func (s *stream) fin() error {
	s.mu.Lock()
	if s.finSent {
		s.mu.Unlock()
		return nil
	}
	s.finSent = true
	s.mu.Unlock()
	return s.Stream.Close()
}

// CloseWrite implements tunnel.Stream.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	err := s.writeErr
	if err == nil {
		s.writeErr = net.ErrClosed
	}
	s.mu.Unlock()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return s.fin()
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return nil
	}
	s.gone = true
	// A peer that has ended its direction, or reset the stream, needs no word.
	stop := !s.eof && s.readErr == nil
	if s.readErr == nil {
		s.readErr = net.ErrClosed
	}
	if s.writeErr == nil {
		s.writeErr = net.ErrClosed
	}
	s.mu.Unlock()
	_ = s.Stream.SetDeadline(past)
	err := s.fin()
	if stop {
		_ = s.session.send(signal{kind: signalStop, id: s.StreamID(), code: tunnel.CodeCancelled})
	}
	s.session.forget(s)
	return err
}

// Reset implements tunnel.Stream.
func (s *stream) Reset(code tunnel.Code) {
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return
	}
	s.gone = true
	err := &tunnel.Error{Code: code}
	if s.readErr == nil {
		s.readErr = err
	}
	if s.writeErr == nil {
		s.writeErr = err
	}
	s.mu.Unlock()
	_ = s.Stream.SetDeadline(past)
	_ = s.session.send(signal{kind: signalReset, id: s.StreamID(), code: code})
	_ = s.fin()
	s.session.forget(s)
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.session.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }
