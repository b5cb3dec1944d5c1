package server_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// device is the client of a box with a factory certificate.
func (p *pki) device(f *pkitest.Factory, serial identity.Serial) *enrol.Client {
	c := p.client()
	c.FactoryURL, c.RecoveryURL = "https://"+p.FactoryAddr().String(), "https://"+p.RecoveryAddr().String()
	c.Factory = f.Box(serial, nil)
	return c
}

func TestClientEnrolsByFactory(t *testing.T) {
	t.Parallel()
	f := pkitest.NewFactory(t, "Factory")
	p := startAll(t, "", authority.Config{}, f)
	client := p.device(f, device.Serial())
	creds, err := client.EnrolFactory(t.Context(), device)
	if err != nil || creds.ID() != device {
		t.Fatal(err)
	}
	if err := client.Confirm(t.Context(), creds); err != nil {
		t.Error(err)
	}
	if _, err := client.Renew(t.Context(), creds); err != nil {
		t.Error(err)
	}
	if _, err := client.EnrolFactory(t.Context(), other); !errors.Is(err, identity.ErrUnexpected) {
		t.Errorf("as somebody else: %v", err)
	}
	for name, c := range map[string]struct {
		serial identity.Serial
		want   error
	}{
		"a second box":     {device.Serial(), enrol.ErrConflict},
		"not on the list":  {"5555555555", enrol.ErrUnknown},
		"no serial at all": {"", nil},
	} {
		_, err := p.device(f, c.serial).EnrolFactory(t.Context(), identity.ID{})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	client.FactoryURL = ""
	if _, err := client.EnrolFactory(t.Context(), device); !errors.Is(err, enrol.ErrConfig) {
		t.Errorf("without an address: %v", err)
	}
}

func TestClientEnrolsBySecret(t *testing.T) {
	t.Parallel()
	p := startAll(t, "", authority.Config{}, pkitest.NewFactory(t, "Factory"))
	secret, err := p.auth.ResetSecret(t.Context(), device.Serial(), "test")
	if err != nil {
		t.Fatal(err)
	}
	client := p.client()
	client.Roots, client.RootFingerprint = nil, enrol.Fingerprint(p.auth.Roots()[0])
	if _, err := client.EnrolSecret(t.Context(), device.Serial(), "wrong"); !errors.Is(err, enrol.ErrSecret) {
		t.Errorf("a wrong secret: %v", err)
	}
	creds, err := client.EnrolSecret(t.Context(), device.Serial(), secret)
	if err != nil || creds.ID() != device {
		t.Fatal(err)
	}
	if _, err := client.EnrolSecret(t.Context(), device.Serial(), secret); !errors.Is(err, enrol.ErrSecret) {
		t.Errorf("the secret again: %v", err)
	}
}

// The power goes between the issue and the saving, and the secret is used up: a device
// that kept its key gets another certificate for it.
func TestSecretAfterAPowerCut(t *testing.T) {
	t.Parallel()
	p := startAll(t, "", authority.Config{}, pkitest.NewFactory(t, "Factory"))
	secret, err := p.auth.ResetSecret(t.Context(), device.Serial(), "test")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "state", "enrolling.key")
	enrolled := func() (*enrol.Credentials, error) {
		client := p.client()
		client.KeyFile = file
		return client.EnrolSecret(t.Context(), device.Serial(), secret)
	}
	lost, err := enrolled()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	next, err := enrolled()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(next.Leaf().RawSubjectPublicKeyInfo, lost.Leaf().RawSubjectPublicKeyInfo) || next.Leaf().Equal(lost.Leaf()) {
		t.Error("not another certificate for the same key")
	}
	if _, err := p.client().Renew(t.Context(), next); err != nil {
		t.Error(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := enrolled(); !errors.Is(err, enrol.ErrSecret) {
		t.Errorf("with a new key: %v", err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := enrolled(); !errors.Is(err, enrol.ErrCredentials) || !strings.Contains(err.Error(), file) {
		t.Errorf("with an unreadable key: %v", err)
	}
}

// The same with a token, which gives the same certificate again.
func TestTokenAfterAPowerCut(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	client, tok := p.client(), p.token(t, device)
	client.KeyFile = filepath.Join(t.TempDir(), "enrolling.key")
	lost, err := client.Enrol(t.Context(), tok, device)
	if err != nil {
		t.Fatal(err)
	}
	next, err := client.Enrol(t.Context(), tok, device)
	if err != nil || !next.Leaf().Equal(lost.Leaf()) {
		t.Fatalf("not the same certificate: %v", err)
	}
	if _, err := client.Renew(t.Context(), next); err != nil {
		t.Error(err)
	}
	if err := os.Remove(client.KeyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Enrol(t.Context(), tok, device); !errors.Is(err, enrol.ErrToken) {
		t.Errorf("with a new key: %v", err)
	}
}

// The loop of a device that was switched off: a day, and too long.
func TestLoopAfterALongTime(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{authority.MethodRenew: 10 * day, authority.MethodRecover: 100 * day, authority.MethodFactory: 500 * day} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := pkitest.NewFactory(t, "Factory")
				p := startAll(t, "", authority.Config{}, f)
				client := p.device(f, device.Serial())
				creds, err := client.EnrolFactory(t.Context(), device)
				if err != nil {
					t.Fatal(err)
				}
				p.stop()
				time.Sleep(off)
				p = startAll(t, p.dir, authority.Config{}, f)
				defer p.stop()
				box := client.Factory
				client = p.device(f, device.Serial())
				client.Factory = box
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				changed, done := creds.Changed(), make(chan error, 1)
				go func() { done <- client.RunRenewal(ctx, creds, "", enrol.Renewal{At: 0.2, Jitter: -1}) }()
				<-changed
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if err := client.Confirm(t.Context(), creds); err != nil {
					t.Error(err)
				}
				if e := p.lastIssue(t); e != name {
					t.Errorf("by %q, want %q", e, name)
				}
			})
		})
	}
}

