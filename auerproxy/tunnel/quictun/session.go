package quictun

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// session is a QUIC connection as a tunnel.Session.
type session struct {
	conn    *quic.Conn
	peer    identity.ID
	expires time.Time     // of the peer's certificate
	free    func()        // closes the socket of a dialled session; nil for a shared one
	opens   chan struct{} // holds an element for each stream that this side has open

	freeOnce sync.Once
}

// newSession reads the peer's identity. Where there is none the connection is
// closed.
func newSession(conn *quic.Conn, free func(), cfg Config) (*session, error) {
	s := &session{conn: conn, free: free, opens: make(chan struct{}, max(cfg.MaxOpenStreams, 1))}
	state := conn.ConnectionState().TLS
	peer, err := identity.FromConnectionState(state)
	if err != nil {
		err = tunnel.FromTLS(err)
		if free != nil { // dialled
			err = tunnel.BeforeProof(err)
		}
		_ = s.CloseWithError(tunnel.CodeOf(err), "certificate refused")
		return nil, err
	}
	s.peer = peer
	s.expires = state.PeerCertificates[0].NotAfter // there is one: it gave the identity
	if free == nil {
		Slim(conn)
	} else {
		// The socket of a session that the peer ended.
		context.AfterFunc(conn.Context(), func() { s.freeOnce.Do(free) })
	}
	return s, nil
}

// Open implements tunnel.Session.
func (s *session) Open(ctx context.Context) (tunnel.Stream, error) {
	select {
	case s.opens <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.conn.Context().Done():
		return nil, s.Err()
	}
	st, err := s.conn.OpenStreamSync(ctx)
	if err != nil {
		<-s.opens
		return nil, s.fromQUIC(ctx, err)
	}
	return &stream{quic: st, session: s, own: true}, nil
}

// Accept implements tunnel.Session.
func (s *session) Accept(ctx context.Context) (tunnel.Stream, error) {
	st, err := s.conn.AcceptStream(ctx)
	if err != nil {
		return nil, s.fromQUIC(ctx, err)
	}
	return &stream{quic: st, session: s}, nil
}

// fromQUIC gives an error of Open or Accept its number: ctx has ended, or the
// session is about to.
func (s *session) fromQUIC(ctx context.Context, err error) error {
	if s.conn.Context().Err() == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return sessionError(err)
}

// maxReason is how many bytes of a reason are sent. It must fit into one packet.
const maxReason = 512

// CloseWithError implements tunnel.Session.
func (s *session) CloseWithError(c tunnel.Code, reason string) error {
	reason = reason[:min(len(reason), maxReason)]
	err := s.conn.CloseWithError(quic.ApplicationErrorCode(c), reason)
	<-s.conn.Context().Done()
	if s.free != nil {
		s.freeOnce.Do(s.free)
	}
	return err
}

// Done implements tunnel.Session.
func (s *session) Done() <-chan struct{} { return s.conn.Context().Done() }

// Err implements tunnel.Session.
func (s *session) Err() error {
	if s.conn.Context().Err() == nil {
		return nil
	}
	return sessionError(context.Cause(s.conn.Context()))
}

func (s *session) Peer() identity.ID { return s.peer }

// Expires implements tunnel.Certified.
func (s *session) Expires() time.Time { return s.expires }

func (s *session) Transport() tunnel.Transport { return tunnel.QUIC }
func (s *session) LocalAddr() net.Addr         { return s.conn.LocalAddr() }
func (s *session) RemoteAddr() net.Addr        { return s.conn.RemoteAddr() }

// sessionError gives the end of a QUIC connection its number. The error of quic-go
// is not kept as the cause where it says nothing more: it claims to be
// net.ErrClosed, and some of it to be a timeout, which the end of a session is not.
func sessionError(err error) error {
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return &tunnel.Error{Code: code(uint64(e.ErrorCode)), Message: e.ErrorMessage, Remote: e.Remote}
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		return transportError(e)
	}
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return &tunnel.Error{Code: tunnel.CodeHeartbeatLost}
	}
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return &tunnel.Error{Code: tunnel.CodeHandshakeTimeout}
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: "the peer was restarted", Remote: true}
	}
	if _, ok := errors.AsType[*quic.VersionNegotiationError](err); ok {
		return &tunnel.Error{Code: tunnel.CodeVersion, Message: err.Error(), Remote: true}
	}
	return &tunnel.Error{Code: tunnel.CodeSessionLost, Message: err.Error()}
}

// transportError gives an error of QUIC (RFC 9000 §20.1) its number.
func transportError(e *quic.TransportError) error {
	switch {
	case e.ErrorCode.IsCryptoError() && e.Remote:
		if te := tunnel.FromAlert(tls.AlertError(e.ErrorCode - 0x100)); te != nil {
			return te
		}
	case e.ErrorCode.IsCryptoError():
		if te, ok := errors.AsType[*tunnel.Error](tunnel.FromTLS(e)); ok {
			return te
		}
	case e.ErrorCode == quic.ConnectionRefused && e.Remote:
		return &tunnel.Error{Code: tunnel.CodeTryLater, Message: "the peer takes no connection now", Remote: true}
	case e.ErrorCode == quic.NoError:
		return &tunnel.Error{Code: tunnel.CodeSessionLost, Remote: e.Remote}
	}
	return &tunnel.Error{Code: tunnel.CodeProtocol, Message: e.Error(), Remote: e.Remote}
}

// code is a QUIC application error code (62 bits) as a number of the tunnel.
func code(c uint64) tunnel.Code {
	if c > math.MaxUint32 {
		return tunnel.CodeProtocol
	}
	return tunnel.Code(c)
}
