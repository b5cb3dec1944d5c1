//go:build unix

package main

import "syscall"

// openFiles is how many files the process may have open, and with it the relay's.
// The Go runtime has raised the soft limit to the hard one.
func openFiles() (limit uint64, known bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true //nolint:gosec,unconvert // signed on some systems
}
