package enrol

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Renewal tunes [Client.RunRenewal]. The zero value is what devices use.
type Renewal struct {
	// At is the part of the certificate's life after which it is renewed.
	// Zero means one third: a certificate of 30 days then outlives 20 days
	// without a PKI.
	At float64 `yaml:"at"`
	// Jitter spreads the moment by this part of itself, both ways. Zero means
	// 0.1; negative means none.
	Jitter float64 `yaml:"jitter"`
	// RetryMin and RetryMax bound the wait after a failure, which doubles from
	// the one to the other; the wait is drawn between nothing and that. Zero
	// means one minute and one hour.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// BundleEvery is how often the PKI is asked for a newer trust bundle, besides
	// at each renewal; it is spread by a tenth, both ways. Zero means one day;
	// negative means never.
	BundleEvery time.Duration `yaml:"bundle_every"`
}

// Renewal defaults.
const (
	DefaultRenewAt     = 1.0 / 3
	DefaultRenewJitter = 0.1
	DefaultRetryMin    = time.Minute
	DefaultRetryMax    = time.Hour
	DefaultBundleEvery = 24 * time.Hour
)

func (r Renewal) withDefaults() Renewal {
	if r.At <= 0 || r.At >= 1 {
		r.At = DefaultRenewAt
	}
	if r.Jitter == 0 || r.Jitter >= 1 {
		r.Jitter = DefaultRenewJitter
	}
	r.Jitter = max(r.Jitter, 0)
	if r.RetryMin <= 0 {
		r.RetryMin = DefaultRetryMin
	}
	if r.RetryMax < r.RetryMin {
		r.RetryMax = max(DefaultRetryMax, r.RetryMin)
	}
	if r.BundleEvery == 0 {
		r.BundleEvery = DefaultBundleEvery
	}
	return r
}

// RunRenewal renews the credentials whenever a third of their life is over,
// until ctx ends; it returns ctx's cause. A new certificate is saved to dir
// (empty: kept in memory only), then swapped in, then confirmed. A failure is
// logged and tried again; nothing of the old credentials is lost by it. In between
// it asks for a newer trust bundle, and treats that in the same way.
func (c *Client) RunRenewal(ctx context.Context, creds *Credentials, dir string, r Renewal) error {
	l := renewalLoop{
		cfg: r.withDefaults(), creds: creds, log: c.Logger,
		renew: c.Renew, confirm: c.Confirm, bundle: c.Bundle,
		save: func(next *Credentials) error {
			if dir == "" {
				return nil
			}
			return next.Save(dir)
		},
	}
	if l.log == nil {
		l.log = hclog.NewNullLogger()
	}
	return l.run(ctx)
}

type renewalLoop struct {
	cfg     Renewal
	creds   *Credentials
	log     hclog.Logger
	renew   func(context.Context, *Credentials) (*Credentials, error)
	confirm func(context.Context, *Credentials) error
	bundle  func(context.Context, *Credentials) (bool, error)
	save    func(*Credentials) error

	bundleDue   time.Time // when to ask for a newer trust bundle
	unsaved     bool      // the trust bundle is newer than the one on disk
	unconfirmed bool      // a certificate is in use that the PKI has not seen yet
	failures    int       // since the last success
	fresh       time.Time // when the certificate came; zero if it was there at the start
}

func (l *renewalLoop) run(ctx context.Context) error {
	if l.cfg.BundleEvery > 0 { // a fleet that starts at once does not ask at once
		l.bundleDue = time.Now().Add(rand.N(l.cfg.BundleEvery))
	}
	for {
		changed, leaf := l.creds.Changed(), l.creds.Leaf()
		wait, ask := l.wait(), false
		if due := time.Until(l.bundleDue); l.cfg.BundleEvery > 0 && due < wait {
			wait, ask = due, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-changed: // somebody else swapped them: plan anew
			timer.Stop()
			if l.creds.Leaf() != leaf {
				l.failures, l.fresh = 0, time.Now()
			}
			continue
		case <-timer.C:
		}
		if ask {
			l.askBundle(ctx)
			continue
		}
		if err := l.step(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			l.failures++
			l.log.Warn("certificate not renewed", "identity", l.creds.ID(), "failures", l.failures,
				"expires", l.creds.Leaf().NotAfter, "error", err)
			continue
		}
		l.failures = 0
	}
}

// step does the next thing that is due.
func (l *renewalLoop) step(ctx context.Context) error {
	if !l.unconfirmed {
		next, err := l.renew(ctx, l.creds)
		if err != nil {
			return err
		}
		if err := l.save(next); err != nil {
			return err
		}
		if err := l.creds.Adopt(next); err != nil {
			return err
		}
		l.unconfirmed, l.unsaved, l.fresh = true, false, time.Now()
		l.log.Info("certificate renewed", "identity", l.creds.ID(), "expires", l.creds.Leaf().NotAfter)
	}
	if err := l.confirm(ctx, l.creds); err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	l.unconfirmed = false
	return nil
}

// askBundle asks for a newer trust bundle. Its failures do not count as those of
// the renewal.
func (l *renewalLoop) askBundle(ctx context.Context) {
	next := l.cfg.BundleEvery
	changed, err := l.bundle(ctx, l.creds)
	l.unsaved = l.unsaved || changed
	if err == nil && l.unsaved {
		if err = l.save(l.creds); err == nil {
			l.unsaved = false
			l.log.Info("trust bundle changed", "version", l.creds.BundleVersion(), "roots", len(l.creds.Roots()))
			err = l.confirm(ctx, l.creds) // by which the PKI hears of it
		}
	}
	if err != nil && ctx.Err() == nil {
		next = min(next, l.cfg.RetryMax)
		l.log.Warn("no trust bundle from the PKI", "version", l.creds.BundleVersion(), "error", err)
	}
	const jitter = 0.1
	l.bundleDue = time.Now().Add(time.Duration(float64(next) * (1 + jitter*(2*rand.Float64()-1))))
}

// wait is how long nothing is due.
func (l *renewalLoop) wait() time.Duration {
	if l.failures > 0 {
		ceiling := l.cfg.RetryMax
		if shift := l.failures - 1; shift < 32 && l.cfg.RetryMin<<shift > 0 {
			ceiling = min(ceiling, l.cfg.RetryMin<<shift)
		}
		return time.Duration(rand.Int64N(int64(ceiling) + 1))
	}
	// A certificate that has just come is planned from now: its NotBefore lies
	// in the past, and one whose life is short or whose dates this clock does
	// not agree with would be due again at once.
	leaf, start, least := l.creds.Leaf(), l.fresh, l.cfg.RetryMin
	if start.IsZero() {
		start, least = leaf.NotBefore, 0
	}
	part := float64(leaf.NotAfter.Sub(start)) * l.cfg.At
	part *= 1 + l.cfg.Jitter*(2*rand.Float64()-1)
	return max(least, time.Until(start.Add(time.Duration(part))))
}
