package socket

import (
	"net/netip"
	"syscall"
)

// Connect is a Control of a net.Dialer for addresses of this machine: it begins to connect,
// which on loopback is done when it returns. The dialer finds the socket connected then,
// and need not wait for it, which would take the goroutine off its processor and back.
// Where it is not done yet, or has failed, the dialer goes on as ever.
func Connect(_, address string, c syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil //nolint:nilerr // what is no such address is left to the dialer
	}
	var sa syscall.Sockaddr
	if to.Addr().Is4() {
		sa = &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		sa = &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	return c.Control(func(fd uintptr) {
		_ = syscall.Connect(int(fd), sa) // in progress; an error comes again
	})
}
