package agent

import (
	"net/url"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The dialers are made anew for each attempt, so that it sees swapped roots.

func (a *Agent) quicDialer() tunnel.Dialer {
	if a.cfg.QUIC != nil {
		return a.cfg.QUIC
	}
	creds := a.cfg.Credentials
	return &quictun.Dialer{Config: quictun.Config{
		TLS:                creds.ClientConfig(identity.RelayDNSName(a.self.TrustDomain), identity.OfKind(a.self.TrustDomain, identity.KindRelay), tunnel.ALPN),
		MaxIncomingStreams: a.cfg.Limits.Streams,
		Logger:             a.log,
	}}
}

func (a *Agent) tcpDialer() tunnel.Dialer {
	if a.cfg.TCP != nil {
		return a.cfg.TCP
	}
	creds := a.cfg.Credentials
	d := &muxtun.Dialer{Config: muxtun.Config{
		TLS:                creds.ClientConfig(identity.RelayDNSName(a.self.TrustDomain), identity.OfKind(a.self.TrustDomain, identity.KindRelay), tunnel.ALPN),
		MaxIncomingStreams: a.cfg.Limits.Streams,
		Logger:             a.log,
	}}
	if a.cfg.Proxy != "" {
		d.Proxy = func(string) (*url.URL, error) { return url.Parse(a.cfg.Proxy) }
	}
	return d
}
