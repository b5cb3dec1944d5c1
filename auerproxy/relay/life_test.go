package relay

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// TestControlError: the control stream may learn of the session's end before the session
// says it, and what is told to others then is that end, not that a stream broke.
func TestControlError(t *testing.T) {
	t.Parallel()
	shutdown := &tunnel.Error{Code: tunnel.CodeShutdown, Remote: true}
	for name, tc := range map[string]struct {
		err    error
		code   tunnel.Code
		remote bool
	}{
		"the session was closed":     {&tunnel.Error{Code: tunnel.CodeSessionLost, Cause: shutdown}, tunnel.CodeShutdown, true},
		"the connection broke":       {&tunnel.Error{Code: tunnel.CodeSessionLost, Cause: errors.New("broken")}, tunnel.CodeSessionLost, false},
		"the stream was reset":       {&tunnel.Error{Code: tunnel.CodeReset, Remote: true}, tunnel.CodeReset, true},
		"nothing came":               {os.ErrDeadlineExceeded, tunnel.CodeHeartbeatLost, false},
		"the stream ended by itself": {io.EOF, tunnel.CodeProtocol, false},
	} {
		if e := controlError(tc.err); e.Code != tc.code || e.Remote != tc.remote {
			t.Errorf("%s: %v, remote %t", name, e, e.Remote)
		}
	}
}
