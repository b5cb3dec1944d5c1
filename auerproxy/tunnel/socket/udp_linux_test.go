package socket_test

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
)

func udp(t *testing.T, network string, ip net.IP) (*socket.UDP, *net.UDPConn) {
	t.Helper()
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: ip})
	if network == "udp6" && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		t.Skip("this machine has no IPv6: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	u, err := socket.NewUDP(conn, 4)
	if err != nil {
		t.Fatal(err)
	}
	return u, conn
}

func messages(n int) []ipv4.Message {
	ms := make([]ipv4.Message, n)
	for i := range ms {
		ms[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 16)}, OOB: make([]byte, 64)}
	}
	return ms
}

// TestDatagrams sends between sockets of all families, and wants the sender as package
// net gives it.
func TestDatagrams(t *testing.T) {
	for name, test := range map[string]struct {
		fromNet, toNet string
		from, to       net.IP
		dst            net.IP // of to, as from reaches it
	}{
		"4 to 4":      {"udp4", "udp4", net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 1)},
		"6 to 6":      {"udp6", "udp6", net.IPv6loopback, net.IPv6loopback, net.IPv6loopback},
		"both to 4":   {"udp", "udp4", nil, net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 1)},
		"both to 6":   {"udp", "udp6", nil, net.IPv6loopback, net.IPv6loopback},
		"4 to both":   {"udp4", "udp", net.IPv4(127, 0, 0, 1), nil, net.IPv4(127, 0, 0, 1)},
		"both, 4 alt": {"udp", "udp", nil, nil, net.IPv4(127, 0, 0, 1).To4()},
	} {
		t.Run(name, func(t *testing.T) {
			from, _ := udp(t, test.fromNet, test.from)
			to, plain := udp(t, test.toNet, test.to)
			dst := &net.UDPAddr{IP: test.dst, Port: plain.LocalAddr().(*net.UDPAddr).Port}
			for _, text := range []string{"one", "two", "three"} {
				if n, oobn, err := from.WriteMsgUDP([]byte(text), nil, dst); n != len(text) || oobn != 0 || err != nil {
					t.Fatalf("WriteMsgUDP = %d, %d, %v", n, oobn, err)
				}
			}
			buf := make([]byte, 16)
			n, want, err := plain.ReadFromUDP(buf)
			if err != nil || string(buf[:n]) != "one" {
				t.Fatalf("read %q, %v", buf[:n], err)
			}
			ms := messages(4)
			n, err = to.ReadMessages(ms)
			if n != 2 || err != nil {
				t.Fatalf("ReadMessages = %d, %v", n, err)
			}
			for i, text := range []string{"two", "three"} {
				got, ok := ms[i].Addr.(*net.UDPAddr)
				if string(ms[i].Buffers[0][:ms[i].N]) != text || ms[i].NN != 0 || ms[i].Flags != 0 ||
					!ok || !got.IP.Equal(want.IP) || got.Port != want.Port || got.Zone != want.Zone {
					t.Errorf("message %d is %q from %v, want %q from %v", i, ms[i].Buffers[0][:ms[i].N], got, text, want)
				}
			}
		})
	}
}

// TestSenders wants each message's own sender, also where they take turns.
func TestSenders(t *testing.T) {
	to, conn := udp(t, "udp4", net.IPv4(127, 0, 0, 1))
	dst := conn.LocalAddr().(*net.UDPAddr)
	senders, addrs := make([]*socket.UDP, 2), make([]string, 2)
	for i := range senders {
		senders[i], conn = udp(t, "udp4", net.IPv4(127, 0, 0, 1))
		addrs[i] = conn.LocalAddr().String()
	}
	ms := messages(2)
	for range 3 {
		for _, order := range [][2]int{{0, 1}, {1, 0}} {
			for _, i := range order {
				if _, _, err := senders[i].WriteMsgUDP([]byte{byte(i)}, nil, dst); err != nil {
					t.Fatal(err)
				}
			}
			for at := 0; at < len(order); {
				n, err := to.ReadMessages(ms)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range ms[:n] {
					if want := addrs[m.Buffers[0][0]]; m.Addr.String() != want {
						t.Errorf("a message of %s is said to be from %s", want, m.Addr)
					}
				}
				at += n
			}
		}
	}
}

// TestDatagramErrors: QUIC looks for some of them.
func TestDatagramErrors(t *testing.T) {
	u, conn := udp(t, "udp4", net.IPv4(127, 0, 0, 1))
	self := conn.LocalAddr().(*net.UDPAddr)
	if _, _, err := u.WriteMsgUDP(make([]byte, 70<<10), nil, self); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("more than a datagram holds: %v", err)
	}
	if _, _, err := u.WriteMsgUDP([]byte("x"), nil, &net.UDPAddr{IP: net.IPv6loopback, Port: self.Port}); err == nil {
		t.Error("an address of IPv6 from a socket of IPv4: no error")
	}
	if _, _, err := u.WriteMsgUDP([]byte("more than 16 bytes are cut"), nil, self); err != nil {
		t.Fatal(err)
	}
	ms := messages(1)
	if n, err := u.ReadMessages(ms); n != 1 || err != nil || ms[0].Flags&unix.MSG_TRUNC == 0 {
		t.Errorf("a message that is too long: %d, %v, flags %x", n, err, ms[0].Flags)
	}
	_ = conn.Close()
	if _, err := u.ReadMessages(ms); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read when closed: %v", err)
	}
	if _, _, err := u.WriteMsgUDP([]byte("x"), nil, self); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write when closed: %v", err)
	}
}
