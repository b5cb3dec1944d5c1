//go:build unix

package splice

import (
	"errors"
	"syscall"
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

// readable looks whether a read would not wait.
func readable(fd uintptr) bool {
	var one [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		if !errors.Is(err, syscall.EINTR) {
			return !errors.Is(err, syscall.EAGAIN)
		}
	}
}
