package cloud

import "syscall"

// bound ends a program with this process, also where that is killed: it would hold the
// database of the next one. Ctrl-C reaches this process alone, which stops it in order.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
