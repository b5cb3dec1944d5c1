package dial

import (
	"context"
	"net"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// spareStreams is how many streams more than Limits.Incoming a transport lets in,
// so that the dialer can answer them with a number instead of letting them wait.
const spareStreams = 16

// The transports are made anew for each attempt, so that it sees swapped roots.

// tcpDialer makes the TCP transport. dial, where set, makes the connection under
// TLS.
func (d *Dialer) tcpDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) tunnel.Dialer {
	td := d.self.TrustDomain
	return &muxtun.Dialer{
		DialContext: dial,
		Config: muxtun.Config{
			TLS:                d.cfg.Credentials.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN),
			MaxIncomingStreams: d.cfg.Limits.Incoming + spareStreams,
			Logger:             d.log,
		},
	}
}

func (d *Dialer) quicDialer() tunnel.Dialer {
	td := d.self.TrustDomain
	return &quictun.Dialer{Config: quictun.Config{
		TLS:                d.cfg.Credentials.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN),
		MaxIncomingStreams: int64(d.cfg.Limits.Incoming + spareStreams),
		Logger:             d.log,
	}}
}
