package link

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

func datagram(flags uint16, protocol byte, payload int) []byte {
	p := make([]byte, ipHeader+8+payload)
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(len(p))) //nolint:gosec // small
	binary.BigEndian.PutUint16(p[6:], flags)
	p[8], p[9] = 64, protocol
	copy(p[12:], []byte{10, 77, 0, 1, 10, 77, 0, 2})
	copy(p[ipHeader:], "8 bytes!")
	return p
}

func TestFragmentationNeeded(t *testing.T) {
	t.Parallel()
	const udp = 17
	p := datagram(dontFragment, udp, 1400)
	m := fragmentationNeeded(p, 1280)
	h, err := ipv4.ParseHeader(m)
	if err != nil {
		t.Fatal(err)
	}
	if h.Src.String() != router.String() || h.Dst.String() != "10.77.0.1" || h.TotalLen != len(m) || checksum(m[:ipHeader]) != 0 {
		t.Errorf("header %v, checksum %x", h, checksum(m[:ipHeader]))
	}
	msg, err := icmp.ParseMessage(protocolICMP, m[ipHeader:])
	if err != nil {
		t.Fatal(err)
	}
	body, ok := msg.Body.(*icmp.DstUnreach)
	if msg.Type != ipv4.ICMPTypeDestinationUnreachable || msg.Code != icmpFragmentation || !ok || string(body.Data) != string(p[:28]) {
		t.Errorf("message %+v", msg)
	}
	if mtu := binary.BigEndian.Uint16(m[ipHeader+6:]); mtu != 1280 || checksum(m[ipHeader:]) != 0 {
		t.Errorf("mtu %d, checksum %x", mtu, checksum(m[ipHeader:]))
	}
	for name, p := range map[string][]byte{
		"fragments itself": datagram(0, udp, 1400),
		"later fragment":   datagram(dontFragment|1, udp, 1400),
		"ICMP error":       append(datagram(dontFragment, protocolICMP, 1400)[:ipHeader], icmpUnreachable, 0, 0, 0, 0, 0, 0, 0),
		"short":            datagram(dontFragment, udp, 0)[:27],
		"empty":            nil,
		"IPv6":             {0x60, 19: 0},
	} {
		if fragmentationNeeded(p, 1280) != nil {
			t.Errorf("%s: there is an answer", name)
		}
	}
	if fragmentationNeeded(append(datagram(dontFragment, protocolICMP, 0)[:ipHeader], icmpEchoRequest, 0, 0, 0, 0, 0, 0, 0), 1280) == nil {
		t.Error("echo request: there is no answer")
	}
}

func FuzzFragmentationNeeded(f *testing.F) {
	f.Add(datagram(dontFragment, 17, 1400))
	f.Add(datagram(dontFragment, protocolICMP, 0))
	f.Add([]byte{0x4f, 27: 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		if m := fragmentationNeeded(p, 1280); m != nil && (len(m) > 96 || checksum(m[:ipHeader]) != 0 || checksum(m[ipHeader:]) != 0) {
			t.Errorf("%x gives %x", p, m)
		}
	})
}
