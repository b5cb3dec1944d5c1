package enrol

import (
	"crypto/tls"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ServerConfig is the TLS configuration of everything in the cloud that accepts
// connections: TLS 1.3, a client certificate from the trusted roots, and check
// on the client's identity. A nil check lets every verified endpoint in.
//
// Certificate and roots are read anew for each handshake, so a swap needs no new
// configuration. The check is a VerifyConnection, which runs on resumed sessions
// too. Callers may change the fields of the result before its first use, e.g.
// ClientAuth; a changed VerifyConnection must do the check itself.
func (c *Credentials) ServerConfig(check func(identity.ID) error, protos ...string) *tls.Config {
	cfg := &tls.Config{
		MinVersion:       tls.VersionTLS13,
		NextProtos:       protos,
		ClientAuth:       tls.RequireAndVerifyClientCert,
		ClientCAs:        c.Pool(),
		VerifyConnection: c.verify(check),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert := c.Certificate()
			return &cert, nil
		},
	}
	c.setTime(cfg)
	// The clone takes whatever the caller has set on cfg, and serves until the roots
	// are swapped: a connection keeps its configuration for life. Session tickets
	// stay resumable across clones, because crypto/tls keeps their keys on cfg.
	var mu sync.Mutex
	var shared *tls.Config
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool := c.Pool()
		mu.Lock()
		defer mu.Unlock()
		if shared == nil || shared.ClientCAs != pool {
			shared = cfg.Clone()
			shared.GetConfigForClient = nil
			shared.ClientCAs = pool
		}
		return shared, nil
	}
	return cfg
}

// ClientConfig is the TLS configuration of everything in the cloud that dials:
// TLS 1.3, the endpoint's own certificate, a server certificate for serverName
// from the trusted roots, and check on the server's identity. A nil check lets
// every verified endpoint with that name pass.
//
// The certificate is read anew for each handshake. The roots are those of now:
// make a new configuration per dial (it is cheap) to see a swapped bundle.
// ClientSessionCache is nil, so nothing resumes unless the caller sets one.
func (c *Credentials) ClientConfig(serverName string, check func(identity.ID) error, protos ...string) *tls.Config {
	cfg := &tls.Config{
		MinVersion:       tls.VersionTLS13,
		NextProtos:       protos,
		ServerName:       serverName,
		RootCAs:          c.Pool(),
		VerifyConnection: c.verify(check),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert := c.Certificate()
			return &cert, nil
		},
	}
	c.setTime(cfg)
	return cfg
}

// setTime has a configuration verify by the credentials' clock.
func (c *Credentials) setTime(cfg *tls.Config) {
	if clock := c.clock.Load(); clock != nil {
		cfg.Time = clock.Now
	}
}

// verify checks the other side's identity. What its certificate proves about the
// time goes to the clock.
func (c *Credentials) verify(check func(identity.ID) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		id, err := identity.FromConnectionState(cs)
		if err == nil && check != nil {
			err = check(id)
		}
		if err == nil {
			c.clock.Load().Saw(cs.VerifiedChains[0][0].NotBefore)
		}
		return err
	}
}
