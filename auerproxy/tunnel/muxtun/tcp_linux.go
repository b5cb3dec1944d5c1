package muxtun

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tcpUserTimeout is how long sent bytes may stay unacknowledged before the kernel
// gives the connection up (TCP_USER_TIMEOUT, RFC 5482).
const tcpUserTimeout = 30 * time.Second

// tuneTCP makes the kernel notice a dead peer, and sets the congestion control, if
// any is named, of which alone it gives the error. Other connections than TCP, and a
// kernel that refuses, are left as they are: heartbeats notice a dead peer too.
func tuneTCP(conn net.Conn, congestion string) error {
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	_ = tc.SetKeepAliveConfig(keepAlive)
	raw, err := tc.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpUserTimeout.Milliseconds()))
		if congestion != "" {
			err = os.NewSyscallError("TCP_CONGESTION "+congestion, unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestion))
		}
	})
	return errors.Join(cerr, err)
}

// notSentLowat is how many bytes wait in the kernel until the congestion control
// lets them go (TCP_NOTSENT_LOWAT). By default it is megabytes, which on a slow or
// lossy line are seconds that a small frame waits behind the bulk of another stream.
const notSentLowat = 32 << 10

// shortQueue keeps the queue of a session's connection short, where it is TCP.
func shortQueue(conn net.Conn) {
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
		})
	}
}

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}
