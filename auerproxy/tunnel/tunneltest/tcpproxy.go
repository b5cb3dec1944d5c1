package tunneltest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// TCPProxy stands between TCP clients and a server.
type TCPProxy struct {
	front  net.Listener
	target string
	fault  *fault
	work   sync.WaitGroup
	end    chan struct{} // closed by Close

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{} // guarded by mu; nil after Close
}

// NewTCPProxy starts a proxy in front of target, "host:port". It ends with the
// test.
func NewTCPProxy(t testing.TB, target string) *TCPProxy {
	t.Helper()
	front, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
	if err != nil {
		t.Fatal(err)
	}
	p := &TCPProxy{
		front: front, target: target, fault: newFault(),
		end: make(chan struct{}), conns: make(map[*net.TCPConn]struct{}),
	}
	p.work.Go(p.serve)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Addr is what clients dial.
func (p *TCPProxy) Addr() string { return p.front.Addr().String() }

// Rebind resets every connection, as a NAT does that forgot its state.
func (p *TCPProxy) Rebind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// Block makes the connections that exist silent and resets new ones at once, or
// lifts that.
func (p *TCPProxy) Block(on bool) { p.fault.set(func() { p.fault.blocked = on }) }

// Blackhole says in which directions nothing passes from now on. As on a real
// line nothing is lost of a connection that survives it, and a sender stalls when
// the buffers are full, that of the proxy's kernel included.
func (p *TCPProxy) Blackhole(toClient, toServer bool) {
	p.fault.set(func() { p.fault.toClient, p.fault.toServer = toClient, toServer })
}

// Close ends the proxy and its connections. It may be called more than once.
func (p *TCPProxy) Close() error {
	p.mu.Lock()
	if p.conns == nil {
		p.mu.Unlock()
		return nil
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	close(p.end)
	p.mu.Unlock()
	err := p.front.Close()
	p.work.Wait()
	return err
}

func (p *TCPProxy) serve() {
	for {
		c, err := p.front.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn) //nolint:forcetypeassert // a TCP listener's connections
		if p.fault.isBlocked() {
			_ = client.SetLinger(0)
			_ = client.Close()
			continue
		}
		p.work.Go(func() { p.join(client) })
	}
}

func (p *TCPProxy) join(client *net.TCPConn) {
	defer p.forget(client)
	c, err := net.Dial("tcp", p.target) //nolint:noctx // loopback answers at once
	if err != nil {
		return
	}
	server := c.(*net.TCPConn) //nolint:forcetypeassert // dialled as tcp
	defer p.forget(server)
	if !p.remember(client) || !p.remember(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, true) })
	both.Go(func() { p.copy(client, server, false) })
	both.Wait()
}

func (p *TCPProxy) remember(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *TCPProxy) forget(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

// copy carries one direction. What was read while the direction was open is held
// back until it is open again.
func (p *TCPProxy) copy(to, from *net.TCPConn, toServer bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.await(toServer) {
			return
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				_ = from.Close()
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		default:
			// A reset passes as a reset.
			_ = to.SetLinger(0)
			_ = to.Close()
			return
		}
	}
}

// await waits until a direction is open; false after Close.
func (p *TCPProxy) await(toServer bool) bool {
	for {
		ok, changed := p.fault.passes(toServer)
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-p.end:
			return false
		}
	}
}
