package enrol

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

// Clock is what a device knows about the time. Its own clock may be wrong: without
// a battery it starts in 1970. But some things prove that a time has been reached:
// the program was built, a certificate of ours was made (the authority dates none
// ahead), a verified PKI told the time. A Clock never shows less than the latest of
// these, and keeps it on disk.
//
// With it, a device verifies others by the time that is known, and not by the one
// that its own clock believes in; see [Credentials.SetClock]. Whether the device's
// certificate is valid is for the others to judge.
//
// A nil Clock is the machine's own. All methods are safe for concurrent use.
type Clock struct {
	wall func() time.Time // the machine's own
	path string           // empty: kept in memory only
	log  hclog.Logger

	mu     sync.Mutex // guards what follows
	proven time.Time  // the latest time that is known to have been reached
	at     time.Time  // when it was proven, by the monotonic clock
	saved  time.Time  // what the file says
}

// Bounds of a [Clock].
const (
	// clockSaveEvery is how much a proven time must be ahead of the one on disk to
	// be written, to spare flash memory.
	clockSaveEvery = time.Hour
	// clockMaxJump bounds what one proof can put the clock ahead, so that a server
	// whose own clock is off by decades cannot make every certificate look expired
	// for good. A device that was in a store for longer needs a clock.
	clockMaxJump = 5 * 365 * 24 * time.Hour
)

// ClockConfig of a [Clock]. The zero value keeps what is proven in memory only.
type ClockConfig struct {
	// File keeps the proven time over a restart. Empty: it is not kept.
	File string
	// Wall is the device's own clock. Nil means time.Now.
	Wall func() time.Time
	// Logger; nil means silence.
	Logger hclog.Logger
}

// OpenClock reads what was proven earlier from the file, which may be missing.
func OpenClock(cfg ClockConfig) *Clock {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	c := &Clock{wall: cfg.Wall, path: cfg.File, log: cfg.Logger, proven: built(), at: time.Now()}
	if c.path == "" {
		return c
	}
	text, err := os.ReadFile(c.path)
	if err != nil {
		return c
	}
	if err := c.saved.UnmarshalText(text); err != nil {
		c.log.Warn("the last known time is lost", "file", c.path, "error", err)
		return c
	}
	if c.saved.After(c.proven) {
		c.proven = c.saved
	}
	return c
}

// built is when the program's commit was made, zero where that is not known.
func built() (t time.Time) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return t
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" && t.UnmarshalText([]byte(s.Value)) != nil {
			return time.Time{}
		}
	}
	return t
}

// Now is the machine's time, or what is proven if that is later.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *Clock) nowLocked() time.Time {
	now, least := c.wall(), c.leastLocked()
	if now.Before(least) {
		return least
	}
	return now
}

// leastLocked is what is proven, and the time since.
func (c *Clock) leastLocked() time.Time { return c.proven.Add(time.Since(c.at)) }

// Behind tells that the machine's clock shows less than what is proven.
func (c *Clock) Behind() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall().Before(c.leastLocked())
}

// Saw notes that a time has been reached. The caller has it from somebody whom it
// has verified.
func (c *Clock) Saw(t time.Time) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.nowLocked()
	if !t.After(c.leastLocked()) {
		return
	}
	if !c.proven.IsZero() && t.Sub(now) > clockMaxJump {
		c.log.Warn("a time far ahead is not believed", "now", now, "seen", t)
		return
	}
	c.proven, c.at = t, time.Now()
	if c.path == "" || t.Sub(c.saved) < clockSaveEvery {
		return
	}
	text, err := t.UTC().Truncate(time.Second).MarshalText()
	if err == nil {
		err = atomicfile.Write(c.path, text, 0o600)
	}
	if err != nil {
		c.log.Warn("the time is not kept over a restart", "error", err)
		return
	}
	c.saved = t
}

// Learn looks at the error of a handshake. If it failed because a certificate of
// ours is not valid yet by this clock, then the clock is behind: the certificate
// proves that its notBefore has been reached. Learn then puts the clock ahead and
// gives true, and another handshake may succeed.
func (c *Clock) Learn(err error, roots *x509.CertPool) bool {
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if c == nil || !ok || len(failed.UnverifiedCertificates) == 0 {
		return false
	}
	certs := failed.UnverifiedCertificates
	made, between := certs[0].NotBefore, x509.NewCertPool()
	for _, cert := range certs[1:] {
		between.AddCert(cert)
		if cert.NotBefore.After(made) {
			made = cert.NotBefore
		}
	}
	before := c.Now()
	if !made.After(before) {
		return false
	}
	// Only a chain to our roots proves anything.
	if _, err := certs[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: made, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return false
	}
	c.Saw(made)
	learnt := !c.Now().Before(made)
	if learnt {
		c.log.Info("the clock is behind: a certificate proves a later time", "clock", before, "at_least", made)
	}
	return learnt
}
