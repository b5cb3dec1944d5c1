package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

func writeFile(t *testing.T, text []byte, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// runRelay runs a relay until the test ends. It lets devices reach the PKI, if there
// is one.
func runRelay(t *testing.T, creds *enrol.Credentials, pki string) *relay.Relay {
	t.Helper()
	cfg := relay.Config{Listen: "127.0.0.1:0", Credentials: creds}
	if pki != "" {
		cfg.Services = map[string]string{enrol.ServiceName: pki}
		cfg.Policy = []relay.Rule{{Caller: "device", Target: "service/pki", Services: []string{"pki"}, Raw: true}}
	}
	r, err := relay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("relay: %v", err)
		}
	})
	<-r.Ready()
	return r
}

// realPKI is a PKI with a manufacturer and a relay.
type realPKI struct {
	*authority.Authority
	server *server.Server
	relay  *relay.Relay
	root   string // file
}

func startPKI(t *testing.T, f *pkitest.Factory) *realPKI {
	t.Helper()
	dir := t.TempDir()
	cfg := authority.Config{
		StateDir: dir, PlainKeys: true,
		FactoryRoots: []string{writeFile(t, enrol.EncodeCertificates(f.Root), t.TempDir(), "factory.pem")},
	}
	if _, err := authority.Init(cfg); err != nil {
		t.Fatal(err)
	}
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{
		Authority: a, StateDir: dir, Listen: "127.0.0.1:0", FactoryListen: "127.0.0.1:0", RecoveryListen: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, a.Close()); err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
	if _, err := a.ImportDevices(t.Context(), strings.NewReader("serial\n"+string(serial)+"\n"), "test", nil); err != nil {
		t.Fatal(err)
	}
	creds, err := a.Credentials(t.Context(), identity.Relay(td, "r1"), profile.Extra{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &realPKI{a, s, runRelay(t, creds, s.Addr().String()), writeFile(t, enrol.EncodeCertificates(a.Roots()...), t.TempDir(), "roots.pem")}
}

// A box out of the factory needs nothing but its configuration to come online.
func TestRunEnrolsByItself(t *testing.T) {
	t.Parallel()
	f := pkitest.NewFactory(t, "Factory")
	p := startPKI(t, f)
	box := f.Box(serial, nil)
	key, err := x509.MarshalPKCS8PrivateKey(box.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	idevid := t.TempDir()
	writeFile(t, enrol.EncodeCertificates(box.Leaf), idevid, enrol.CertFile)
	writeFile(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), idevid, enrol.KeyFile)
	secret, err := p.ResetSecret(t.Context(), serial, "test")
	if err != nil {
		t.Fatal(err)
	}
	secretFile := writeFile(t, []byte(string(serial)+":"+secret+"\n"), t.TempDir(), "secret")

	for name, with := range map[string][]string{
		authority.MethodFactory: {"--set", "pki.factory_url=https://" + p.server.FactoryAddr().String(), "--set", "pki.factory_dir=" + idevid},
		authority.MethodSecret:  {"--set", "pki.secret_file=" + secretFile},
	} {
		dir := t.TempDir()
		state := []string{"--set", "state_dir=" + dir}
		args := append(append([]string{}, state...), "--set", "relays="+p.relay.Addr(), "--set", "pki.url=https://"+p.server.Addr().String(),
			"--set", "pki.recovery_url=https://"+p.server.RecoveryAddr().String(), "--set", "pki.roots="+p.root)
		running := start(t, append(args, with...)...)
		askUntil(t, "the tunnel is up", func(r result) bool { return r.code == cli.ExitOK }, state...)
		running.stop()
		if got := <-running.done; got.code != cli.ExitOK {
			t.Errorf("%s: run ended with %+v", name, got)
		}
		list, err := p.Certificates(t.Context(), identity.Device(td, serial))
		if err != nil || list[len(list)-1].Method != name {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		if _, err := enrol.LoadCredentials(filepath.Join(dir, "credentials")); err != nil {
			t.Error(err)
		}
		// "enrol" finds what to enrol with, too: a factory certificate again, a
		// secret not.
		got := auerAgent(t.Context(), "", append(append([]string{"enrol", "--force"}, append(state, "--set", "pki.url=https://"+p.server.Addr().String(), "--set", "pki.roots="+p.root)...), with...)...)
		if want := map[string]int{authority.MethodFactory: cli.ExitOK, authority.MethodSecret: cli.ExitFailed}[name]; got.code != want {
			t.Errorf("%s: enrol: %+v", name, got)
		}
	}
}

// A renewal through the tunnel, where the PKI cannot be reached directly: at its
// address every connection is closed.
func TestRenewalThroughTheTunnel(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var tried atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			tried.Add(1)
		}
	}()
	p := startPKI(t, pkitest.NewFactory(t, "Factory"))
	id := identity.Device(td, serial)
	for via, renews := range map[string]bool{viaAuto: true, viaTunnel: true, viaDirect: false} {
		dir := t.TempDir()
		creds, err := p.Credentials(t.Context(), id, profile.Extra{}, "test")
		if err == nil {
			err = creds.Save(filepath.Join(dir, "credentials"))
		}
		if err != nil {
			t.Fatal(err)
		}
		state := []string{"--set", "state_dir=" + dir}
		running := start(t, append(append([]string{}, state...), "--set", "relays="+p.relay.Addr(), "--set", "pki.url=https://"+ln.Addr().String(),
			"--set", "pki.renew_via="+via, "--set", "pki.renewal.at=0.000000001", "--set", "pki.renewal.retry_min=10ms", "--set", "pki.renewal.retry_max=20ms")...)
		askUntil(t, "the tunnel is up", func(r result) bool { return r.code == cli.ExitOK }, state...)
		before := tried.Load()
		askUntil(t, "the certificate is renewed, or was tried to be", func(result) bool {
			now, err := enrol.LoadCredentials(filepath.Join(dir, "credentials"))
			return err == nil && now.Leaf().Equal(creds.Leaf()) != renews && (renews || tried.Load() > before+4)
		}, state...)
		running.stop()
		if got := <-running.done; got.code != cli.ExitOK {
			t.Errorf("%s: %+v", via, got)
		}
		list, err := p.Certificates(t.Context(), id)
		if err != nil || (list[len(list)-1].Method == authority.MethodRenew) != renews {
			t.Errorf("%s: %+v, %v", via, list, err)
		}
	}
}

func TestPKIKeys(t *testing.T) {
	t.Parallel()
	good := []string{"relays=a:1", "pki.roots=r.pem", "pki.factory_url=https://a", "pki.factory_dir=/d", "pki.secret_file=/s", "pki.recovery_url=https://b"}
	for change, want := range map[string]string{
		"":                        "",
		"pki.roots=":              "pki.roots: is required to enrol (or pki.fingerprint)",
		"pki.factory_dir=":        "pki.factory_dir: goes with pki.factory_url only (set both, or none)",
		"pki.recovery_url=http:b": `pki.recovery_url: "http:b" is no https address (as in https://pki.example.net:8443)`,
	} {
		args := []string{"config", "check"}
		for _, set := range append(append([]string{}, good...), change) {
			if set != "" {
				args = append(args, "--set", set)
			}
		}
		got := auerAgent(t.Context(), "", args...)
		if ok := got.code == cli.ExitOK; ok != (want == "") || !strings.Contains(got.err, want) {
			t.Errorf("%q: %+v", change, got)
		}
	}
}

func TestSecretFile(t *testing.T) {
	t.Parallel()
	client := &enrol.Client{URL: "https://127.0.0.1:1", TrustDomain: td, RootFingerprint: strings.Repeat("0", 64)}
	for text, want := range map[string]string{
		"0123456789":     "127.0.0.1:1", // the control: goes as far as the network
		"123456789:x":    "want serial:secret",
		"9999999999:x":   "want spiffe://comtrexx.test/device/0123456789",
		"0123456789:x\n": "127.0.0.1:1",
	} {
		p := PKI{TrustDomain: td, SecretFile: configs.SecretFile(writeFile(t, []byte(text), t.TempDir(), "s"))}
		_, err := p.enrol(t.Context(), client, identity.Device(td, serial))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A device in 1970, whose certificate is three weeks old, has never heard of the
// present: the relay's certificate proves that it has come.
func TestTunnelIn1970(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r := runRelay(t, ca.Credentials(identity.Relay(td, "r1")), "")
	for _, transport := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		for _, learns := range []bool{true, false} {
			creds := ca.CredentialsWith(ca.Issue(identity.Device(td, serial), pkitest.Options{NotBefore: time.Now().AddDate(0, 0, -21)}))
			cfg := enrol.ClockConfig{Wall: func() time.Time { return time.Unix(0, 0) }}
			if !learns {
				// The control: a clock that leads nowhere near.
				cfg.Wall = func() time.Time { return time.Now().AddDate(10, 0, 0) }
			}
			creds.SetClock(enrol.OpenClock(cfg))
			online, failed := make(chan struct{}, 1), make(chan struct{}, 1)
			a, err := agent.New(agent.Config{
				Relays: []string{r.Addr()}, Transport: string(transport), Credentials: creds,
				OnStatus: func(s agent.SlotStatus) {
					into := failed
					if s.State == agent.StateOnline {
						into = online
					} else if s.LastError == "" {
						return
					}
					select {
					case into <- struct{}{}:
					default:
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			var got bool
			select {
			case <-online:
				got = true
			case <-failed:
			case <-ctx.Done():
				t.Errorf("%s: nothing happened", transport)
			}
			if got != learns {
				t.Errorf("%s: online %v, want %v", transport, got, learns)
			}
			stop()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", transport, err)
			}
		}
	}
}
