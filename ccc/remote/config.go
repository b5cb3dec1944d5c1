package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a [Broker]. Fields with a yaml key may come from a file; the others come
// from the program. Zero values mean the documented defaults.
type Config struct {
	// ARAURL is the address of the gateway for browsers, "https://host[:port]". Its host
	// has to be of another registrable domain than those of the control centre. Empty:
	// there is no remote access.
	ARAURL string `yaml:"ara_url"`
	// MaxMinutes is the longest time that can be asked for. 1 to 1440. Default: 1440.
	MaxMinutes int `yaml:"max_minutes"`
	// DefaultMinutes is how long it is where nobody says. At most MaxMinutes. Default: 60,
	// or MaxMinutes where that is less.
	DefaultMinutes int `yaml:"default_minutes"`
	// Wait is how long a request waits for consent. 1m to 1h. Default: 15m.
	Wait time.Duration `yaml:"wait"`
	// PerSystem and PerUser are how many may be open at once: to one system, and of one
	// user. Default: 3 and 10.
	PerSystem int `yaml:"per_system"`
	PerUser   int `yaml:"per_user"`
	// PerHour is how many may be asked for in an hour, for one system: each is shown to
	// the PBX's administrator. Default: 20.
	PerHour int `yaml:"per_hour"`
	// CallTimeout bounds one request to a PBX. 1s to 1m. Default: 10s.
	CallTimeout time.Duration `yaml:"call_timeout"`
	// RecordsKeep is how long records are kept, from the request on. A week to ten years.
	// Default: 8760h, a year.
	RecordsKeep time.Duration `yaml:"records_keep"`

	// RequireSecondFactor: nobody asks for remote access or gets in who has not proven
	// himself with a second factor. Default: true.
	RequireSecondFactor *bool `yaml:"require_second_factor"`

	// Store is the database. Needed, as the next two.
	Store *store.DB `yaml:"-"`
	// Credentials of service/ccc sign requests and grants.
	Credentials *enrol.Credentials `yaml:"-"`
	// PBX talks to PBXs; a pairing.Service.
	PBX PBX `yaml:"-"`
	// Online tells whether a PBX is connected. Nil: all are.
	Online func(identity.Serial) bool `yaml:"-"`
	// Notify is told of every change after it was made. It must not block. Nil: nobody.
	Notify func(store.TenantID, store.SystemID) `yaml:"-"`
	// Logger; nil means silence. No name, reason or address is logged.
	Logger hclog.Logger `yaml:"-"`
	// Metrics; nil means none.
	Metrics prometheus.Registerer `yaml:"-"`

	// now replaces the clock in tests.
	now func() time.Time
}

// PBX brings what the broker says to a PBX. The error has a [wire.Problem] where the PBX
// has answered.
type PBX interface {
	// AskRemote brings a signed [wire.Remote] and gives the state that the session is in
	// then. It may be repeated.
	AskRemote(ctx context.Context, serial identity.Serial, request string) (grant.State, error)
	// EndRemote has the PBX end a session, or forget the request for it. It may be
	// repeated.
	EndRemote(ctx context.Context, serial identity.Serial, end wire.RemoteEnd) error
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		MaxMinutes: int(wire.MaxRemote / time.Minute), DefaultMinutes: 60, Wait: 15 * time.Minute,
		PerSystem: 3, PerUser: 10, PerHour: 20, CallTimeout: 10 * time.Second, RecordsKeep: 365 * 24 * time.Hour,
		RequireSecondFactor: new(true),
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.MaxMinutes = cmp.Or(c.MaxMinutes, d.MaxMinutes)
	c.DefaultMinutes = cmp.Or(c.DefaultMinutes, min(d.DefaultMinutes, c.MaxMinutes))
	c.Wait = cmp.Or(c.Wait, d.Wait)
	c.PerSystem = cmp.Or(c.PerSystem, d.PerSystem)
	c.PerUser = cmp.Or(c.PerUser, d.PerUser)
	c.PerHour = cmp.Or(c.PerHour, d.PerHour)
	c.CallTimeout = cmp.Or(c.CallTimeout, d.CallTimeout)
	c.RecordsKeep = cmp.Or(c.RecordsKeep, d.RecordsKeep)
	c.RequireSecondFactor = cmp.Or(c.RequireSecondFactor, d.RequireSecondFactor)
	if c.Online == nil {
		c.Online = func(identity.Serial) bool { return true }
	}
	if c.Notify == nil {
		c.Notify = func(store.TenantID, store.SystemID) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.now == nil {
		c.now = func() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
	}
	return c
}

// Validate checks what a file can set, each error a [configs.KeyError] with the key below
// this struct. Hosts are the names under which browsers find the control centre.
func (c Config) Validate(hosts ...string) error {
	c = c.withDefaults()
	var all []error
	wrong := func(key, hint, problem string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	if c.ARAURL != "" {
		u, err := url.Parse(c.ARAURL)
		switch {
		case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Hostname() != strings.ToLower(u.Hostname()) || u.User != nil ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			wrong("ara_url", "as in https://ara.example.net", "is not an https address in small letters without a path")
		default:
			for _, h := range hosts {
				if grant.SameSite(u.Hostname(), h) {
					wrong("ara_url", "a script of a PBX could plant cookies at the control centre; take another registrable domain",
						"and the control centre's "+h+" belong to the same domain")
				}
			}
		}
	}
	for _, n := range []struct {
		key    string
		v, max int
	}{
		{"max_minutes", c.MaxMinutes, int(wire.MaxRemote / time.Minute)},
		{"default_minutes", c.DefaultMinutes, max(1, c.MaxMinutes)},
		{"per_system", c.PerSystem, 1000},
		{"per_user", c.PerUser, 1000},
		{"per_hour", c.PerHour, 1_000_000},
	} {
		if n.v < 1 || n.v > n.max {
			wrong(n.key, "", fmt.Sprintf("is not from 1 to %d", n.max))
		}
	}
	for _, d := range []struct {
		key         string
		v, min, max time.Duration
	}{
		{"wait", c.Wait, time.Minute, wire.MaxRemoteWait},
		{"call_timeout", c.CallTimeout, time.Second, time.Minute},
		{"records_keep", c.RecordsKeep, 7 * 24 * time.Hour, 10 * 365 * 24 * time.Hour},
	} {
		if d.v < d.min || d.v > d.max {
			wrong(d.key, "", fmt.Sprintf("is not from %v to %v", d.min, d.max))
		}
	}
	return errors.Join(all...)
}
