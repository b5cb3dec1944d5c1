package muxtun

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// places bounds the handshakes that run at once, in all and per source, so that
// one source with silent connections cannot keep the others out.
type places struct {
	free      chan struct{} // holds one element for each free place
	perSource int           // negative: no limit

	mu   sync.Mutex
	used map[netip.Prefix]int // guarded by mu
}

func newPlaces(n, perSource int) *places {
	p := &places{free: make(chan struct{}, n), perSource: perSource, used: make(map[netip.Prefix]int)}
	for range n {
		p.free <- struct{}{}
	}
	return p
}

// wait waits until there is a free place; false when ctx has ended. Only one
// goroutine may wait and take.
func (p *places) wait(ctx context.Context) bool {
	select {
	case e := <-p.free:
		p.free <- e
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// take takes a place for a connection; false where its source has too many. The
// place is free again after the first call of release.
func (p *places) take(addr net.Addr) (release func(), ok bool) {
	src := source(addr)
	p.mu.Lock()
	if p.perSource >= 0 && p.used[src] >= p.perSource {
		p.mu.Unlock()
		return nil, false
	}
	p.used[src]++
	p.mu.Unlock()
	<-p.free
	return sync.OnceFunc(func() {
		p.mu.Lock()
		if p.used[src]--; p.used[src] == 0 {
			delete(p.used, src)
		}
		p.mu.Unlock()
		p.free <- struct{}{}
	}), true
}

// source is whom an address is counted to: an IPv4 address, or an IPv6 /64, which
// one customer has all of.
func source(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
