package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"

	"golang.org/x/net/netutil"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The listeners' names, in the log and in the metrics.
const (
	public   = "public"
	factory  = "factory"
	recovery = "recovery"
	admin    = "admin"
	// revocation is without TLS: who asks there may trust no root of ours.
	revocation = "revocation"
	// private is for our own servers, by ACME.
	private = "acme"
)

const alpn = "http/1.1"

// open opens every listener that is configured, or none.
func (s *Server) open(ctx context.Context, creds *enrol.Credentials) (_ map[*http.Server]net.Listener, err error) {
	servers := make(map[*http.Server]net.Listener)
	defer func() {
		if err != nil {
			for _, l := range servers {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	for _, l := range []struct {
		name, address string
		routes        http.Handler
		tls           func(*enrol.Credentials) *tls.Config
	}{
		{public, s.cfg.Listen, s.publicHandler(), s.publicTLS},
		{factory, s.cfg.FactoryListen, s.factoryHandler(), s.factoryTLS},
		{recovery, s.cfg.RecoveryListen, s.recoveryHandler(), s.recoveryTLS},
		{revocation, s.cfg.RevocationListen, s.withRevocation(http.NotFoundHandler()), nil},
		{private, s.cfg.ACMEListen, s.acmeHandler(), acmeTLS},
	} {
		if l.address == "" || l.name == revocation && s.cfg.Revocation == nil {
			continue
		}
		tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
		if err != nil {
			return servers, err
		}
		s.mu.Lock()
		s.addrs[l.name] = tcp.Addr()
		s.mu.Unlock()
		bounded := netutil.LimitListener(tcp, maxConns)
		if l.tls != nil {
			bounded = tls.NewListener(bounded, l.tls(creds))
		}
		servers[s.httpServer(l.name, l.routes)] = bounded
	}
	if s.cfg.AdminSocket != "" {
		unix, err := listenUnix(ctx, s.cfg.AdminSocket)
		if err != nil {
			return servers, err
		}
		servers[s.httpServer(admin, s.adminHandler())] = unix
	}
	return servers, nil
}

func (s *Server) factoryHandler() http.Handler {
	return s.mux(factory+" ", s.estRoutes(map[string]handler{
		"POST " + enrol.ESTEnrolPath: s.limited(s.estIssue(s.estByFactory)),
	}))
}

func (s *Server) recoveryHandler() http.Handler {
	return s.mux(recovery+" ", s.estRoutes(map[string]handler{
		"POST " + enrol.ESTReenrolPath: s.estIssue(s.estByExpired),
	}))
}

// publicTLS lets clients without a certificate in; handlers that need one check.
func (s *Server) publicTLS(creds *enrol.Credentials) *tls.Config {
	cfg := creds.ServerConfig(nil, alpn)
	cfg.ClientAuth = tls.VerifyClientCertIfGiven
	check := identity.VerifyPeer(identity.OfKind(s.auth.TrustDomain(), identity.KindDevice, identity.KindService, identity.KindRelay))
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil
		}
		return check(cs)
	}
	return cfg
}

// factoryTLS knows the manufacturers' roots and not our own. What a handshake has
// verified here means nothing to another listener, so there are no tickets.
func (s *Server) factoryTLS(creds *enrol.Credentials) *tls.Config {
	pool := x509.NewCertPool()
	for _, r := range s.factory.Roots {
		pool.AddCert(r)
	}
	cfg := s.serverTLS(creds)
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, pool
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.VerifiedChains) == 0 {
			return identity.ErrUnverified
		}
		_, err := authority.FactorySerial(cs.VerifiedChains[0])
		return err
	}
	return cfg
}

// recoveryTLS takes any certificate, whose key the handshake proves, and verifies it
// itself, because crypto/tls cannot look away from its expiry.
func (s *Server) recoveryTLS(creds *enrol.Credentials) *tls.Config {
	cfg := s.serverTLS(creds)
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return s.auth.VerifyExpired(cs.PeerCertificates) }
	return cfg
}

// serverTLS is what the two have in common.
func (s *Server) serverTLS(creds *enrol.Credentials) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert := creds.Certificate()
			return &cert, nil
		},
	}
}
