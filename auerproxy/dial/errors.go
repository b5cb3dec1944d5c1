package dial

import (
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// What an open can fail with, for errors.Is. The number in the comment is the one
// that people see; tunnel/errors.md says what to do about it.
var (
	// ErrOffline (AUER-1301): the device is unknown, offline, or not the caller's;
	// which of these is not told.
	ErrOffline error = &tunnel.Error{Code: tunnel.CodeNotReachable}
	// ErrPolicy (AUER-1302): the relay's policy denies the call.
	ErrPolicy error = &tunnel.Error{Code: tunnel.CodePolicyDenied}
	// ErrRefusedByDevice (AUER-1303): the device does not let this caller in.
	ErrRefusedByDevice error = &tunnel.Error{Code: tunnel.CodeRefusedByDevice}
	// ErrServiceUnknown (AUER-1304): the device has no such service.
	ErrServiceUnknown error = &tunnel.Error{Code: tunnel.CodeServiceUnknown}
	// ErrTargetDown (AUER-1305): the device's local server does not answer.
	ErrTargetDown error = &tunnel.Error{Code: tunnel.CodeTargetUnreachable}
	// ErrTimeout (AUER-1308): no answer in time; the device may have seen the call.
	ErrTimeout error = &tunnel.Error{Code: tunnel.CodeOpenTimeout}
	// ErrDraining (AUER-1202): every relay that answered is being emptied.
	ErrDraining error = &tunnel.Error{Code: tunnel.CodeDraining}
	// ErrNoRelay (AUER-1208): no relay answers.
	ErrNoRelay error = &tunnel.Error{Code: tunnel.CodeUnreachable}
	// ErrClosed (AUER-1205): the dialer was closed, or the peer stopped.
	ErrClosed error = &tunnel.Error{Code: tunnel.CodeShutdown}
)

// telling orders errors by how much they tell the caller: a verdict about the
// call before one about the device, and that before the state of a relay.
func telling(err error) int {
	switch c := tunnel.CodeOf(err); {
	case err == nil:
		return 0
	case !tunnel.Retryable(err):
		return 5
	case c == tunnel.CodeNotReachable:
		return 4
	case c == tunnel.CodeTooManyStreams, c == tunnel.CodeRateLimited, c == tunnel.CodeTryLater:
		return 3
	case c == tunnel.CodeUnreachable, c == tunnel.CodeHandshakeTimeout:
		return 1
	default:
		return 2
	}
}

// moreTelling picks one of two errors; the first of equals.
func moreTelling(a, b error) error {
	if telling(b) > telling(a) {
		return b
	}
	return a
}

// onTheMove reports whether the answer says that a session has just ended or is
// about to: the target may already be found in another one.
func onTheMove(err error) bool {
	switch tunnel.CodeOf(err) {
	case tunnel.CodeReplaced, tunnel.CodeDraining, tunnel.CodeShutdown, tunnel.CodeKicked, tunnel.CodeIdle, tunnel.CodeTunnelGone:
		return true
	default:
		return false
	}
}
