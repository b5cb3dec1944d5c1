package muxtun

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tcpUserTimeout is how long sent bytes may stay unacknowledged before the kernel
// gives the connection up (TCP_USER_TIMEOUT, RFC 5482).
const tcpUserTimeout = 30 * time.Second

// tuneTCP makes the kernel notice a dead peer. Other connections than TCP, and a
// kernel that refuses, are left as they are: heartbeats notice it too.
func tuneTCP(conn net.Conn) {
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tc.SetKeepAliveConfig(keepAlive)
	raw, err := tc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpUserTimeout.Milliseconds()))
	})
}

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}
