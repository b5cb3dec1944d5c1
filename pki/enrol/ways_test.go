package enrol

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Which way the loop goes to its next certificate.
func TestWays(t *testing.T) {
	t.Parallel()
	problem := func(err error) error { return NewProblem(err) }
	offline := errors.New("connection refused")
	for _, c := range []struct {
		name    string
		expired bool
		behind  bool // the certificate has expired, and this clock does not know it
		without string
		fails   map[string]error
		want    []string
	}{
		{name: "valid", want: []string{"renew"}},
		{name: "valid, PKI away", fails: map[string]error{"renew": offline, "time": offline}, want: []string{"renew", "time"}},
		{name: "valid, PKI refuses the connection", fails: map[string]error{"renew": offline}, want: []string{"renew", "time"}},
		{name: "valid, PKI busy", fails: map[string]error{"renew": problem(ErrRateLimit)}, want: []string{"renew"}},
		{name: "valid, PKI ill", fails: map[string]error{"renew": problem(ErrServer)}, want: []string{"renew"}},
		{name: "blocked", fails: map[string]error{"renew": problem(ErrBlocked)}, want: []string{"renew"}},
		{name: "restored from a backup", fails: map[string]error{"renew": problem(ErrSuperseded)}, want: []string{"renew", "factory"}},
		{name: "not known to the PKI", fails: map[string]error{"renew": problem(ErrForbidden)}, want: []string{"renew", "factory"}},
		{name: "expired", expired: true, want: []string{"recover"}},
		{name: "expired, blocked", expired: true, fails: map[string]error{"recover": problem(ErrBlocked)}, want: []string{"recover"}},
		{name: "expired too long ago", expired: true, fails: map[string]error{"recover": problem(ErrExpired)}, want: []string{"recover", "factory"}},
		{name: "expired, recovery away", expired: true, fails: map[string]error{"recover": offline}, want: []string{"recover", "factory"}},
		{name: "expired, nowhere to recover", expired: true, without: "recover", fails: map[string]error{"renew": offline}, want: []string{"renew", "time", "factory"}},
		{name: "expired without knowing", behind: true, fails: map[string]error{"renew": offline}, want: []string{"renew", "time", "recover"}},
		{name: "no factory certificate", without: "factory", fails: map[string]error{"renew": problem(ErrSuperseded)}, want: []string{"renew"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &fakePKI{t: t, life: 30 * day}
				m := &machine{}
				clock := OpenClock(ClockConfig{Wall: m.now})
				creds := p.issue()
				if c.expired || c.behind {
					time.Sleep(31 * day)
				}
				if c.behind {
					m.off = -20 * day
				}
				var went []string
				way := func(name string) exchange {
					return func(context.Context, *Credentials) (*Credentials, error) {
						went = append(went, name)
						if err := c.fails[name]; err != nil {
							return nil, err
						}
						return p.issue(), nil
					}
				}
				l := renewalLoop{
					cfg: Renewal{}.withDefaults(), creds: creds, log: hclog.NewNullLogger(), clock: clock,
					renew: way("renew"), recovery: way("recover"), factory: way("factory"),
					confirm: p.confirm, save: p.save,
					askTime: func(context.Context) error {
						went = append(went, "time")
						if err := c.fails["time"]; err != nil {
							return err
						}
						clock.Saw(time.Now())
						return nil
					},
				}
				switch c.without {
				case "recover":
					l.recovery = nil
				case "factory":
					l.factory = nil
				}
				before := creds.Leaf()
				err := l.step(t.Context())
				if !slices.Equal(went, c.want) {
					t.Errorf("went %v, want %v", went, c.want)
				}
				last := c.want[len(c.want)-1]
				if good := last != "time" && c.fails[last] == nil; good != (err == nil) || good == creds.Leaf().Equal(before) {
					t.Errorf("%v, new certificate %v", err, !creds.Leaf().Equal(before))
				}
				for _, name := range went {
					if failed := c.fails[name]; err != nil && failed != nil && name != "time" && !errors.Is(err, errors.Unwrap(failed)) && !errors.Is(err, failed) {
						t.Errorf("%v does not tell of %v", err, failed)
					}
				}
			})
		})
	}
}

// A device that starts in 1970 asks for the time at once, and then renews by it.
func TestStartIn1970(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakePKI{t: t, life: 30 * day}
		m := &machine{off: time.Until(epoch)}
		clock := OpenClock(ClockConfig{Wall: m.now})
		creds := p.issue()
		clock.Saw(creds.Leaf().NotBefore)
		time.Sleep(20 * day) // switched off
		m.off = time.Until(epoch)
		clock = OpenClock(ClockConfig{Wall: m.now})
		clock.Saw(creds.Leaf().NotBefore)
		asked := 0
		l := renewalLoop{
			cfg: Renewal{BundleEvery: -1}.withDefaults(), creds: creds, log: hclog.NewNullLogger(), clock: clock,
			renew: p.renew, confirm: p.confirm, save: p.save,
			askTime: func(context.Context) error {
				if asked++; asked < 3 {
					return errors.New("no line yet")
				}
				clock.Saw(time.Now())
				return nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.run(ctx) }()
		time.Sleep(time.Hour)
		if got := p.seen(); len(got.renewed) != 1 || asked != 3 {
			t.Errorf("%d renewals, asked %d times", len(got.renewed), asked)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
