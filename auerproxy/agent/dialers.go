package agent

import (
	"bytes"
	"crypto/tls"
	"net/url"
	"strings"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
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
	return &quictun.Dialer{Config: quictun.Config{
		TLS:                a.clientTLS(tunnel.QUIC),
		MaxIncomingStreams: int64(a.cfg.Limits.Streams + spareStreams),
		Logger:             a.log,
	}}
}

func (a *Agent) tcpDialer() tunnel.Dialer {
	if a.cfg.TCP != nil {
		return a.cfg.TCP
	}
	d := &muxtun.Dialer{Config: muxtun.Config{
		TLS:                a.clientTLS(tunnel.TCP),
		MaxIncomingStreams: a.cfg.Limits.Streams + spareStreams,
		Congestion:         a.cfg.TCPCongestion,
		Logger:             a.log,
	}}
	if a.cfg.Proxy != "" {
		d.Proxy = func(string) (*url.URL, error) { return proxyURL(a.cfg.Proxy, a.cfg.ProxyAuth) }
	}
	return d
}

// dataDialer makes data connections to a relay, in the way of the TCP transport.
func (a *Agent) dataDialer(addr string) *bulk.Dialer {
	if a.cfg.Transport == TransportQUIC {
		return nil
	}
	return bulk.NewDialer(a.tcpDialer(), addr)
}

// clientTLS is the configuration of one handshake with a relay. It resumes with
// the tickets of relays that hand out any.
func (a *Agent) clientTLS(tr tunnel.Transport) *tls.Config {
	td := a.self.TrustDomain
	cfg := a.cfg.Credentials.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
	cfg.ClientSessionCache = a.tickets.cache(tr, a.cfg.Credentials.Certificate().Certificate[0])
	return cfg
}

// tickets keeps the relays' session tickets. A resumed session shows the
// certificate of the one that it resumes, so a new certificate starts anew.
type tickets struct {
	mu   sync.Mutex
	leaf []byte                                      // guarded by mu; DER
	of   map[tunnel.Transport]tls.ClientSessionCache // guarded by mu
}

func (t *tickets) cache(tr tunnel.Transport, leaf []byte) tls.ClientSessionCache {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !bytes.Equal(t.leaf, leaf) {
		t.leaf, t.of = leaf, map[tunnel.Transport]tls.ClientSessionCache{}
	}
	if t.of[tr] == nil {
		t.of[tr] = tls.NewLRUClientSessionCache(1) // all relays have one name
	}
	return t.of[tr]
}

func proxyURL(proxy, auth string) (*url.URL, error) {
	u, err := url.Parse(proxy)
	if err == nil && auth != "" {
		user, password, _ := strings.Cut(auth, ":")
		u.User = url.UserPassword(user, password)
	}
	return u, err
}
