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
}

// Renewal defaults.
const (
	DefaultRenewAt     = 1.0 / 3
	DefaultRenewJitter = 0.1
	DefaultRetryMin    = time.Minute
	DefaultRetryMax    = time.Hour
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
	return r
}

// RunRenewal renews the credentials whenever a third of their life is over,
// until ctx ends; it returns ctx's cause. A new certificate is saved to dir
// (empty: kept in memory only), then swapped in, then confirmed. A failure is
// logged and tried again; nothing of the old credentials is lost by it.
func (c *Client) RunRenewal(ctx context.Context, creds *Credentials, dir string, r Renewal) error {
	l := renewalLoop{
		cfg: r.withDefaults(), creds: creds, log: c.Logger,
		renew: c.Renew, confirm: c.Confirm,
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
	save    func(*Credentials) error

	unconfirmed bool      // a certificate is in use that the PKI has not seen yet
	failures    int       // since the last success
	fresh       time.Time // when the certificate came; zero if it was there at the start
}

func (l *renewalLoop) run(ctx context.Context) error {
	for {
		changed := l.creds.Changed()
		timer := time.NewTimer(l.wait())
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-changed: // somebody else swapped them: plan anew
			timer.Stop()
			l.failures, l.fresh = 0, time.Now()
			continue
		case <-timer.C:
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
		if err := l.creds.Swap(next.Certificate(), next.Roots()); err != nil {
			return err
		}
		l.unconfirmed, l.fresh = true, time.Now()
		l.log.Info("certificate renewed", "identity", l.creds.ID(), "expires", l.creds.Leaf().NotAfter)
	}
	if err := l.confirm(ctx, l.creds); err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	l.unconfirmed = false
	return nil
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
