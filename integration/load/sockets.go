package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
)

// connectionIDLen keeps the connection ids of a socket's sessions apart, also
// after many reconnects.
const connectionIDLen = 8

// sockets are what the devices of a fleet share to reach the relays.
type sockets struct {
	sources []netip.Addr // local addresses, used in turn; none: the system chooses
	udp     []*quic.Transport
	counted []*countingConn // the connections of udp

	mu  sync.Mutex
	tcp map[int]net.Conn // guarded by mu; the newest connection of each device
}

// openSockets opens the UDP sockets. Where every relay is on this machine, sockets
// and connections leave from several loopback addresses, each of which has ports
// of its own.
func openSockets(ctx context.Context, relays []string, udp, sources int) (*sockets, error) {
	s := &sockets{}
	if local, err := allLoopback(ctx, relays); err != nil {
		return nil, err
	} else if local {
		for i := range sources {
			s.sources = append(s.sources, netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}))
		}
	}
	for i := range udp {
		var addr *net.UDPAddr
		if len(s.sources) > 0 {
			addr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.source(i), 0))
		}
		pc, err := net.ListenUDP("udp", addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("UDP socket of the fleet: %w", err), s.close())
		}
		c := newCountingConn(pc)
		s.counted = append(s.counted, c)
		s.udp = append(s.udp, &quic.Transport{Conn: c, ConnectionIDLength: connectionIDLen})
	}
	return s, nil
}

// source is the local address of the i-th of something.
func (s *sockets) source(i int) netip.Addr { return s.sources[i%len(s.sources)] }

// dialTCP dials from the i-th device's local address.
func (s *sockets) dialTCP(i int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if len(s.sources) > 0 {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.source(i), 0))
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, addr)
		if err == nil {
			s.keep(i, c)
		}
		return c, err
	}
}

// close closes the sockets and every session on them.
func (s *sockets) close() error {
	var errs []error
	for _, t := range s.udp {
		errs = append(errs, t.Close(), t.Conn.Close())
	}
	return errors.Join(errs...)
}

// allLoopback reports whether every address is an IPv4 address of this machine's
// loopback.
func allLoopback(ctx context.Context, addrs []string) (bool, error) {
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return false, fmt.Errorf("relay %q: %w", a, err)
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return false, fmt.Errorf("relay %q: %w", a, err)
		}
		// The dialers take the first one.
		if ip := ips[0].Unmap(); !ip.Is4() || !ip.IsLoopback() {
			return false, nil
		}
	}
	return true, nil
}
