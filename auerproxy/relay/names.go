package relay

import (
	"crypto/tls"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// withNames lets a listener also serve Config.Names. Only the certificate that is
// shown depends on the name: what a client must show, and what is checked, does not.
// Endpoints always see the identity certificate, which is the only one they take.
func (r *Relay) withNames(cfg *tls.Config) *tls.Config {
	names := r.cfg.Names
	if names == nil {
		return cfg
	}
	own, forClient := cfg.GetCertificate, cfg.GetConfigForClient
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if slices.Contains(hello.SupportedProtos, tunnel.ALPN) || slices.Contains(r.self.DNSNames(), hello.ServerName) {
			return own(hello)
		}
		if cert := names.Certificate(hello); cert != nil {
			return cert, nil
		}
		return own(hello)
	}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if challenge := names.Challenge(hello); challenge != nil {
			return challenge, nil
		}
		return forClient(hello)
	}
	return cfg
}
