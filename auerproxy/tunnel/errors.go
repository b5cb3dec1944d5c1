package tunnel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Code is the number of an error that crosses the wire. Numbers are append-only:
// none is ever reused or given another meaning. The table with what to do about
// each is errors.md.
type Code uint32

// The codes, by range: 10xx the protocol, 11xx who the peer is, 12xx the session,
// 13xx opening a stream, 14xx a stream that was open.
const (
	CodeOK Code = 0

	CodeProtocol         Code = 1001
	CodeVersion          Code = 1002
	CodeMessageTooLarge  Code = 1003
	CodeHandshakeTimeout Code = 1004
	CodeInternal         Code = 1005

	CodeCertificateMissing Code = 1101
	CodeCertificateExpired Code = 1102
	CodeUnknownAuthority   Code = 1103
	CodeCertificateRefused Code = 1104
	CodeBlocked            Code = 1105
	CodeRoleRefused        Code = 1106
	CodeCloneSuspected     Code = 1107
	CodeQuarantined        Code = 1108
	CodeRelayUntrusted     Code = 1109

	CodeReplaced      Code = 1201
	CodeDraining      Code = 1202
	CodeTryLater      Code = 1203
	CodeHeartbeatLost Code = 1204
	CodeShutdown      Code = 1205
	CodeKicked        Code = 1206
	CodeIdle          Code = 1207
	CodeUnreachable   Code = 1208

	CodeNotReachable      Code = 1301
	CodePolicyDenied      Code = 1302
	CodeRefusedByDevice   Code = 1303
	CodeServiceUnknown    Code = 1304
	CodeTargetUnreachable Code = 1305
	CodeTooManyStreams    Code = 1306
	CodeRateLimited       Code = 1307
	CodeOpenTimeout       Code = 1308
	CodeHopLimit          Code = 1309
	CodeTunnelGone        Code = 1310

	CodeReset       Code = 1401
	CodeSlowReader  Code = 1402
	CodeStreamIdle  Code = 1403
	CodeSessionLost Code = 1404
	CodeCancelled   Code = 1405
)

// CodeInfo describes a code for people and for the edges (HTTP, CLI).
type CodeInfo struct {
	Code Code
	// Name is a stable word, e.g. "draining".
	Name string
	// Text says what happened, in one line.
	Text string
	// Hint says what to do about it.
	Hint string
	// Retryable: the code guarantees that no byte of the call reached the device,
	// so a caller may ask another relay on its own.
	Retryable bool
	// HTTPStatus is what a CONNECT caller sees.
	HTTPStatus int
}

var codes = []CodeInfo{
	{CodeOK, "ok", "no error", "", false, 200},

	{CodeProtocol, "protocol", "the peer sent something that the protocol does not allow", "compare the versions of both sides", false, 502},
	{CodeVersion, "version", "the two sides share no protocol version", "update the older side", false, 502},
	{CodeMessageTooLarge, "message_too_large", "a message is longer than the limit", "the peer is broken or hostile", false, 502},
	{CodeHandshakeTimeout, "handshake_timeout", "the peer did not finish the handshake in time", "look for loss on the path or a stuck peer", true, 504},
	{CodeInternal, "internal", "an error on the answering side that is not the caller's fault", "see its log", false, 500},

	{CodeCertificateMissing, "certificate_missing", "the peer showed no certificate", "enrol the endpoint, or name its certificate and key", false, 401},
	{CodeCertificateExpired, "certificate_expired", "the certificate is expired or not yet valid", "check both clocks, then renew or enrol again", false, 401},
	{CodeUnknownAuthority, "unknown_authority", "the certificate is not from this trust domain's authority", "use a certificate of this PKI; check the trust bundle", false, 401},
	{CodeCertificateRefused, "certificate_refused", "the other side refused the certificate in TLS: blocked, of a role that may not connect, or malformed", "ask the operator whether the serial is blocked; inspect the certificate", false, 403},
	{CodeBlocked, "blocked", "the identity is blocked", "an operator blocked it; see the revocation's reason", false, 403},
	{CodeRoleRefused, "role_refused", "an endpoint of this kind may not do this", "use a certificate of the right kind", false, 403},
	{CodeCloneSuspected, "clone_suspected", "two holders of one certificate are connected at once", "find the copy; enrol one of them anew", false, 409},
	{CodeQuarantined, "quarantined", "the identity changed hands too often and waits", "find the copy; it is let in again after the hold-down", false, 409},
	{CodeRelayUntrusted, "relay_untrusted", "the answering side is not a relay of this trust domain", "check the address and the trust bundle", false, 502},

	{CodeReplaced, "replaced", "a newer session of the same endpoint took over", "nothing: this is the normal end of an old session", true, 503},
	{CodeDraining, "draining", "the relay is being emptied", "use another relay", true, 503},
	{CodeTryLater, "try_later", "the relay is at its limit", "wait as long as the answer says", true, 503},
	{CodeHeartbeatLost, "heartbeat_lost", "the peer was silent for too long", "look for loss on the path", false, 504},
	{CodeShutdown, "shutdown", "the peer was stopped", "it comes back by itself, or use another relay", true, 503},
	{CodeKicked, "kicked", "an operator closed the session", "it comes back by itself", true, 503},
	{CodeIdle, "idle", "the session was not used for a while", "open a new one", true, 503},
	{CodeUnreachable, "unreachable", "no relay answers", "check the address, the port and the firewall (UDP and TCP)", true, 503},

	{CodeNotReachable, "not_reachable", "the target is not reachable: unknown, offline, or not yours", "check the serial and whether the device is online", true, 404},
	{CodePolicyDenied, "policy_denied", "the policy does not let this caller open this service", "see the policy table in the relay's configuration", false, 403},
	{CodeRefusedByDevice, "refused_by_device", "the device refused the caller", "see the callers that the device allows for this service", false, 403},
	{CodeServiceUnknown, "service_unknown", "the device offers no such service", "see the services in the device's configuration", false, 404},
	{CodeTargetUnreachable, "target_unreachable", "the device could not connect to its local target", "see whether the local server runs", false, 502},
	{CodeTooManyStreams, "too_many_streams", "the limit of concurrent streams is reached", "wait for running calls, or raise the limit", true, 429},
	{CodeRateLimited, "rate_limited", "streams are opened faster than the limit", "wait as long as the answer says", true, 429},
	{CodeOpenTimeout, "open_timeout", "no open-ack in time", "whether the device saw the call is not known", false, 504},
	{CodeHopLimit, "hop_limit", "the stream was forwarded too often", "the relays disagree about who holds the device", true, 508},
	{CodeTunnelGone, "tunnel_gone", "the tunnel ended before the open-ack", "call again", true, 503},

	{CodeReset, "reset", "the peer reset the stream", "see the peer's log", false, 502},
	{CodeSlowReader, "slow_reader", "a reader took nothing for too long", "the reader is stuck or its line is too slow", false, 504},
	{CodeStreamIdle, "stream_idle", "the stream carried nothing for too long", "raise idle_timeout if the protocol is quiet", false, 504},
	{CodeSessionLost, "session_lost", "the session under an open stream ended", "call again if the call may be repeated", false, 502},
	{CodeCancelled, "cancelled", "the opener gave up", "nothing", false, 499},
}

