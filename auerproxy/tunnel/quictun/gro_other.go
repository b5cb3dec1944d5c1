//go:build !linux

package quictun

import "net"

// groConn does not exist here.
type groConn struct{ net.PacketConn }

func (*groConn) restore() {}

// receiveOffload gives pc itself: only Linux joins datagrams.
func receiveOffload(pc net.PacketConn, _ int) net.PacketConn { return pc }
