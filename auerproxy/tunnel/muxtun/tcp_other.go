//go:build !linux

package muxtun

import (
	"net"
	"time"
)

// tuneTCP makes the kernel notice a dead peer, as far as the system allows.
func tuneTCP(conn net.Conn) {
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
}
