package muxtun

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Path implements tunnel.Measurer, for a session on TCP: it asks the kernel
// (TCP_INFO). Behind a proxy that is the way to the proxy.
func (s *session) Path() (tunnel.Path, bool) { return pathOf(s.conn.wire.Conn) }

func pathOf(conn net.Conn) (tunnel.Path, bool) {
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return tunnel.Path{}, false
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return tunnel.Path{}, false
	}
	var info *unix.TCPInfo
	cerr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if cerr != nil || err != nil {
		return tunnel.Path{}, false
	}
	us := func(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
	return tunnel.Path{
		RTT: us(info.Rtt), MinRTT: us(info.Min_rtt),
		Sent: uint64(info.Data_segs_out), Lost: uint64(info.Total_retrans),
		Rate: tunnel.RateOf(uint64(info.Snd_cwnd)*uint64(info.Snd_mss), us(info.Rtt)),
	}, info.Rtt > 0
}

var _ tunnel.Measurer = (*session)(nil)
