package acmesrv_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

func TestMain(m *testing.M) {
	misbehave()
	goleak.VerifyTestMain(m,
		// badger, which smallstep links unless built with -tags nobadger, starts it.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		// certmagic never ends it.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
	)
}

const td = identity.DefaultTrustDomain

// roles as an operator would write them.
func roles() []acmesrv.Role {
	return []acmesrv.Role{
		{Name: "srv-auerproxy", Names: []string{"auerproxy.comtrexx.test", "relay.localhost", "127.0.0.1"}},
		{Name: "srv-ara", Names: []string{"ara.comtrexx.test", "*.ara.comtrexx.test"}},
		{Name: "srv-open", Names: []string{"open.comtrexx.test"}, WithoutEAB: true},
	}
}

// world is a running ACME server, and a server that proves names to it.
type world struct {
	t     *testing.T
	srv   *acmesrv.Server
	https *httptest.Server
	roots *x509.CertPool
	cfg   acmesrv.Config

	mu     sync.Mutex
	proofs map[string]*tls.Certificate // by name; guarded by mu
}

// start runs a server. Names are proven at a listener of the world.
func start(t *testing.T, change func(*acmesrv.Config)) *world {
	t.Helper()
	ca := pkitest.New(t, td)
	cert, key := ca.Server()
	db := openStorage(t)
	w := &world{t: t, roots: ca.Roots(), proofs: make(map[string]*tls.Certificate)}
	proofs := w.serveProofs().String()
	w.cfg = acmesrv.Config{
		Roles: roles(), Roots: []*x509.Certificate{ca.Root}, Issuer: cert, Key: key, DB: db,
		Dial: map[string]string{
			"auerproxy.comtrexx.test:443": proofs, "relay.localhost:443": proofs, "127.0.0.1:443": proofs,
			"ara.comtrexx.test:443": proofs, "one.ara.comtrexx.test:443": proofs, "open.comtrexx.test:443": proofs,
		},
	}
	if change != nil {
		change(&w.cfg)
	}
	var err error
	if w.srv, err = acmesrv.New(w.cfg); err != nil {
		t.Fatal(err)
	}
	w.https = httptest.NewTLSServer(w.srv)
	t.Cleanup(w.https.Close)
	return w
}

// serveProofs answers tls-alpn-01 with what Present was given.
func (w *world) serveProofs() net.Addr {
	w.t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{acmez.ACMETLS1Protocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if cert := w.proofs[hello.ServerName]; cert != nil {
				return cert, nil
			}
			return nil, errors.New("no proof for " + hello.ServerName)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_ = conn.(*tls.Conn).HandshakeContext(context.Background()) // the other side tells
				_ = conn.Close()
			})
		}
	})
	w.t.Cleanup(func() {
		_ = ln.Close()
		work.Wait()
	})
	return ln.Addr()
}

// Present and CleanUp make the world an acmez.Solver.
func (w *world) Present(_ context.Context, c acme.Challenge) error {
	cert, err := acmez.TLSALPN01ChallengeCert(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	sni := c.Identifier.Value
	if c.Identifier.Type == "ip" {
		sni = "1.0.0.127.in-addr.arpa"
	}
	w.proofs[sni] = cert
	return err
}

func (w *world) CleanUp(context.Context, acme.Challenge) error { return nil }

// client speaks ACME to a role's directory.
func (w *world) client(role string) *acmez.Client {
	hc := w.https.Client()
	w.t.Cleanup(hc.CloseIdleConnections)
	return &acmez.Client{
		Client:           &acme.Client{Directory: w.https.URL + acmesrv.DirectoryPath(role), HTTPClient: hc, PollInterval: time.Millisecond},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeTLSALPN01: w},
	}
}

