package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is a service with a store and a tenant.
type place struct {
	t      *testing.T
	cfg    Config
	s      *Service
	tenant store.TenantID
	path   string // of the database
}

func newPlace(t *testing.T, change ...func(*Config)) *place {
	t.Helper()
	cfg := storetest.SQLite(t)
	p := &place{t: t, path: cfg.Path}
	db, err := store.Open(t.Context(), cfg)
	p.must(err)
	t.Cleanup(func() { p.must(db.Close()) })
	keys, err := seal.New(seal.NewKey())
	p.must(err)
	p.cfg = Config{Store: db, Keys: keys, Timeout: time.Second, RetryFirst: time.Second, AllowNetworks: []string{"127.0.0.0/8"}}
	for _, f := range change {
		f(&p.cfg)
	}
	p.s, err = New(p.cfg)
	p.must(err)
	return p.another("North")
}

// another is the same service with a tenant of its own.
func (p *place) another(name string) *place {
	p.t.Helper()
	o := *p
	o.tenant = store.NewID[store.TenantID]()
	p.update(func(tx *store.Tx) error {
		return tx.CreateTenant(store.Tenant{ID: o.tenant, Kind: store.KindCustomer, Name: name, LegalName: name, Created: time.Now()})
	})
	return &o
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) update(f func(*store.Tx) error) {
	p.t.Helper()
	p.must(p.cfg.Store.Update(context.Background(), f))
}

// run runs the service.
func (p *place) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.s.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			p.t.Error(err)
		}
	})
}

// hook makes a webhook, and gives its secret.
func (p *place) hook(url string) (store.Webhook, string) {
	p.t.Helper()
	w := store.Webhook{ID: store.NewID[store.WebhookID](), Tenant: p.tenant, URL: url, Topics: []store.Topic{"user.created", store.TopicOffline, store.TopicOnline}, Enabled: true, Created: time.Now()}
	secret, sealed, err := p.s.NewSecret(w.ID)
	p.must(err)
	w.SecretSealed = sealed
	p.update(func(tx *store.Tx) error { return tx.CreateWebhook(w) })
	return w, secret
}

// say announces something.
func (p *place) say(n int) {
	p.update(func(tx *store.Tx) error {
		for range n {
			if err := tx.Announce(store.Announcement{Tenant: p.tenant, Topic: "user.created", At: time.Now(), Data: map[string]string{"user_id": "u1"}}); err != nil {
				return err
			}
		}
		return nil
	})
	p.s.Wake()
}

// await waits until all of the webhook's deliveries are in a state.
func (p *place) await(w store.Webhook, what string, is func(store.Webhook, []store.Delivery) bool) {
	p.t.Helper()
	var all []store.Delivery
	for start := time.Now(); time.Since(start) < 20*time.Second; {
		p.must(p.cfg.Store.View(context.Background(), func(tx *store.Tx) (err error) {
			if w, err = tx.WebhookByID(w.ID); err != nil {
				return err
			}
			all, _, err = tx.Deliveries(p.tenant, w.ID, "", store.Page{})
			return err
		}))
		if is(w, all) {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	p.t.Fatalf("never %s: %+v, %+v", what, w, all)
}

func every(state store.DeliveryState) func(store.Webhook, []store.Delivery) bool {
	return func(_ store.Webhook, all []store.Delivery) bool {
		for _, d := range all {
			if d.State != state {
				return false
			}
		}
		return len(all) > 0
	}
}

type received struct {
	header http.Header
	body   string
}

// receiver answers with a status, and gives what it gets.
func receiver(t *testing.T, status func(n int) int) (url string, got chan received) {
	t.Helper()
	got = make(chan received, 1000)
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- received{r.Header, string(body)}
		w.WriteHeader(status(int(n.Add(1))))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/hook", got
}

func ok(int) int { return http.StatusNoContent }

// verify checks a signature as a receiver does, by the specification alone.
func verify(secret string, r received) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	m := hmac.New(sha256.New, key)
	_, _ = io.WriteString(m, r.header.Get("webhook-id")+"."+r.header.Get("webhook-timestamp")+"."+r.body)
	want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
	for s := range strings.FieldsSeq(r.header.Get("webhook-signature")) {
		if hmac.Equal([]byte(s), []byte(want)) {
			return true
		}
	}
	return false
}

// TestSign has the example of the specification.
func TestSign(t *testing.T) {
	t.Parallel()
	got, err := Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), `{"test": 2432232314}`)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"", "x", "whsec_", "whsec_!"} {
		if _, err := Sign(bad, "id", time.Now(), ""); err == nil {
			t.Errorf("%q is a secret", bad)
		}
	}
}

