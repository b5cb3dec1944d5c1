package enrol

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// fakePKI stands for the PKI: it issues certificates of one life, and fails as
// long as it is told to.
type fakePKI struct {
	t    *testing.T
	life time.Duration

	mu    sync.Mutex // guards what follows
	down  bool
	full  bool // saving fails
	state fakeState

	newest *Bundle // what the PKI has
}

type fakeState struct {
	tried    int
	renewed  []time.Time
	confirms int
	asked    int // for a bundle
	saved    int
}

func (p *fakePKI) set(down, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.full = down, full
}

// seen waits until the loop rests and tells what it did.
func (p *fakePKI) seen() fakeState {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

const day = 24 * time.Hour

func (p *fakePKI) issue() *Credentials {
	p.t.Helper()
	key, _, err := NewRequest()
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := NewCredentials(selfSigned(p.t, key, p.life))
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *fakePKI) renew(context.Context, *Credentials) (*Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.tried++
	if p.down {
		return nil, errors.New("down")
	}
	p.state.renewed = append(p.state.renewed, time.Now())
	return p.issue(), nil
}

func (p *fakePKI) askTime(context.Context) error { return errors.New("down") }

func (p *fakePKI) confirm(context.Context, *Credentials) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errors.New("down")
	}
	p.state.confirms++
	return nil
}

func (p *fakePKI) bundle(_ context.Context, c *Credentials) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.asked++
	if p.down {
		return false, errors.New("down")
	}
	if p.newest == nil {
		return false, nil
	}
	return c.SwapBundle(*p.newest)
}

func (p *fakePKI) save(*Credentials) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return errors.New("disk full")
	}
	p.state.saved++
	return nil
}

// start runs the loop in the bubble until the test ends.
func (p *fakePKI) start() *Credentials {
	creds := p.issue()
	ctx, cancel := context.WithCancel(p.t.Context())
	l := renewalLoop{
		cfg: Renewal{}.withDefaults(), creds: creds, log: hclog.NewNullLogger(),
		renew: p.renew, confirm: p.confirm, save: p.save, askTime: p.askTime, bundle: p.bundle,
	}
	done := make(chan error)
	go func() { done <- l.run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			p.t.Errorf("the loop ended with %v", err)
		}
	})
	return creds
}

func TestRenewsAtAThird(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakePKI{t: t, life: 30 * day}
		creds := p.start()
		first, began := creds.Leaf(), time.Now()
		time.Sleep(8 * day)
		if got := p.seen(); len(got.renewed) != 0 {
			t.Fatalf("renewed after %v", got.renewed[0].Sub(began))
		}
		time.Sleep(4 * day)
		got := p.seen()
		if len(got.renewed) != 1 || got.confirms != 1 {
			t.Fatalf("after 12 days: %d renewals, %d confirmed", len(got.renewed), got.confirms)
		}
		// The CA dates certificates back, and a third is that of their life.
		third := first.NotAfter.Sub(first.NotBefore) / 3
		if at := got.renewed[0].Sub(first.NotBefore); at < third*9/10 || at > third*11/10 {
			t.Errorf("renewed after %v, want %v ± 10 %%", at, third)
		}
		if SameKey(creds.Leaf().PublicKey, first.PublicKey) {
			t.Error("renewed with the old key")
		}
	})
}

func TestRenewalSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakePKI{t: t, life: 30 * day}
		p.set(true, false)
		creds := p.start()
		time.Sleep(28 * day)
		// From day 10 on, at most about two tries an hour once backed off; a
		// loop without back-off would show as far more, one that gave up as few.
		if n := p.seen().tried; n < 17*24 || n > 4*17*24 {
			t.Errorf("%d tries in 18 days", n)
		}
		p.set(false, false)
		time.Sleep(2 * time.Hour)
		if got := p.seen(); len(got.renewed) != 1 || time.Until(creds.Leaf().NotAfter) < 29*day {
			t.Errorf("%d renewals after the outage, expiry %v", len(got.renewed), creds.Leaf().NotAfter)
		}
	})
}

func TestNothingIsSwappedUnsaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakePKI{t: t, life: 30 * day}
		p.set(false, true)
		creds := p.start()
		first := creds.Leaf()
		time.Sleep(12 * day)
		if got := p.seen(); len(got.renewed) == 0 || creds.Leaf() != first || got.confirms != 0 {
			t.Fatalf("%d renewals, %d confirmed, swapped %v", len(got.renewed), got.confirms, creds.Leaf() != first)
		}
		p.set(false, false)
		time.Sleep(2 * time.Hour)
		if got := p.seen(); creds.Leaf() == first || got.confirms != 1 {
			t.Error("not renewed once the disk had room")
		}
	})
}

// A life shorter than its backdating, or a clock far ahead, makes every
// certificate due at birth. That must not become a loop.
func TestShortLivesDoNotSpin(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{10 * time.Minute, -day} {
		synctest.Test(t, func(t *testing.T) {
			p := &fakePKI{t: t, life: life}
			p.start()
			time.Sleep(time.Hour)
			if n := len(p.seen().renewed); n < 10 || n > 61 {
				t.Errorf("life %v: %d renewals in an hour", life, n)
			}
		})
	}
}

func TestSwapFromOutsideReplans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakePKI{t: t, life: 30 * day}
		creds := p.start()
		time.Sleep(8 * day)
		next := p.issue()
		if err := creds.Swap(next.Certificate(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * day)
		if got := p.seen(); len(got.renewed) != 0 {
			t.Error("renewed by the plan of the old certificate")
		}
		time.Sleep(4 * day)
		if got := p.seen(); len(got.renewed) != 1 {
			t.Error("not renewed by the plan of the new certificate")
		}
	})
}

func TestProblem(t *testing.T) {
	t.Parallel()
	for _, want := range problemTypes {
		p := NewProblem(errors.Join(errors.New("x"), want.err))
		if p.Status != want.status || !errors.Is(p, want.err) || p.Detail == "" {
			t.Errorf("%s: %+v", want.name, p)
		}
	}
	if p := NewProblem(errors.New("disk on fire")); p.Detail != "" || !errors.Is(p, ErrServer) {
		t.Errorf("an internal error got out: %+v", p)
	}
	if p := (&Problem{Status: 502}); !errors.Is(p, ErrServer) {
		t.Error("a bad gateway is the server's fault")
	}
}

// selfSigned is enough for the loop, which verifies nothing. As from the PKI, the
// life starts an hour back.
func selfSigned(t *testing.T, key crypto.Signer, life time.Duration) (tls.Certificate, []*x509.Certificate) {
	t.Helper()
	tmpl := profile.Leaf(identity.Device(identity.DefaultTrustDomain, "0123456789"), profile.Extra{})
	now := time.Now()
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-time.Hour), now.Add(life)
	if life < 0 {
		tmpl.NotBefore = tmpl.NotAfter.Add(-day)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, []*x509.Certificate{leaf}
}

func selfSignedRoot(t *testing.T) *x509.Certificate {
	t.Helper()
	key, _, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	tmpl := profile.Root(identity.DefaultTrustDomain)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// A newer bundle is fetched, saved and told to the PKI between two renewals, and
// an outage of the bundle does not touch the renewal.
func TestBundleIsFetched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakePKI{t: t, life: 30 * day}
		creds := p.start()
		time.Sleep(26 * time.Hour)
		if s := p.seen(); s.asked == 0 || s.saved != 0 || s.confirms != 0 {
			t.Fatalf("nothing new: %+v", s)
		}
		root := selfSignedRoot(t)
		if err := creds.Swap(creds.Certificate(), []*x509.Certificate{root}); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		p.newest = &Bundle{Version: 5, Roots: []Root{{State: RootActive, Certificate: root}}}
		p.full = true
		p.mu.Unlock()
		time.Sleep(27 * time.Hour)
		if s := p.seen(); creds.BundleVersion() != 5 || s.confirms != 0 {
			t.Fatalf("disk full: version %d, %+v", creds.BundleVersion(), s)
		}
		p.set(false, false)
		time.Sleep(2 * time.Hour) // not a day: it is tried again
		if s := p.seen(); creds.BundleVersion() != 5 || s.saved != 1 || s.confirms != 1 || len(s.renewed) != 0 {
			t.Fatalf("saved: %+v", s)
		}
	})
}
