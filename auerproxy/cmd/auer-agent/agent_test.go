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
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
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

// result is what one run of the program left.
type result struct {
	code     int
	out, err string
}

// auerAgent runs the program's command line.
func auerAgent(ctx context.Context, stdin string, args ...string) result {
	app := newApp()
	var out, errs bytes.Buffer
	app.SetArgs(args)
	app.SetIn(strings.NewReader(stdin))
	app.SetOut(&out)
	app.SetErr(&errs)
	code := cli.Main(ctx, app.Command)
	return result{code, out.String(), errs.String()}
}

func TestExampleIsGoodAndShowsTheDefaults(t *testing.T) {
	t.Parallel()
	cfg := Default()
	if err := configs.Load(&cfg, configs.Source{Path: "../../../configs/auer-agent.yaml"}); err != nil {
		t.Fatal(err)
	}
	want := Default()
	if cfg.Timing != want.Timing || cfg.Limits != want.Limits || cfg.Slots != want.Slots || cfg.Transport != want.Transport {
		t.Errorf("the example says\n%+v\nthe defaults are\n%+v", cfg.Config, want.Config)
	}
	if cfg.StateDir != want.StateDir || cfg.Log != want.Log || cfg.PKI.TrustDomain != want.PKI.TrustDomain || cfg.PKI.Renewal != want.PKI.Renewal {
		t.Errorf("the example says\n%+v\nthe defaults are\n%+v", cfg, want)
	}
	if len(cfg.Services) != 2 || !cfg.Services[1].Raw {
		t.Errorf("services %+v", cfg.Services)
	}
}

func TestConfigErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.yaml")
	text := "relays: [relay.example.net]\nproxy: http://user:secret@proxy:3128\nlog:\n  level: loud\nservices:\n  - name: web\n  - name: ssh\n    target: tcp:127.0.0.1:22\n    identitty: none\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := auerAgent(t.Context(), "", "config", "check", "--config", file)
	if got.code != cli.ExitConfig {
		t.Errorf("exit code %d", got.code)
	}
	for _, want := range []string{
		`a.yaml:1:10: relays[0]: "relay.example.net", want host:port`,
		"a.yaml:2:1: proxy: not a proxy address",
		`a.yaml:4:3: log.level: "loud" is no level`,
		"services[0].target: is required (as in tcp:127.0.0.1:80)",
		`a.yaml:9:5: services[1].identitty: unknown key (did you mean "identity"?)`,
	} {
		if !strings.Contains(got.err, want) {
			t.Errorf("no line %q in\n%s", want, got.err)
		}
	}
	if strings.Contains(got.err, "secret") {
		t.Errorf("the proxy's password is shown:\n%s", got.err)
	}
	if got := auerAgent(t.Context(), "", "config", "check", "--set", "relays=a:1"); got.code != cli.ExitOK {
		t.Errorf("a good configuration: %+v", got)
	}
}

// publicOnly lets pkitest certify a key that it does not hold.
type publicOnly struct {
	crypto.Signer
	key crypto.PublicKey
}

func (p publicOnly) Public() crypto.PublicKey { return p.key }

