package configs

import "net"

// IsLoopback reports whether the host of an address to listen on, a name or an IP
// address without brackets, can only be reached from this machine. Names other than
// localhost could resolve to anything.
func IsLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
