package world

import "syscall"

// detached puts a program into a process group of its own, so that Ctrl-C at the
// terminal reaches this process alone, which then stops everything in order. If
// this process is killed, so is the program.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
