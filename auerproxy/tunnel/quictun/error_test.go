package quictun

import (
	"context"
	"errors"
	"math"
	"net"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

func TestSessionError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		want   tunnel.Code
		remote bool
	}{
		{&quic.ApplicationError{ErrorCode: 1206, Remote: true}, tunnel.CodeKicked, true},
		{&quic.ApplicationError{ErrorCode: 1205}, tunnel.CodeShutdown, false},
		{&quic.ApplicationError{ErrorCode: math.MaxUint32 + 1206, Remote: true}, tunnel.CodeProtocol, true},
		{&quic.TransportError{ErrorCode: 0x100 + 45, Remote: true}, tunnel.CodeCertificateExpired, true},
		{&quic.TransportError{ErrorCode: 0x100 + 40, Remote: true}, tunnel.CodeProtocol, true},
		{&quic.TransportError{ErrorCode: 0x100 + 42}, tunnel.CodeProtocol, false},
		{&quic.TransportError{ErrorCode: quic.ConnectionRefused, Remote: true}, tunnel.CodeTryLater, true},
		{&quic.TransportError{ErrorCode: quic.NoError, Remote: true}, tunnel.CodeSessionLost, true},
		{&quic.TransportError{ErrorCode: quic.FlowControlError, Remote: true}, tunnel.CodeProtocol, true},
		{&quic.IdleTimeoutError{}, tunnel.CodeHeartbeatLost, false},
		{&quic.HandshakeTimeoutError{}, tunnel.CodeHandshakeTimeout, false},
		{&quic.StatelessResetError{}, tunnel.CodeSessionLost, true},
		{&quic.VersionNegotiationError{}, tunnel.CodeVersion, true},
		{errors.New("anything"), tunnel.CodeSessionLost, false},
	} {
		got := sessionError(tt.err)
		e, ok := errors.AsType[*tunnel.Error](got)
		if !ok || e.Code != tt.want || e.Remote != tt.remote {
			t.Errorf("%T %v: %v (remote %t), want %s (remote %t)", tt.err, tt.err, got, e.Remote, tt.want, tt.remote)
		}
		if errors.Is(got, net.ErrClosed) {
			t.Errorf("%T claims to be net.ErrClosed", tt.err)
		}
	}
}

// Before the end of the handshake anybody on the path can end the connection.
func TestDialError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want tunnel.Code
	}{
		{&quic.TransportError{ErrorCode: 0x100 + 44, Remote: true}, tunnel.CodeUnreachable},
		{&quic.TransportError{ErrorCode: 0x100 + 49, Remote: true}, tunnel.CodeUnreachable},
		{&quic.ApplicationError{ErrorCode: 1105, Remote: true}, tunnel.CodeUnreachable},
		{&quic.TransportError{ErrorCode: quic.ConnectionRefused, Remote: true}, tunnel.CodeTryLater},
		{&quic.HandshakeTimeoutError{}, tunnel.CodeUnreachable},
		{&quic.TransportError{ErrorCode: quic.FlowControlError, Remote: true}, tunnel.CodeProtocol},
	} {
		got := dialError(context.Background(), tt.err)
		if e, ok := errors.AsType[*tunnel.Error](got); !ok || e.Code != tt.want {
			t.Errorf("%T %v: %v, want %s", tt.err, tt.err, got, tt.want)
		}
	}
}
