package muxtun

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// places bounds the handshakes of a listener, so that one source with silent
// connections delays its own kind and nobody else:
//
//	accepted ──► waits for a place of its source ──► waits for a place ──► handshake
//
// Each source may have a quarter of the connections on the way; more are closed.
// Each wait ends with the handshake's deadline.
type places struct {
	accepted chan struct{} // holds an element for each connection on the way
	running  chan struct{} // holds an element for each running handshake

	mu      sync.Mutex
	sources map[netip.Prefix]*origin // guarded by mu

	perSource, perSourceAll int
}

// origin is where connections on the way come from.
type origin struct {
	running chan struct{} // holds an element for each of its running handshakes
	conns   int           // guarded by places.mu; its connections on the way
}

// perPlace is how many connections may be on the way for each place.
const perPlace = 16

func newPlaces(n, perSource int) *places {
	if perSource < 0 {
		perSource = n
	}
	return &places{
		accepted: make(chan struct{}, perPlace*n), running: make(chan struct{}, n),
		sources: make(map[netip.Prefix]*origin), perSource: perSource, perSourceAll: perPlace * n / 4,
	}
}

// wait waits until a connection may be accepted, which [places.enter] or [places.skip]
// follows; false when ctx has ended.
func (p *places) wait(ctx context.Context) bool {
	select {
	case p.accepted <- struct{}{}:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// skip says that no connection was accepted.
func (p *places) skip() { <-p.accepted }

// place is a connection's way through the handshake.
type place struct {
	places *places
	from   netip.Prefix
	origin *origin
	held   int // owned by the handshake; how many of the two places it has
}

// enter takes up an accepted connection; nil where its source has too many.
func (p *places) enter(addr net.Addr) *place {
	from := source(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.sources[from]
	if o == nil {
		o = &origin{running: make(chan struct{}, p.perSource)}
		p.sources[from] = o
	}
	if o.conns >= p.perSourceAll {
		<-p.accepted
		return nil
	}
	o.conns++
	return &place{places: p, from: from, origin: o}
}

// run waits for the handshake's turn; false when ctx has ended.
func (pl *place) run(ctx context.Context) bool {
	for _, c := range []chan struct{}{pl.origin.running, pl.places.running} {
		select {
		case c <- struct{}{}:
			pl.held++
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// leave ends the way, at whatever point it is.
func (pl *place) leave() {
	if pl.held > 1 {
		<-pl.places.running
	}
	if pl.held > 0 {
		<-pl.origin.running
	}
	pl.places.mu.Lock()
	if pl.origin.conns--; pl.origin.conns == 0 {
		delete(pl.places.sources, pl.from)
	}
	pl.places.mu.Unlock()
	<-pl.places.accepted
}

// source is whom an address is counted to: an IPv4 address, or an IPv6 /64, which
// one customer has all of. Other addresses count together.
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
