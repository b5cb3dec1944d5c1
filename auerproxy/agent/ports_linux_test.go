package agent

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A local port serves calls to several targets: the kernel chooses it when it knows
// the target, not before (bind), when it could be used for one connection only.
func TestTargetsShareLocalPorts(t *testing.T) {
	t.Parallel()
	// A port that is free now; the kernel is told below to choose no other.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint32(free.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		target, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = target.Close() })
		f, err := newForwarder(&Agent{cfg: Default()}, Service{Target: target.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		f.dialer.Control = func(_, _ string, c syscall.RawConn) error {
			var serr error
			err := c.Control(func(fd uintptr) {
				serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, int(port<<16|port))
			})
			if err == nil {
				err = serr
			}
			return err
		}
		conn, err := f.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if got := conn.LocalAddr().(*net.TCPAddr).Port; got != int(port) {
			t.Fatalf("local port %d, want %d: the test has no control", got, port)
		}
	}
}
