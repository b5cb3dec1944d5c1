package agent

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// fullJitter draws the wait before the attempt after n failures in a row: uniform
// between 0 and min(most, base * 2^(n-1)).
func fullJitter(base, most time.Duration, n int) time.Duration {
	d := base
	for range n - 1 {
		if d >= most/2 {
			d = most
			break
		}
		d *= 2
	}
	return rand.N(min(d, most) + 1)
}

// jitter spreads d by up to share of it in both directions.
func jitter(d time.Duration, share float64) time.Duration {
	return d + time.Duration((2*rand.Float64()-1)*share*float64(d))
}

// needsPerson reports whether only a person can change the answer: trying again
// soon is no use, and another relay would say the same.
func needsPerson(c tunnel.Code) bool {
	switch c {
	case tunnel.CodeVersion,
		tunnel.CodeCertificateMissing, tunnel.CodeCertificateExpired, tunnel.CodeUnknownAuthority,
		tunnel.CodeCertificateRefused, tunnel.CodeBlocked, tunnel.CodeRoleRefused,
		tunnel.CodeCloneSuspected, tunnel.CodeQuarantined:
		return true
	default:
		return false
	}
}

// aboutUs reports whether err is a relay's verdict on this device, as opposed to
// a failure on the way or this side's verdict on a relay.
func aboutUs(err error) bool {
	e, ok := errors.AsType[*tunnel.Error](err)
	return ok && e.Remote && needsPerson(e.Code)
}

// evicted reports whether the session was ended on purpose by somebody who would
// do so again.
func evicted(c tunnel.Code) bool {
	return c == tunnel.CodeReplaced || c == tunnel.CodeKicked || needsPerson(c)
}

// moreTelling picks the error to show of two: a relay's own words before a
// failure on this side, and that before "no answer".
func moreTelling(a, b error) error {
	if telling(b) > telling(a) {
		return b
	}
	return a
}

func telling(err error) int {
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*tunnel.Error](err)
	switch {
	case !ok || e.Code == tunnel.CodeUnreachable || e.Code == tunnel.CodeHandshakeTimeout:
		return 1
	case !e.Remote:
		return 2
	case !needsPerson(e.Code):
		return 3
	default:
		return 4
	}
}
