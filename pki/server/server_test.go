package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

func TestEnrolRenewConfirm(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	ctx, client := t.Context(), p.client()
	tok := p.token(t, device)
	first, err := client.Enrol(ctx, tok, device)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Enrol(ctx, tok, device); !errors.Is(err, enrol.ErrToken) {
		t.Errorf("the token again: %v", err)
	}
	if _, err := client.Enrol(ctx, p.token(t, other), device); !errors.Is(err, identity.ErrUnexpected) {
		t.Errorf("somebody else's token: %v", err)
	}
	second, err := client.Renew(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Confirm(ctx, second); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Renew(ctx, first); !errors.Is(err, enrol.ErrSuperseded) {
		t.Errorf("replay of the old certificate: %v", err)
	}
	if _, err := p.auth.Block(ctx, device, "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Renew(ctx, second); !errors.Is(err, enrol.ErrBlocked) {
		t.Errorf("renewal while blocked: %v", err)
	}
}

func TestBootstrapByFingerprint(t *testing.T) {
	t.Parallel()
	p, foreign := start(t, "", authority.Config{}, server.Config{}), pkitest.New(t, td)
	client := &enrol.Client{URL: p.url() + "/", TrustDomain: td, RootFingerprint: enrol.Fingerprint(p.auth.Roots()[0])}
	c, err := client.Enrol(t.Context(), p.token(t, device), identity.ID{})
	if err != nil || c.ID() != device {
		t.Fatalf("%v, %v", c, err)
	}
	client.RootFingerprint = strings.ToUpper(enrol.Fingerprint(foreign.Root))
	if _, err := client.Enrol(t.Context(), p.token(t, device), device); !errors.Is(err, enrol.ErrFingerprint) {
		t.Errorf("another root: %v", err)
	}
	client.RootFingerprint = "abc"
	if _, err := client.Enrol(t.Context(), p.token(t, device), device); !errors.Is(err, enrol.ErrConfig) {
		t.Errorf("half a fingerprint: %v", err)
	}
	client.RootFingerprint, client.Roots = "", []*x509.Certificate{foreign.Root}
	if _, err := client.Enrol(t.Context(), p.token(t, device), device); err == nil {
		t.Error("enrolled at a PKI that is not trusted")
	}
}

// Client certificates that do not chain to our root, or contradict themselves,
// end in the handshake. The control, a good one, gets to the handler.
func TestHandshakeRefuses(t *testing.T) {
	t.Parallel()
	p, foreign := start(t, "", authority.Config{}, server.Config{}), pkitest.New(t, td)
	good := p.enrolled(t, device)
	same := func(*x509.Certificate) {}
	for name, c := range map[string]*enrol.Credentials{
		"foreign CA": foreign.Credentials(device),
		"expired": p.forge(t, identity.KindDevice, device, func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Minute)
		}),
		"not yet valid": p.forge(t, identity.KindDevice, device, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(30 * time.Minute)
		}),
		"service by the device authority": p.forge(t, identity.KindDevice, service, same),
		"device by the service authority": p.forge(t, identity.KindService, device, same),
	} {
		cfg := p.as(c)
		if status, body, err := p.call(t, cfg, http.MethodPost, enrol.RenewPath, "{}"); err == nil {
			t.Errorf("%s: answered %d %s", name, status, body)
		}
	}
	if status, body, err := p.call(t, p.as(good), http.MethodPost, enrol.RenewPath, "{}"); err != nil || status != http.StatusBadRequest {
		t.Errorf("the good certificate: %d %s %v", status, body, err)
	}
	// A certificate with our own issuer that is not in our store gets as far as
	// the handler, and no further.
	stranger := p.forge(t, identity.KindDevice, device, same)
	if _, err := p.client().Renew(t.Context(), stranger); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("a certificate that the authority did not issue: %v", err)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{EnrolPerMinute: -1})
	dev, svc := p.issued(t, device), p.issued(t, service)
	for _, c := range []struct {
		name   string
		cfg    *tls.Config
		method string
		path   string
		body   string
		status int
		text   string
	}{
		{"health", p.anonymous(), http.MethodGet, "/healthz", "", 200, "ok"},
		{"roots", p.anonymous(), http.MethodGet, enrol.RootsPath, "", 200, "BEGIN CERTIFICATE"},
		{"renew without a certificate", p.anonymous(), http.MethodPost, enrol.RenewPath, "{}", 403, "forbidden"},
		{"confirm without a certificate", p.anonymous(), http.MethodPost, enrol.ConfirmPath, "", 403, "forbidden"},
		{"feed without a certificate", p.anonymous(), http.MethodGet, blocks.Path, "", 403, "forbidden"},
		{"feed for a device", p.as(dev), http.MethodGet, blocks.Path, "", 403, "relays and services"},
		{"feed from a bad epoch", p.as(svc), http.MethodGet, blocks.Path + "?since=x", "", 400, "epoch"},
		{"enrol without a body", p.anonymous(), http.MethodPost, enrol.EnrolPath, "", 400, "bad-request"},
		{"enrol with garbage", p.anonymous(), http.MethodPost, enrol.EnrolPath, `{"token":1}`, 400, "bad-request"},
		{"enrol without a request", p.anonymous(), http.MethodPost, enrol.EnrolPath, `{"token":"x"}`, 400, "bad-request"},
		{
			"enrol with too much", p.anonymous(), http.MethodPost, enrol.EnrolPath,
			`{"token":"` + strings.Repeat("x", enrol.MaxBody) + `"}`, 400, "too large",
		},
		{"enrol by GET", p.anonymous(), http.MethodGet, enrol.EnrolPath, "", 405, ""},
		// What smallstep would serve, and the admin API, are not here.
		{"stock renew", p.as(dev), http.MethodPost, "/renew", "", 404, ""},
		{"stock rekey", p.as(dev), http.MethodPost, "/1.0/rekey", "", 404, ""},
		{"stock sign", p.as(dev), http.MethodPost, "/1.0/sign", "", 404, ""},
		{"stock provisioners", p.anonymous(), http.MethodGet, "/provisioners", "", 404, ""},
		{"admin token", p.as(svc), http.MethodPost, "/v1/tokens", "{}", 404, ""},
		{"admin block", p.as(svc), http.MethodPost, "/v1/block", "{}", 404, ""},
	} {
		status, text, err := p.call(t, c.cfg, c.method, c.path, c.body)
		if err != nil || status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %.200s %v, want %d %q", c.name, status, text, err, c.status, c.text)
		}
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{EnrolPerMinute: 3})
	for i := range 4 {
		_, err := p.client().Enrol(t.Context(), "wrong", device)
		want := enrol.ErrToken
		if i == 3 {
			want = enrol.ErrRateLimit
		}
		if !errors.Is(err, want) {
			t.Errorf("try %d: %v, want %v", i+1, err, want)
		}
	}
	if status, _, err := p.call(t, p.anonymous(), http.MethodGet, "/healthz", ""); err != nil || status != http.StatusOK {
		t.Errorf("other routes: %d, %v", status, err)
	}
}

