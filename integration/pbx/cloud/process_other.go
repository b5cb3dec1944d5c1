//go:build !linux

package cloud

import "syscall"

// bound does nothing: there is no way here.
func bound() *syscall.SysProcAttr { return nil }
