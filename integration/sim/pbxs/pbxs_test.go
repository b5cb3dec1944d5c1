package pbxs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/programs"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

const td = identity.DefaultTrustDomain

// lab is a relay and a control centre in this process, and certificates for n PBXs.
func lab(t *testing.T, n int) Options {
	t.Helper()
	dir := t.TempDir()
	certs := filepath.Join(dir, "certs")
	if err := load.WriteDir(certs, load.FromCA(pkitest.New(t, td), 1), n, cloud.Identities(td)...); err != nil {
		t.Fatal(err)
	}
	creds := func(id identity.ID) *enrol.Credentials {
		c, err := enrol.LoadCredentials(filepath.Join(certs, filepath.FromSlash(id.Path())))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r, err := relay.New(relay.Config{
		Listen: "127.0.0.1:0", Credentials: creds(identity.Relay(td, cloud.RelayName)),
		Policy: []relay.Rule{
			{Caller: "service/ccc", Target: "device", Services: []string{"*"}},
			{Caller: "service/ccc", Target: "relay", Services: []string{"presence"}},
			{Caller: "device", Target: "service/ccc", Services: []string{"*"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "relay", r.Run)
	<-r.Ready()

	key := filepath.Join(dir, "key")
	if err := server.WriteSecret(key, seal.NewKey()); err != nil {
		t.Fatal(err)
	}
	cfg := server.DefaultConfig()
	cfg.HTTPListen, cfg.Dial.Relays, cfg.Store.Path = "127.0.0.1:0", []string{r.Addr()}, filepath.Join(dir, "ccc.db")
	cfg.Keys = []configs.SecretFile{configs.SecretFile(key)}
	cfg.Account.SecondFactor = account.Offered // the test signs in with the password
	cfg.FirstAdmin.File = filepath.Join(dir, "password")
	cfg.Pairing.OffersPerHour, cfg.API.Limits.Requests, cfg.API.Limits.NetworkRequests = 1000, 1_000_000, 1_000_000
	cfg.Pairing.CallTimeout = 5 * time.Second // how long a slow PBX is waited for
	cfg.Credentials = creds(identity.Service(td, cloud.CentreName))
	s, _, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(daemon.Config{
		Admin: daemon.AdminConfig{Listen: "127.0.0.1:0"}, Log: daemon.LogConfig{Level: "off"},
		KeepMemory: true, GCPercent: -1, HeapFloor: -1, ShutdownTimeout: 10 * time.Second,
	}, "ccc")
	if err != nil {
		t.Fatal(err)
	}
	background(t, "control centre", func(ctx context.Context) error {
		return errors.Join(d.Run(ctx, s.Components()...), s.Close())
	})
	<-d.Started()
	return Options{
		PBXs: n, Kinds: Kinds(), Duration: time.Second, CallsPerDay: 5, Seed: 1, Transport: "mix", Patience: 2 * time.Minute,
		Relay: r.Addr(), CA: certs, TrustDomain: td,
		Centre:   cloud.Access{URL: "http://" + s.HTTPAddr().String(), Email: cfg.FirstAdmin.Email, PasswordFile: cfg.FirstAdmin.File},
		Progress: load.NewProgress(io.Discard),
	}
}

// background runs f until the test ends.
func background(t *testing.T, name string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	})
}

// TestEverything: a small simulation with all there is, and another one after it from the
// same state.
func TestEverything(t *testing.T) {
	t.Parallel()
	o := lab(t, 14)
	o.Pair, o.Hostile, o.Churn, o.State = 3, 0.43, 8, t.TempDir()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o)
	if err != nil || len(r.Failures) > 0 {
		t.Fatalf("%v, %v, %v", err, r.Failures, r.Errors)
	}
	if r.Good != 8 || r.Hostile != 6 || r.Restored != 0 || r.Connect.Online != 8 || r.Pair.Paired != 3 || r.Pair.Offers != 3 {
		t.Errorf("%+v, %+v, %+v", r, r.Connect, r.Pair)
	}
	// The clone is never online, all others are.
	if r.End.Paired != 3 || r.End.Online != 13 || r.End.Tunnels.Online != 8 || r.End.Calls < 14*5*29 {
		t.Errorf("in the end %+v", r.End)
	}
	if n := r.Churn.Anew.Count + r.Churn.Back.Count; r.Churn.Events != 8 || n != 8 || r.Churn.Anew.Count == 0 || r.Churn.Back.Count == 0 {
		t.Errorf("%+v", r.Churn)
	}
	want := map[Kind]string{
		KindSerial: "refused", KindProof: "refused", KindReplay: "offer_void", KindClone: "AUER-1107", KindSlow: "cut off", KindHuge: "bad_request",
	}
	for _, a := range r.Attacks {
		tries := 1
		if a.Kind == KindReplay {
			tries = replays
		}
		if a.PBXs != 1 || a.Tries != tries || a.Refused != tries || a.Through != 0 || a.Unjudged != 0 || a.Answers[want[a.Kind]] != tries {
			t.Errorf("%+v", a)
		}
		delete(want, a.Kind)
	}
	if len(want) > 0 {
		t.Errorf("nobody tried %v", want)
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"8 of 8 online", "3 of 3 paired", "clone", "GOT THROUGH", "paired anew", "13 online, 3 paired"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
	if js, err := json.Marshal(r); err != nil || !strings.Contains(string(js), `"got_through":0`) {
		t.Errorf("%v, %s", err, js)
	}

	o.Hostile, o.Churn, o.PBXs, o.Pair = 0, 0, 8, 4
	again, err := Run(t.Context(), o)
	if err != nil || len(again.Failures) > 0 {
		t.Fatalf("%v, %v", err, again.Failures)
	}
	if again.Restored != 3 || again.Pair.Asked != 1 || again.End.Paired != 4 || again.End.Calls < 8*5*29 {
		t.Errorf("after a restart %+v, %+v", again, again.End)
	}
}

// ours are the real programs.
func ours(t *testing.T) cloud.Programs {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs")
	}
	bin, err := programs.Build("auerproxy", "ccc")
	if err != nil {
		t.Fatal(err)
	}
	return cloud.Programs{Relay: filepath.Join(bin, "auerproxy"), Centre: filepath.Join(bin, "ccc")}
}

// TestOwnCloud: PBXs and cloud come back from a directory, paired as they were.
func TestOwnCloud(t *testing.T) {
	t.Parallel()
	o := Options{
		PBXs: 3, Pair: 2, Duration: time.Second, Seed: 3, Transport: "mix", Patience: 2 * time.Minute, TrustDomain: td,
		State: t.TempDir(), Programs: ours(t), Progress: load.NewProgress(io.Discard),
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o)
	if err != nil || len(r.Failures) > 0 || r.Pair.Paired != 2 || r.End.Paired != 2 {
		t.Fatalf("%v, %+v", err, r)
	}
	if runtime.GOOS == "linux" && (r.End.Relay.RSS == 0 || r.End.Centre.CPU == 0) {
		t.Errorf("costs: %+v", r.End)
	}
	// What was paired is paired anew in the same control centre.
	o.Churn = 6
	again, err := Run(t.Context(), o)
	if err != nil || len(again.Failures) > 0 || again.Restored != 2 || again.Pair != nil || again.Churn.Anew.Count == 0 {
		t.Fatalf("%v, %+v, %+v", err, again, again.Churn)
	}
	o.PBXs = 4
	if _, err := Run(t.Context(), o); !errors.Is(err, load.ErrTooFew) {
		t.Errorf("more PBXs than before: %v", err)
	}
}

// TestTunnelsAlone: with a relay alone, PBXs connect and lose their power.
func TestTunnelsAlone(t *testing.T) {
	t.Parallel()
	o := lab(t, 4)
	o.Centre, o.Churn = cloud.Access{}, 3
	r, err := Run(t.Context(), o)
	if err != nil || len(r.Failures) > 0 || r.Pair != nil || r.Attacks != nil {
		t.Fatalf("%v, %+v", err, r)
	}
	if r.Churn.Back.Count != 3 || r.Churn.Anew.Count != 0 || r.End.Online != 4 {
		t.Errorf("%+v, %+v", r.Churn, r.End)
	}
}

// TestGoodOnesAsAttackers: the judges of attacks say so where one gets through.
func TestGoodOnesAsAttackers(t *testing.T) {
	t.Parallel()
	o := lab(t, 4)
	o.Pair, o.Hostile, o.Kinds = 1, 0.5, []Kind{"harmless"}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.End.Paired != 1 || len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "2 of 2 were not refused") {
		t.Errorf("%v, %+v", r.Failures, r.Attacks)
	}
}

// TestNobodyThere: the report says what did not work.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	o := lab(t, 2)
	o.Relay, o.Patience, o.Pair = "127.0.0.1:9", time.Second, 1
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(r.Failures, "\n")
	for _, want := range []string{"0 of 2 PBXs are online", "no offer", "0 PBXs are paired in the end, want 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("failures lack %q: %s", want, text)
		}
	}
	if r.Errors["timeout"] != 1 {
		t.Errorf("errors %v", r.Errors)
	}
	o.Centre.PasswordFile = filepath.Join(t.TempDir(), "missing")
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "password of") {
		t.Errorf("no password: %v", err)
	}
	o.PBXs, o.Centre = 3, cloud.Access{}
	if _, err := Run(t.Context(), o); !errors.Is(err, load.ErrTooFew) {
		t.Errorf("more PBXs than certificates: %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Options{PBXs: 10, Transport: "mix", Kinds: Kinds(), Patience: 1, Duration: 1, Pair: 1}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"at least 1":       func(o *Options) { o.PBXs = 0 },
		"quic, tcp or mix": func(o *Options) { o.Transport = "pigeon" },
		"0 to 0.5":         func(o *Options) { o.Hostile = math.NaN() },
		"--hostile-kinds":  func(o *Options) { o.Hostile, o.Kinds = 0.5, nil },
		"of at least 1":    func(o *Options) { o.Hostile, o.Pair = 0.5, 0 },
		"5 good PBXs":      func(o *Options) { o.Hostile, o.Pair = 0.5, 6 },
		"negative":         func(o *Options) { o.Churn = -1 },
		"above 0":          func(o *Options) { o.Patience = 0 },
		"0 to 10000":       func(o *Options) { o.CallsPerDay = -1 },
		"needs --ca":       func(o *Options) { o.Relay = "r:1" },
		"go with --relay":  func(o *Options) { o.CA = "certs" },
		"needs --email":    func(o *Options) { o.Relay, o.CA, o.Centre.URL = "r:1", "certs", "http://x" },
		"need --centre":    func(o *Options) { o.Relay, o.CA = "r:1", "certs" },
	} {
		o := good
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	var y tally
	for range 3 {
		y.failed("pair", &api.Problem{Code: api.CodeQuotaOffers, Title: "too many"})
	}
	y.failed("churn", wire.NewProblem(wire.CodeRefused, ""))
	y.failed("end", errors.New("one"))
	y.failed("end", errors.New("another"))
	if got := y.errors(); len(got) != 2 || got["api.quota_offers"] != 3 || got["pairing.refused"] != 1 {
		t.Errorf("%v", got)
	}
	want := []string{"pair: too many (and 2 more of the kind)", "churn: refused: The completion is refused.", "end: one", "end: another"}
	if got := y.failures(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
