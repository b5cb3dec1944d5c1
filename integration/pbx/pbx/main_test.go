package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const (
	td     = identity.DefaultTrustDomain
	serial = identity.Serial("0123456789")
	token  = "one-time-token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is what a program writes, to be read while it does.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// result is what one run of the program left.
type result struct {
	code     int
	out, err string
}

func program(ctx context.Context, out, errs *output, args ...string) int {
	app := newApp()
	app.SetArgs(args)
	app.SetOut(out)
	app.SetErr(errs)
	return cli.Main(ctx, app.Command)
}

func command(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs output
	code := program(t.Context(), &out, &errs, args...)
	return result{code, out.String(), errs.String()}
}

// running is "pbx run" in the background.
type running struct {
	started
	errs *output
	stop func() int
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, r := new(output), &running{errs: new(output)}
	done := make(chan int, 1)
	go func() {
		done <- program(ctx, out, r.errs, append([]string{"run", "--json", "--set", "listen=127.0.0.1:0"}, args...)...)
	}()
	r.stop = sync.OnceValue(func() int {
		cancel()
		return <-done
	})
	t.Cleanup(func() { r.stop() })
	await(t, "it says where its pages are", func() bool {
		select {
		case code := <-done:
			done <- code
			t.Fatalf("run ended with %d: %s", code, r.errs)
		default:
		}
		return json.Unmarshal([]byte(out.String()), &r.started) == nil
	})
	return r
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestExampleIsGoodAndShowsTheDefaults(t *testing.T) {
	t.Parallel()
	got := command(t, "config", "example")
	if got.code != cli.ExitOK || got.out != string(example) {
		t.Fatalf("config example: %+v", got)
	}
	cfg, want := Default(), Default()
	if err := configs.Load(&cfg, configs.Source{Path: "example.yaml", Text: example}); err != nil {
		t.Fatal(err)
	}
	if cfg.StateDir != want.StateDir || cfg.Listen != want.Listen || cfg.AllowRemote || cfg.Pairing != want.Pairing || cfg.Log != want.Log ||
		cfg.Slots != want.Slots || cfg.Transport != want.Transport || cfg.PKI.TrustDomain != want.PKI.TrustDomain || cfg.Seed != 0 {
		t.Errorf("the example says\n%+v\nthe defaults are\n%+v", cfg, want)
	}
	if len(cfg.Relays) != 1 || cfg.PKI.URL == "" {
		t.Errorf("examples are missing: %+v", cfg)
	}
}

func TestConfigErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.yaml")
	text := "listen: 0.0.0.0:80\nrelays: [relay.example.net]\nservices: [{name: web}]\npki: {token_file: t}\npairing: {retry_min: -1s}\nlog: {level: loud}\nlisten_on: x\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := command(t, "config", "check", "--config", file)
	if got.code != cli.ExitConfig {
		t.Errorf("exit code %d", got.code)
	}
	for _, want := range []string{
		`p.yaml:1:1: listen: "0.0.0.0:80" can be reached from other machines`, "set allow_remote: true",
		`relays[0]: "relay.example.net", want host:port`, "services: are those of the PBX", "pki.roots: is required to enrol", "pki.url: is required",
		"pairing.retry_min: is below zero", `log.level: "loud" is no level`, "listen_on: unknown key",
	} {
		if !strings.Contains(got.err, want) {
			t.Errorf("no line %q in\n%s", want, got.err)
		}
	}
	for _, good := range [][]string{{}, {"--set", "listen=0.0.0.0:80", "--set", "allow_remote=true"}, {"--set", "relays=a:1"}} {
		if got := command(t, append([]string{"config", "check"}, good...)...); got.code != cli.ExitOK {
			t.Errorf("%v: %+v", good, got)
		}
	}
	for _, tt := range []struct {
		listen, own string
		good        bool
	}{
		{"127.0.0.1:8080", "127.0.0.1:8080", false},
		{"127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", false},
		{"127.0.0.1:8080", "0.0.0.0:8080", false},
		{"localhost:8080", "[::1]:8080", false},
		{"localhost:8080", "127.0.0.2:8080", false},
		{"[::1%lo]:8080", "[::1]:8080", false},
		{":8080", "127.0.0.1:8080", false},
		{"0.0.0.0:8080", "127.0.0.1:8080", false},
		{"[::]:8080", "192.168.1.1:8080", false},
		{"pbx.example.net:8080", "192.168.1.1:8080", false},
		{"127.0.0.1:http", "127.0.0.1:80", false},
		{"127.0.0.1:8080", "127.0.0.1:22", true},
		{"0.0.0.0:8080", "127.0.0.1:22", true},
		{"192.168.1.1:8080", "127.0.0.1:8080", true},
		{"127.0.0.1:0", "127.0.0.1:22", true},
	} {
		c := Default()
		c.Listen, c.AllowRemote, c.OwnServices = tt.listen, true, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:25"), netip.MustParseAddrPort(tt.own)}
		if err := c.Validate(); (err == nil) != tt.good || err != nil && !strings.Contains(err.Error(), "own_services[1]: ") {
			t.Errorf("listens on %s, own service %s: %v", tt.listen, tt.own, err)
		}
	}
	if got := command(t, "config", "print", "--set", "seed=7"); got.code != cli.ExitOK || !strings.Contains(got.out, "seed: 7") {
		t.Errorf("print: %+v", got)
	}
}

// publicOnly lets pkitest certify a key that it does not hold.
type publicOnly struct {
	crypto.Signer
	key crypto.PublicKey
}

func (p publicOnly) Public() crypto.PublicKey { return p.key }

// newPKI starts a PKI that takes the token, and gives its address.
func newPKI(t *testing.T, ca *pkitest.CA, id identity.ID) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == enrol.RootsPath {
			_, _ = w.Write(ca.RootPEM())
			return
		}
		var req enrol.Request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.URL.Path != enrol.EnrolPath || req.Token != token {
			w.Header().Set("Content-Type", enrol.ProblemMediaType)
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(enrol.NewProblem(enrol.ErrToken))
			return
		}
		block, _ := pem.Decode([]byte(req.CSR))
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			t.Error(err)
			return
		}
		var chain []byte
		for _, der := range ca.Issue(id, pkitest.Options{Key: publicOnly{key: csr.PublicKey}}).Certificate {
			chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(enrol.Issued{Chain: string(chain), Roots: string(ca.RootPEM())})
	}))
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ca.Issue(identity.Service(td, enrol.ServiceName), pkitest.Loopback())}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestEnrolsAndRuns: the first start enrols and prints a password with which one can
// sign in; the second start finds everything again.
func TestEnrolsAndRuns(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--set", "state_dir=" + dir, "--set", "pki.url=" + newPKI(t, ca, identity.Device(td, serial)), "--set", "pki.fingerprint=" + enrol.Fingerprint(ca.Root)}

	if got := command(t, append([]string{"run"}, args...)...); got.code != cli.ExitFailed || !strings.Contains(got.err, "hint: set pki.token_file") {
		t.Errorf("nothing to enrol with: %+v", got)
	}
	args = append(args, "--set", "pki.token_file="+secret)
	r := start(t, args...)
	if r.Serial != string(serial) || !strings.HasPrefix(r.URL, "http://127.0.0.1:") || r.FirstPassword == "" {
		t.Fatalf("started %+v", r.started)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"api/v1/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", r.FirstPassword)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("log in: %d", resp.StatusCode)
	}
	got := command(t, "status", "--set", "state_dir="+dir)
	for _, want := range []string{string(serial), r.URL, "unpaired", "none configured"} {
		if got.code != cli.ExitOK || !strings.Contains(got.out, want) {
			t.Errorf("status lacks %q: %+v", want, got)
		}
	}
	second := command(t, append([]string{"run", "--set", "listen=127.0.0.1:0"}, args...)...)
	if second.code != cli.ExitFailed || !strings.Contains(second.err, "answers at") {
		t.Errorf("a second program: %+v", second)
	}
	if code := r.stop(); code != cli.ExitOK {
		t.Errorf("run ended with %d: %s", code, r.errs)
	}
	if strings.Contains(r.errs.String(), r.FirstPassword) {
		t.Error("the log holds the password")
	}
	if got := command(t, "status", "--set", "state_dir="+dir); got.code != cli.ExitFailed || !strings.Contains(got.err, `hint: is "pbx run" running`) {
		t.Errorf("status without a program: %+v", got)
	}
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	again := start(t, args...)
	if again.Serial != r.Serial || again.FirstPassword != r.FirstPassword {
		t.Errorf("the second start: %+v, the first %+v", again.started, r.started)
	}
}

