package quictun

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
)

const (
	// groMessage is the most that the kernel joins into one message.
	groMessage = 64 << 10
	// groControl has room for the control messages that quic-go asks for, and for
	// the size of the datagrams.
	groControl = 128
)

// groConn is a UDP socket on which the kernel joins datagrams of one flow that
// arrive in a row (UDP_GRO, udp(7)), and which takes them apart again: one pass
// through the network stack for up to 64 KiB, in place of one for each datagram.
// quic-go reads with ReadBatch only, from one goroutine; the other ways to read
// that the socket has would give joined datagrams.
type groConn struct {
	*net.UDPConn
	calls *socket.UDP

	// Owned by the reader.
	msgs []ipv4.Message // as the kernel gave them
	have int            // how many of msgs are filled
	next int            // the first of them with bytes that were not given yet
	at   int            // where in it those begin
}

// receiveOffload switches the joining of datagrams on, and gives the connection
// to read from; pc itself where that is not possible. messages is how many joined
// messages one system call may give; each has a buffer of 64 KiB.
func receiveOffload(pc net.PacketConn, messages int) net.PacketConn {
	udp, ok := pc.(*net.UDPConn)
	if !ok || !groWorks() || setGRO(udp, 1) != nil {
		return pc
	}
	c, err := newGROConn(udp, messages)
	if err != nil {
		_ = setGRO(udp, 0)
		return pc
	}
	return c
}

func newGROConn(udp *net.UDPConn, messages int) (*groConn, error) {
	c, err := socket.NewUDP(udp, messages)
	if err != nil {
		return nil, err
	}
	return &groConn{UDPConn: udp, calls: c, msgs: newMessages(messages, groMessage)}, nil
}

func newMessages(n, size int) []ipv4.Message {
	ms := make([]ipv4.Message, n)
	for i := range ms {
		ms[i] = ipv4.Message{Buffers: [][]byte{make([]byte, size)}, OOB: make([]byte, groControl)}
	}
	return ms
}

// WriteMsgUDP implements quic.OOBCapablePacketConn.
func (c *groConn) WriteMsgUDP(p, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	return c.calls.WriteMsgUDP(p, oob, addr)
}

// restore gives the socket back as it was.
func (c *groConn) restore() { _ = setGRO(c.UDPConn, 0) }

func setGRO(udp *net.UDPConn, on int) error {
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, on) })
	if err != nil {
		return err
	}
	return serr
}

// ReadBatch gives one datagram in each message, as (*ipv4.PacketConn).ReadBatch
// does. It waits only while it has none.
func (c *groConn) ReadBatch(ms []ipv4.Message, _ int) (int, error) {
	for {
		if c.next == c.have {
			n, err := c.calls.ReadMessages(c.msgs)
			if err != nil {
				return 0, err
			}
			c.have, c.next, c.at = n, 0, 0
		}
		if n := c.split(ms); n > 0 {
			return n, nil
		}
	}
}

// split fills ms with datagrams from what has been read, and says how many.
func (c *groConn) split(ms []ipv4.Message) int {
	n := 0
	for n < len(ms) && c.next < c.have {
		from := &c.msgs[c.next]
		// A message that was cut has lost its end; QUIC sends it again.
		if from.Flags&unix.MSG_TRUNC == 0 {
			end := from.N
			if size := segmentSize(from.OOB[:from.NN]); size > 0 {
				end = min(end, c.at+size)
			}
			to := &ms[n]
			to.N = copy(to.Buffers[0], from.Buffers[0][c.at:end])
			to.NN = copy(to.OOB, from.OOB[:from.NN])
			to.Flags, to.Addr = from.Flags, from.Addr
			n++
			if c.at = end; c.at < from.N {
				continue
			}
		}
		c.next, c.at = c.next+1, 0
	}
	return n
}

// segmentSize reads how long each datagram of a message is, but for the last
// which may be shorter; 0 if it is one datagram.
func segmentSize(control []byte) int {
	for len(control) > 0 {
		h, body, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(body) >= 4 {
			return int(binary.NativeEndian.Uint32(body))
		}
		control = rest
	}
	return 0
}

// groTestTime bounds the self-test where the kernel loses its datagrams.
const groTestTime = 200 * time.Millisecond

// groWorks tests, once in the process, whether this kernel joins datagrams in the
// way that groConn takes apart: it sends itself three at once over loopback.
var groWorks = sync.OnceValue(func() bool {
	for _, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			continue
		}
		ok := testGRO(udp)
		_ = udp.Close()
		return ok
	}
	return false
})

// testGRO says whether a socket gets three joined datagrams, and groConn all of
// each.
func testGRO(udp *net.UDPConn) bool {
	const size, last = 1200, 100
	if setGRO(udp, 1) != nil || udp.SetDeadline(time.Now().Add(groTestTime)) != nil {
		return false
	}
	sent := make([]byte, 2*size+last)
	for i := range sent {
		sent[i] = byte(i / 7)
	}
	if _, _, err := udp.WriteMsgUDP(sent, segmentControl(size), udp.LocalAddr().(*net.UDPAddr)); err != nil { //nolint:forcetypeassert // of a UDPConn
		return false
	}
	c, err := newGROConn(udp, 1)
	if err != nil {
		return false
	}
	ms := newMessages(1, size+1)
	joined := false
	for len(sent) > 0 {
		if _, err := c.ReadBatch(ms, 0); err != nil {
			return false
		}
		want := sent[:min(size, len(sent))]
		if !bytes.Equal(ms[0].Buffers[0][:ms[0].N], want) {
			return false
		}
		sent = sent[len(want):]
		joined = joined || c.msgs[0].N > size
	}
	return joined
}

// segmentControl is the control message that makes the kernel cut what is sent
// into datagrams (UDP_SEGMENT, udp(7)).
func segmentControl(size uint16) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint32(b[cmsgLevelAt:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(b[cmsgLevelAt+4:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], size)
	if cmsgLevelAt == 8 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(2))) //nolint:gosec // a few bytes
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(2))) //nolint:gosec // a few bytes
	}
	return b
}

// cmsgLevelAt is where in a control message its level is, after a length of one
// word (cmsg(3)).
const cmsgLevelAt = unix.SizeofPtr
