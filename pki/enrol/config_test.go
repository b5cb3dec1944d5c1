package enrol_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

var (
	relay   = identity.Relay(td, "r1")
	device  = identity.Device(td, "0123456789")
	other   = identity.Device(td, "9999999999")
	service = identity.Service(td, "ccc")
)

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	o := handshake(t,
		ca.Credentials(device).ClientConfig(identity.RelayDNSName(td), identity.Exactly(relay), "x/1"),
		ca.Credentials(relay).ServerConfig(identity.OfKind(td, identity.KindDevice), "x/1"))
	if !o.ok() {
		t.Fatal(o.clientErr, o.serverErr)
	}
	if id, err := identity.FromConnectionState(o.server); err != nil || id != device {
		t.Errorf("server sees %s, %v", id, err)
	}
	if id, err := identity.FromConnectionState(o.client); err != nil || id != relay {
		t.Errorf("client sees %s, %v", id, err)
	}
	if o.client.NegotiatedProtocol != "x/1" || o.client.Version != tls.VersionTLS13 {
		t.Errorf("negotiated %q, TLS %x", o.client.NegotiatedProtocol, o.client.Version)
	}
}

// Each client differs from the good one in a single respect.
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	ca, foreign := pkitest.New(t, td), pkitest.New(t, td)
	server := ca.Credentials(relay)
	present := func(cert tls.Certificate) *tls.Config {
		return ca.CredentialsWith(cert).ClientConfig(relay.DNSName(), nil)
	}
	issue := func(o pkitest.Options) tls.Certificate { return ca.Issue(device, o) }
	with := func(change func(*tls.Config)) *tls.Config {
		cfg := present(issue(pkitest.Options{}))
		change(cfg)
		return cfg
	}
	for name, cfg := range map[string]*tls.Config{
		"no certificate": with(func(c *tls.Config) { c.GetClientCertificate = nil }),
		"TLS 1.2":        with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }),
		"expired":        present(issue(pkitest.Options{NotAfter: time.Now().Add(-time.Minute)})),
		"not yet valid":  present(issue(pkitest.Options{NotBefore: time.Now().Add(time.Hour)})),
		"foreign CA":     present(foreign.Issue(device, pkitest.Options{})),
		"wrong authority": present(issue(pkitest.Options{
			Signer: identity.KindService,
		})),
		"service posing as device": present(ca.Issue(service, pkitest.Options{})),
		"server certificate only": present(issue(pkitest.Options{Mutate: func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}})),
		"another device": present(ca.Issue(other, pkitest.Options{})),
	} {
		if o := handshake(t, cfg, server.ServerConfig(identity.Exactly(device))); o.serverErr == nil || o.clientErr == nil {
			t.Errorf("%s: served (client %v, server %v)", name, o.clientErr, o.serverErr)
		}
	}
	if o := handshake(t, present(issue(pkitest.Options{})), server.ServerConfig(identity.Exactly(device))); !o.ok() {
		t.Errorf("the good certificate: client %v, server %v", o.clientErr, o.serverErr)
	}
}

func TestClientRefuses(t *testing.T) {
	t.Parallel()
	ca, foreign := pkitest.New(t, td), pkitest.New(t, td)
	client := ca.Credentials(device)
	for name, server := range map[string]*enrol.Credentials{
		"foreign CA":      ca.CredentialsWith(foreign.Issue(relay, pkitest.Options{})),
		"expired":         ca.CredentialsWith(ca.Issue(relay, pkitest.Options{NotAfter: time.Now().Add(-time.Minute)})),
		"wrong authority": ca.CredentialsWith(ca.Issue(relay, pkitest.Options{Signer: identity.KindDevice})),
		"another name":    ca.CredentialsWith(ca.Issue(other, pkitest.Options{})),
		"a device with the relay's name": ca.CredentialsWith(ca.Issue(other, pkitest.Options{
			ExtraDNS: []string{identity.RelayDNSName(td)},
		})),
	} {
		cfg := client.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay))
		if o := handshake(t, cfg, server.ServerConfig(nil)); o.clientErr == nil {
			t.Errorf("%s: the client went on", name)
		}
	}
}

