package socket_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
)

// TestConnect wants the socket connected before the dialer looks, and the dialer's own
// error where nobody listens.
func TestConnect(t *testing.T) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	connected := false
	dialer := net.Dialer{Control: func(network, address string, c syscall.RawConn) error {
		return errors.Join(socket.Connect(network, address, c), c.Control(func(fd uintptr) {
			_, err := syscall.Getpeername(int(fd))
			connected = err == nil
		}))
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil || !connected {
		t.Fatalf("connected %t, %v", connected, err)
	}
	_, _ = conn.Close(), ln.Close()
	if _, err := dialer.DialContext(t.Context(), "tcp", ln.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) || connected {
		t.Errorf("nobody listens: connected %t, %v", connected, err)
	}
}
