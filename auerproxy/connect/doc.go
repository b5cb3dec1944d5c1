// Package connect makes a service of a device usable by programs that know
// nothing of the Auerproxy. It is the library behind "auerproxy connect".
//
//	Stdio    a call on standard input and output: ssh -o ProxyCommand
//	Forward  a local port whose connections become calls: ssh -L
//	Proxy    an HTTP proxy on loopback: browsers and curl without certificate
//
// In all three, the end of one direction is handed on as such (half-close), and
// an error on one side resets the other.
//
// Whoever can reach the local port or proxy acts as the service whose certificate
// the dialer holds. [Proxy] therefore insists on a loopback address, and the
// listener of [Forward] should have one.
package connect

import (
	"context"
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// opener is the part of a dial.Dialer that opens calls.
type opener interface {
	Open(ctx context.Context, call dial.Call) (*dial.Conn, error)
}

// Stream is a call of a [dial.Dialer], or something else with its ends.
type Stream interface {
	net.Conn
	CloseWrite() error
	Reset(code tunnel.Code)
}

// Options are for [Forward] and [Proxy]. The zero value is useful.
type Options struct {
	// Connections is how many local connections are served at once; more wait to
	// be accepted. Default 256.
	Connections int
	// Splice bounds a connection in time; see [splice.Options]. Default: no limit
	// for idle connections, since the relay and the device have theirs.
	Splice splice.Options
	// Logger gets calls that failed. Default: none.
	Logger hclog.Logger
}

func (o Options) filled() Options {
	if o.Connections <= 0 {
		o.Connections = 256
	}
	if o.Splice.IdleTimeout == 0 {
		o.Splice.IdleTimeout = -1
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}

// The exit codes of a command, beside those of package cli.
const (
	ExitOK      = 0
	ExitFailed  = 1
	ExitOffline = 4 // the device or its service is not there: AUER-1301, 1304, 1305
	ExitRefused = 5 // certificate, policy or device say no: AUER-11xx, 1302, 1303
	ExitRetry   = 6 // it may work in a moment: no relay, draining, a limit, a timeout
)

// ExitCode gives the exit code for an error of this package. The hint to show with
// it is tunnel.CodeOf(err).Info().Hint.
func ExitCode(err error) int {
	switch c := tunnel.CodeOf(err); {
	case err == nil:
		return ExitOK
	case c == tunnel.CodeNotReachable, c == tunnel.CodeServiceUnknown, c == tunnel.CodeTargetUnreachable:
		return ExitOffline
	case c == tunnel.CodePolicyDenied, c == tunnel.CodeRefusedByDevice, c >= 1100 && c < 1200:
		return ExitRefused
	case tunnel.Retryable(err), c == tunnel.CodeOpenTimeout:
		return ExitRetry
	default:
		return ExitFailed
	}
}

// join splices a local connection with a call until both end or ctx does.
func join(ctx context.Context, local net.Conn, call Stream, o splice.Options) splice.Result {
	stop := context.AfterFunc(ctx, func() { call.Reset(tunnel.CodeCancelled); _ = local.Close() })
	defer stop()
	return splice.Join(local, call, o)
}
