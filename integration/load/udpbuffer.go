package load

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// UDPBufferPerPacket gives how many bytes of a UDP receive buffer, as it is asked
// for, one packet with that much payload takes while it waits to be read. The kernel
// counts its own structures beside the payload.
func UDPBufferPerPacket(payload int) (each float64, err error) {
	const asked = 128 << 10 // what every system allows
	to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, fmt.Errorf("UDP buffer: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.SetReadBuffer(asked); err != nil {
		return 0, fmt.Errorf("UDP buffer: %w", err)
	}
	from, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to.LocalAddr().(*net.UDPAddr).AddrPort()))
	if err != nil {
		return 0, fmt.Errorf("UDP buffer: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	buf := make([]byte, payload)
	// On the loopback a packet that is written is in the buffer, or lost.
	for range 4*asked/payload + 1 {
		if _, err := from.Write(buf); err != nil {
			return 0, fmt.Errorf("UDP buffer: %w", err)
		}
	}
	if err := to.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return 0, fmt.Errorf("UDP buffer: %w", err)
	}
	held := 0
	for {
		if _, err = to.Read(buf); err != nil {
			break
		}
		held++
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || held == 0 {
		return 0, fmt.Errorf("UDP buffer: %d packets read: %w", held, err)
	}
	return asked / float64(held), nil
}