func TestEnrolmentThatFails(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := func(dir string, id identity.ID) []string {
		return []string{
			"run", "--set", "listen=127.0.0.1:0", "--set", "state_dir=" + dir, "--set", "pki.url=" + newPKI(t, ca, id),
			"--set", "pki.fingerprint=" + enrol.Fingerprint(ca.Root), "--set", "pki.token_file=" + secret,
		}
	}
	if got := command(t, args(t.TempDir(), identity.Device(td, serial))...); got.code != cli.ExitFailed || !strings.Contains(got.err, "hint: a token works once") {
		t.Errorf("a wrong token: %+v", got)
	}
	if err := os.WriteFile(secret, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if got := command(t, args(dir, identity.Service(td, "ccc"))...); got.code != cli.ExitFailed || !strings.Contains(got.err, "not a device") {
		t.Errorf("a service's certificate: %+v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "credentials")); err == nil {
		t.Error("it was kept")
	}
}

// TestStatusOfATunnel: online and offline, as text and as JSON.
func TestStatusOfATunnel(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	dir := t.TempDir()
	if err := ca.Write(filepath.Join(dir, "credentials"), identity.Device(td, serial)); err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(relay.Config{Listen: "127.0.0.1:0", Credentials: ca.Credentials(identity.Relay(td, "r1"))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stopRelay := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	defer func() {
		stopRelay()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("relay: %v", err)
		}
	}()
	start(t, "--set", "state_dir="+dir, "--set", "relays="+r.Addr(), "--set", "transport=tcp")
	var got result
	status := func(code int) func() bool {
		return func() bool {
			got = command(t, "status", "--set", "state_dir="+dir)
			return got.code == code
		}
	}
	await(t, "the tunnel is up", status(cli.ExitOK))
	if !strings.Contains(got.out, "online at "+r.Addr()+" over tcp") || !strings.Contains(got.out, "certificate until") {
		t.Errorf("status: %s", got.out)
	}
	js := command(t, "status", "--json", "--set", "state_dir="+dir)
	var rep report
	if err := json.Unmarshal([]byte(js.out), &rep); err != nil || rep.State != state.PhaseUnpaired || !rep.Tunnel.Online() {
		t.Errorf("%v, %s", err, js.out)
	}
	stopRelay()
	await(t, "the tunnel is down", status(exitOffline))
}
