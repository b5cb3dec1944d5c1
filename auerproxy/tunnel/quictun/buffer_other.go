//go:build !linux

package quictun

import "net"

// raiseReceiveBuffer asks the system for a receive buffer of want bytes. What it
// gave is not known.
func raiseReceiveBuffer(pc net.PacketConn, want int) int {
	if c, ok := pc.(interface{ SetReadBuffer(bytes int) error }); ok {
		_ = c.SetReadBuffer(want)
	}
	return 0
}
