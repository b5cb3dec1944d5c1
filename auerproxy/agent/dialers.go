package agent

import (
	"net/url"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// spareStreams is how many streams more than Limits.Streams a transport lets in,
// so that the agent can answer them with a number instead of letting them wait.
const spareStreams = 16

// The dialers are made anew for each attempt, so that it sees swapped roots.

func (a *Agent) quicDialer() tunnel.Dialer {
	if a.cfg.QUIC != nil {
		return a.cfg.QUIC
	}
	creds := a.cfg.Credentials
	return &quictun.Dialer{Config: quictun.Config{
		TLS:                creds.ClientConfig(identity.RelayDNSName(a.self.TrustDomain), identity.OfKind(a.self.TrustDomain, identity.KindRelay), tunnel.ALPN),
		MaxIncomingStreams: int64(a.cfg.Limits.Streams + spareStreams),
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
		MaxIncomingStreams: a.cfg.Limits.Streams + spareStreams,
		Logger:             a.log,
	}}
	if a.cfg.Proxy != "" {
		d.Proxy = func(string) (*url.URL, error) { return proxyURL(a.cfg.Proxy, a.cfg.ProxyAuth) }
	}
	return d
}

func proxyURL(proxy, auth string) (*url.URL, error) {
	u, err := url.Parse(proxy)
	if err == nil && auth != "" {
		user, password, _ := strings.Cut(auth, ":")
		u.User = url.UserPassword(user, password)
	}
	return u, err
}
