package remote_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/willing"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// stock is a device whose pages are those of a server that nobody here wrote, and which
// lets everybody in.
type stock struct {
	w      *world.World
	serial identity.Serial
	ccc    *enrol.Credentials
}

// newStock connects a device of the shared world with a server at target.
func newStock(ctx context.Context, t *testing.T, serial identity.Serial, target string) *stock {
	t.Helper()
	s := &stock{w: shared.world, serial: serial}
	_, admin := s.w.PKI()
	creds, err := admin.Issue(ctx, identity.Device(identity.DefaultTrustDomain, serial), profile.Extra{})
	if err == nil {
		s.ccc, _, err = s.w.Credentials(ctx, "ccc")
	}
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{}, 1)
	a, err := agent.New(agent.Config{
		Relays: []string{s.w.RelayAddr(0)}, Credentials: creds,
		Services: []agent.Service{{Name: string(grant.Web), Target: target}, {Name: remote.ServiceName}},
		OnStatus: func(st agent.SlotStatus) {
			if st.State.Online() {
				select {
				case up <- struct{}{}:
				default:
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := a.Listen(remote.ServiceName)
	if err != nil {
		t.Fatal(err)
	}
	life, cancel := context.WithCancel(ctx)
	srv, done := willing.Server(), make(chan struct{}, 2)
	go func() { _ = srv.Serve(ln); done <- struct{}{} }()
	go func() { _ = a.Run(life); done <- struct{}{} }()
	t.Cleanup(func() {
		cancel()
		_ = srv.Close()
		<-done
		<-done
	})
	select {
	case <-up:
	case <-ctx.Done():
		t.Fatal("the device does not connect")
	}
	return s
}

// grants makes grants for a session of the device.
func (s *stock) grants(id grant.SessionID) func(label, browser string) (string, error) {
	return func(label, browser string) (string, error) {
		hash, err := base64.RawURLEncoding.DecodeString(browser)
		if err != nil || len(hash) != 32 {
			return "", fmt.Errorf("browser %q", browser)
		}
		now := time.Now().Truncate(time.Second)
		return grant.Sign(s.ccc, grant.Grant{
			ID: grant.ID(rand.Text()), Audience: label + "." + world.GatewayName, Session: id, Serial: s.serial, Epoch: 1, Service: grant.Web,
			User: "Erika Muster", Tenant: "Musterfirma GmbH", Browser: [32]byte(hash), Issued: now, Expires: now.Add(grant.MaxLife),
		})
	}
}

// prometheus starts the packaged Prometheus, which scrapes itself, and gives its address.
func prometheus(ctx context.Context, t *testing.T) string {
	t.Helper()
	bin, dir := tool(t, "prometheus"), t.TempDir()
	// It cannot say which port it took, so one that is free now has to do.
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: itself, static_configs: [{targets: ['" + addr + "']}]}]\n"
	if err := errors.Join(ln.Close(), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	var says strings.Builder
	cmd := exec.CommandContext(ctx, bin, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr) //nolint:gosec // a tool of the test
	cmd.Stderr = &says
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus says: %s", says.String())
		}
	})
	client := &http.Client{Transport: new(http.Transport)}
	t.Cleanup(client.CloseIdleConnections)
	eventually(ctx, t, "Prometheus", func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/-/ready", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	return addr
}

// TestThirdParty: the user interface of a packaged Prometheus works through the gateway as
// it is: its pages, scripts and API on the session's origin.
func TestThirdParty(t *testing.T) {
	t.Parallel()
	script := newScript(t, "prometheus.mjs")
	ctx := started(t)
	addr := prometheus(ctx, t)
	s := newStock(ctx, t, "7000000001", addr)
	id := grant.SessionID("stock-" + rand.Text())
	script.run(ctx, s.w, desk(t, s.grants(id), func() error { return errors.New("it has no administrator") }), id, map[string]any{"direct": "http://" + addr})
}

// TestHTTP3: the gateway offers HTTP/3, and a client of it that goes there gets the PBX's
// page with its cookie, and nothing without.
func TestHTTP3(t *testing.T) {
	t.Parallel()
	ctx := started(t)
	const page = "the page of the PBX"
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(chan string, 2) // what came to the PBX
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPost {
			bodies <- string(text)
		}
		_, _ = io.WriteString(w, page)
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	s := newStock(ctx, t, "7000000002", ln.Addr().String())
	c, origin := s.letIn(ctx, t)

	resp, err := c.Do(request(ctx, t, http.MethodGet, origin+"/", ""))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if alt := resp.Header.Get("Alt-Svc"); !strings.Contains(alt, "h3=") {
		t.Fatalf("HTTP/3 is not offered: %q", alt)
	}
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	over := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots(t, s.w), MinVersion: tls.VersionTLS13},
		Dial: func(ctx context.Context, _ string, cfg *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, s.w.Gateway().Addr, cfg, qc)
		},
	}
	defer func() { _ = over.Close() }()
	ask := func(with http.CookieJar) (status int, text string) {
		t.Helper()
		h3 := &http.Client{Transport: over, Jar: with, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := h3.Do(request(ctx, t, http.MethodPost, origin+"/form", "sent"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		all, err := io.ReadAll(resp.Body)
		if err != nil || resp.ProtoMajor != 3 {
			t.Fatalf("%s, %v", resp.Proto, err)
		}
		return resp.StatusCode, string(all)
	}
	if status, text := ask(c.Jar); status != http.StatusOK || text != page {
		t.Errorf("%s: %d %q", u.Host, status, text)
	} else if got := <-bodies; got != "sent" {
		t.Errorf("%s: the PBX got %q", u.Host, got)
	}
	if status, text := ask(nil); status < 400 || strings.Contains(text, page) || len(bodies) > 0 {
		t.Errorf("without the cookie: %d %q; the PBX got %d", status, text, len(bodies))
	}
}

func request(ctx context.Context, t *testing.T, method, to, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func roots(t *testing.T, w *world.World) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(w.Roots())
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("the roots of the world: %v", err)
	}
	return pool
}

// letIn takes a client of the standard library through the gateway. It gives the client,
// which has the session's cookie, and the session's origin.
func (s *stock) letIn(ctx context.Context, t *testing.T) (c *http.Client, origin string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots(t, s.w), MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.w.Gateway().Addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	c = &http.Client{Transport: tr, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	next := func(r *http.Request) *url.URL {
		t.Helper()
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			t.Fatalf("%s: %s", r.URL.Path, resp.Status)
		}
		return to
	}
	id := grant.SessionID("stock-" + rand.Text())
	begin := next(request(ctx, t, http.MethodGet, s.w.Gateway().URL+"/begin?session="+string(id), ""))
	centre := next(request(ctx, t, http.MethodGet, begin.String(), ""))
	origin = begin.Scheme + "://" + begin.Host
	eventually(ctx, t, "the grant", func() error { // a gateway that has just started refuses some
		text, err := s.grants(id)(centre.Query().Get("label"), centre.Query().Get("browser"))
		if err != nil {
			return err
		}
		r := request(ctx, t, http.MethodPost, origin+"/.ara/redeem", url.Values{"grant": {text}}.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := c.Do(r)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusSeeOther {
			return errors.New(resp.Status)
		}
		return nil
	})
	return c, origin
}