// The block is checked per request, so a resumed session does not get past it.
func TestResumedSessionOfABlockedDevice(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	cfg := p.as(p.enrolled(t, device))
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	resumed := false
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		resumed = cs.DidResume
		return verify(cs)
	}
	confirm := func() (int, string) {
		status, text, err := p.call(t, cfg, http.MethodPost, enrol.ConfirmPath, "")
		if err != nil {
			t.Fatal(err)
		}
		return status, text
	}
	for i := range 2 {
		if status, text := confirm(); status != http.StatusNoContent || resumed != (i == 1) {
			t.Fatalf("before the block: %d %s, resumed %v", status, text, resumed)
		}
	}
	if _, err := p.auth.Block(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	if status, text := confirm(); status != http.StatusForbidden || !strings.Contains(text, "blocked") || !resumed {
		t.Errorf("after the block: %d %s, resumed %v", status, text, resumed)
	}
}

// The whole renewal loop against the real server, with lives of seconds.
func TestRunRenewal(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{Lifetimes: authority.Lifetimes{Device: 3 * time.Second}}, server.Config{})
	creds, dir := p.enrolled(t, device), t.TempDir()
	if err := creds.Save(dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error)
	go func() {
		done <- p.client().RunRenewal(ctx, creds, dir, enrol.Renewal{RetryMin: 10 * time.Millisecond})
	}()
	first := creds.Leaf()
	for range 3 {
		changed := creds.Changed()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("not renewed in time")
		}
		saved, err := enrol.LoadCredentials(dir)
		if err != nil || saved.Leaf().Equal(first) {
			t.Fatalf("on disk: %v", err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	list, err := p.auth.Certificates(t.Context(), device)
	if err != nil || len(list) < 4 || list[0].State == authority.StateActive {
		t.Errorf("index: %+v, %v", list, err)
	}
}