func TestDelivered(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	url, got := receiver(t, ok)
	w, secret := p.hook(url)
	p.say(1)
	p.run() // also what was written before
	r := <-got
	var body struct {
		ID, Type string
		Data     map[string]string
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || body.Type != "user.created" || body.Data["user_id"] != "u1" || body.ID != r.header.Get("webhook-id") {
		t.Errorf("got %s, %v", r.body, err)
	}
	if !verify(secret, r) || verify(newSecret(), r) {
		t.Errorf("the signature is %s", r.header.Get("webhook-signature"))
	}
	p.await(w, "delivered", every(store.DeliveryDone))
	// Both secrets are good for a while.
	fresh := ""
	p.update(func(tx *store.Tx) (err error) {
		now, err := tx.Webhook(p.tenant, w.ID)
		if err != nil {
			return err
		}
		if fresh, err = p.s.Rotate(&now, time.Now()); err != nil {
			return err
		}
		return tx.SetWebhook(p.tenant, now)
	})
	p.say(1)
	if r := <-got; !verify(secret, r) || !verify(fresh, r) || fresh == secret {
		t.Error("not both secrets are good")
	}
	p.update(func(tx *store.Tx) error {
		now, err := tx.Webhook(p.tenant, w.ID)
		now.PreviousUntil = new(time.Now().Add(-time.Second))
		return errors.Join(err, tx.SetWebhook(p.tenant, now))
	})
	p.say(1)
	if r := <-got; verify(secret, r) || !verify(fresh, r) {
		t.Error("the old secret is good for ever")
	}
}

func TestRetried(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	url, got := receiver(t, func(n int) int {
		if n == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	w, _ := p.hook(url)
	p.run()
	p.say(1)
	first, second := <-got, <-got
	if first.header.Get("webhook-id") != second.header.Get("webhook-id") || first.body != second.body {
		t.Errorf("another one: %v, %v", first, second)
	}
	p.await(w, "delivered", func(w store.Webhook, all []store.Delivery) bool {
		return every(store.DeliveryDone)(w, all) && all[0].Tries == 2 && w.Failures == 0
	})
}

func TestGone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	url, _ := receiver(t, func(int) int { return http.StatusGone })
	w, _ := p.hook(url)
	p.run()
	p.say(1)
	p.await(w, "disabled", func(w store.Webhook, all []store.Delivery) bool {
		return !w.Enabled && w.Gone && every(store.DeliveryFailed)(w, all)
	})
}

// TestOthersAreNotHeld: receivers that hang, send without end, or break off hold nobody up.
func TestOthersAreNotHeld(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	stop := make(chan struct{})
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		case "/huge":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/slow":
			w.WriteHeader(http.StatusOK)
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("."))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		default:
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(func() {
		close(stop)
		bad.Close()
	})
	hang, _ := p.hook(bad.URL + "/hang")
	huge, _ := p.hook(bad.URL + "/huge")
	_, _ = p.hook(bad.URL + "/slow")
	_, _ = p.hook(bad.URL + "/abort")
	url, got := receiver(t, ok)
	good, _ := p.hook(url)
	p.run()
	start := time.Now()
	p.say(20)
	for range 20 {
		<-got
	}
	p.await(good, "delivered", every(store.DeliveryDone))
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("it took %s", d)
	}
	p.await(huge, "delivered", every(store.DeliveryDone)) // its status was good, and no more is read
	p.await(hang, "failing", func(w store.Webhook, _ []store.Delivery) bool { return w.Failures >= 4 })
}

func TestBreak(t *testing.T) {
	t.Parallel()
	p := newPlace(t, func(c *Config) { c.BreakAfter, c.BreakFor = 2, 24*time.Hour })
	url, got := receiver(t, func(int) int { return http.StatusBadGateway })
	w, _ := p.hook(url)
	p.run()
	p.say(50)
	p.await(w, "paused", func(w store.Webhook, _ []store.Delivery) bool { return w.PausedUntil != nil && w.FailingSince != nil })
	if n := len(got); n > 2*DefaultConfig().Parallel {
		t.Errorf("%d deliveries before the break", n)
	}
}

