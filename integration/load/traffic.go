package load

import (
	"net"
	"sync/atomic"

	"golang.org/x/net/ipv4"
)

// Traffic counts IP packets and their bytes, headers included, as the devices'
// sockets see them: In comes from the relay, Out goes to it.
type Traffic struct {
	PacketsIn  uint64 `json:"packets_in"`
	PacketsOut uint64 `json:"packets_out"`
	BytesIn    uint64 `json:"bytes_in"`
	BytesOut   uint64 `json:"bytes_out"`
}

// Sub gives what was counted after an earlier snapshot.
func (t Traffic) Sub(before Traffic) Traffic {
	return Traffic{
		t.PacketsIn - before.PacketsIn, t.PacketsOut - before.PacketsOut,
		t.BytesIn - before.BytesIn, t.BytesOut - before.BytesOut,
	}
}

func (t *Traffic) add(o Traffic) {
	t.PacketsIn += o.PacketsIn
	t.PacketsOut += o.PacketsOut
	t.BytesIn += o.BytesIn
	t.BytesOut += o.BytesOut
}

// Bytes of the headers of a packet without its payload.
const (
	headerUDP = 20 + 8       // IPv4, UDP
	headerTCP = 20 + 20 + 12 // IPv4, TCP with its time stamps (RFC 7323)
)

// Traffic gives what the devices have sent and received so far. Of TCP it counts
// the newest connection of each device, on Linux only (TCP_INFO), so that a
// difference makes sense only where no device reconnected in between. Segments that
// the kernel joins for the loopback's large packets count as one.
func (f *Fleet) Traffic() Traffic {
	f.mu.Lock()
	s := f.sockets
	f.mu.Unlock()
	if s == nil {
		return Traffic{}
	}
	return s.traffic()
}

func (s *sockets) traffic() Traffic {
	var sum Traffic
	for _, c := range s.counted {
		sum.add(Traffic{c.packetsIn.Load(), c.packetsOut.Load(), c.bytesIn.Load(), c.bytesOut.Load()})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.tcp {
		sum.add(tcpTraffic(c))
	}
	return sum
}

// keep remembers the newest TCP connection of the i-th device.
func (s *sockets) keep(i int, c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tcp == nil {
		s.tcp = make(map[int]net.Conn)
	}
	s.tcp[i] = c
}

// countingConn is a UDP socket that counts. It has the methods with which quic-go
// reads and writes many packets at once, as on a socket of its own.
type countingConn struct {
	*net.UDPConn
	batch *ipv4.PacketConn

	packetsIn, packetsOut, bytesIn, bytesOut atomic.Uint64
}

func newCountingConn(c *net.UDPConn) *countingConn {
	return &countingConn{UDPConn: c, batch: ipv4.NewPacketConn(c)}
}

// ReadBatch is quic-go's way to read.
func (c *countingConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := c.batch.ReadBatch(ms, flags)
	for _, m := range ms[:max(0, n)] {
		c.packetsIn.Add(1)
		c.bytesIn.Add(uint64(m.N) + headerUDP) //nolint:gosec // not negative
	}
	return n, err
}

// WriteMsgUDP is quic-go's way to write; one call may carry several packets (GSO).
func (c *countingConn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = c.UDPConn.WriteMsgUDP(b, oob, addr)
	if err == nil {
		packets := segments(len(b), oob)
		c.packetsOut.Add(packets)
		c.bytesOut.Add(uint64(len(b)) + packets*headerUDP)
	}
	return n, oobn, err
}
