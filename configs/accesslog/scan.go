package accesslog

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// scanner finds addresses in text.
type scanner struct {
	plain []byte // the text, percent-decoded where that gives a character of an address
	index []int  // for each byte of plain its offset in the text, and the text's length; nil: the same
	skip  int    // end of an object identifier, in plain
}

// What a byte can be. The sets overlap.
const (
	isDigit = 1 << iota
	isHex
	isLetter
	isPart // of the run that may be an IPv6 address
	isZone
	isStart // an address may begin here
	isEncoded
)

var kinds = func() (k [256]uint8) {
	set := func(chars string, what uint8) {
		for _, c := range []byte(chars) {
			k[c] |= what
		}
	}
	set("0123456789", isDigit|isHex|isPart|isStart|isZone|isEncoded)
	set("abcdefABCDEF", isHex|isPart|isStart|isEncoded)
	set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", isLetter|isZone)
	set(":", isPart|isStart|isEncoded)
	set(".", isPart|isZone|isEncoded)
	set("-", isZone|isEncoded)
	set("[{", isStart|isEncoded)
	set("]%", isEncoded)
	return k
}()

func is(c, what byte) bool { return kinds[c]&what != 0 }

func (s *scanner) reset(text []byte) {
	s.plain, s.index, s.skip = text, nil, 0
	if bytes.IndexByte(text, '%') < 0 {
		return
	}
	s.plain, s.index = make([]byte, 0, len(text)), make([]int, 0, len(text)+1)
	for i := 0; i < len(text); {
		c, n := decode(text[i:])
		s.plain, s.index = append(s.plain, c), append(s.index, i)
		i += n
	}
	s.index = append(s.index, len(text))
}

// decode gives the first character and how long it is, percent-encoded once or several
// times.
func decode(b []byte) (c byte, n int) {
	if b[0] != '%' {
		return b[0], 1
	}
	at := 1
	for bytes.HasPrefix(b[at:], []byte("25")) {
		at += 2
	}
	if len(b) >= at+2 {
		if v, err := strconv.ParseUint(string(b[at:at+2]), 16, 8); err == nil && is(byte(v), isEncoded) {
			return byte(v), at + 2
		}
	}
	return '%', at
}

// at gives the offset in the text.
func (s *scanner) at(i int) int {
	if s.index == nil {
		return i
	}
	return s.index[i]
}

// get gives the byte at an offset, 0 beside the text.
func (s *scanner) get(i int) byte {
	if i < 0 || i >= len(s.plain) {
		return 0
	}
	return s.plain[i]
}

// find gives the first address from i on and what stands in its place. Without one the
// end is below zero.
func (s *scanner) find(i int) (begin, end int, a netip.Addr, mark string) {
	for ; i < len(s.plain); i++ {
		c := s.plain[i]
		if !is(c, isStart) {
			continue
		}
		before := s.get(i - 1)
		switch {
		case s.escape(i-5, 'u', 4), s.escape(i-3, 'x', 2), s.escape(i-1, before, 0) && strings.IndexByte("abfnrtv", before) >= 0:
			before = 0 // a character by itself
		case (c == 'a' || c == 'b' || c == 'f') && s.escape(i, c, 0):
			continue
		case s.escape(i-1, 'u', 4):
			i += 3
			continue
		case s.escape(i-1, 'x', 2):
			i++
			continue
		}
		switch {
		case c == '[' || c == '{':
			if end, a = s.list(i); end > 0 {
				return i, end, a, string(c) + zeroMark + string(s.plain[end-1])
			}
			continue
		case is(c, isHex) && is(before, isDigit), is(c, isHex) && !is(c, isDigit) && is(before, isLetter):
			continue // within a word, such as "std::a"
		}
		if is(c, isDigit) {
			if end, a = s.dotted(i); end > 0 {
				return i, s.port(end), a, Mark
			}
			if end, a = s.number(i); end > 0 {
				return i, end, a, zeroMark
			}
		}
		if end = s.nibbles(i); end > 0 {
			return i, end, netip.Addr{}, Mark
		}
		if c == ':' && (is(before, isLetter|isDigit) || s.get(i+1) != ':') {
			continue // an address may begin with two
		}
		if begin, end, a = s.colons(i); end > 0 {
			begin, end = s.around(begin, end)
			return begin, end, a, Mark
		}
	}
	return i, -1, a, ""
}

// escape reports whether there is an escape of JSON or Go, \n or \u00e4, with its letter
// at i.
func (s *scanner) escape(i int, letter byte, digits int) bool {
	if s.get(i) != letter {
		return false
	}
	slashes := 0
	for s.get(i-1-slashes) == '\\' {
		slashes++
	}
	for d := range digits {
		if !is(s.get(i+1+d), isHex) {
			return false
		}
	}
	return slashes%2 == 1
}

// dotted reads an IPv4 address, with dots or dashes. More than four numbers are an
// object identifier if they begin like one, else an address with a port behind it.
func (s *scanner) dotted(i int) (end int, a netip.Addr) {
	if i < s.skip {
		return -1, a
	}
	var b [4]byte
	separator := byte(0)
	n := 0
	for ; ; n++ {
		v, next := s.decimal(i)
		if next < 0 || n < 4 && v > 255 {
			break
		}
		if n < 4 {
			b[n] = byte(v) //nolint:gosec // checked
		}
		end = next
		c := s.get(next)
		if n == 0 {
			separator = c
		}
		if c != separator || c != '.' && c != '-' || !is(s.get(next+1), isDigit) {
			n++
			break
		}
		i = next + 1
	}
	if n > 4 && separator == '.' && b[0] <= 2 && b[1] < 40 {
		s.skip = end
	}
	if n < 4 || end == s.skip {
		return -1, a
	}
	return end, netip.AddrFrom4(b)
}

