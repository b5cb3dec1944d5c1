package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Config is everything that webhooks can be told. Fields with a yaml key may come from a
// file; a zero value stands for the default.
type Config struct {
	// AllowNetworks are networks, such as 192.0.2.0/24, that webhooks may reach although they
	// are not public, and by http where they are of this machine. Whoever manages a tenant's
	// webhooks can send requests there. Default: none.
	AllowNetworks []string `yaml:"allow_networks"`
	// Proxy is the address of a proxy that makes the connections, http://host:port. The
	// proxy has to keep them out of the networks inside: what names resolve to is not
	// known here then. Default: none.
	Proxy string `yaml:"proxy"`
	// CAFile has the roots that receivers' certificates are checked against, in PEM.
	// Default: those of the system.
	CAFile string `yaml:"ca_file"`
	// Timeout bounds one try. Default: 10s.
	Timeout time.Duration `yaml:"timeout"`
	// RetryFor is how long a delivery is tried. Default: 24h.
	RetryFor time.Duration `yaml:"retry_for"`
	// RetryFirst and RetryMost bound the waits between tries. Default: 10s and 2h.
	RetryFirst time.Duration `yaml:"retry_first"`
	RetryMost  time.Duration `yaml:"retry_most"`
	// Parallel is how many deliveries one webhook gets at once, PerTenant how many those of
	// one tenant get, Total how many all get. A tenant gets no more than it leaves free, so
	// that nobody waits for receivers of others that hang. Default: 4, 64 and 256.
	Parallel  int `yaml:"parallel"`
	PerTenant int `yaml:"per_tenant"`
	Total     int `yaml:"total"`
	// BreakAfter is after how many failures in a row a receiver is left alone, BreakFor for
	// how long. Default: 10, 5m.
	BreakAfter int           `yaml:"break_after"`
	BreakFor   time.Duration `yaml:"break_for"`
	// SecretOverlap is how long an old secret is good besides a new one. Default: 24h.
	SecretOverlap time.Duration `yaml:"secret_overlap"`
	// Keep is how long it is kept what was delivered. Default: 720h.
	Keep time.Duration `yaml:"keep"`

	// Store has what is to be delivered. Needed.
	Store *store.DB `yaml:"-"`
	// Keys open the secrets. Needed.
	Keys *seal.Keyring `yaml:"-"`
	// Resolver finds receivers; nil: that of the system.
	Resolver *net.Resolver `yaml:"-"`
	// Logger; nil means silence. No address is logged, and no answer.
	Logger hclog.Logger `yaml:"-"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Timeout: 10 * time.Second, RetryFor: 24 * time.Hour, RetryFirst: 10 * time.Second, RetryMost: 2 * time.Hour,
		Parallel: 4, PerTenant: 64, Total: 256, BreakAfter: 10, BreakFor: 5 * time.Minute, SecretOverlap: 24 * time.Hour, Keep: 720 * time.Hour,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Timeout = cmp.Or(c.Timeout, d.Timeout)
	c.RetryFor = cmp.Or(c.RetryFor, d.RetryFor)
	c.RetryFirst = cmp.Or(c.RetryFirst, d.RetryFirst)
	c.RetryMost = cmp.Or(c.RetryMost, d.RetryMost)
	c.Parallel = cmp.Or(c.Parallel, d.Parallel)
	c.PerTenant = cmp.Or(c.PerTenant, d.PerTenant)
	c.Total = cmp.Or(c.Total, d.Total)
	c.BreakAfter = cmp.Or(c.BreakAfter, d.BreakAfter)
	c.BreakFor = cmp.Or(c.BreakFor, d.BreakFor)
	c.SecretOverlap = cmp.Or(c.SecretOverlap, d.SecretOverlap)
	c.Keep = cmp.Or(c.Keep, d.Keep)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate checks what a file can set, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	wrong := func(key, problem, hint string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	for _, text := range c.AllowNetworks {
		if _, err := netip.ParsePrefix(text); err != nil {
			wrong("allow_networks", "has "+text+", which is not a network", "as in 192.0.2.0/24")
		}
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			wrong("proxy", "is not the address of a proxy", "as in http://192.0.2.1:3128")
		}
	}
	for _, d := range []struct {
		key         string
		v           time.Duration
		least, most time.Duration
	}{
		{"timeout", c.Timeout, time.Second, time.Minute},
		{"retry_for", c.RetryFor, time.Minute, 7 * 24 * time.Hour},
		{"retry_first", c.RetryFirst, time.Second, time.Hour},
		{"retry_most", c.RetryMost, c.RetryFirst, 24 * time.Hour},
		{"break_for", c.BreakFor, time.Second, 24 * time.Hour},
		{"secret_overlap", c.SecretOverlap, time.Second, 30 * 24 * time.Hour},
		{"keep", c.Keep, time.Hour, 366 * 24 * time.Hour},
	} {
		if d.v < d.least || d.v > d.most {
			wrong(d.key, fmt.Sprintf("is not between %s and %s", d.least, d.most), "")
		}
	}
	for _, n := range []struct {
		key     string
		v, most int
	}{{"parallel", c.Parallel, 100}, {"per_tenant", c.PerTenant, 10000}, {"total", c.Total, 10000}, {"break_after", c.BreakAfter, 1000}} {
		if n.v < 1 || n.v > n.most {
			wrong(n.key, fmt.Sprintf("is not between 1 and %d", n.most), "")
		}
	}
	return errors.Join(all...)
}
