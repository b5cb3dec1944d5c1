package server_test

import (
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
	"github.com/comtrexx-cloud/comtrexx/pki/server"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// A server gets its name from a PKI that is set up as the example says: with a key
// from the admin socket, and with what happened in the audit log.
func TestACME(t *testing.T) {
	t.Parallel()
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "", authority.Config{}, server.Config{
		ACMEListen: "127.0.0.1:0",
		ACME: acmesrv.Config{
			Roles: []acmesrv.Role{{Name: "srv-ara", Names: []string{"ara.comtrexx.test"}}, {Name: "srv-ccc", Names: []string{"ccc.comtrexx.test"}}},
			Dial:  map[string]string{"ara.comtrexx.test:443": tcp.Addr().String()},
		},
	})
	if _, err := p.admin.EAB(t.Context(), "srv-backup"); !errors.Is(err, enrol.ErrBadRequest) || !strings.Contains(err.Error(), "srv-backup") {
		t.Errorf("unknown role: %v", err)
	}
	eab, err := p.admin.EAB(t.Context(), "srv-ara")
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://" + p.ACMEAddr().String() + "/acme/srv-ara/directory"; eab.Directory != want {
		t.Errorf("directory %s, want %s", eab.Directory, want)
	}
	dir := t.TempDir()
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
		Mode: servercert.ModeInternal, Domains: []string{"ara.comtrexx.test"}, Directory: eab.Directory, EABFile: configs.SecretFile(file),
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
	defer work.Wait()
	defer web.Close()
	defer cancel()

	leaf := awaitLeaf(t, tcp.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "ara.comtrexx.test"})
	log := entries(t, p)
	for _, event := range []string{audit.EventToken, audit.EventIssue} {
		if !slices.ContainsFunc(log, func(e audit.Entry) bool {
			return e.Event == event && e.Method == authority.MethodACME && e.Identity == "server/srv-ara" &&
				(event != audit.EventIssue || e.Certificate == leaf.SerialNumber.Text(16) && e.Reason == "for ara.comtrexx.test")
		}) {
			t.Errorf("no %s in the audit log", event)
		}
	}
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
	if _, err := p.admin.EAB(t.Context(), "srv-ara"); !errors.Is(err, enrol.ErrBadRequest) || !strings.Contains(err.Error(), "acme_listen") {
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
