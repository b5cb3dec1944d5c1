package process

import (
	"errors"
	"net"
	"slices"
)

// FreePort gives a port of an address that neither TCP nor UDP uses now.
func FreePort(host string) (int, error) {
	ip := net.ParseIP(host)
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: ip})
	if err != nil {
		return 0, err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port})
	if err != nil {
		return 0, errors.Join(err, ln.Close())
	}
	return port, errors.Join(pc.Close(), ln.Close())
}

// FreePorts gives n different ones.
func FreePorts(host string, n int) ([]int, error) {
	list := make([]int, n)
	for i := range list {
		for {
			p, err := FreePort(host)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(list, p) {
				list[i] = p
				break
			}
		}
	}
	return list, nil
}