// TestNext: waits get longer, are random, and end.
func TestNext(t *testing.T) {
	t.Parallel()
	s := &Service{cfg: DefaultConfig()}
	begun := time.Now()
	for tries, most := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := s.next(store.Delivery{Tries: tries, Begun: begun}, store.Try{At: begun}).Sub(begun)
			if seen[d] = true; d < time.Second || d > most+time.Second {
				t.Fatalf("after %d tries it waits %s", tries, d)
			}
		}
		if len(seen) < 50 {
			t.Errorf("%d different waits", len(seen))
		}
	}
	if d := s.next(store.Delivery{Tries: 1000, Begun: begun}, store.Try{At: begun}).Sub(begun); d > s.cfg.RetryMost+time.Second {
		t.Errorf("it waits %s", d)
	}
	end := begun.Add(s.cfg.RetryFor)
	if at := s.next(store.Delivery{Tries: 1000, Begun: begun}, store.Try{At: end.Add(-time.Millisecond)}); !at.Equal(end) {
		t.Errorf("the last one is at %s", at)
	}
	if at := s.next(store.Delivery{Tries: 1000, Begun: begun}, store.Try{At: end}); !at.IsZero() {
		t.Errorf("it never ends: %s", at)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	closed, err := newGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	open, err := newGuard([]string{"10.1.0.0/16", "::1/128"})
	if err != nil {
		t.Fatal(err)
	}
	for address, public := range map[string]bool{
		"9.9.9.9": true, "2620:fe::fe": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "fd00:ec2::254": false,
		"fe80::1%eth0": false, "0.0.0.0": false, "::": false, "100.64.0.1": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "192.0.2.1": false, "198.18.0.1": false, "240.0.0.1": false, "::127.0.0.1": false,
	} {
		a := netip.MustParseAddr(address)
		if got := closed.check(a) == nil; got != public {
			t.Errorf("%s: public %v", address, got)
		}
	}
	for address, allowed := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "::1": true, "10.2.0.1": false} {
		if got := open.check(netip.MustParseAddr(address)) == nil; got != allowed {
			t.Errorf("%s: allowed %v", address, got)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	closed, open := newPlace(t, func(c *Config) { c.AllowNetworks = nil }).s, newPlace(t).s
	for url, good := range map[string][2]bool{
		"https://example.com/hook?x=1": {true, true},
		"http://example.com":           {false, false},
		"http://127.0.0.1:8080/":       {false, true},
		"https://127.0.0.1":            {false, true},
		"https://[::1]":                {false, false},
		"https://169.254.169.254/":     {false, false},
		"https://user:pw@example.com":  {false, false},
		"https://example.com#x":        {false, false},
		"https://":                     {false, false},
		"ftp://example.com":            {false, false},
		"example.com":                  {false, false},
		"http://localhost/":            {false, false}, // a name can change its mind
		"https://example.com/" + strings.Repeat("x", 1000): {false, false},
	} {
		if err := closed.CheckURL(url); (err == nil) != good[0] {
			t.Errorf("%.40s: %v", url, err)
		}
		if err := open.CheckURL(url); (err == nil) != good[1] {
			t.Errorf("%.40s with an allowed network: %v", url, err)
		}
	}
}

// TestNamesThatLeadInside asks a real name server, whose name leads to a public address when it is
// looked at first and inside afterwards. Nothing is sent there.
func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	url, got := receiver(t, ok)
	_, port, _ := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/hook"))
	server := nameServer(t, "127.0.0.1")
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server)
	}}
	closed := newPlace(t, func(c *Config) { c.AllowNetworks, c.Resolver = nil, resolver })
	w, _ := closed.hook("https://rebind.example:" + port + "/hook")
	status, failure := closed.s.send(t.Context(), w, store.Delivery{ID: "d1", Body: "{}"}, time.Now())
	if status != 0 || failure != FailureName {
		t.Errorf("got %d, %s", status, failure)
	}
	// Where it is allowed the same name is reached, which is no server of https.
	open := newPlace(t, func(c *Config) { c.Resolver = resolver })
	w, _ = open.hook("https://rebind.example:" + port + "/hook")
	if _, failure := open.s.send(t.Context(), w, store.Delivery{ID: "d1", Body: "{}"}, time.Now()); failure != FailureConnection {
		t.Errorf("got %s", failure)
	}
	if len(got) != 0 {
		t.Error("something was sent there")
	}
}

// nameServer answers with an address; empty: with none.
func nameServer(t *testing.T, address string) string {
	t.Helper()
	pc, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	srv := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		if q := r.Question[0]; q.Qtype == dns.TypeA && address != "" {
			rr, err := dns.NewRR(fmt.Sprintf("%s 0 IN A %s", q.Name, address))
			if err == nil {
				m.Answer = append(m.Answer, rr)
			}
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.ActivateAndServe() }()
	<-up
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(), <-done); err != nil {
			t.Error(err)
		}
	})
	return pc.LocalAddr().String()
}

// TestRedirections are not followed.
func TestRedirections(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	url, got := receiver(t, ok)
	redirect := httptest.NewServer(http.RedirectHandler(url, http.StatusTemporaryRedirect))
	t.Cleanup(redirect.Close)
	w, _ := p.hook(redirect.URL)
	status, failure := p.s.send(t.Context(), w, store.Delivery{ID: "d1", Body: "{}"}, time.Now())
	if status != http.StatusTemporaryRedirect || failure != FailureStatus || len(got) != 0 {
		t.Errorf("got %d, %s, and %d were sent on", status, failure, len(got))
	}
	p.s.http.CloseIdleConnections()
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for key, c := range map[string]Config{
		"allow_networks": {AllowNetworks: []string{"10.0.0.0"}}, "proxy": {Proxy: "x"}, "timeout": {Timeout: time.Hour}, "retry_for": {RetryFor: 1},
		"retry_first": {RetryFirst: 1}, "retry_most": {RetryMost: 1}, "parallel": {Parallel: -1}, "per_tenant": {PerTenant: -1}, "total": {Total: -1}, "break_after": {BreakAfter: -1},
		"break_for": {BreakFor: 1}, "secret_overlap": {SecretOverlap: 1}, "keep": {Keep: 1},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	file := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{CAFile: file, Store: new(store.DB), Keys: new(seal.Keyring)}); err == nil {
		t.Error("roots without a certificate are taken")
	}
}