// register opens an account, with an external account binding unless eab is nil.
func (w *world) register(c *acmez.Client, eab *acmesrv.EAB) (acme.Account, error) {
	account := acme.Account{PrivateKey: pkitest.NewKey(), TermsOfServiceAgreed: true}
	if eab != nil {
		if err := account.SetExternalAccountBinding(w.t.Context(), c.Client, acme.EAB{KeyID: eab.KeyID, MACKey: eab.HMACKey}); err != nil {
			return account, err
		}
	}
	return c.NewAccount(w.t.Context(), account)
}

func (w *world) eab(role string) *acmesrv.EAB {
	w.t.Helper()
	eab, err := w.srv.EAB(w.t.Context(), role, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return &eab
}

// account opens an account as it should be done.
func (w *world) account(c *acmez.Client, role string) acme.Account {
	w.t.Helper()
	account, err := w.register(c, w.eab(role))
	if err != nil {
		w.t.Fatal(err)
	}
	return account
}

// order gets a certificate for the names, leaf first.
func (w *world) order(c *acmez.Client, account acme.Account, key crypto.Signer, names ...string) ([]*x509.Certificate, error) {
	chains, err := c.ObtainCertificateForSANs(w.t.Context(), account, key, names)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(chains[0].ChainPEM, keyPEM(w.t, key))
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, der := range cert.Certificate {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// problem gives the type of a refusal (RFC 8555 §6.7) without its prefix.
func problem(t *testing.T, err error) (typ string, status int) {
	t.Helper()
	p, ok := errors.AsType[acme.Problem](err)
	if !ok {
		t.Fatalf("no problem document: %v", err)
	}
	const prefix = "urn:ietf:params:acme:error:"
	if len(p.Type) <= len(prefix) {
		t.Fatalf("type %q of %v", p.Type, p)
	}
	return p.Type[len(prefix):], p.Status
}

// contains tells whether a refusal of the type was reported.
func contains(list []acmesrv.Refusal, role, typ string) bool {
	return slices.ContainsFunc(list, func(r acmesrv.Refusal) bool { return r.Role == role && r.Type == typ })
}

var _ http.Handler = (*acmesrv.Server)(nil)

// finalize orders a name, proves it, and asks with a request of any kind. It gives
// the leaf.
func (w *world) finalize(c *acmez.Client, account acme.Account, name string, csr []byte) ([]byte, error) {
	w.t.Helper()
	ctx := w.t.Context()
	order, err := c.NewOrder(ctx, account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: name}}})
	if err != nil {
		return nil, err
	}
	authz, err := c.GetAuthorization(ctx, account, order.Authorizations[0])
	if err != nil {
		return nil, err
	}
	for _, challenge := range authz.Challenges {
		if challenge.Type != acme.ChallengeTypeTLSALPN01 {
			continue
		}
		if err := w.Present(ctx, challenge); err != nil {
			return nil, err
		}
		if _, err := c.InitiateChallenge(ctx, account, challenge); err != nil {
			return nil, err
		}
	}
	if order, err = c.FinalizeOrder(ctx, account, order, csr); err != nil {
		return nil, err
	}
	chains, err := c.GetCertificateChain(ctx, account, order.Certificate)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(chains[0].ChainPEM)
	return block.Bytes, nil
}

// pkixEKU is a request for client authentication (RFC 5280 §4.2.1.12).
func pkixEKU() (pkix.Extension, error) {
	value, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 2}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: value}, err
}

// shortIssuer makes a root and an intermediate that expires soon.
func shortIssuer(t *testing.T, left time.Duration) ([]*x509.Certificate, *x509.Certificate, crypto.Signer) {
	t.Helper()
	sign := func(c, parent *x509.Certificate, key, by crypto.Signer) *x509.Certificate {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(left)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	rootKey, key := pkitest.NewKey(), pkitest.NewKey()
	root := profile.Root(td)
	root = sign(root, root, rootKey, rootKey)
	tmpl, err := profile.ServerIntermediate(td, string(td), "localhost", "127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{root}, sign(tmpl, root, key, rootKey), key
}
