package acmesrv_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// patience is for what must come.
const patience = 30 * time.Second

const proxyName = "auerproxy.comtrexx.test"

// listen opens the port of a server that has names.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// named is a server that gets its names from the world's ACME server.
type named struct {
	*servercert.Server
	addr string
	stop func()
}

// serverConfig is that of a server with one name. The account's key is in dir.
func (w *world) serverConfig(dir string) servercert.Config {
	pool := x509.NewCertPool()
	pool.AddCert(w.https.Certificate())
	return servercert.Config{
		Mode: servercert.ModeInternal, Domains: []string{proxyName},
		Directory: w.https.URL + acmesrv.DirectoryPath("srv-auerproxy"),
		EABFile:   configs.SecretFile(filepath.Join(dir, "eab.json")), Storage: filepath.Join(dir, "names"),
		Roots: func() *x509.CertPool { return pool },
	}
}

// writeEAB makes a key as "pki acme eab" prints it.
func (w *world) writeEAB(dir, role string) {
	w.t.Helper()
	text, err := json.Marshal(w.eab(role))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "eab.json"), text, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// serve starts a server at the listener.
func serve(t *testing.T, tcp net.Listener, cfg servercert.Config) *named {
	t.Helper()
	cfg.Listen = tcp.Addr().String()
	names, err := servercert.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ErrorLog:          hclog.NewNullLogger().StandardLogger(nil),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = server.Serve(tls.NewListener(tcp, names.TLSConfig("http/1.1"))) })
	work.Go(func() {
		if err := names.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	n := &named{Server: names, addr: cfg.Listen, stop: sync.OnceFunc(func() {
		cancel()
		_ = server.Close()
		work.Wait()
	})}
	t.Cleanup(n.stop)
	return n
}

// leaf is what a client sees that verifies name.
func (n *named) leaf(roots *x509.CertPool, name string) (*x509.Certificate, error) {
	d := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", n.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// await polls until a client sees a certificate that ok takes.
func (n *named) await(t *testing.T, roots *x509.CertPool, name string, ok func(*x509.Certificate) bool) *x509.Certificate {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		leaf, err := n.leaf(roots, name)
		if err == nil && ok(leaf) {
			return leaf
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func anyLeaf(*x509.Certificate) bool { return true }

// proxyWorld is a world in which the name of the proxy is proven at ln.
func proxyWorld(t *testing.T, ln net.Listener, change func(*acmesrv.Config)) *world {
	t.Helper()
	return start(t, func(c *acmesrv.Config) {
		c.Dial = map[string]string{proxyName + ":443": ln.Addr().String()}
		if change != nil {
			change(c)
		}
	})
}

// A server gets its name without anybody's help, and starts again with what it
// has while the CA is away.
func TestServerGetsItsName(t *testing.T) {
	dir := t.TempDir()
	ln := listen(t)
	w := proxyWorld(t, ln, nil)
	w.writeEAB(dir, "srv-auerproxy")
	cfg := w.serverConfig(dir)
	n := serve(t, ln, cfg)
	first := n.await(t, w.roots, proxyName, anyLeaf)
	if left := n.Remaining(); left < 29*24*time.Hour {
		t.Errorf("%s remain", left)
	}
	if _, err := n.leaf(w.roots, "ara.comtrexx.test"); err == nil {
		t.Error("it has another name")
	}
	n.stop()

	w.https.Close()
	n = serve(t, listen(t), cfg)
	leaf, err := n.leaf(w.roots, proxyName) // at once
	if err != nil || !leaf.Equal(first) {
		t.Fatalf("while the CA is away: %v", err)
	}
	if certs, err := w.cfg.DB.List([]byte("acme_certs")); err != nil || len(certs) != 1 {
		t.Errorf("%d certificates, %v", len(certs), err)
	}
}

// Renewal begins at half of the life, and needs no new key for the account.
func TestServerRenews(t *testing.T) {
	dir := t.TempDir()
	ln := listen(t)
	// With an hour of backdating, 50 of 110 minutes are left.
	w := proxyWorld(t, ln, func(c *acmesrv.Config) { c.Lifetime = 50 * time.Minute })
	w.writeEAB(dir, "srv-auerproxy")
	cfg := w.serverConfig(dir)
	n := serve(t, ln, cfg)
	first := n.await(t, w.roots, proxyName, anyLeaf)
	n.stop()
	if err := os.Remove(filepath.Join(dir, "eab.json")); err != nil {
		t.Fatal(err)
	}
	again, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	n = serve(t, again, cfg)
	n.await(t, w.roots, proxyName, func(c *x509.Certificate) bool { return !c.Equal(first) })
}

// A directory of the internal CA that points elsewhere leads nowhere.
func TestInternalStaysInternal(t *testing.T) {
	hit := make(chan string, 16)
	outside := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hit <- r.URL.Path }))
	t.Cleanup(outside.Close)
	asked := make(chan struct{}, 16)
	inside := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(map[string]string{
			"newNonce": outside.URL + "/nonce", "newAccount": outside.URL + "/account", "newOrder": outside.URL + "/order",
		})
		asked <- struct{}{}
	}))
	t.Cleanup(inside.Close)
	pool := x509.NewCertPool()
	pool.AddCert(inside.Certificate())
	pool.AddCert(outside.Certificate())
	failed := make(chan string, 16)
	names, err := servercert.New(servercert.Config{
		Mode: servercert.ModeInternal, Domains: []string{proxyName}, Directory: inside.URL + "/directory",
		Storage: filepath.Join(t.TempDir(), "names"), Listen: listen(t).Addr().String(),
		Roots: func() *x509.CertPool { return pool },
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: writer(func(p []byte) {
			failed <- string(p)
		})}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- names.Run(ctx) }()
	<-asked
	select {
	case text := <-failed:
		if !strings.Contains(text, "not contacted") {
			t.Errorf("it failed with %s", text)
		}
	case path := <-hit:
		t.Errorf("%s was asked for outside", path)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(hit) > 0 {
		t.Errorf("%s was asked for outside", <-hit)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
