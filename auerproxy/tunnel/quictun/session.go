package quictun

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// session is a QUIC connection as a tunnel.Session.
type session struct {
	conn *quic.Conn
	peer identity.ID
	free func() // closes the socket of a dialled session; nil for a shared one

	closeOnce sync.Once
}

func (s *session) Open(ctx context.Context) (tunnel.Stream, error) {
	st, err := s.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, s.fromQUIC(err)
	}
	return &stream{Stream: st, session: s}, nil
}

func (s *session) Accept(ctx context.Context) (tunnel.Stream, error) {
	st, err := s.conn.AcceptStream(ctx)
	if err != nil {
		return nil, s.fromQUIC(err)
	}
	return &stream{Stream: st, session: s}, nil
}

func (s *session) CloseWithError(code tunnel.Code, reason string) error {
	err := s.conn.CloseWithError(quic.ApplicationErrorCode(code), reason)
	<-s.conn.Context().Done()
	s.closeOnce.Do(func() {
		if s.free != nil {
			s.free()
		}
	})
	return err
}

func (s *session) Done() <-chan struct{} { return s.conn.Context().Done() }

func (s *session) Err() error {
	if s.conn.Context().Err() == nil {
		return nil
	}
	return sessionError(context.Cause(s.conn.Context()))
}

func (s *session) Peer() identity.ID           { return s.peer }
func (s *session) Transport() tunnel.Transport { return tunnel.QUIC }
func (s *session) LocalAddr() net.Addr         { return s.conn.LocalAddr() }
func (s *session) RemoteAddr() net.Addr        { return s.conn.RemoteAddr() }

// fromQUIC gives an error of Open or Accept its number.
func (s *session) fromQUIC(err error) error {
	if s.conn.Context().Err() != nil {
		return s.Err()
	}
	return err
}

// sessionError gives the end of a QUIC connection its number.
func sessionError(err error) error {
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return &tunnel.Error{Code: tunnel.Code(e.ErrorCode), Message: e.ErrorMessage, Remote: e.Remote}
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok && e.ErrorCode.IsCryptoError() {
		if e.Remote {
			if te := tunnel.FromAlert(tls.AlertError(e.ErrorCode - 0x100)); te != nil {
				return te
			}
		}
		return tunnel.FromTLS(err)
	}
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return &tunnel.Error{Code: tunnel.CodeHeartbeatLost, Cause: err}
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: "the peer was restarted", Remote: true, Cause: err}
	}
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Cause: err}
}

// stream is a QUIC stream as a tunnel.Stream.
type stream struct {
	*quic.Stream
	session *session
	mu      sync.Mutex
	closed  bool
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, s.fromQUIC(err)
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	return n, s.fromQUIC(err)
}

func (s *stream) fromQUIC(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) { //nolint:errorlint // io.EOF is never wrapped here
		return err
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok {
		return &tunnel.Error{Code: tunnel.Code(e.ErrorCode), Remote: e.Remote}
	}
	if serr := s.session.Err(); serr != nil {
		return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: serr.Error(), Cause: serr}
	}
	return err
}

func (s *stream) CloseWrite() error { return s.Stream.Close() }

func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.CancelRead(quic.StreamErrorCode(tunnel.CodeCancelled))
	err := s.Stream.Close()
	_ = s.SetDeadline(time.Unix(1, 0))
	return err
}

func (s *stream) Reset(code tunnel.Code) {
	s.CancelRead(quic.StreamErrorCode(code))
	s.CancelWrite(quic.StreamErrorCode(code))
}

func (s *stream) LocalAddr() net.Addr  { return s.session.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }
