// Package ratelimit bounds how often each of many clients may do something, in
// bounded memory.
package ratelimit

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxSeen bounds the memory. When it is full, the clients that have their whole
// allowance are forgotten; if that is none, newcomers wait.
const maxSeen = 1 << 16

// Limiter gives every client, named by K, the same allowance. It is safe for
// concurrent use.
type Limiter[K comparable] struct {
	every rate.Limit
	burst int // 0: no limit

	mu   sync.Mutex // guards seen
	seen map[K]*rate.Limiter
}

// New makes a limiter that lets a client act n times per period, all at once or
// spread. Zero or less: no limit.
func New[K comparable](n int, period time.Duration) *Limiter[K] {
	return &Limiter[K]{
		every: rate.Every(period / time.Duration(max(1, n))),
		burst: max(0, n),
		seen:  make(map[K]*rate.Limiter),
	}
}

// Allow takes one from the client's allowance, and reports whether there was one.
func (l *Limiter[K]) Allow(client K) bool {
	if l.burst == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.seen[client]
	if !ok {
		if len(l.seen) >= maxSeen && l.forgetLocked() == 0 {
			return false
		}
		one = rate.NewLimiter(l.every, l.burst)
		l.seen[client] = one
	}
	return one.Allow()
}

// Forget drops the clients that have not acted lately.
func (l *Limiter[K]) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked()
}

func (l *Limiter[K]) forgetLocked() (n int) {
	for client, one := range l.seen {
		if one.Tokens() >= float64(l.burst) {
			delete(l.seen, client)
			n++
		}
	}
	return n
}

// Network gives what counts as one client of an http.Request's RemoteAddr: the
// IPv4 address, or the IPv6 /64. It is false for what is no address.
func Network(remote string) (netip.Prefix, bool) {
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
