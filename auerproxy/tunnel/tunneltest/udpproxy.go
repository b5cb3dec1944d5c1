package tunneltest

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// UDPProxy stands between UDP clients and a server like a NAT: the server sees
// one port of the proxy per client.
type UDPProxy struct {
	front  *net.UDPConn
	target *net.UDPAddr
	fault  *fault
	work   sync.WaitGroup

	maxSize atomic.Int64 // longest datagram that passes; 0 for any
	lose    atomic.Int64 // every lose-th datagram is lost; 0 for none
	passed  atomic.Int64

	mu     sync.Mutex
	closed bool                            // guarded by mu
	out    map[netip.AddrPort]*net.UDPConn // guarded by mu; by client
	old    []*net.UDPConn                  // guarded by mu; out of use since Rebind
}

// NewUDPProxy starts a proxy in front of target, "host:port". It ends with the
// test.
func NewUDPProxy(t testing.TB, target string) *UDPProxy {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := &UDPProxy{front: front, target: to, fault: newFault(), out: make(map[netip.AddrPort]*net.UDPConn)}
	p.work.Go(p.serve)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Addr is what clients dial.
func (p *UDPProxy) Addr() string { return p.front.LocalAddr().String() }

// Rebind gives every client a new port towards the server. What the server sends
// to the old one is lost.
func (p *UDPProxy) Rebind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client, conn := range p.out {
		// The socket stays open, so that the kernel does not tell the server.
		p.old = append(p.old, conn)
		delete(p.out, client)
	}
}

// Block makes both directions silent, as a firewall that drops UDP does, or lifts
// that.
func (p *UDPProxy) Block(on bool) { p.fault.set(func() { p.fault.blocked = on }) }

// Blackhole says in which directions datagrams are lost from now on.
func (p *UDPProxy) Blackhole(toClient, toServer bool) {
	p.fault.set(func() { p.fault.toClient, p.fault.toServer = toClient, toServer })
}

// MaxSize loses longer datagrams; 0 lets all pass.
func (p *UDPProxy) MaxSize(n int) { p.maxSize.Store(int64(n)) }

// Lose loses every n-th datagram, counted over both directions; 0 loses none.
func (p *UDPProxy) Lose(n int) { p.lose.Store(int64(n)) }

// Close ends the proxy. It may be called more than once.
func (p *UDPProxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for _, c := range p.out {
		_ = c.Close()
	}
	for _, c := range p.old {
		_ = c.Close()
	}
	p.mu.Unlock()
	err := p.front.Close()
	p.work.Wait()
	return err
}

func (p *UDPProxy) passes(toServer bool, size int) bool {
	if ok, _ := p.fault.passes(toServer); !ok {
		return false
	}
	if most := p.maxSize.Load(); most > 0 && int64(size) > most {
		return false
	}
	n := p.lose.Load()
	return n <= 0 || p.passed.Add(1)%n != 0
}

func (p *UDPProxy) serve() {
	buf := make([]byte, 64<<10)
	for {
		n, client, err := p.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if !p.passes(true, n) {
			continue
		}
		if out := p.outFor(client); out != nil {
			// A refused datagram is a lost datagram.
			_, _ = out.WriteToUDP(buf[:n], p.target)
		}
	}
}

// outFor gives the socket that stands for a client; nil after Close.
func (p *UDPProxy) outFor(client netip.AddrPort) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	if c, ok := p.out[client]; ok {
		return c
	}
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil
	}
	p.out[client] = c
	p.work.Go(func() { p.answer(c, client) })
	return c
}

func (p *UDPProxy) answer(c *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		current := p.out[client] == c
		p.mu.Unlock()
		if !current || !p.passes(false, n) {
			continue
		}
		_ = p.front.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = p.front.WriteToUDPAddrPort(buf[:n], client)
	}
}
