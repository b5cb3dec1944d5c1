package server

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter bounds the requests per network: an IPv4 address or an IPv6 /64.
type limiter struct {
	every rate.Limit
	burst int // 0: no limit

	mu   sync.Mutex // guards seen
	seen map[netip.Prefix]*rate.Limiter
}

// maxSeen bounds the memory. When it is full, the networks that have their whole
// allowance are forgotten; if that is none, newcomers wait.
const maxSeen = 1 << 16

func newLimiter(perMinute int) *limiter {
	return &limiter{
		every: rate.Every(time.Minute / time.Duration(max(1, perMinute))),
		burst: max(0, perMinute),
		seen:  make(map[netip.Prefix]*rate.Limiter),
	}
}

// allow takes one from the network's allowance.
func (l *limiter) allow(remote string) bool {
	if l.burst == 0 {
		return true
	}
	network, ok := networkOf(remote)
	if !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.seen[network]
	if !ok {
		if len(l.seen) >= maxSeen && l.forgetLocked() == 0 {
			return false
		}
		one = rate.NewLimiter(l.every, l.burst)
		l.seen[network] = one
	}
	return one.Allow()
}

// forget drops the networks that have not asked lately.
func (l *limiter) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked()
}

func (l *limiter) forgetLocked() (n int) {
	for network, one := range l.seen {
		if one.Tokens() >= float64(l.burst) {
			delete(l.seen, network)
			n++
		}
	}
	return n
}

func networkOf(remote string) (netip.Prefix, bool) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr, bits := ap.Addr().Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	return p, err == nil
}