// lastIssue is how the last certificate came about.
func (p *pki) lastIssue(t *testing.T) (method string) {
	t.Helper()
	list, err := p.auth.Certificates(t.Context(), device)
	if err != nil || len(list) == 0 {
		t.Fatal(err)
	}
	return list[len(list)-1].Method
}

// A device whose clock is wrong: by fifty minutes, by so much that every certificate
// of the PKI seems not to be made yet, and in 1970. The server's clock decides.
func TestDeviceClocks(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := pkitest.NewFactory(t, "Factory")
	p := startAll(t, "", authority.Config{Limits: authority.Limits{PerHour: -1, PerDay: -1}}, f)
	box := f.Box(device.Serial(), nil)
	for name, at := range map[string]time.Time{
		"right": now, "50 minutes behind": now.Add(-50 * time.Minute), "50 minutes ahead": now.Add(50 * time.Minute),
		"3 months behind": now.Add(-90 * day), "1970": time.Unix(0, 0), "1970, with a firmware of last year": time.Unix(1, 0),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "clock")
			if strings.Contains(name, "last year") {
				text, err := now.Add(-365 * day).MarshalText()
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			off := at.Sub(now)
			client := p.device(f, device.Serial())
			client.Factory, client.Clock = box, enrol.OpenClock(enrol.ClockConfig{
				File: file, Wall: func() time.Time { return time.Now().Add(off) },
			})
			creds, err := client.EnrolFactory(t.Context(), device)
			if err != nil {
				t.Fatal(err)
			}
			creds.SetClock(client.Clock)
			next, err := client.Renew(t.Context(), creds)
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Confirm(t.Context(), next); err != nil {
				t.Error(err)
			}
			if diff := time.Until(client.Clock.Now()); diff < -2*time.Second || diff > 51*time.Minute {
				t.Errorf("the clock is at %s", client.Clock.Now())
			}
		})
	}
}

// Without a Clock the same device, three months behind, cannot verify the PKI: the
// tests above would show nothing otherwise.
func TestDeviceWithoutAClock(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	cfg := p.anonymous()
	cfg.Time = func() time.Time { return time.Now().Add(-90 * day) }
	_, _, err := p.call(t, cfg, http.MethodGet, "/healthz", "")
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); !ok || invalid.Reason != x509.Expired {
		t.Errorf("%v", err)
	}
}

// The server's clock goes back by five minutes: a second bubble starts at the time
// where the first one did. What was issued in the minutes that come again is valid,
// and nothing ends before it begins.
func TestServerStepsBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	var creds *enrol.Credentials
	synctest.Test(t, func(t *testing.T) {
		acfg := authority.Config{StateDir: dir, PlainKeys: true}
		if _, err := authority.Init(acfg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		p := start(t, dir, authority.Config{}, server.Config{})
		defer p.stop()
		creds = p.enrolled(t, device)
	})
	synctest.Test(t, func(t *testing.T) {
		p := start(t, dir, authority.Config{}, server.Config{})
		defer p.stop()
		next, err := p.client().Renew(t.Context(), creds)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.client().Confirm(t.Context(), next); err != nil {
			t.Error(err)
		}
		old, leaf := creds.Leaf(), next.Leaf()
		if step := old.NotBefore.Sub(leaf.NotBefore); step < 4*time.Minute || step > 6*time.Minute {
			t.Errorf("the clock went back by %s", step)
		}
		all, err := p.auth.Certificates(t.Context(), identity.ID{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if life := c.NotAfter.Sub(c.NotBefore); life < 29*day {
				t.Errorf("%s lives for %s", c.Identity, life)
			}
			if c.Identity == device.Path() && c.State == authority.StateExpired {
				t.Errorf("%+v", c)
			}
		}
		// A token that was made in the minutes that come again.
		if _, err := p.client().Enrol(t.Context(), p.token(t, other), other); err != nil {
			t.Error(err)
		}
		if _, err := p.auth.Log().Verify(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A certificate that is not valid yet is refused, and the device can tell why.
func TestNotYetValid(t *testing.T) {
	t.Parallel()
	p := startAll(t, "", authority.Config{}, pkitest.NewFactory(t, "Factory"))
	client := p.device(pkitest.NewFactory(t, "Factory"), device.Serial())
	early := p.forge(t, identity.KindDevice, device, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })
	for name, call := range map[string]func(context.Context, *enrol.Credentials) (*enrol.Credentials, error){
		"renew": client.Renew, "recover": client.Recover,
	} {
		_, err := call(t.Context(), early)
		if err == nil || !strings.Contains(err.Error(), "the certificate is valid from "+early.Leaf().NotBefore.UTC().Format(time.RFC3339)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