// newPKI starts a PKI that takes the token once.
func newPKI(t *testing.T, ca *pkitest.CA, id identity.ID) string {
	t.Helper()
	used := make(chan struct{}, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == enrol.RootsPath {
			_, _ = w.Write(ca.RootPEM())
			return
		}
		var req enrol.Request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.URL.Path != enrol.EnrolPath {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		select {
		case used <- struct{}{}:
		default:
			req.Token = ""
		}
		block, _ := pem.Decode([]byte(req.CSR))
		if req.Token != token || block == nil {
			w.Header().Set("Content-Type", enrol.ProblemMediaType)
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(enrol.NewProblem(enrol.ErrToken))
			return
		}
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			t.Error(err)
			return
		}
		cert := ca.Issue(id, pkitest.Options{Key: publicOnly{key: csr.PublicKey}})
		var chain []byte
		for _, der := range cert.Certificate {
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

func TestEnrol(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	url := newPKI(t, ca, identity.Device(td, serial))
	dir := t.TempDir()
	args := []string{"enrol", "--set", "state_dir=" + dir, "--pki", url, "--fingerprint", enrol.Fingerprint(ca.Root), "--token-file", "-"}

	if got := auerAgent(t.Context(), token, args[:len(args)-2]...); got.code != cli.ExitUsage {
		t.Errorf("without a token: %+v", got)
	}
	wrong := append([]string{}, args...)
	wrong[6] = strings.Repeat("00", 32)
	if got := auerAgent(t.Context(), token, wrong...); got.code != cli.ExitFailed || !strings.Contains(got.err, "hint: compare the fingerprint") {
		t.Errorf("another root: %+v", got)
	}
	got := auerAgent(t.Context(), token+"\n", append(args, "--serial", string(serial), "--json")...)
	var out enrolled
	if err := json.Unmarshal([]byte(got.out), &out); got.code != cli.ExitOK || err != nil || out.Identity != "spiffe://comtrexx.test/device/0123456789" {
		t.Fatalf("enrol: %+v", got)
	}
	creds, err := enrol.LoadCredentials(filepath.Join(dir, "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := instanceID(filepath.Join(dir, "instance-id"))
	if err != nil || len(id) != tunnel.IDLen {
		t.Errorf("instance id %x, %v", id, err)
	}

	// What is there is not overwritten by accident, and a token works once.
	if got := auerAgent(t.Context(), token, args...); got.code != cli.ExitFailed || !strings.Contains(got.err, "holds credentials already") {
		t.Errorf("a second time: %+v", got)
	}
	if got := auerAgent(t.Context(), token, append(args, "--force")...); got.code != cli.ExitFailed || !strings.Contains(got.err, "hint: a token works once") {
		t.Errorf("a used token: %+v", got)
	}
	again, err := enrol.LoadCredentials(filepath.Join(dir, "credentials"))
	if err != nil || !again.Leaf().Equal(creds.Leaf()) {
		t.Errorf("a failed enrolment changed the credentials: %v", err)
	}
	if same, err := instanceID(filepath.Join(dir, "instance-id")); err != nil || !bytes.Equal(same, id) {
		t.Errorf("a failed enrolment changed the instance id: %x, %v", same, err)
	}
}

func TestEnrolRefusesOtherKinds(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []identity.ID{identity.Service(td, "ccc"), identity.Device(td, "0000000001")} {
		got := auerAgent(t.Context(), "", "enrol", "--set", "state_dir="+dir, "--pki", newPKI(t, ca, id), "--roots", roots, "--token", token, "--serial", string(serial))
		if got.code != cli.ExitFailed {
			t.Errorf("a token for %s: %+v", id, got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "credentials")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("credentials were kept: %v", err)
	}
}

// running is "auer-agent run" in the background.
type running struct {
	stop func()
	done chan result
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stop: cancel, done: make(chan result, 1)}
	go func() { r.done <- auerAgent(ctx, "", append([]string{"run"}, args...)...) }()
	t.Cleanup(cancel)
	return r
}

// askUntil asks the agent until its answer is as wanted.
func askUntil(t *testing.T, what string, want func(result) bool, args ...string) result {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for {
		got := auerAgent(t.Context(), "", append([]string{"status"}, args...)...)
		if want(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain until %s: %+v", what, got)
		}
	}
}

func TestRunAndStatus(t *testing.T) {
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
	relayCtx, stopRelay := context.WithCancel(t.Context())
	relayDone := make(chan error, 1)
	go func() { relayDone <- r.Run(relayCtx) }()
	<-r.Ready()
	defer func() {
		stopRelay()
		if err := <-relayDone; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("relay: %v", err)
		}
	}()

	state := []string{"--set", "state_dir=" + dir}
	if got := auerAgent(t.Context(), "", append([]string{"status"}, state...)...); got.code != cli.ExitFailed || !strings.Contains(got.err, "no agent answers") {
		t.Errorf("status without an agent: %+v", got)
	}
	agentRun := start(t, append(state, "--set", "relays="+r.Addr(), "--set", "transport=quic", "--set", "services=[{name: web, target: 'tcp:127.0.0.1:9'}]")...)
	got := askUntil(t, "the tunnel is up", func(r result) bool { return r.code == cli.ExitOK }, state...)
	for _, want := range []string{"device/0123456789", "online", "relay/r1", "quic", "web", "tcp:127.0.0.1:9"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("no %q in\n%s", want, got.out)
		}
	}
	got = auerAgent(t.Context(), "", append(state, "status", "--json")...)
	var rep report
	if err := json.Unmarshal([]byte(got.out), &rep); err != nil || rep.Slots[0].Transport != tunnel.QUIC || rep.Slots[0].State != agent.StateOnline {
		t.Errorf("%v, %s", err, got.out)
	}
	info, err := os.Stat(filepath.Join(dir, "status.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	second := auerAgent(t.Context(), "", append([]string{"run", "--set", "relays=127.0.0.1:1"}, state...)...)
	if second.code != cli.ExitFailed || !strings.Contains(second.err, "answers at") {
		t.Errorf("a second agent: %+v", second)
	}

	stopRelay()
	got = askUntil(t, "the tunnel is down", func(r result) bool { return r.code == exitOffline }, state...)
	if !strings.Contains(got.err, "no tunnel is up") || !strings.Contains(got.err, "hint: ") {
		t.Errorf("status without a tunnel: %+v", got)
	}
	agentRun.stop()
	if got := <-agentRun.done; got.code != cli.ExitOK {
		t.Errorf("run ended with %+v", got)
	}
}

func TestRunWithoutCredentials(t *testing.T) {
	t.Parallel()
	got := auerAgent(t.Context(), "", "run", "--set", "state_dir="+t.TempDir(), "--set", "relays=127.0.0.1:1")
	if got.code != cli.ExitFailed || !strings.Contains(got.err, `hint: run "auer-agent enrol" first`) {
		t.Errorf("got %+v", got)
	}
}

// A socket that a killed agent has left behind does not stop the next one.
func TestStaleSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	ln, err = listenStatus(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := listenStatus(t.Context(), path); err == nil {
		t.Error("a socket that answers was taken over")
	}
}

func TestInstanceIDIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state", "instance-id")
	first, err := instanceID(path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := instanceID(path); err != nil || !bytes.Equal(first, second) {
		t.Errorf("%x, then %x, %v", first, second, err)
	}
	if err := os.WriteFile(path, []byte("xyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := instanceID(path); err == nil {
		t.Error("a broken file was taken")
	}
}

func TestReadToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []enrolFlags{{token: "abc"}, {tokenFile: file}, {tokenFile: "-"}} {
		got, err := readToken(io.MultiReader(strings.NewReader("abc"), strings.NewReader("\n")), tt)
		if got != "abc" || err != nil {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readToken(nil, enrolFlags{tokenFile: file}); !errors.Is(err, configs.ErrExposed) {
		t.Errorf("a token that everybody can read: %v", err)
	}
}
