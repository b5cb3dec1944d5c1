package pairing_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/integration/e2e/canary"
	"github.com/comtrexx-cloud/comtrexx/integration/e2e/curious"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// said collects a log.
type said struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// centre runs a control centre in the directory, and gives its address for plain http.
func centre(t *testing.T, ca *pkitest.CA, relay, dir string, log hclog.Logger) (url string, stop func()) {
	t.Helper()
	cfg := server.DefaultConfig()
	cfg.HTTPListen, cfg.Dial.Relays, cfg.Store.Path = "127.0.0.1:0", []string{relay}, filepath.Join(dir, "ccc.db")
	cfg.Keys = []configs.SecretFile{configs.SecretFile(filepath.Join(dir, "key"))}
	cfg.Account.SecondFactor = account.Offered // the test signs in with the password
	cfg.FirstAdmin = server.FirstAdmin{File: filepath.Join(dir, "first-password"), Email: "admin@operator.test", Tenant: "Musterfirma GmbH", Language: "en"}
	cfg.Credentials, cfg.Logger = ca.Credentials(identity.Service(ca.TrustDomain, "ccc")), log
	cfg.Account.Hash.Memory, cfg.Account.Hash.Passes, cfg.Account.Hash.Lanes = 8<<20, 1, 1 // as cheapHash
	if err := server.WriteSecret(filepath.Join(dir, "key"), seal.NewKey()); err != nil {
		t.Fatal(err)
	}
	s, _, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(daemon.Config{Admin: daemon.AdminConfig{Listen: "127.0.0.1:0"}, Log: daemon.LogConfig{Level: "off"}, KeepMemory: true, GCPercent: -1, HeapFloor: -1}, "ccc")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		if err := errors.Join(d.Run(ctx, s.Components()...), s.Close()); err != nil {
			t.Errorf("ccc: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); work.Wait() })
	t.Cleanup(stop)
	return "http://" + s.HTTPAddr().String(), stop
}

// device runs a PBX, and gives the address of its pages and its first password.
func device(t *testing.T, ca *pkitest.CA, relay, dir string, log hclog.Logger) (url, first string, stop func()) {
	t.Helper()
	tunnel := agent.Default()
	tunnel.Relays = []string{relay}
	p, err := pbx.New(pbx.Config{Dir: dir, Credentials: ca.Credentials(identity.Device(ca.TrustDomain, "0123456789")), Agent: tunnel, Hasher: password.NewHasher(password.Cheap, 1), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	srv := p.Server()
	work.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("pbx: %v", err)
		}
	})
	work.Go(func() { _ = srv.Serve(ln) })
	stop = sync.OnceFunc(func() { cancel(); _ = srv.Close(); work.Wait() })
	t.Cleanup(stop)
	first, _ = p.FirstPassword()
	return "http://" + ln.Addr().String(), first, stop
}

// TestCuriousRelay: a relay that keeps all that it can read sees neither token nor user
// nor password, and neither do the logs nor what stays in the database and in the PBX.
func TestCuriousRelay(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{agent.TransportTCP, agent.TransportQUIC} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			ca := pkitest.New(t, identity.DefaultTrustDomain)
			r := curious.Start(t, ca, transport)
			logs := &said{}
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(logs.String())
				}
			})
			log := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: logs})
			cdir, pdir := t.TempDir(), t.TempDir()
			curl, stopCentre := centre(t, ca, r.Addr(), cdir, log.Named("ccc"))
			purl, first, stopPBX := device(t, ca, r.Addr(), pdir, log.Named("pbx"))

			admin, err := configs.SecretFile(filepath.Join(cdir, "first-password")).Read()
			if err != nil {
				t.Fatal(err)
			}
			c, at := newPerson(t, curl), newPerson(t, purl)
			if err := c.do(ctx, http.MethodPost, "session", api.Credentials{Email: "admin@operator.test", Password: string(admin)}, nil); err != nil {
				t.Fatal(err)
			}
			if err := at.do(ctx, http.MethodPost, "login", nil, nil, func(r *http.Request) { r.SetBasicAuth("admin", first) }); err != nil {
				t.Fatal(err)
			}
			saved, err := c.save(ctx, "0123456789", "watched")
			if err != nil {
				t.Fatal(err)
			}
			awaitOffer(ctx, t, at, saved.Offer)
			if err := at.do(ctx, http.MethodPost, "ccc/enable", map[string]string{"token": saved.Offer.Token, "password": first}, nil); err != nil {
				t.Fatal(err)
			}
			awaitState(ctx, t, c, saved.System.ID, store.StatePaired)
			l, err := at.local(ctx)
			if err != nil || l.Paired == nil {
				t.Fatalf("%+v, %v", l, err)
			}
			secrets := map[string]canary.Canary{
				"token": canary.Canary(saved.Offer.Token), "bare token": canary.Canary(strings.ReplaceAll(saved.Offer.Token, "-", "")),
				"user": canary.Canary(l.Paired.User), "tenant": "Musterfirma GmbH",
			}
			// The control: what the relay does see, it has kept.
			for _, plain := range []string{"pairing", "device/0123456789", "service/ccc"} {
				if !r.Contains([]byte(plain)) {
					t.Errorf("control: the relay has not seen %q", plain)
				}
			}
			control := canary.New()
			d, err := dial.New(dial.Config{Relays: []string{r.Addr()}, Credentials: ca.Credentials(identity.Service(ca.TrustDomain, "helpdesk")), Transport: transport})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			// A purpose is for the relay to read.
			if _, err := d.Open(ctx, dial.Call{Target: d.Device("0123456789"), Service: "none", Purpose: string(control), Inner: dial.TLS}); err == nil {
				t.Error("a service that is not there was opened")
			}
			if control.Found(t, r.Contains) == nil {
				t.Error("control: the relay has not kept what it could read")
			}

			stopPBX()
			stopCentre()
			secrets["password"] = canary.Canary(pairingPassword(t, cdir))
			for what, c := range secrets {
				if forms := c.Found(t, r.Contains); forms != nil {
					t.Errorf("the relay has read the %s: %q", what, forms)
				}
			}
			kept := map[string]string{"log": logs.String(), "database": files(t, cdir, "first-password", "key"), "state of the PBX": files(t, pdir, "first-password")}
			for _, what := range []string{"token", "bare token", "password"} {
				for where, text := range kept {
					if strings.Contains(text, string(secrets[what])) {
						t.Errorf("the %s is in the %s", what, where)
					}
				}
			}
			for where, want := range map[string]string{"log": "0123456789", "database": "watched", "state of the PBX": l.Paired.User} {
				if !strings.Contains(kept[where], want) {
					t.Errorf("control: %q is not in the %s", want, where)
				}
			}
			for _, where := range []string{"log", "database"} {
				if strings.Contains(kept[where], l.Paired.User) {
					t.Errorf("the user is in the %s", where)
				}
			}
		})
	}
}

// pairingPassword opens what the control centre has sealed, with its key.
func pairingPassword(t *testing.T, dir string) string {
	t.Helper()
	keys, err := seal.Load([]configs.SecretFile{configs.SecretFile(filepath.Join(dir, "key"))})
	if err != nil {
		t.Fatal(err)
	}
	cfg := store.DefaultConfig()
	cfg.Path = filepath.Join(dir, "ccc.db")
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var p store.Pairing
	err = db.View(t.Context(), func(tx *store.Tx) (err error) {
		p, err = tx.ActivePairing("0123456789")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := keys.Open("pairing password", string(p.ID), p.PasswordSealed)
	if err != nil || len(plain) < 20 {
		t.Fatalf("a password of %d bytes: %v", len(plain), err)
	}
	return string(plain)
}

// files are all files of a directory, but for some.
func files(t *testing.T, dir string, but ...string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, b := range but {
			if d.Name() == b {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
