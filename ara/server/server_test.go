package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ara/gateway"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	td     = identity.DefaultTrustDomain
	domain = "ara.comtrexx.test"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testConfig is one at a free port with a wildcard certificate from files, and no relay
// that answers.
func testConfig(t *testing.T) (Config, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	ca := pkitest.New(t, td)
	cert := ca.Issue(identity.Service(td, "ara"), pkitest.Options{ExtraDNS: []string{domain, "*." + domain}})
	var chain []byte
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(t, err)
	c := DefaultConfig()
	c.Listen = "127.0.0.1:0"
	c.Gateway.Domain, c.Gateway.CCCURL = domain, "https://ccc.fontevo.test"
	c.Names = servercert.Config{Mode: servercert.ModeFiles, CertFile: filepath.Join(dir, "c.pem"), KeyFile: configs.SecretFile(filepath.Join(dir, "k.pem"))}
	must(t, os.WriteFile(c.Names.CertFile, chain, 0o600))
	must(t, os.WriteFile(string(c.Names.KeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	c.Dial.Relays = []string{"127.0.0.1:1"}
	c.Credentials = ca.Credentials(identity.Service(td, "ara"))
	return c, ca.Roots()
}

// TestServer: the gateway's own host and a stranger's label by HTTP/1.1, 2 and 3, what the
// access log has of it, and the end.
func TestServer(t *testing.T) {
	t.Parallel()
	c, roots := testConfig(t)
	logs := t.TempDir()
	d, err := daemon.New(daemon.Config{
		Admin: daemon.AdminConfig{Listen: "127.0.0.1:0"}, AccessLog: accesslog.Config{Dir: logs}, Output: io.Discard,
	}, "ara")
	must(t, err)
	c.AccessLog, c.Metrics, c.Logger = d.AccessLog(), d.Registry(), d.Logger()
	s, err := New(t.Context(), c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, s.Components()...) }()
	select {
	case <-d.Started():
	case err := <-done:
		t.Fatal(err)
	case <-time.After(30 * time.Second):
		t.Fatal("not started")
	}
	addr := s.Addr().String()
	cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	h1 := &http.Transport{DialContext: dial, TLSClientConfig: cfg.Clone()}
	h2 := &http.Transport{DialContext: dial, TLSClientConfig: cfg.Clone(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: cfg.Clone(), Dial: func(ctx context.Context, _ string, cfg *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddr(ctx, addr, cfg, q)
	}}
	for major, tr := range map[int]http.RoundTripper{1: h1, 2: h2, 3: h3} {
		for url, want := range map[string]int{
			"https://" + domain + "/": 200, "https://" + domain + "/x": 404,
			"https://" + strings.Repeat("a", 26) + "." + domain + "/": 404,
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			must(t, err)
			resp, err := tr.RoundTrip(req)
			must(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want || resp.ProtoMajor != major || resp.Header.Get("Strict-Transport-Security") == "" {
				t.Errorf("HTTP/%d %s: %d by %s", major, url, resp.StatusCode, resp.Proto)
			}
		}
	}
	h1.CloseIdleConnections()
	h2.CloseIdleConnections()
	must(t, h3.Close())
	cancel()
	must(t, <-done)
	must(t, s.Close())

	all := 0
	reader := accesslog.Reader{Dir: logs}
	for r, err := range reader.Raw(time.Time{}, time.Now()) {
		must(t, err)
		if !r.Address.IsLoopback() {
			t.Errorf("%+v", r)
		}
		all++
	}
	if all != 9 {
		t.Errorf("%d accesses are noted, want 9", all)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good, _ := testConfig(t)
	must(t, good.Validate())
	for key, change := range map[string]func(*Config){
		"listen":          func(c *Config) { c.Listen = "" },
		"names.mode":      func(c *Config) { c.Names = servercert.Config{} },
		"relays":          func(c *Config) { c.Dial.Relays = nil },
		"domain":          func(c *Config) { c.Gateway = gateway.Config{CCCURL: "https://ccc.fontevo.test"} },
		"names.cert_file": func(c *Config) { c.Names.CertFile = "" },
	} {
		c := good
		change(&c)
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	c := good
	c.Credentials = nil
	if _, err := New(t.Context(), c); err == nil {
		t.Error("a server without credentials")
	}
	// What cannot be opened leaves nothing open.
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	c = good
	c.Listen = taken.Addr().String()
	var key *configs.KeyError
	if _, err := New(t.Context(), c); !errors.As(err, &key) || key.Key != "listen" {
		t.Error(err)
	}
}

// TestPublicNames: with a public CA there is one certificate for the gateway and the
// sessions, which has to name both.
func TestPublicNames(t *testing.T) {
	t.Parallel()
	c, _ := testConfig(t)
	for _, tt := range []struct {
		domains []string
		lacks   []string
	}{
		{[]string{domain, "*." + domain}, nil},
		{[]string{"*." + domain}, []string{domain}},
		{[]string{domain}, []string{"*." + domain}},
		{[]string{"*.fontevo.test"}, []string{domain, "*." + domain}},
	} {
		c.Names = servercert.Config{Mode: servercert.ModePublic, Domains: tt.domains, DNS01: servercert.DNS01{Provider: "rfc2136"}}
		err := c.Validate()
		if err == nil {
			t.Fatal("no error of what is missing besides")
		}
		for _, name := range []string{domain, "*." + domain} {
			want := fmt.Sprintf("names.domains: has no %q", name)
			if got := strings.Contains(err.Error(), want); got != slices.Contains(tt.lacks, name) {
				t.Errorf("%q: %t for %s: %v", tt.domains, got, name, err)
			}
		}
		if strings.Contains(err.Error(), "names.mode") {
			t.Errorf("%q: %v", tt.domains, err)
		}
	}
	c.Names.DNS01 = servercert.DNS01{}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "names.mode") {
		t.Errorf("without dns01: %v", err)
	}
}
