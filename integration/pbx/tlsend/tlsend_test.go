package tlsend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

const (
	domain = "pbx.ara.comtrexx.test"
	serial = identity.Serial("0100000001")
	bound  = 30 * time.Second
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve gives every connection of a new listener to f, until the test ends.
func serve(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() { f(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); work.Wait() })
	return ln.Addr().String()
}

// TestCertificate: the PBX proves its name over connections that somebody brings, serves
// with the certificate, and does so with the stored one while the CA is away. On a
// connection of a CA nothing is served.
func TestCertificate(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	issuer, key := ca.Server()
	db, err := store.OpenBolt(filepath.Join(t.TempDir(), "pki.db"))
	must(t, err)
	var now atomic.Pointer[End] // that takes connections
	proofs := serve(t, func(c net.Conn) { _ = now.Load().Prove(context.Background(), c) })
	srv, err := acmesrv.New(acmesrv.Config{
		Roles: []acmesrv.Role{{Name: "srv-pbx", Names: []string{"*." + domain}, Devices: true}},
		Roots: []*x509.Certificate{ca.Root}, Issuer: issuer, Key: key, DB: acmesrv.NewStorage(db), Dial: map[string]string{"*." + domain + ":443": proofs},
	})
	must(t, err)
	web := httptest.NewUnstartedServer(srv)
	cert := ca.Issue(identity.Service(identity.DefaultTrustDomain, "pki"), pkitest.Options{ExtraIPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	web.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	web.StartTLS()
	t.Cleanup(func() { web.Close(); must(t, db.Close()) })
	asked := 0
	cfg := Config{
		Domain: domain, Directory: web.URL + acmesrv.DirectoryPath("srv-pbx"), Serial: serial, Storage: filepath.Join(t.TempDir(), "tls"), Roots: ca.Roots,
		Key: func(ctx context.Context) (string, string, error) {
			asked++
			eab, err := srv.EAB(ctx, "srv-pbx", serial)
			return eab.KeyID, eab.HMACKey, err
		},
	}
	end, err := New(cfg)
	must(t, err)
	now.Store(end)
	if end.Ready() {
		t.Error("there is a certificate before it was asked for")
	}
	run := func(e *End) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		return func() { cancel(); must(t, <-done) }
	}
	stop := run(end)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(bound); !end.Ready(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("no certificate")
		}
	}
	if asked != 1 {
		t.Errorf("the key was asked for %d times", asked)
	}
	pages := serve(t, func(c net.Conn) {
		s := now.Load().Conn(c)
		_, _ = io.WriteString(s, "pages") // the client may not be content with the certificate
		_ = s.Close()
	})
	dial := func(addr, name string, protos ...string) (string, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: ca.Roots(), ServerName: name, NextProtos: protos, MinVersion: tls.VersionTLS12}}
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return "", err
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		return string(text), err
	}
	own := "s" + string(serial) + "." + domain
	check := func() {
		t.Helper()
		if text, err := dial(pages, own, "http/1.1"); text != "pages" {
			t.Errorf("%q, %v", text, err)
		}
		for _, tt := range []struct {
			addr, name string
			protos     []string
		}{
			{proofs, own, []string{"http/1.1"}},
			{pages, "s0100000002." + domain, nil},
			{pages, "127.0.0.1", nil},
			{pages, own, []string{"h2"}},
			{pages, own, []string{"acme-tls/1"}},
		} {
			if text, err := dial(tt.addr, tt.name, tt.protos...); err == nil || text != "" {
				t.Errorf("%s %q: served %q", tt.name, tt.protos, text)
			}
		}
		// Nor is anything said about the PBX where no proof is to be given.
		for _, tt := range []struct {
			name    string
			version uint16
			protos  []string
		}{
			{own, tls.VersionTLS13, nil},
			{own, tls.VersionTLS13, []string{"http/1.1"}},
			{own, tls.VersionTLS13, []string{"acme-tls/1"}},
			{own, tls.VersionTLS12, []string{"acme-tls/1"}},
			{own, tls.VersionTLS10, []string{"acme-tls/1"}},
			{own, tls.VersionTLS13, []string{"acme-tls/1", "http/1.1"}},
			{"s0100000002." + domain, tls.VersionTLS13, []string{"acme-tls/1"}},
		} {
			d := tls.Dialer{Config: &tls.Config{
				ServerName: tt.name, NextProtos: tt.protos, MinVersion: tls.VersionTLS10, MaxVersion: tt.version,
				InsecureSkipVerify: true, // what is proven is the server's part
			}}
			c, err := d.DialContext(t.Context(), "tcp", proofs)
			if err == nil {
				_, err = c.Read(make([]byte, 1))
				must(t, c.Close())
			}
			if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("a proof without an order, %s %x %q: %v", tt.name, tt.version, tt.protos, err)
			}
		}
	}
	check()
	stop()
	web.Close()
	var keys int
	must(t, filepath.WalkDir(cfg.Storage, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".key") {
			return err
		}
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = errors.New(path + " can be read by others")
		}
		keys++
		return err
	}))
	if keys == 0 {
		t.Error("no key is stored")
	}
	end, err = New(cfg)
	must(t, err)
	now.Store(end)
	stop = run(end)
	check()
	stop()
}

// TestConfig: what a file may say.
func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Domain: domain, Directory: "https://pki.test/acme/srv-pbx/directory"}
	for want, change := range map[string]func(*Config){
		"":          func(*Config) {},
		"no domain": func(c *Config) { *c = Config{} },
		"public": func(c *Config) {
			c.Mode, c.Domain, c.Directory, c.Email = "public", "pbx.comtrexx.de", "", "it@comtrexx.de"
		},
		"domain:":    func(c *Config) { c.Domain = "PBX" },
		"directory:": func(c *Config) { c.Directory = "" },
		"mode:":      func(c *Config) { c.Mode = "files" },
		"email:":     func(c *Config) { c.Mode, c.Domain = "public", "pbx.comtrexx.de" },
	} {
		c := good
		change(&c)
		err := c.Validate()
		if bad := strings.HasSuffix(want, ":"); bad != (err != nil) || bad && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
