package enrol

import (
	"context"
	"errors"
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

// lookEvery is how often the loop looks at the clock, which may be set meanwhile.
const lookEvery = time.Hour

// RunRenewal renews the credentials whenever a third of their life is over,
// until ctx ends; it returns ctx's cause. A new certificate is saved to dir
// (empty: kept in memory only), then swapped in, then confirmed. A failure is
// logged and tried again; nothing of the old credentials is lost by it. In between
// it asks for a newer trust bundle, and treats that in the same way.
//
// A certificate that has expired is renewed at RecoveryURL. Where that is refused,
// and where the PKI knows of a newer certificate or does not know this one, the
// factory certificate gets a new one. Both only as far as the client has them.
func (c *Client) RunRenewal(ctx context.Context, creds *Credentials, dir string, r Renewal) error {
	l := renewalLoop{
		cfg: r.withDefaults(), creds: creds, log: c.Logger, clock: c.Clock,
		renew: c.Renew, confirm: c.Confirm, bundle: c.Bundle,
		askTime: func(ctx context.Context) error { return c.Time(ctx, creds.Roots()) },
		save: func(next *Credentials) error {
			if dir == "" {
				return nil
			}
			return next.Save(dir)
		},
	}
	if c.RecoveryURL != "" {
		l.recovery = c.Recover
	}
	if c.FactoryURL != "" && c.Factory.PrivateKey != nil {
		l.factory = func(ctx context.Context, creds *Credentials) (*Credentials, error) {
			again := *c
			again.Roots = creds.Roots()
			return again.EnrolFactory(ctx, creds.ID())
		}
	}
	if l.log == nil {
		l.log = hclog.NewNullLogger()
	}
	return l.run(ctx)
}

// exchange gets the next credentials with the present ones.
type exchange func(context.Context, *Credentials) (*Credentials, error)

type renewalLoop struct {
	cfg      Renewal
	creds    *Credentials
	log      hclog.Logger
	clock    *Clock
	renew    exchange
	recovery exchange // nil: none
	factory  exchange // nil: none
	confirm  func(context.Context, *Credentials) error
	bundle   func(context.Context, *Credentials) (bool, error)
	askTime  func(context.Context) error
	save     func(*Credentials) error

	bundleDue   time.Time // when to ask for a newer trust bundle
	unsaved     bool      // the trust bundle is newer than the one on disk
	unconfirmed bool      // a certificate is in use that the PKI has not seen yet
	failures    int       // since the last success
	fresh       time.Time // when the certificate came; zero if it was there at the start
	due         time.Time // when to renew next
}

func (l *renewalLoop) run(ctx context.Context) error {
	told := make(chan struct{})
	if l.clock != nil {
		go func() {
			defer close(told)
			l.learnTime(ctx)
		}()
		defer func() { <-told }()
	}
	asked := told              // nil once it has been heard
	if l.cfg.BundleEvery > 0 { // a fleet that starts at once does not ask at once
		l.bundleDue = time.Now().Add(rand.N(l.cfg.BundleEvery))
	}
	changed, leaf := l.creds.Changed(), l.creds.Leaf()
	l.plan()
	for {
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
			before := leaf
			if changed, leaf = l.creds.Changed(), l.creds.Leaf(); leaf != before {
				l.failures, l.fresh = 0, l.clock.Now()
				l.plan()
			}
			continue
		case <-asked: // the clock may show another time now
			timer.Stop()
			asked = nil
			continue
		case <-timer.C:
		}
		if ask {
			l.askBundle(ctx)
			continue
		}
		if l.failures == 0 && l.clock.Now().Before(l.due) {
			continue
		}
		err := l.step(ctx)
		changed, leaf = l.creds.Changed(), l.creds.Leaf() // what step did is not news
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			l.failures++
			l.log.Warn("certificate not renewed", "identity", l.creds.ID(), "failures", l.failures,
				"expires", l.creds.Leaf().NotAfter, "error", err)
			continue
		}
		l.failures = 0
		l.plan()
	}
}

