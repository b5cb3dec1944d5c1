//go:build !linux

package muxtun

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// tuneTCP makes the kernel notice a dead peer, as far as the system allows.
func tuneTCP(conn net.Conn, congestion string) error {
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
	if congestion != "" {
		return fmt.Errorf("TCP_CONGESTION %s: %w", congestion, errors.ErrUnsupported)
	}
	return nil
}

func shortQueue(net.Conn) {}

func pathOf(net.Conn) (p tunnel.Path, ok bool) { return p, false }
