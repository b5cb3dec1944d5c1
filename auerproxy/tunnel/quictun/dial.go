package quictun

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Dialer dials sessions.
type Dialer struct {
	Config Config
	// Transport is a socket that all sessions of the dialer share. Default: one
	// socket for each session.
	Transport *quic.Transport
}

var _ tunnel.Dialer = (*Dialer)(nil)

// Dial connects to addr. Of several addresses of a host each is tried in turn,
// until ctx ends. That Dial succeeds does not mean that the peer accepts the
// certificate: only a welcome does. The error is a *tunnel.Error.
func (d *Dialer) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, unreachable(err)
	}
	for i, a := range addrs {
		s, err := d.dial(ctx, a)
		if err == nil {
			return s, nil
		}
		if i == len(addrs)-1 || ctx.Err() != nil || tunnel.CodeOf(err) != tunnel.CodeUnreachable {
			return nil, err
		}
	}
	return nil, unreachable(errors.New("no address"))
}

func (d *Dialer) dial(ctx context.Context, addr netip.AddrPort) (tunnel.Session, error) {
	cfg := d.Config.withDefaults()
	tr, free := d.Transport, func() {}
	if tr == nil {
		network := "udp6"
		if addr.Addr().Is4() {
			network = "udp4"
		}
		pc, err := net.ListenUDP(network, nil)
		if err != nil {
			return nil, unreachable(err)
		}
		conn := net.PacketConn(pc)
		if !cfg.DisableGRO {
			conn = receiveOffload(pc, dialBatch)
		}
		tr = &quic.Transport{Conn: conn}
		free = func() { _, _ = tr.Close(), pc.Close() }
	}
	conn, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(addr), cfg.TLS, cfg.quic())
	if err != nil {
		free()
		return nil, dialError(ctx, err)
	}
	s, err := newSession(conn, free, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func unreachable(err error) error {
	return tunnel.Errorf(tunnel.CodeUnreachable, "no answer over QUIC: %w", err)
}

func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return unreachable(ctx.Err())
	}
	e := tunnel.BeforeProof(sessionError(err))
	switch tunnel.CodeOf(e) {
	case tunnel.CodeHeartbeatLost, tunnel.CodeHandshakeTimeout, tunnel.CodeSessionLost:
		return unreachable(err)
	case tunnel.CodeInternal:
		return unreachable(e)
	default:
		return e
	}
}

func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(p)) //nolint:gosec // LookupPort gives a port
	}
	return addrs, nil
}
