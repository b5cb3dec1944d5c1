package servercert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) {
	// certmagic never ends it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

func internal(dir string) Config {
	return Config{
		Mode: ModeInternal, Domains: []string{"auerproxy.localhost"}, Directory: "https://127.0.0.1:8444/acme/srv-auerproxy/directory",
		Storage: filepath.Join(dir, "names"), Listen: "127.0.0.1:7844", Roots: x509.NewCertPool,
	}
}

func public() Config {
	return Config{Mode: ModePublic, Domains: []string{"relay.example.com"}, Storage: "names", Email: "ops@example.com"}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, good := range []Config{{}, internal("x"), public(), {Mode: ModeFiles, CertFile: "c", KeyFile: "k", Domains: []string{"a.test", "*.a.test"}}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%s: %v", good.Mode, err)
		}
	}
	if d := public().withDefaults().Directory; d != "https://acme-v02.api.letsencrypt.org/directory" {
		t.Errorf("public: %s", d)
	}
	for want, c := range map[string]Config{
		`mode: "extern"`:         {Mode: "extern"},
		"mode: is missing":       {Domains: []string{"a.example.com"}},
		"cert_file: is missing":  {Mode: ModeFiles, KeyFile: "k"},
		"key_file: is missing":   {Mode: ModeFiles, CertFile: "c"},
		"domains: is empty":      change(public(), func(c *Config) { c.Domains = nil }),
		"storage: is missing":    change(public(), func(c *Config) { c.Storage = "" }),
		"email":                  change(public(), func(c *Config) { c.Email = "" }),
		`directory: ""`:          change(internal("x"), func(c *Config) { c.Directory = "" }),
		`directory: "http://x"`:  change(internal("x"), func(c *Config) { c.Directory = "http://x" }),
		"domains[0]: no public":  change(public(), func(c *Config) { c.Domains = []string{"relay.localhost"} }),
		`domains[0]: "*.ex`:      change(public(), func(c *Config) { c.Domains = []string{"*.example.com"} }),
		`domains[0]: "*.a.te`:    change(internal("x"), func(c *Config) { c.Domains = []string{"*.a.test"} }),
		`domains[0]: "*.`:        {Mode: ModeFiles, CertFile: "c", KeyFile: "k", Domains: []string{"*."}},
		`domains[0]: "a.*.`:      {Mode: ModeFiles, CertFile: "c", KeyFile: "k", Domains: []string{"a.*.test"}},
		`domains[0]: "Re`:        change(public(), func(c *Config) { c.Domains = []string{"Relay.example.com"} }),
		`domains[0]: "x:1"`:      change(internal("x"), func(c *Config) { c.Domains = []string{"x:1"} }),
		"domains[1]: \"relay.ex": change(public(), func(c *Config) { c.Domains = append(c.Domains, c.Domains[0]) }),
		"http_port":              change(public(), func(c *Config) { c.HTTPPort = 65536 }),
		"reload_every":           {Mode: ModeFiles, CertFile: "c", KeyFile: "k", ReloadEvery: -1},
	} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
	for name, c := range map[string]Config{
		"off":      {},
		"no roots": change(internal(t.TempDir()), func(c *Config) { c.Roots = nil }),
		"asking":   change(public(), func(c *Config) { c.Ask = func(string) bool { return true }; c.Listen = "127.0.0.1:443" }),
		"no port":  change(internal(t.TempDir()), func(c *Config) { c.Listen = "" }),
		"any port": change(internal(t.TempDir()), func(c *Config) { c.Listen = "127.0.0.1:0" }),
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}

func change(c Config, f func(*Config)) Config {
	f(&c)
	return c
}

// Keys are not kept where others can read them.
func TestStorageIsPrivate(t *testing.T) {
	t.Parallel()
	cfg := internal(t.TempDir())
	if _, err := New(cfg); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cfg.Storage)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	if err := os.Chmod(cfg.Storage, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); !errors.Is(err, configs.ErrExposed) {
		t.Errorf("readable by the group: %v", err)
	}
}

