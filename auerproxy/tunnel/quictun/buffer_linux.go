package quictun

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// raiseReceiveBuffer asks the kernel for a receive buffer of want bytes, beyond
// net.core.rmem_max where the process may (CAP_NET_ADMIN), and reports how many
// bytes of payload the buffer has now; 0 if that is not known.
func raiseReceiveBuffer(pc net.PacketConn, want int) int {
	sc, ok := pc.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	got := 0
	err = raw.Control(func(fd uintptr) {
		get := func() int {
			// The kernel doubles what is asked for, to have room for its own data.
			n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
			if err != nil {
				return 0
			}
			return n / 2
		}
		if got = get(); got >= want {
			return
		}
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, want)
		}
		got = get()
	})
	if err != nil {
		return 0
	}
	return got
}
