package accesslog

import (
	"encoding/binary"
	"net/netip"
)

// Other is the prefix of the rows that hold what is too rare to be told apart.
const Other = "other"

// What the anonymous stream keeps of an address.
const (
	keep4 = 16
	keep6 = 32
)

var (
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 §2.5.5.1
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 7915
	one        = netip.MustParseAddr("::1")               // loopback is no IPv4 address
)

// Unwrap gives the IPv4 address of the peer where an IPv6 address carries it: mapped
// and compatible (RFC 4291), translated (RFC 7915), NAT64 (RFC 6052, RFC 8215 with the
// whole prefix), 6to4 (RFC 3056), Teredo (RFC 4380, the client's). Other addresses stay
// as they are, without a zone.
func Unwrap(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	b := a.As16()
	switch {
	case a == one || a.IsUnspecified():
		return a
	case compatible.Contains(a), translated.Contains(a), nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case nat64Local.Contains(a) && b[8] == 0:
		return netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]})
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case teredo.Contains(a):
		var v4 [4]byte
		binary.BigEndian.PutUint32(v4[:], ^binary.BigEndian.Uint32(b[12:]))
		return netip.AddrFrom4(v4)
	}
	return a
}

// Prefix gives the network that stands for an address in the anonymous stream: /16 of
// IPv4, /32 of IPv6, after [Unwrap]. An invalid address gives an invalid prefix.
func Prefix(a netip.Addr) netip.Prefix {
	a = Unwrap(a)
	bits := keep6
	if a.Is4() {
		bits = keep4
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