// decimal reads a number of up to five digits.
func (s *scanner) decimal(i int) (v, end int) {
	for end = i; is(s.get(end), isDigit); end++ {
		if end-i == 5 {
			return 0, -1
		}
		v = v*10 + int(s.plain[end]-'0')
	}
	if end == i {
		return 0, -1
	}
	return v, end
}

// port gives the end with a port behind an address.
func (s *scanner) port(end int) int {
	if s.get(end) == ':' {
		if _, next := s.decimal(end + 1); next > 0 {
			return next
		}
	}
	return end
}

// around gives the place of an IPv6 address with zone, brackets and port.
func (s *scanner) around(begin, end int) (int, int) {
	if s.get(end) == '%' {
		for end++; is(s.get(end), isZone); end++ {
		}
	}
	if s.get(begin-1) == '[' && s.get(end) == ']' {
		return begin - 1, s.port(end + 1)
	}
	return begin, end
}

// colons reads an IPv6 address.
func (s *scanner) colons(i int) (begin, end int, a netip.Addr) {
	const longest = 64 // with what may follow
	end = i
	groups, first, pairs, gap := 1, -1, true, false
	for group := i; is(s.get(end), isPart); end++ {
		switch s.plain[end] {
		case ':':
			if first < 0 {
				first = end
			}
			pairs, gap = pairs && end-group == 2, gap || end == group && end > i
			groups, group = groups+1, end+1
		case '.':
			pairs = false
		}
		if end-i > longest {
			break
		}
	}
	if groups < 7 && !gap || groups < 3 || pairs && (groups != 8 || s.get(i-1) == ':') {
		// A time of day; a hardware address, or the fingerprint of a certificate.
		return 0, -1, a
	}
	// Letters in front of it can look like a part of the first group.
	i = max(i, first-4)
	for stop := end; stop > end-4; stop-- {
		if a, err := netip.ParseAddr(string(s.plain[i:stop])); err == nil {
			return i, stop, a
		}
		if c := s.get(stop - 1); c != ':' && c != '.' {
			break
		}
	}
	// With a port behind it and no brackets.
	if groups == 9 {
		last := bytes.LastIndexByte(s.plain[i:end], ':')
		if a, err := netip.ParseAddr(string(s.plain[i : i+last])); err == nil {
			return i, end, a
		}
	}
	return 0, -1, a
}

// nibbles reads a name below ip6.arpa, or as much of one as is left of it.
func (s *scanner) nibbles(i int) int {
	n, end := 0, i
	for is(s.get(end), isHex) && s.get(end+1) == '.' {
		n, end = n+1, end+2
	}
	switch {
	case n >= 32, n >= 4 && bytes.HasPrefix(bytes.ToLower(s.plain[end:min(len(s.plain), end+8)]), []byte("ip6.arpa")):
		return end - 1
	case n == 31 && is(s.get(end), isHex): // not a name, but all of it
		return end + 1
	}
	return -1
}

// mapped is the lower half of IPv4-mapped addresses, as a number.
const mapped = 0xffff << 32

// number reads the lower half of an IPv4-mapped address, decimal or hexadecimal.
func (s *scanner) number(i int) (end int, a netip.Addr) {
	if !is(s.get(i+11), isHex) {
		return -1, a // too short, as most are
	}
	v, end := s.integer(i)
	if end < 0 || v < mapped || v > mapped|0xffffffff {
		return -1, a
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v)) //nolint:gosec // the lower half
	return end, netip.AddrFrom4(b)
}

// integer reads a number of up to 64 bits.
func (s *scanner) integer(i int) (v uint64, end int) {
	base, kind, most := 10, byte(isDigit), 20
	if s.get(i) == '0' && s.get(i+1) == 'x' {
		i += 2
		base, kind, most = 16, isHex, 16
	}
	for end = i; is(s.get(end), kind); end++ {
		if end-i == most {
			return 0, -1
		}
	}
	if end == i {
		return 0, -1
	}
	v, err := strconv.ParseUint(string(s.plain[i:end]), base, 64)
	if err != nil {
		return 0, -1
	}
	return v, end
}

// list reads an address as a list of bytes, or as the two halves of a netip.Addr.
func (s *scanner) list(i int) (end int, a netip.Addr) {
	var v [16]uint64
	n := 0
	for i++; ; n++ {
		i += len(s.label(i))
		x, next := s.integer(i)
		if next < 0 || n == len(v) {
			return -1, a
		}
		v[n] = x
		for i = next; s.get(i) == ' ' || s.get(i) == ','; i++ {
		}
		if c := s.get(i); c == ']' || c == '}' {
			break
		}
		if i == next {
			return -1, a
		}
	}
	var b [16]byte
	if n++; n == 2 {
		binary.BigEndian.PutUint64(b[:], v[0])
		binary.BigEndian.PutUint64(b[8:], v[1])
		if a = netip.AddrFrom16(b); a.Is4In6() || global.Contains(a) || a.IsPrivate() || a.IsLinkLocalUnicast() {
			return i + 1, a
		}
		return -1, a
	}
	for j, x := range v[:n] {
		if x > 255 {
			return -1, a
		}
		b[j] = byte(x)
	}
	switch n {
	case 4:
		return i + 1, netip.AddrFrom4([4]byte(b[:]))
	case 16:
		return i + 1, netip.AddrFrom16(b)
	}
	return -1, a
}

// global is the addresses of the Internet (RFC 4291 §2.4, as assigned).
var global = netip.MustParsePrefix("2000::/3")

// label gives the name of a half.
func (s *scanner) label(i int) string {
	for _, name := range []string{"hi:", "lo:"} {
		if bytes.HasPrefix(s.plain[i:], []byte(name)) {
			return name
		}
	}
	return ""
}