// learnTime asks the PKI for the time, once: at once where the clock is known to be
// behind, and else within an hour, because it may be behind all the same.
func (l *renewalLoop) learnTime(ctx context.Context) {
	wait := time.Duration(rand.Int64N(int64(lookEvery)))
	if l.clock.Behind() {
		wait = 0
	}
	for failures := 1; ; failures++ {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		err := l.askTime(ctx)
		if err == nil {
			return
		}
		l.log.Debug("the PKI did not tell the time", "error", err)
		wait = l.backoff(failures)
	}
}

// step does the next thing that is due.
func (l *renewalLoop) step(ctx context.Context) error {
	if !l.unconfirmed {
		next, how, err := l.next(ctx)
		if err != nil {
			return err
		}
		if err := l.save(next); err != nil {
			return err
		}
		if err := l.creds.Adopt(next); err != nil {
			return err
		}
		l.unconfirmed, l.unsaved, l.fresh = true, false, l.clock.Now()
		l.log.Info("certificate renewed", "identity", l.creds.ID(), "by", how, "expires", l.creds.Leaf().NotAfter)
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

// next gets the next credentials by the first way that is open:
//
//	valid ──► renew ──► superseded, not known ─────────┐
//	            │ no connection: ask for the time       ▼
//	            ▼                                  factory certificate
//	expired ► recover ──► refused ─────────────────────▲
func (l *renewalLoop) next(ctx context.Context) (*Credentials, string, error) {
	var all []error
	if !l.expired() || l.recovery == nil {
		next, err := l.renew(ctx, l.creds)
		if err == nil || !l.tryAnother(ctx, err) {
			return next, "its certificate", err
		}
		all = append(all, err)
	}
	if l.recovery != nil && l.expired() {
		next, err := l.recovery(ctx, l.creds)
		if err == nil || errors.Is(err, ErrBlocked) {
			return next, "its expired certificate", err
		}
		all = append(all, fmt.Errorf("recover: %w", err))
	}
	if l.factory != nil {
		next, err := l.factory(ctx, l.creds)
		if err == nil {
			return next, "its factory certificate", nil
		}
		all = append(all, fmt.Errorf("factory certificate: %w", err))
	}
	return nil, "", errors.Join(all...)
}

// tryAnother tells whether another way may help after a renewal that failed. Where
// the connection failed, the certificate may have expired without this clock's
// knowing.
func (l *renewalLoop) tryAnother(ctx context.Context, err error) bool {
	if _, answered := errors.AsType[*Problem](err); answered {
		return errors.Is(err, ErrSuperseded) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrExpired)
	}
	if askErr := l.askTime(ctx); askErr != nil {
		return false
	}
	return l.expired()
}

func (l *renewalLoop) expired() bool { return !l.clock.Now().Before(l.creds.Leaf().NotAfter) }

// wait is how long nothing is due.
func (l *renewalLoop) wait() time.Duration {
	if l.failures > 0 {
		return l.backoff(l.failures)
	}
	return min(max(0, l.due.Sub(l.clock.Now())), lookEvery)
}

// backoff is the wait after so many failures, at least one.
func (l *renewalLoop) backoff(failures int) time.Duration {
	ceiling := l.cfg.RetryMax
	if shift := failures - 1; shift < 32 && l.cfg.RetryMin<<shift > 0 {
		ceiling = min(ceiling, l.cfg.RetryMin<<shift)
	}
	return time.Duration(rand.Int64N(int64(ceiling) + 1))
}

// plan sets when to renew next.
func (l *renewalLoop) plan() {
	// A certificate that has just come is planned from now: its NotBefore lies
	// in the past, and one whose life is short or whose dates this clock does
	// not agree with would be due again at once.
	leaf, start := l.creds.Leaf(), l.fresh
	if start.IsZero() {
		start = leaf.NotBefore
	}
	part := float64(leaf.NotAfter.Sub(start)) * l.cfg.At
	part *= 1 + l.cfg.Jitter*(2*rand.Float64()-1)
	l.due = start.Add(time.Duration(part))
	if least := l.clock.Now().Add(l.cfg.RetryMin); !l.fresh.IsZero() && l.due.Before(least) {
		l.due = least
	}
}
