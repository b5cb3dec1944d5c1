package link

import (
	"encoding/binary"
	"net/netip"
)

// router is the address that a link answers from.
var router = netip.AddrFrom4([4]byte{10, 77, 0, 254})

// Sizes and values of IPv4 (RFC 791 §3.1) and ICMP (RFC 792, RFC 1191 §4).
const (
	ipHeader     = 20
	icmpHeader   = 8
	protocolICMP = 1
	dontFragment = 0x4000
	fragOffset   = 0x1fff

	icmpUnreachable   = 3
	icmpFragmentation = 4 // fragmentation needed and DF set
	icmpEchoRequest   = 8
	icmpEchoReply     = 0
)

// fragmentationNeeded makes the ICMP message for the sender of a packet that is too
// big. Nil where none may be sent: the packet is no IPv4, lets itself be
// fragmented, or is an ICMP error itself (RFC 1122 §3.2.2).
func fragmentationNeeded(p []byte, mtu int) []byte {
	if len(p) < ipHeader || p[0]>>4 != 4 {
		return nil
	}
	head := int(p[0]&0x0f) * 4
	if head < ipHeader || len(p) < head+8 {
		return nil
	}
	flags := binary.BigEndian.Uint16(p[6:])
	if flags&dontFragment == 0 || flags&fragOffset != 0 {
		return nil
	}
	if p[9] == protocolICMP && p[head] != icmpEchoRequest && p[head] != icmpEchoReply {
		return nil
	}
	quoted := p[:head+8]
	m := make([]byte, ipHeader+icmpHeader+len(quoted))
	m[0] = 4<<4 | ipHeader/4
	binary.BigEndian.PutUint16(m[2:], uint16(len(m))) //nolint:gosec // at most 96
	m[8] = 64                                         // TTL
	m[9] = protocolICMP
	from := router.As4()
	copy(m[12:], from[:])
	copy(m[16:], p[12:16])
	binary.BigEndian.PutUint16(m[10:], checksum(m[:ipHeader]))

	body := m[ipHeader:]
	body[0], body[1] = icmpUnreachable, icmpFragmentation
	binary.BigEndian.PutUint16(body[6:], uint16(mtu)) //nolint:gosec // at most 1500
	copy(body[icmpHeader:], quoted)
	binary.BigEndian.PutUint16(body[2:], checksum(body))
	return m
}

// checksum is that of RFC 1071 §1; the field itself has to be 0.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum) //nolint:gosec // it was folded
}