// A device appends a certificate that it does not hold the key of. Only the one
// that signed the handshake counts.
func TestSecondCertificateIsNotBelieved(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	mine := ca.Issue(device, pkitest.Options{})
	for _, stolen := range []tls.Certificate{ca.Issue(other, pkitest.Options{}), ca.Issue(service, pkitest.Options{})} {
		victim, err := identity.FromCert(stolen.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		both := mine
		both.Certificate = [][]byte{mine.Certificate[0], stolen.Certificate[0], mine.Certificate[1], stolen.Certificate[1]}
		client := ca.CredentialsWith(both).ClientConfig(relay.DNSName(), nil)
		if o := handshake(t, client, ca.Credentials(relay).ServerConfig(identity.Exactly(victim))); o.serverErr == nil {
			t.Errorf("believed to be %s", victim)
		}
		o := handshake(t, client, ca.Credentials(relay).ServerConfig(nil))
		if id, err := identity.FromConnectionState(o.server); err != nil || id != device {
			t.Errorf("seen as %s, %v", id, err)
		}
	}
}

// Resumption skips VerifyPeerCertificate. The control shows that such a server
// does resume and serve a blocked device; ours refuses.
func TestResumptionDoesNotSkipTheCheck(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	var blocked atomic.Bool
	check := func(identity.ID) error {
		if blocked.Load() {
			return errors.New("blocked")
		}
		return nil
	}
	control := ca.Credentials(relay).ServerConfig(nil)
	control.VerifyConnection = nil
	control.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error {
		id, err := identity.FromChain(chains[0])
		if err != nil {
			return err
		}
		return check(id)
	}
	ours := ca.Credentials(relay).ServerConfig(check)
	for _, c := range []struct {
		name   string
		server *tls.Config
		served bool
	}{{"control", control, true}, {"ours", ours, false}} {
		blocked.Store(false)
		client := ca.Credentials(device).ClientConfig(relay.DNSName(), nil)
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		if o := handshake(t, client, c.server); !o.ok() || o.client.DidResume {
			t.Fatalf("%s: first: %v, %v", c.name, o.clientErr, o.serverErr)
		}
		if o := handshake(t, client, c.server); !o.ok() || !o.server.DidResume {
			t.Fatalf("%s: second: %v, %v, resumed %v", c.name, o.clientErr, o.serverErr, o.server.DidResume)
		}
		blocked.Store(true)
		if o := handshake(t, client, c.server); o.ok() != c.served {
			t.Errorf("%s: after the block: %v, %v", c.name, o.clientErr, o.serverErr)
		}
	}
}

func TestSwapReachesTheNextHandshake(t *testing.T) {
	t.Parallel()
	ca, next := pkitest.New(t, td), pkitest.New(t, td)
	server, client := ca.Credentials(relay), ca.Credentials(device)
	serverConfig := server.ServerConfig(nil)
	clientConfig := client.ClientConfig(relay.DNSName(), nil)
	if o := handshake(t, clientConfig, serverConfig); !o.ok() {
		t.Fatal(o.clientErr, o.serverErr)
	}

	newServer, newClient := ca.Issue(relay, pkitest.Options{}), ca.Issue(device, pkitest.Options{})
	if err := errors.Join(server.Swap(newServer, nil), client.Swap(newClient, nil)); err != nil {
		t.Fatal(err)
	}
	o := handshake(t, clientConfig, serverConfig)
	if !o.ok() {
		t.Fatal(o.clientErr, o.serverErr)
	}
	if !o.client.PeerCertificates[0].Equal(newServer.Leaf) || !o.server.PeerCertificates[0].Equal(newClient.Leaf) {
		t.Error("the handshake used certificates from before the swap")
	}

	moved := next.Credentials(device).ClientConfig(relay.DNSName(), nil)
	moved.RootCAs = ca.Roots()
	if o := handshake(t, moved, serverConfig); o.ok() {
		t.Error("a root that is not in the bundle was believed")
	}
	if err := server.Swap(newServer, []*x509.Certificate{ca.Root, next.Root}); err != nil {
		t.Fatal(err)
	}
	if o := handshake(t, moved, serverConfig); !o.ok() {
		t.Errorf("after adding the root: %v, %v", o.clientErr, o.serverErr)
	}
	if err := server.Swap(newServer, []*x509.Certificate{next.Root}); err != nil {
		t.Fatal(err)
	}
	if o := handshake(t, clientConfig, serverConfig); o.ok() {
		t.Error("a root that was removed is still believed")
	}
}
