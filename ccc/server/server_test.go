package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const td = identity.DefaultTrustDomain

// testConfig is one with both listeners on free ports, and no relay that answers.
func testConfig(t *testing.T, dir string) (Config, *x509.CertPool) {
	t.Helper()
	ca := pkitest.New(t, td)
	creds := ca.Credentials(identity.Service(td, "ccc"))
	cert := creds.Certificate()
	var chain bytes.Buffer
	for _, der := range cert.Certificate {
		must(t, pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(t, err)
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, text, 0o600))
		return path
	}
	c := DefaultConfig()
	c.Credentials = creds
	c.Listen, c.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	c.Names.Mode = servercert.ModeFiles
	c.Names.CertFile = write("cert.pem", chain.Bytes())
	c.Names.KeyFile = configs.SecretFile(write("tls-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	c.Dial.Relays = []string{"127.0.0.1:1"}
	c.Store.Path = filepath.Join(dir, "ccc.db")
	c.Keys = []configs.SecretFile{configs.SecretFile(write("key", []byte(seal.NewKey())))}
	c.Account.Hash = account.Hash{Memory: 8 << 20, Passes: 1, Lanes: 1}
	c.Account.SecondFactor = account.Offered
	c.FirstAdmin.File = filepath.Join(dir, "first-admin")
	return c, creds.Pool()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a server in a daemon until the test ends, or stop is called.
func start(t *testing.T, c Config) (s *Server, first *Admin, stop func()) {
	t.Helper()
	d, err := daemon.New(daemon.Config{Admin: daemon.AdminConfig{Listen: "127.0.0.1:0"}, Output: io.Discard}, "ccc")
	must(t, err)
	c.Logger, c.Metrics = hclog.NewNullLogger(), d.Registry()
	s, first, err = New(t.Context(), c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, s.Components()...) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		must(t, <-done)
		must(t, s.Close())
	}
	t.Cleanup(stop)
	select {
	case <-d.Started():
	case <-time.After(30 * time.Second):
		t.Fatal("not started")
	}
	return s, first, stop
}

func browser(t *testing.T, roots *x509.CertPool) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar}
}

// answer is what a server said.
type answer struct {
	status, proto int
	header        http.Header
	body          string
}

func send(t *testing.T, c *http.Client, method, url, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(r)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return answer{resp.StatusCode, resp.ProtoMajor, resp.Header, string(text)}
}

func get(t *testing.T, c *http.Client, url string) answer {
	t.Helper()
	return send(t, c, http.MethodGet, url, "")
}

func signIn(t *testing.T, c *http.Client, url, email, password string) answer {
	t.Helper()
	return send(t, c, http.MethodPost, url+"/api/v1/session", `{"email":"`+email+`","password":"`+password+`"}`)
}

// TestServes signs the first administrator in over both listeners, and looks at the
// session's cookie.
func TestServes(t *testing.T) {
	t.Parallel()
	c, roots := testConfig(t, t.TempDir())
	s, first, _ := start(t, c)
	if first == nil || first.Email != "admin@ccc.invalid" {
		t.Fatalf("first administrator %+v", first)
	}
	_, port, _ := strings.Cut(s.HTTPSAddr().String(), ":")
	for _, tt := range []struct{ url, cookie string }{
		{"http://" + s.HTTPAddr().String(), "ccc="},
		{"https://localhost:" + port, "__Host-ccc="},
	} {
		b := browser(t, roots)
		if a := get(t, b, tt.url+"/api/v1/meta"); a.status != http.StatusOK || !strings.Contains(a.body, `"id":"auerswald"`) {
			t.Errorf("%s: meta %d %s", tt.url, a.status, a.body)
		}
		a := signIn(t, b, tt.url, first.Email, first.Password)
		set := a.header.Get("Set-Cookie")
		secure := strings.HasPrefix(tt.url, "https")
		if a.status != http.StatusOK || !strings.HasPrefix(set, tt.cookie) || !strings.Contains(set, "HttpOnly") ||
			!strings.Contains(set, "SameSite=Lax") || !strings.Contains(set, "Path=/") || strings.Contains(set, "Domain") ||
			strings.Contains(set, "Secure") != secure {
			t.Errorf("%s: sign-in %d, cookie %s", tt.url, a.status, set)
		}
		a = get(t, b, tt.url+"/api/v1/session")
		if a.status != http.StatusOK || !strings.Contains(a.body, `"roles":["owner"]`) {
			t.Errorf("%s: session %d %s", tt.url, a.status, a.body)
		}
		if hsts := a.header.Get("Strict-Transport-Security"); (hsts != "") != secure {
			t.Errorf("%s: HSTS %q", tt.url, hsts)
		}
		if a := get(t, b, tt.url+"/"); a.status != http.StatusOK || !strings.Contains(a.body, "<html") {
			t.Errorf("%s: page %d %.200s", tt.url, a.status, a.body)
		}
		if secure && a.proto != 2 {
			t.Errorf("https speaks HTTP/%d", a.proto)
		}
	}
}

