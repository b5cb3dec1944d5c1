package enrol

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// machine is a clock that somebody sets.
type machine struct {
	off time.Duration
}

func (m *machine) now() time.Time { return time.Now().Add(m.off) }

var epoch = time.Unix(0, 0)

func TestClockNeverGoesBelowWhatIsProven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "clock")
		m := &machine{}
		c := OpenClock(ClockConfig{File: path, Wall: m.now})
		if c.Behind() || !c.Now().Equal(time.Now()) {
			t.Errorf("a good clock: %s, behind %v", c.Now(), c.Behind())
		}
		// It is 1970 on the machine, as after a start without a battery.
		m.off = time.Until(epoch)
		now := time.Now()
		c.Saw(now)
		time.Sleep(3 * time.Hour)
		if want := now.Add(3 * time.Hour); !c.Now().Equal(want) || !c.Behind() {
			t.Errorf("%s, want %s; behind %v", c.Now(), want, c.Behind())
		}
		c.Saw(now.Add(time.Hour))                                 // old news
		if want := now.Add(3 * time.Hour); !c.Now().Equal(want) { // no time has passed
			t.Errorf("it went back to %s", c.Now())
		}
		time.Sleep(30 * time.Minute)
		c.Saw(time.Now())
		// After a restart there is what was saved, at most an hour older.
		m.off = time.Until(epoch)
		again := OpenClock(ClockConfig{File: path, Wall: m.now})
		if lost := c.Now().Sub(again.Now()); lost < 0 || lost > 4*time.Hour {
			t.Errorf("%s after the restart, %s before", again.Now(), c.Now())
		}
		// The machine's clock is set: that is later, and counts.
		m.off = 0
		time.Sleep(day)
		if again.Behind() || !again.Now().Equal(time.Now()) {
			t.Errorf("%s, behind %v", again.Now(), again.Behind())
		}
		// It goes back five minutes: time passes all the same.
		again.Saw(time.Now())
		before := again.Now()
		m.off = -5 * time.Minute
		time.Sleep(time.Second)
		if !again.Now().After(before) {
			t.Errorf("%s after %s", again.Now(), before)
		}
	})
}

func TestClockDoesNotBelieveDecades(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := OpenClock(ClockConfig{Wall: time.Now})
		start := time.Now()
		c.Saw(start)
		c.Saw(start.Add(10 * 365 * day))
		if !c.Now().Equal(start) {
			t.Errorf("%s, want %s", c.Now(), start)
		}
		c.Saw(start.Add(4 * 365 * day)) // the control: a long time in a store
		if !c.Now().Equal(start.Add(4 * 365 * day)) {
			t.Errorf("four years are not believed: %s", c.Now())
		}
	})
}

func TestClockFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := machine{off: time.Until(epoch)}
	for _, path := range []string{broken, filepath.Join(dir, "none"), filepath.Join(dir, "no", "directory")} {
		c := OpenClock(ClockConfig{File: path, Wall: m.now})
		c.Saw(time.Now())
		if !c.Behind() {
			t.Errorf("%s: the clock is %s", path, c.Now())
		}
	}
	if c := OpenClock(ClockConfig{File: broken, Wall: m.now}); !c.Behind() {
		t.Error("a broken file is not replaced")
	}
	if c := OpenClock(ClockConfig{File: filepath.Join(dir, "none"), Wall: m.now}); !c.Behind() {
		t.Error("a new file is not written")
	}
	var none *Clock
	none.Saw(time.Now().Add(day))
	if none.Behind() || none.Now().After(time.Now()) || none.Learn(errors.New("x"), nil) {
		t.Error("no clock is not the machine's own")
	}
}

// issued is a certificate of a CA of two levels, made at a time.
func issuedAt(t *testing.T, made time.Time) (chain []*x509.Certificate, roots *x509.CertPool) {
	t.Helper()
	make := func(ca bool, parent *x509.Certificate, by any) (*x509.Certificate, any) {
		key, _, err := NewRequest()
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{
			Subject: pkix.Name{CommonName: "x"}, NotBefore: made, NotAfter: made.Add(30 * day),
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		if ca {
			tmpl.NotBefore = made.Add(-365 * day)
		}
		if parent == nil {
			parent, by = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	root, key := make(true, nil, nil)
	leaf, _ := make(false, root, key)
	roots = x509.NewCertPool()
	roots.AddCert(root)
	return []*x509.Certificate{leaf, root}, roots
}

func TestClockLearns(t *testing.T) {
	t.Parallel()
	m := machine{off: -100 * day}
	now := time.Now().Truncate(time.Second)
	chain, roots := issuedAt(t, now)
	foreign, _ := issuedAt(t, now)
	c := OpenClock(ClockConfig{Wall: m.now})
	notYet := func(certs []*x509.Certificate) error {
		return errors.Join(errors.New("dial"), &tls.CertificateVerificationError{UnverifiedCertificates: certs, Err: errors.New("not yet valid")})
	}
	for name, err := range map[string]error{
		"nothing": nil, "another error": errors.New("refused"), "no certificate": notYet(nil),
		"a certificate of others": notYet(foreign),
	} {
		if c.Learn(err, roots) || c.Behind() {
			t.Errorf("%s: learnt", name)
		}
	}
	if !c.Learn(notYet(chain), roots) || c.Now().Before(now) {
		t.Errorf("nothing learnt from our own: %s", c.Now())
	}
	if c.Learn(notYet(chain), roots) {
		t.Error("learnt twice")
	}
}

func TestCredentialsUseTheClock(t *testing.T) {
	t.Parallel()
	p := &fakePKI{t: t, life: 30 * day}
	creds := p.issue()
	if cfg := creds.ClientConfig("x", nil); cfg.Time != nil {
		t.Error("without a clock the configuration has one")
	}
	m := machine{off: time.Until(epoch)}
	creds.SetClock(OpenClock(ClockConfig{Wall: m.now}))
	for name, cfg := range map[string]*tls.Config{"client": creds.ClientConfig("x", nil), "server": creds.ServerConfig(nil)} {
		if least := creds.Leaf().NotBefore; cfg.Time == nil || cfg.Time().Before(least) {
			t.Errorf("%s: the certificate proves %s", name, least)
		}
	}
}
