//go:build !unix

package splice

import "syscall"

// awaitSocket is for systems on which nobody has tried it.
func awaitSocket(syscall.Conn) func(f func()) bool { return nil }