// The internal CA is asked directly, and nobody else.
func TestProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
	for _, tt := range []struct {
		cfg  Config
		url  string
		want bool // refused
	}{
		{internal("x"), "https://127.0.0.1:8444/acme/srv-auerproxy/new-order", false},
		{internal("x"), "https://127.0.0.1:8445/acme/srv-auerproxy/new-order", true},
		{internal("x"), "https://acme-v02.api.letsencrypt.org/directory", true},
		{public(), "https://acme-v02.api.letsencrypt.org/directory", false},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		via, err := (&issuer{cfg: tt.cfg}).proxy()(&http.Request{URL: u})
		if (err != nil) != tt.want || tt.cfg.Mode == ModeInternal && via != nil {
			t.Errorf("%s: via %v, %v", tt.url, via, err)
		}
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	s, err := New(internal(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	for proto, want := range map[string]bool{"acme-tls/1": true, "h2": false} {
		if got := s.Challenge(&tls.ClientHelloInfo{ServerName: "auerproxy.localhost", SupportedProtos: []string{proto}}); (got != nil) != want {
			t.Errorf("%s: %v", proto, got)
		}
	}
	both := &tls.ClientHelloInfo{ServerName: "auerproxy.localhost", SupportedProtos: []string{"acme-tls/1", "h2"}}
	if s.Challenge(both) != nil {
		t.Error("a client with two protocols is no CA")
	}
	if cert := s.Certificate(both); cert != nil || s.Remaining() != 0 {
		t.Error("a certificate from nowhere")
	}
	if _, err := s.GetCertificate(both); !errors.Is(err, ErrNoCertificate) {
		t.Error(err)
	}
}

// pair writes a certificate for the name, and gives it.
func pair(t *testing.T, ca *pkitest.CA, cfg Config, name string) tls.Certificate {
	t.Helper()
	cert := ca.Issue(identity.Service(ca.TrustDomain, "x"), pkitest.Options{ExtraDNS: []string{name}})
	var chain bytes.Buffer
	for _, der := range cert.Certificate {
		if err := pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{
		cfg.CertFile: chain.Bytes(), string(cfg.KeyFile): pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	cfg := Config{Mode: ModeFiles, CertFile: filepath.Join(dir, "c.pem"), KeyFile: configs.SecretFile(filepath.Join(dir, "k.pem"))}
	if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "cert_file") {
		t.Errorf("nothing there: %v", err)
	}
	first := pair(t, ca, cfg, "a.example.com")
	synctest.Test(t, func(t *testing.T) {
		// The bubble's clock begins in 2000.
		figures := make(map[string]func() float64)
		cfg.Gauge = func(name, _ string, value func() float64) error { figures[name] = value; return nil }
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		sees := func(name string) []byte {
			if cert := s.Certificate(&tls.ClientHelloInfo{ServerName: name}); cert != nil {
				return cert.Certificate[0]
			}
			return nil
		}
		if !bytes.Equal(sees("A.example.com."), first.Certificate[0]) || sees("b.example.com") != nil || sees("") != nil {
			t.Error("the first certificate is not the one of its name")
		}
		if f := figures["server_names_remaining_seconds"]; f == nil || f() != time.Until(first.Leaf.NotAfter).Seconds() || s.Remaining() != time.Until(first.Leaf.NotAfter) {
			t.Errorf("figures %v, %s remain", figures, s.Remaining())
		}
		// Between two writes nothing is lost.
		if err := os.WriteFile(cfg.CertFile, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		if !bytes.Equal(sees("a.example.com"), first.Certificate[0]) {
			t.Error("the certificate in use is gone")
		}
		second := pair(t, ca, cfg, "b.example.com")
		time.Sleep(10 * time.Second)
		if !bytes.Equal(sees("b.example.com"), second.Certificate[0]) || sees("a.example.com") != nil {
			t.Error("not reloaded")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Run(t.Context()); err == nil {
			t.Error("it ran twice")
		}
	})
	cfg.Gauge = nil
	cfg.Domains = []string{"a.example.com"}
	s, err := New(cfg) // whose certificate is for b
	if err != nil {
		t.Fatal(err)
	}
	if s.Remaining() != 0 || s.Certificate(&tls.ClientHelloInfo{ServerName: "b.example.com"}) != nil {
		t.Error("a name that is not configured is served")
	}
	pair(t, ca, cfg, "*.example.com")
	for domain, want := range map[string]string{"": "a.example.com b.example.com", "*.example.com": "a.example.com b.example.com", "a.example.com": "a.example.com"} {
		cfg.Domains = nil
		if domain != "" {
			cfg.Domains = []string{domain}
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{"a.example.com", "b.example.com", "a.b.example.com", "example.com", "*.example.com"} {
			if s.Certificate(&tls.ClientHelloInfo{ServerName: name}) != nil {
				got = append(got, name)
			}
		}
		if strings.TrimSuffix(strings.Join(got, " "), " *.example.com") != want || s.Remaining() <= 0 {
			t.Errorf("domain %q: %q, %s remain", domain, got, s.Remaining())
		}
	}
	if err := os.Chmod(string(cfg.KeyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); !errors.Is(err, configs.ErrExposed) {
		t.Errorf("a key for everybody: %v", err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStorage("names")
		if err := s.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := s.Lock(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() { got <- s.Lock(t.Context(), "a") }()
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("locked twice")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := s.Unlock(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
		for _, name := range []string{"a", "b"} {
			if err := s.Unlock(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		if s.Unlock(t.Context(), "a") == nil {
			t.Error("unlocked twice")
		}
	})
}

// Nothing is written after the end, and what is under way comes to its own.
func TestStorageEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStorage(dir)
		for _, name := range []string{"a", "b"} {
			if err := s.Lock(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			s.close()
		}()
		synctest.Wait()
		if err := s.Lock(t.Context(), "c"); !errors.Is(err, errClosed) {
			t.Errorf("a new lock: %v", err)
		}
		for _, name := range []string{"a", "b"} {
			select {
			case <-closed:
				t.Fatal("it did not wait")
			default:
			}
			if err := s.Store(t.Context(), name, []byte("x")); err != nil {
				t.Error(err)
			}
			if err := s.Unlock(t.Context(), name); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		<-closed
		if err := s.Store(t.Context(), "c", nil); !errors.Is(err, errClosed) || s.Exists(t.Context(), "c") {
			t.Errorf("written: %v", err)
		}
		if err := s.Delete(t.Context(), "a"); !errors.Is(err, errClosed) || !s.Exists(t.Context(), "a") {
			t.Errorf("removed: %v", err)
		}
	})
}

func TestLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := zap.New(core{log: hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, DisableTime: true})})
	log = log.Named("obtain").With(zap.String("name", "a"))
	log.Debug("too much")
	log.Info("fine", zap.Int("n", 1))
	log.Error("bad", zap.Error(errors.New("broken")))
	for _, want := range []string{"[DEBUG] obtain: fine: name=a n=1\n", "[WARN]  obtain: bad: name=a error=broken\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "too much") {
		t.Error(&out)
	}
}

func FuzzEAB(f *testing.F) {
	f.Add([]byte(`{"key_id":"a","hmac_key":"b"}`))
	f.Add([]byte(`{"key_id":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if eab, err := parseEAB(text); err == nil && (eab.KeyID == "" || eab.MACKey == "") {
			t.Errorf("%q gives %+v", text, eab)
		}
	})
}