// TestFirstAdministratorOnce: his password is in a file for its owner alone, and he is
// made once.
func TestFirstAdministratorOnce(t *testing.T) {
	t.Parallel()
	c, _ := testConfig(t, t.TempDir())
	_, first, stop := start(t, c)
	info, err := os.Stat(c.FirstAdmin.File)
	must(t, err)
	text, err := configs.SecretFile(c.FirstAdmin.File).Read()
	must(t, err)
	if info.Mode().Perm() != 0o600 || string(text) != first.Password || len(first.Password) < 20 {
		t.Errorf("mode %v, %d characters", info.Mode(), len(text))
	}
	stop()
	must(t, os.Remove(c.FirstAdmin.File))
	s, again, _ := start(t, c)
	if again != nil {
		t.Error("made once more")
	}
	if a := signIn(t, browser(t, nil), "http://"+s.HTTPAddr().String(), first.Email, first.Password); a.status != http.StatusOK {
		t.Errorf("the first does not get in any more: %d", a.status)
	}
}

// TestFirstAdministratorAfterACrash: the file and the tenant are there, the account not.
func TestFirstAdministratorAfterACrash(t *testing.T) {
	t.Parallel()
	c, _ := testConfig(t, t.TempDir())
	must(t, WriteSecret(c.FirstAdmin.File, "the password of before"))
	s, first, _ := start(t, c)
	if first == nil || first.Password != "the password of before" {
		t.Fatalf("first administrator %+v", first)
	}
	if a := signIn(t, browser(t, nil), "http://"+s.HTTPAddr().String(), first.Email, first.Password); a.status != http.StatusOK {
		t.Errorf("sign-in %d", a.status)
	}
}

// TestStreamsEndAtAStop: an open stream of events does not hold it up.
func TestStreamsEndAtAStop(t *testing.T) {
	t.Parallel()
	c, _ := testConfig(t, t.TempDir())
	s, first, stop := start(t, c)
	b, url := browser(t, nil), "http://"+s.HTTPAddr().String()
	signIn(t, b, url, first.Email, first.Password)
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+"/api/v1/events", http.NoBody)
	must(t, err)
	resp, err := b.Do(r)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("stream: %d", resp.StatusCode)
	}
	stream := bufio.NewReader(resp.Body)
	if line, err := stream.ReadString('\n'); err != nil || line != "event: summary\n" {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	stop()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good, _ := testConfig(t, t.TempDir())
	must(t, good.Validate())
	for key, change := range map[string]func(*Config){
		"listen":              func(c *Config) { c.Listen, c.HTTPListen = "", "" },
		"names.mode":          func(c *Config) { c.Names = servercert.DefaultConfig() },
		"http_listen":         func(c *Config) { c.HTTPListen = "0.0.0.0:80" },
		"keys":                func(c *Config) { c.Keys = nil },
		"store.path":          func(c *Config) { c.Store.Path = "" },
		"dial":                func(c *Config) { c.Dial.Relays = nil },
		"account.idle":        func(c *Config) { c.Account.Idle = time.Second },
		"pairing.token_life":  func(c *Config) { c.Pairing.TokenLife = time.Second },
		"remote.ara_url":      func(c *Config) { c.Remote.ARAURL, c.API.Hosts = "https://ara.example.com", []string{"ccc.example.com"} },
		"remote.max_minutes":  func(c *Config) { c.Remote.MaxMinutes = 1441 },
		"fleet.offline_after": func(c *Config) { c.Fleet.OfflineAfter = time.Hour },
		"api.limits.body":     func(c *Config) { c.API.Limits.Body = 1 },
		"api.hosts":           func(c *Config) { c.API.Hosts = []string{"https://ccc.example.com"} },
		"brands":              func(c *Config) { c.Brands[0].Legal = "" },
		"first_admin.email":   func(c *Config) { c.FirstAdmin.Email = "admin" },
		"first_admin.tenant":  func(c *Config) { c.FirstAdmin.Tenant = "Example\u202eGmbH" },
	} {
		c, _ := testConfig(t, t.TempDir())
		change(&c)
		err := c.Validate()
		e, ok := errors.AsType[*configs.KeyError](err)
		if !ok || e.Key != key {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

// TestNewCleansUp: what New has opened is closed where it fails later.
func TestNewCleansUp(t *testing.T) {
	t.Parallel()
	c, _ := testConfig(t, t.TempDir())
	c.Names.CertFile = "/does/not/exist"
	if _, _, err := New(t.Context(), c); err == nil {
		t.Fatal("no error without the certificate")
	}
	c, _ = testConfig(t, filepath.Dir(c.Store.Path))
	start(t, c)
}
