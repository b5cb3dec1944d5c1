package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// A server gets its name from a PKI that is set up as the example says: with a key
// from the admin socket, and with what happened in the audit log. A new intermediate
// is used at once.
func TestACME(t *testing.T) {
	t.Parallel()
	sites := map[string]net.Listener{"ara": nil, "ccc": nil}
	cfg := acmesrv.Config{Dial: map[string]string{}}
	for name := range sites {
		tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		domain := name + ".comtrexx.test"
		sites[name], cfg.Dial[domain+":443"] = tcp, tcp.Addr().String()
		cfg.Roles = append(cfg.Roles, acmesrv.Role{Name: "srv-" + name, Names: []string{domain}})
	}
	p := start(t, "", authority.Config{}, server.Config{ACMEListen: "127.0.0.1:0", ACME: cfg})
	if _, err := p.admin.EAB(t.Context(), "srv-backup", ""); !errors.Is(err, enrol.ErrBadRequest) || !strings.Contains(err.Error(), "srv-backup") {
		t.Errorf("unknown role: %v", err)
	}
	leaf := serveName(t, p, "ara", sites["ara"])
	log := entries(t, p)
	for _, event := range []string{audit.EventToken, audit.EventIssue} {
		if !slices.ContainsFunc(log, func(e audit.Entry) bool {
			return e.Event == event && e.Method == authority.MethodACME && e.Identity == "server/srv-ara" &&
				(event != audit.EventIssue || e.Issued(leaf) == nil && e.Reason == "for ara.comtrexx.test")
		}) {
			t.Errorf("no %s in the audit log", event)
		}
	}

	former, err := p.auth.ServerIssuer()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := authority.RenewIntermediates(authority.Config{StateDir: p.dir, PlainKeys: true}, "server"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	issuer, err := p.auth.ServerIssuer()
	if err != nil || issuer.Generation != former.Generation+1 {
		t.Fatalf("%+v, %v", issuer, err)
	}
	if next := serveName(t, p, "ccc", sites["ccc"]); !bytes.Equal(next.AuthorityKeyId, issuer.Certificate.SubjectKeyId) {
		t.Errorf("signed by %x, want %x", next.AuthorityKeyId, issuer.Certificate.SubjectKeyId)
	}
}

// serveName runs a server of the role srv-<name> until the end of the test, and gives the
// certificate that it gets for <name>.comtrexx.test.
func serveName(t *testing.T, p *pki, name string, tcp net.Listener) *x509.Certificate {
	t.Helper()
	eab, err := p.admin.EAB(t.Context(), "srv-"+name, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://" + p.ACMEAddr().String() + "/acme/srv-" + name + "/directory"; eab.Directory != want {
		t.Errorf("directory %s, want %s", eab.Directory, want)
	}
	dir, domain := t.TempDir(), name+".comtrexx.test"
	text, err := json.Marshal(eab)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "eab.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(p.auth.Roots()[0])
	names, err := servercert.New(servercert.Config{
		Mode: servercert.ModeInternal, Domains: []string{domain}, Directory: eab.Directory, EABFile: configs.SecretFile(file),
		Storage: filepath.Join(dir, "names"), Listen: tcp.Addr().String(), Roots: func() *x509.CertPool { return roots },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	web := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: patience, ErrorLog: hclog.NewNullLogger().StandardLogger(nil)}
	work.Go(func() { _ = web.Serve(tls.NewListener(tcp, names.TLSConfig("http/1.1"))) })
	work.Go(func() { _ = names.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = web.Close()
		work.Wait()
	})
	return awaitLeaf(t, tcp.Addr().String(), &tls.Config{RootCAs: roots, ServerName: domain})
}

// awaitLeaf dials until the handshake succeeds.
func awaitLeaf(t *testing.T, addr string, cfg *tls.Config) *x509.Certificate {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
		if err == nil {
			leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
			_ = conn.Close()
			return leaf
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func entries(t *testing.T, p *pki) (out []audit.Entry) {
	t.Helper()
	for e, err := range p.admin.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestACMEOff(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	if _, err := p.admin.EAB(t.Context(), "srv-ara", ""); !errors.Is(err, enrol.ErrBadRequest) || !strings.Contains(err.Error(), "acme_listen") {
		t.Errorf("%v", err)
	}
	if p.ACMEAddr() != nil {
		t.Error("it listens")
	}
	for want, cfg := range map[string]server.Config{
		"acme_listen":        {ACMEListen: "8444", ACME: acmesrv.Config{Roles: []acmesrv.Role{{Name: "srv-ara", Names: []string{"ara.comtrexx.test"}}}}},
		"acme.roles: is":     {ACMEListen: ":8444"},
		"acme.roles[0].name": {ACME: acmesrv.Config{Roles: []acmesrv.Role{{Names: []string{"ara.comtrexx.test"}}}}},
	} {
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
}

// TestACMEDevice: a device gets the key of its own account with its certificate; others
// get none.
func TestACMEDevice(t *testing.T) {
	t.Parallel()
	cfg := acmesrv.Config{Roles: []acmesrv.Role{
		{Name: "srv-ara", Names: []string{"ara.comtrexx.test"}},
		{Name: "srv-pbx", Names: []string{"*.pbx.ara.comtrexx.test"}, Devices: true},
	}}
	p := start(t, "", authority.Config{}, server.Config{ACMEListen: "127.0.0.1:0", ACME: cfg})
	creds := enrolled(t, p, device)
	key, err := p.client().ACMEKey(t.Context(), creds)
	if want := "https://" + p.ACMEAddr().String() + "/acme/srv-pbx/directory"; err != nil || key.KeyID == "" || key.HMACKey == "" || key.Directory != want {
		t.Errorf("%+v, %v", key, err)
	}
	if !slices.ContainsFunc(entries(t, p), func(e audit.Entry) bool {
		return e.Event == audit.EventToken && e.Actor == device.Path() && e.Identity == "server/srv-pbx" && strings.Contains(e.Reason, string(device.Serial()))
	}) {
		t.Error("nothing in the audit log")
	}
	if _, err := p.client().ACMEKey(t.Context(), enrolled(t, p, identity.Service(device.TrustDomain, "ara"))); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("a service: %v", err)
	}
	if _, err := p.auth.Block(t.Context(), device, "test", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client().ACMEKey(t.Context(), creds); !errors.Is(err, enrol.ErrBlocked) {
		t.Errorf("a blocked device: %v", err)
	}
	without := start(t, "", authority.Config{}, server.Config{})
	if _, err := without.client().ACMEKey(t.Context(), enrolled(t, without, device)); !errors.Is(err, enrol.ErrBadRequest) {
		t.Errorf("without names of PBXs: %v", err)
	}
}

func enrolled(t *testing.T, p *pki, id identity.ID) *enrol.Credentials {
	t.Helper()
	token, err := p.admin.Token(t.Context(), id, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := p.client().Enrol(t.Context(), token.Token, id)
	if err != nil {
		t.Fatal(err)
	}
	return creds
}
