package server_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// badger, which smallstep links unless built with -tags nobadger, starts it.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		// certmagic never ends it.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("github.com/comtrexx-cloud/comtrexx/pki/store/pgtest.(*Server).start.func1"),
	)
}

const (
	td       = identity.DefaultTrustDomain
	patience = 20 * time.Second // for what must come
)

var (
	device  = identity.Device(td, "0123456789")
	other   = identity.Device(td, "9999999999")
	service = identity.Service(td, "ccc")
	relay   = identity.Relay(td, "r1")
)

// pki is a running PKI.
type pki struct {
	*server.Server
	auth  *authority.Authority
	admin server.Admin

	revocation *crl.Service

	dir  string
	stop func()
}

func (p *pki) url() string { return "https://" + p.Addr().String() }

func (p *pki) client() *enrol.Client {
	return &enrol.Client{URL: p.url(), TrustDomain: td, Roots: p.auth.Roots(), Timeout: patience}
}

// start runs a PKI in a new state directory, or in the one that is given.
func start(t *testing.T, dir string, acfg authority.Config, scfg server.Config) *pki {
	t.Helper()
	acfg.StateDir, acfg.PlainKeys = dir, true
	if strings.HasPrefix(t.Name(), "TestPostgres/") {
		url, schema := pgtest.Schema(t)
		acfg.Store = authority.StoreConfig{Kind: authority.StorePostgres, Postgres: store.PostgresConfig{URL: url, Schema: schema, MaxConnections: 4}}
	}
	if dir == "" {
		acfg.StateDir = filepath.Join(t.TempDir(), "s")
		if _, err := authority.Init(acfg); err != nil {
			t.Fatal(err)
		}
	}
	a, err := authority.New(acfg)
	if err != nil {
		t.Fatal(err)
	}
	if scfg.Listen == "" {
		scfg.Listen = "127.0.0.1:0"
	}
	if scfg.Revocation, err = a.Revocation(crl.Config{}); err != nil {
		t.Fatal(err)
	}
	scfg.Authority, scfg.StateDir, scfg.Names = a, acfg.StateDir, []string{"localhost", "127.0.0.1"}
	s, err := server.New(scfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	p := &pki{Server: s, auth: a, dir: acfg.StateDir, revocation: scfg.Revocation, admin: server.Admin{
		Socket: filepath.Join(acfg.StateDir, server.AdminSocketFile), Actor: "test",
	}}
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	return p
}

func (p *pki) token(t *testing.T, id identity.ID) string {
	t.Helper()
	tok, err := p.auth.Token(t.Context(), id, time.Hour, "test")
	if err != nil {
		t.Fatal(err)
	}
	return tok.Token
}

func (p *pki) enrolled(t *testing.T, id identity.ID) *enrol.Credentials {
	t.Helper()
	c, err := p.client().Enrol(t.Context(), p.token(t, id), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *pki) issued(t *testing.T, id identity.ID) *enrol.Credentials {
	t.Helper()
	c, err := p.auth.Credentials(t.Context(), id, profile.Extra{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// forge signs with a real intermediate's key what the authority would not.
func (p *pki) forge(t *testing.T, signer identity.Kind, id identity.ID, mutate func(*x509.Certificate)) *enrol.Credentials {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		return block.Bytes
	}
	issuer, err := x509.ParseCertificate(read(signer.String() + ".pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(read(signer.String() + ".key"))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := profile.Leaf(id, profile.Extra{})
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	mutate(tmpl)
	leafKey := pkitest.NewKey()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, leafKey.Public(), key.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	c, err := enrol.NewCredentials(tls.Certificate{Certificate: [][]byte{der, issuer.Raw}, PrivateKey: leafKey}, p.auth.Roots())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// call makes one request with the given TLS configuration.
func (p *pki) call(t *testing.T, cfg *tls.Config, method, path, body string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func (p *pki) anonymous() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(p.auth.Roots()[0])
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func (p *pki) as(c *enrol.Credentials) *tls.Config { return c.ClientConfig("localhost", nil) }

// deviceIssuer is the intermediate that issues for devices.
func (p *pki) deviceIssuer() *x509.Certificate {
	for _, i := range p.auth.Issuers() {
		if i.Role == "device" && i.Active {
			return i.Certificate
		}
	}
	return nil
}
