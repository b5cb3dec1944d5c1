package load

import (
	"encoding/binary"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// countsTCP says whether tcpTraffic counts.
const countsTCP = true

// tcpTraffic asks the kernel (TCP_INFO). A connection that is closed counts
// nothing.
func tcpTraffic(c net.Conn) Traffic {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return Traffic{}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Traffic{}
	}
	var info *unix.TCPInfo
	if ctlErr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); ctlErr != nil || err != nil {
		return Traffic{}
	}
	in, out := uint64(info.Segs_in), uint64(info.Segs_out)
	return Traffic{
		PacketsIn: in, PacketsOut: out,
		BytesIn: info.Bytes_received + in*headerTCP, BytesOut: info.Bytes_sent + out*headerTCP,
	}
}

// segments is how many packets a write of n bytes makes: the control message
// UDP_SEGMENT has the size of each.
func segments(n int, oob []byte) uint64 {
	for len(oob) >= unix.CmsgLen(0) {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if hdr.Level == unix.IPPROTO_UDP && hdr.Type == unix.UDP_SEGMENT && len(data) >= 2 {
			if size := int(binary.NativeEndian.Uint16(data)); size > 0 {
				return uint64((n + size - 1) / size) //nolint:gosec // not negative
			}
		}
		oob = rest
	}
	return 1
}
