package gateway

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// places are the networks from which a browser has shown the session's cookie: an address
// of IPv4, a /64 of IPv6, in which one machine takes many. A TLS connection to the PBX
// has no cookie that the gateway could see; it comes from one of these. A browser may have
// several at once, such as one of each protocol, and new ones later.
type places struct {
	mu   sync.Mutex
	seen []netip.Prefix // guarded by mu; the one seen last at the end
}

// maxPlaces is how many are remembered; the one seen last longest ago goes.
const maxPlaces = 4

func placeOf(addr netip.Addr) (netip.Prefix, bool) {
	bits := 64
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	return p, err == nil
}

// see notes where a request with the cookie comes from, "address:port".
func (p *places) see(remoteAddr string) {
	ap, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return
	}
	place, ok := placeOf(ap.Addr())
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(slices.DeleteFunc(p.seen, func(o netip.Prefix) bool { return o == place }), place)
	p.seen = slices.Delete(p.seen, 0, max(0, len(p.seen)-maxPlaces))
}

func (p *places) have(addr netip.Addr) bool {
	place, ok := placeOf(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	return ok && slices.Contains(p.seen, place)
}

// pages is where the PBX's pages are, or the terminal; empty: not in such a session, or not
// yet.
func (s *session) pages(v view) string {
	switch {
	case v.State != grant.Active || !v.ended.IsZero():
	case s.grant.Service == grant.Web:
		return "/"
	case s.grant.Service == grant.SSH:
		return pathTerminal
	case s.grant.Service == grant.TLS && s.g.cfg.PBXDomain != "":
		return "https://" + s.g.cfg.authority(grant.PBXName(s.grant.Serial, s.g.cfg.PBXDomain)) + "/"
	}
	return ""
}

// sealed gives the session in which a PBX is reached from an address with TLS that ends in
// the PBX: the newest, where there are several of one user. Where they are of several, who
// share the address, nobody can tell whose connection it is, and there is none.
func (r *registry) sealed(serial identity.Serial, from netip.Addr) (newest *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.open {
		if s.grant.Service != grant.TLS || s.grant.Serial != serial || s.ctx.Err() != nil || !s.places.have(from) {
			continue
		}
		if v, _ := s.look(); v.State != grant.Active || !v.ended.IsZero() {
			continue
		}
		switch {
		case newest == nil:
			newest = s
		case s.grant.User != newest.grant.User || s.grant.Tenant != newest.grant.Tenant:
			return nil
		case s.began.After(newest.began):
			newest = s
		}
	}
	return newest
}

// What Sealed and Challenge refuse with.
var (
	errNoSession = errors.New("no session for this PBX from there")
	errOften     = errors.New("too often")
)

// Sealed opens a call for the ciphertext of a TLS connection to a PBX. There has to be a
// session of the service "tls" to it that goes on, and whose browser has come from the
// same network: who shares an address with that browser gets as far as to the PBX's own
// sign-in, and no further. Sessions of different users from one network exclude each
// other. The call is cut when the session ends, and counts as one of its
// streams.
func (g *Gateway) Sealed(ctx context.Context, serial identity.Serial, from netip.Addr) (net.Conn, error) {
	s := g.sessions.sealed(serial, from)
	if s == nil {
		g.metrics.refused.WithLabelValues("sealed").Inc()
		return nil, errNoSession
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if !s.acquire(ctx) {
		g.metrics.refused.WithLabelValues(refusedStreams.name).Inc()
		return nil, errors.New("too many connections of the session")
	}
	c, err := s.dial(ctx, string(grant.TLS))
	if err != nil {
		<-s.streams
		g.metrics.refused.WithLabelValues("sealed").Inc()
		return nil, err
	}
	in := &sealedConn{Conn: c}
	in.mu.Lock()
	defer in.mu.Unlock()
	stop := context.AfterFunc(s.ctx, func() { in.Reset(tunnel.CodeCancelled) })
	in.free = func() { stop(); <-s.streams }
	return in, nil
}

// sealedConn gives its place among the streams of a session back when it is closed.
type sealedConn struct {
	net.Conn
	mu   sync.Mutex
	free func() // guarded by mu; nil: it was closed
}

// leave gives the place back; false: that was done before.
func (c *sealedConn) leave() bool {
	c.mu.Lock()
	free := c.free
	c.free = nil
	c.mu.Unlock()
	if free == nil {
		return false
	}
	free()
	return true
}

// Close can be called more than once.
func (c *sealedConn) Close() error {
	if !c.leave() {
		return nil
	}
	return c.Conn.Close()
}

// Reset gives the call up, with the code where it can tell one.
func (c *sealedConn) Reset(code tunnel.Code) {
	if c.leave() {
		splice.Reset(c.Conn, code)
	}
}

// CloseWrite ends one direction.
func (c *sealedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// askersTimes is how much more often than one PBX is asked one network may ask.
const askersTimes = 20

// Challenge opens a call for a certificate authority that asks a PBX to prove its name.
// No session is needed: the PBX serves nothing on such a call.
func (g *Gateway) Challenge(ctx context.Context, serial identity.Serial, from netip.Addr) (net.Conn, error) {
	if !g.askers.allow(from) || !g.proofs.take(maphash.String(g.proofs.seed, string(serial))) {
		g.metrics.refused.WithLabelValues("challenge").Inc()
		return nil, errOften
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timing.Open)
	defer cancel()
	return g.cfg.Dial(ctx, serial, string(grant.TLS), remote.PurposeChallenge)
}
