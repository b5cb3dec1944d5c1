package relay_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

const proxyName = "proxy.comtrexx.test"

// fakeNames has a certificate for one name. It also claims names that are not its
// own, as a public CA could certify them.
type fakeNames struct {
	cert tls.Certificate
	all  []string
}

func (f fakeNames) Certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	if slices.Contains(f.all, hello.ServerName) {
		return &f.cert
	}
	return nil
}

func (f fakeNames) Challenge(hello *tls.ClientHelloInfo) *tls.Config {
	if !slices.Equal(hello.SupportedProtos, []string{"acme-tls/1"}) {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"acme-tls/1"}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != proxyName {
			return nil, errors.New("nothing is to be proven")
		}
		return &f.cert, nil
	}}
}

// serverCert makes a certificate for a server's name.
func serverCert(t *testing.T, ca *pkitest.CA, names ...string) tls.Certificate {
	t.Helper()
	issuer, by := ca.Server()
	key := pkitest.NewKey()
	tmpl := &x509.Certificate{DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	profile.ApplyServer(tmpl)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, issuer.Raw}, PrivateKey: key}
}

// namedWorld is a world whose relay is also proxyName.
func namedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, func(c *relay.Config) {
		c.Names = &lateNames{}
	})
	w.cfg.Names.(*lateNames).fakeNames = fakeNames{
		cert: serverCert(t, w.ca, proxyName), all: []string{proxyName, "r1.relay.comtrexx.test", identity.RelayDNSName(td)},
	}
	return w
}

// lateNames are set once the world has a CA, and before the first connection.
type lateNames struct{ fakeNames }

// shown gives the DNS names of the certificate that the relay shows, and what
// becomes of the connection. TLS 1.3 tells a client only with the first read that it
// was refused.
func (w *world) shown(sni string, cert *tls.Certificate, protos ...string) (names []string, proto string, err error) {
	w.t.Helper()
	cfg := &tls.Config{ServerName: sni, NextProtos: protos, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // the test looks at it
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	ctx := timeout(w.t, 10*time.Second)
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", w.addr)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = conn.Close() }()
	cs := conn.(*tls.Conn).ConnectionState()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(deadline)
	}
	if slices.Contains(protos, "http/1.1") {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			return cs.PeerCertificates[0].DNSNames, cs.NegotiatedProtocol, err
		}
	}
	if !slices.Contains(protos, tunnel.ALPN) {
		var n int64
		if n, err = io.Copy(io.Discard, conn); err == nil && n == 0 {
			err = io.EOF
		}
	}
	return cs.PeerCertificates[0].DNSNames, cs.NegotiatedProtocol, err
}

func TestNames(t *testing.T) {
	t.Parallel()
	w := namedWorld(t)
	blocked := identity.Service(td, "blocked")
	w.relay.SetBlocks(blocks.NewList(1, blocked.Path()))
	ccc := w.ca.Issue(identity.Service(td, "ccc"), pkitest.Options{})
	bad := w.ca.Issue(blocked, pkitest.Options{})
	foreign := pkitest.New(t, td).Issue(identity.Service(td, "ccc"), pkitest.Options{})
	device := w.ca.Issue(identity.Device(td, serial), pkitest.Options{})
	// The certificate of a name is nobody's, also as a client's.
	named := serverCert(t, w.ca, proxyName)
	own, name := "r1.relay.comtrexx.test", proxyName
	for _, tt := range []struct {
		what   string
		sni    string
		cert   *tls.Certificate
		protos []string
		want   string // name in the certificate
		ok     bool
	}{
		{"name", proxyName, &ccc, []string{"http/1.1"}, name, true},
		{"identity", own, &ccc, []string{"http/1.1"}, own, true},
		{"any relay", identity.RelayDNSName(td), &ccc, []string{"http/1.1"}, own, true},
		{"no name at all", "", &ccc, []string{"http/1.1"}, own, true},
		{"other name", "other.comtrexx.test", &ccc, []string{"http/1.1"}, own, true},
		{"tunnel by the name", proxyName, &device, []string{tunnel.ALPN}, own, true},
		{"no client certificate", proxyName, nil, []string{"http/1.1"}, name, false},
		{"foreign", proxyName, &foreign, []string{"http/1.1"}, name, false},
		{"blocked", proxyName, &bad, []string{"http/1.1"}, name, false},
		{"certificate of a name", proxyName, &named, []string{"http/1.1"}, name, false},
		{"proof and more", proxyName, nil, []string{"acme-tls/1", "http/1.1"}, name, false},
	} {
		names, _, err := w.shown(tt.sni, tt.cert, tt.protos...)
		if !slices.Contains(names, tt.want) {
			t.Errorf("%s: sees %q, want %s; %v", tt.what, names, tt.want, err)
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}

	// A proof needs no certificate, and leads nowhere.
	names, proto, err := w.shown(proxyName, nil, "acme-tls/1")
	if proto != "acme-tls/1" || !slices.Contains(names, proxyName) || !errors.Is(err, io.EOF) {
		t.Errorf("proof: %q, %q, %v", names, proto, err)
	}
	if _, _, err := w.shown(own, nil, "acme-tls/1"); err == nil {
		t.Error("a proof of a name that there is none for")
	}
}

// A stock client, which knows the name and its CA, reaches a device.
func TestCONNECTByName(t *testing.T) {
	t.Parallel()
	w := namedWorld(t)
	w.device(serial, agent.TransportTCP, nil)
	w.online(identity.Device(td, serial), 1)
	tr := &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: w.addr}),
		// The name of the proxy is verified here, that of the device by net/http.
		DialTLSContext: (&tls.Dialer{Config: &tls.Config{
			RootCAs: w.ca.Roots(), ServerName: proxyName, NextProtos: []string{"http/1.1"},
			Certificates: []tls.Certificate{w.ca.Issue(identity.Service(td, "ccc"), pkitest.Options{})},
		}}).DialContext,
		TLSClientConfig: &tls.Config{RootCAs: w.ca.Roots(), Certificates: []tls.Certificate{w.ca.Issue(identity.Service(td, "ccc"), pkitest.Options{})}},
	}
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get("https://s0123456789.pbx.comtrexx.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "I am 0123456789" {
		t.Errorf("got %q, %v", body, err)
	}
}
