package tunnel

import (
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// Path is what this side of a session measures of the way to its peer.
type Path struct {
	// RTT is the round trip, smoothed, and MinRTT the shortest one.
	RTT, MinRTT time.Duration
	// Sent are the packets sent since the start of the session, Lost those of them
	// that were lost or sent again.
	Sent, Lost uint64
	// Rate is how many bytes per second the congestion control lets pass: what the
	// path carries, where there is enough to send.
	Rate uint64
}

// Measurer is a Session that measures its path.
type Measurer interface {
	Session

	// Path gives what is known now; false where nothing is.
	Path() (Path, bool)
}

// PathOf gives what a session measures; nil where it does not.
func PathOf(s Session) *tunnelpb.Path {
	m, ok := s.(Measurer)
	if !ok {
		return nil
	}
	p, ok := m.Path()
	if !ok {
		return nil
	}
	us := func(d time.Duration) uint32 {
		return uint32(min(max(d.Microseconds(), 0), 1<<32-1)) //nolint:gosec // bounded in the same line
	}
	return &tunnelpb.Path{RttUs: us(p.RTT), MinRttUs: us(p.MinRTT), Sent: p.Sent, Lost: p.Lost, Rate: p.Rate}
}

// PathFrom reads a path as the peer has told it; the zero Path where it has not.
func PathFrom(p *tunnelpb.Path) Path {
	us := func(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
	return Path{RTT: us(p.GetRttUs()), MinRTT: us(p.GetMinRttUs()), Sent: p.GetSent(), Lost: p.GetLost(), Rate: p.GetRate()}
}

// RateOf is the rate of a congestion window.
func RateOf(window uint64, roundTrip time.Duration) uint64 {
	if roundTrip <= 0 {
		return 0
	}
	return uint64(float64(window) / roundTrip.Seconds())
}

// ChoiceName is a choice as a word, "preferred"; empty for one that is not said, or
// not known here.
func ChoiceName(c tunnelpb.Choice) string {
	name, known := tunnelpb.Choice_name[int32(c)]
	if !known || c == tunnelpb.Choice_CHOICE_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(name, "CHOICE_"))
}
