//go:build unix

package splice

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitSocket parks on a socket: in a goroutine that does nothing else, and whose
// stack therefore stays the smallest.
func awaitSocket(c syscall.Conn) func(f func()) bool {
	return func(f func()) bool {
		raw, err := c.SyscallConn()
		if err != nil {
			return false
		}
		go func() {
			_ = raw.Read(readable) // the connection is closed, which its reader sees
			f()
		}()
		return true
	}
}

// readable looks whether a read would not wait. It asks the kernel, and reads nothing:
// to peek would take a reset from the socket, which then looks like an orderly end.
func readable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a file descriptor
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n != 0 || err != nil
		}
	}
}