// Codes lists every code in ascending order. The slice is the caller's.
func Codes() []CodeInfo { return append([]CodeInfo(nil), codes...) }

// Info describes the code; an unknown code, e.g. of a newer peer, gets a generic
// description.
func (c Code) Info() CodeInfo {
	for _, ci := range codes {
		if ci.Code == c {
			return ci
		}
	}
	return CodeInfo{Code: c, Name: fmt.Sprintf("code_%d", uint32(c)), Text: "an error that this version does not know", Hint: "update this side", HTTPStatus: 502}
}

// String is the code as people quote it, e.g. "AUER-1301".
func (c Code) String() string { return fmt.Sprintf("AUER-%d", uint32(c)) }

// Error is an error with a number. Message is safe to show to the other side;
// Cause is not sent.
type Error struct {
	Code    Code
	Message string
	// Remote: the peer said so, over the wire.
	Remote bool
	// RetryAfterMin and RetryAfterMax: the peer asks to wait a uniform time
	// between the two. Both 0: no wish.
	RetryAfterMin, RetryAfterMax time.Duration
	Cause                        error
}

// Errorf makes a local error; a %w in the format becomes the cause.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: c, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Error gives number, meaning and detail in one line.
func (e *Error) Error() string {
	s := e.Code.String() + " " + e.Code.Info().Text
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is makes errors.Is(err, &Error{Code: c}) compare by code alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Timeout reports whether the code means that time ran out; with Temporary it
// makes the error a net.Error.
func (e *Error) Timeout() bool {
	switch e.Code {
	case CodeOpenTimeout, CodeHandshakeTimeout, CodeSlowReader, CodeStreamIdle, CodeHeartbeatLost:
		return true
	default:
		return errors.Is(e.Cause, os.ErrDeadlineExceeded)
	}
}

// Temporary is part of net.Error.
func (e *Error) Temporary() bool { return e.Code.Info().Retryable }

// RetryAfter draws a uniform time between RetryAfterMin and RetryAfterMax.
func (e *Error) RetryAfter() time.Duration {
	if e.RetryAfterMax <= e.RetryAfterMin {
		return e.RetryAfterMin
	}
	return e.RetryAfterMin + rand.N(e.RetryAfterMax-e.RetryAfterMin)
}

// CodeOf gives the number of an error: that of the first [Error] in its tree,
// [CodeOpenTimeout] for an exceeded deadline, [CodeCancelled] for a cancelled
// context, [CodeOK] for nil and [CodeInternal] for the rest.
func CodeOf(err error) Code {
	if err == nil {
		return CodeOK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return CodeOpenTimeout
	case errors.Is(err, context.Canceled):
		return CodeCancelled
	default:
		return CodeInternal
	}
}

// Retryable reports whether err guarantees that no byte of the call reached the
// device.
func Retryable(err error) bool { return err != nil && CodeOf(err).Info().Retryable }
