package muxtun

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// stream is a yamux stream with resets.
//
// yamux ends a stream when both sides have sent FIN. So a side that wants no more
// bytes tells the peer, whose transport answers with the FIN, whatever its owner
// does.
type stream struct {
	mux      *yamux.Stream
	session  *session
	incoming bool

	writing sync.Mutex // held during Write, so that CloseWrite comes after the last byte

	mu            sync.Mutex
	readErr       error     // guarded by mu; why nothing more is read
	writeErr      error     // guarded by mu; why nothing more is written
	readDeadline  time.Time // guarded by mu
	writeDeadline time.Time // guarded by mu
	eof           bool      // guarded by mu; the peer's last byte has been read
	finSaid       bool      // guarded by mu
	gone          bool      // guarded by mu; closed or reset here

	waiter waiter // guarded by session.mu
}

// maxFrame is the most that is written in one yamux frame, so that streams take
// turns on the connection.
const maxFrame = 64 << 10

var past = time.Unix(1, 0)

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.ready(&s.readErr, &s.readDeadline); err != nil {
		return 0, err
	}
	n, err := s.mux.Read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // yamux returns it bare
		s.session.catchUp()
	}
	s.mu.Lock()
	rerr := s.readErr
	if err == io.EOF && rerr == nil && !s.session.mux.IsClosed() { //nolint:errorlint // yamux returns it bare
		s.eof = true
	}
	eof := s.eof
	s.mu.Unlock()
	switch {
	case rerr != nil:
		return n, rerr
	case eof:
		return n, io.EOF
	default:
		return n, s.fromMux(err)
	}
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n := 0
	for {
		err := s.ready(&s.writeErr, &s.writeDeadline)
		if err == nil {
			err = s.session.writable()
		}
		if err != nil {
			return n, err
		}
		m, err := s.session.write(s.mux, p[n:min(len(p), n+maxFrame)])
		n += m
		if err != nil {
			s.mu.Lock()
			werr := s.writeErr
			s.mu.Unlock()
			if werr != nil {
				return n, werr
			}
			return n, s.fromMux(err)
		}
		if n == len(p) {
			return n, nil
		}
	}
}

// ready says whether a direction still works. yamux looks at deadlines only when
// it has to wait.
func (s *stream) ready(why *error, deadline *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *why != nil {
		return *why
	}
	if !deadline.IsZero() && !time.Now().Before(*deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// fromMux gives an error of yamux its meaning for a stream.
func (s *stream) fromMux(err error) error {
	switch {
	case s.session.mux.IsClosed() || s.session.isOver():
		return lost(s.session.fromMux(err))
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case errors.Is(err, yamux.ErrConnectionReset):
		// Only yamux itself resets streams, those beyond the accept backlog.
		return &tunnel.Error{Code: tunnel.CodeTooManyStreams, Remote: true, Cause: err}
	default:
		return lost(s.session.fromMux(err))
	}
}

// lost is the end of a session as its streams see it.
func lost(cause error) error {
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: cause.Error(), Cause: cause}
}

// signalled acts on a signal of the peer.
func (s *stream) signalled(sig signal) {
	err := &tunnel.Error{Code: sig.code, Remote: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeErr == nil {
		s.writeErr = err
	}
	if sig.kind == signalReset && s.readErr == nil {
		s.readErr = err
	}
	s.wakeLocked()
	s.finLocked()
}

// wakeLocked makes calls fail that wait in yamux for a direction that works no
// more.
func (s *stream) wakeLocked() {
	if s.writeErr != nil {
		_ = s.mux.SetWriteDeadline(past)
	}
	if s.readErr != nil {
		_ = s.mux.SetReadDeadline(past)
		s.session.stir(s)
	}
}

// finLocked sends FIN once.
func (s *stream) finLocked() {
	if !s.finSaid {
		s.finSaid = true
		s.session.say(notice{fin: s.mux})
	}
}

// SetReadDeadline implements net.Conn. A stream that reads no more keeps the
// deadline that woke its reader.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readDeadline = t
	if s.readErr != nil {
		return s.closedLocked()
	}
	return s.mux.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeDeadline = t
	if s.writeErr != nil {
		return s.closedLocked()
	}
	return s.mux.SetWriteDeadline(t)
}

func (s *stream) closedLocked() error {
	if s.gone {
		return net.ErrClosed
	}
	return nil
}

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// CloseWrite implements tunnel.Stream.
func (s *stream) CloseWrite() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.session.mux.IsClosed() {
		return s.fromMux(yamux.ErrSessionShutdown)
	}
	s.mu.Lock()
	if s.writeErr != nil && !errors.Is(s.writeErr, net.ErrClosed) {
		defer s.mu.Unlock()
		return s.writeErr
	}
	s.writeErr = net.ErrClosed
	said := s.finSaid
	s.finSaid = true
	s.mu.Unlock()
	if !said {
		_ = s.mux.Close() // sends FIN; an error means that the session ends
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
	// A peer that has ended its direction, or reset the stream, needs no word.
	stop := !s.eof && s.readErr == nil
	s.gone = true
	s.readErr, s.writeErr = net.ErrClosed, net.ErrClosed
	s.wakeLocked()
	s.finLocked()
	if stop {
		s.session.say(notice{signal: &signal{kind: signalStop, id: s.mux.StreamID(), code: tunnel.CodeCancelled}})
	}
	s.mu.Unlock()
	s.session.forget(s)
	return nil
}

// Reset implements tunnel.Stream.
func (s *stream) Reset(code tunnel.Code) {
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return
	}
	s.gone = true
	if s.readErr == nil {
		s.readErr = &tunnel.Error{Code: code}
	}
	if s.writeErr == nil {
		s.writeErr = &tunnel.Error{Code: code}
	}
	s.wakeLocked()
	s.session.say(notice{signal: &signal{kind: signalReset, id: s.mux.StreamID(), code: code}})
	s.finLocked()
	s.mu.Unlock()
	s.session.forget(s)
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.session.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }
