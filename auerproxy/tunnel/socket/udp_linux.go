package socket

import (
	"encoding/binary"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// UDP reads from and writes to a UDP socket that is not connected.
type UDP struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	inet bool // of IPv4 alone

	// Of ReadMessages, and owned by who calls it.
	headers []header
	places  []place // what the headers point to
	want, n int
	errno   syscall.Errno
	fill    func(fd uintptr) bool // receive, bound once
}

// header is struct mmsghdr (recvmmsg(2)).
type header struct {
	unix.Msghdr
	size uint32
}

// place is where the kernel puts a message, and its sender. addr is the sender of the
// message before, which is often the same.
type place struct {
	iov        unix.Iovec
	name, last unix.RawSockaddrInet6 // or of IPv4, which is shorter
	addr       *net.UDPAddr          // last, as Go has it
}

// NewUDP gives other ways to read from c and to write to it; ReadMessages reads so many
// messages at most. c itself may be used too.
func NewUDP(c *net.UDPConn, messages int) (*UDP, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	u := &UDP{conn: c, raw: raw, headers: make([]header, messages), places: make([]place, messages)}
	u.fill = u.receive
	var family int
	var ferr error
	err = raw.Control(func(fd uintptr) { family, ferr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN) })
	if err == nil {
		err = os.NewSyscallError("getsockopt", ferr)
	}
	u.inet = family == unix.AF_INET
	return u, err
}

// ReadMessages reads one message into the first buffer of each of ms, as many as there
// are, and says how many. It waits only for the first. Only one goroutine may call it.
func (u *UDP) ReadMessages(ms []ipv4.Message) (int, error) {
	u.want, u.n, u.errno = min(len(ms), len(u.headers)), 0, 0
	for i := range u.want {
		h, p, m := &u.headers[i], &u.places[i], &ms[i]
		p.iov.Base = unsafe.SliceData(m.Buffers[0])
		p.iov.SetLen(len(m.Buffers[0]))
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&p.name)), unix.SizeofSockaddrInet6 //nolint:gosec // for the kernel
		h.Iov, h.Flags = &p.iov, 0
		h.SetIovlen(1)
		h.Control = unsafe.SliceData(m.OOB)
		h.SetControllen(len(m.OOB))
	}
	if err := u.raw.Read(u.fill); err != nil {
		return 0, named("read", err)
	}
	if u.errno != 0 {
		return 0, &net.OpError{Op: "read", Net: "udp", Source: u.conn.LocalAddr(), Err: os.NewSyscallError("recvmmsg", u.errno)}
	}
	for i := range u.n {
		h, m := &u.headers[i], &ms[i]
		m.N, m.NN, m.Flags, m.Addr = int(h.size), int(h.Controllen), int(h.Flags), u.places[i].sender() //nolint:gosec // lengths
	}
	return u.n, nil
}

// receive is false where there is nothing yet.
func (u *UDP) receive(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&u.headers[0])), uintptr(u.want), 0, 0, 0) //nolint:gosec // for the kernel
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		case 0:
			u.n = int(n) //nolint:gosec // at most u.want
		}
		u.errno = errno
		return true
	}
}

// sender gives the address in name.
func (p *place) sender() *net.UDPAddr {
	if p.addr != nil && p.name == p.last {
		return p.addr
	}
	p.last = p.name
	switch p.name.Family {
	case unix.AF_INET:
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.name)) //nolint:gosec // the shorter one
		ip := name.Addr
		p.addr = &net.UDPAddr{IP: ip[:], Port: hostOrder(name.Port)}
	default:
		ip := p.name.Addr
		p.addr = &net.UDPAddr{IP: ip[:], Port: hostOrder(p.name.Port), Zone: zone(p.name.Scope_id)}
	}
	return p.addr
}

// hostOrder gives a port that is in network order, and netOrder is its inverse.
func hostOrder(port uint16) int {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return int(binary.BigEndian.Uint16(b[:]))
}

func netOrder(port int) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], uint16(port)) //nolint:gosec // a port
	return binary.NativeEndian.Uint16(b[:])
}

// zone names the interface of an address that is valid there only.
func zone(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// sending is one WriteMsgUDP under way.
type sending struct {
	unix.Msghdr
	iov   unix.Iovec
	name4 unix.RawSockaddrInet4
	name6 unix.RawSockaddrInet6
	n     int
	errno syscall.Errno
	send  func(fd uintptr) bool // sendOnce, bound once
}

var sendings = sync.Pool{New: func() any {
	s := new(sending)
	s.send = s.sendOnce
	return s
}}

// WriteMsgUDP is that of net.UDPConn.
func (u *UDP) WriteMsgUDP(p, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	s := sendings.Get().(*sending) //nolint:forcetypeassert // the pool holds nothing else
	defer sendings.Put(s)
	if len(p) == 0 || !s.to(addr, u.inet) {
		return u.conn.WriteMsgUDP(p, oob, addr)
	}
	s.iov.Base = unsafe.SliceData(p)
	s.iov.SetLen(len(p))
	s.Iov = &s.iov
	s.SetIovlen(1)
	s.Control = unsafe.SliceData(oob)
	s.SetControllen(len(oob))
	err = u.raw.Write(s.send)
	n, errno := s.n, s.errno
	s.iov.Base, s.Control, s.n, s.errno = nil, nil, 0, 0
	switch {
	case err != nil:
		return 0, 0, named("write", err)
	case errno != 0:
		return 0, 0, &net.OpError{Op: "write", Net: "udp", Source: u.conn.LocalAddr(), Addr: addr, Err: os.NewSyscallError("sendmsg", errno)}
	}
	return n, len(oob), nil
}

// to sets where the message goes; false where the net package has to find that out.
func (s *sending) to(addr *net.UDPAddr, inet bool) bool {
	if addr == nil || addr.Zone != "" {
		return false
	}
	if inet {
		ip := addr.IP.To4()
		if ip == nil {
			return false
		}
		s.name4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: netOrder(addr.Port), Addr: [4]byte(ip)}
		s.Name, s.Namelen = (*byte)(unsafe.Pointer(&s.name4)), unix.SizeofSockaddrInet4 //nolint:gosec // for the kernel
		return true
	}
	ip := addr.IP.To16() // of IPv4 too, as it is written for IPv6 (RFC 4291 §2.5.5.2)
	if ip == nil {
		return false
	}
	s.name6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: netOrder(addr.Port), Addr: [16]byte(ip)}
	s.Name, s.Namelen = (*byte)(unsafe.Pointer(&s.name6)), unix.SizeofSockaddrInet6 //nolint:gosec // for the kernel
	return true
}

// sendOnce is false where there is no room.
func (s *sending) sendOnce(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.Msghdr)), 0) //nolint:gosec // for the kernel
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		case 0:
			s.n = int(n) //nolint:gosec // at most what there was
		}
		s.errno = errno
		return true
	}
}
