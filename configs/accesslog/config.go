package accesslog

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// MaxRaw is the longest that an address may be kept, as the privacy policy promises.
const MaxRaw = 14 * 24 * time.Hour

// Bounds of the configuration.
const (
	minRaw   = time.Hour
	minK     = 10
	maxK     = 100
	minQueue = 256
	maxQueue = 1 << 20
)

// Config is the access log of one process. The zero value keeps none.
type Config struct {
	// Dir is the directory of the log, which is made, and belongs to this process
	// alone. Leave it out of backups. Empty: addresses are kept nowhere.
	Dir string `yaml:"dir"`
	// RawFor is how long addresses are kept: 1h to 336h (14 days), counted from the
	// beginning of the hour of an access. Default: 336h.
	RawFor time.Duration `yaml:"raw_for"`
	// K is how many accesses, and different addresses, an hour must have of a network
	// for the network to be named in the statistics: 10 to 100. Default: 10.
	K int `yaml:"k"`
	// Rows is how many networks of one hour are told apart; accesses from further
	// ones count as "other". Default: 65536.
	Rows int `yaml:"rows"`
	// Queue is how many accesses may wait to be written, for [Delay] usually. More
	// are lost, and counted in comtrexx_access_log_lost_total. Default: 65536.
	Queue int `yaml:"queue"`
	// Show lists addresses and networks of own servers, which operators need to see
	// in the program's other logs. All other addresses are redacted there, except
	// 127.0.0.1, ::1 and the unspecified ones.
	Show []Network `yaml:"show"`

	// Service is the name of the server in the log.
	Service string `yaml:"-"`
	// Logger is told about trouble. Default: nothing is logged.
	Logger hclog.Logger `yaml:"-"`
	// Metrics takes the collectors. Optional.
	Metrics prometheus.Registerer `yaml:"-"`
	// Now is the system's clock. Default: time.Now. For tests.
	Now func() time.Time `yaml:"-"`

	// fault fails what is named where a test wants it to. Nil: never.
	fault func(point string) error
}

// Default gives the values that stand for the zero value.
func Default() Config { return Config{RawFor: MaxRaw, K: minK, Rows: 65536, Queue: 65536} }

func (c Config) withDefaults() Config {
	d := Default()
	c.RawFor = cmp.Or(c.RawFor, d.RawFor)
	c.K = cmp.Or(c.K, d.K)
	c.Rows = cmp.Or(c.Rows, d.Rows)
	c.Queue = cmp.Or(c.Queue, d.Queue)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.fault == nil {
		c.fault = func(string) error { return nil }
	}
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below this
// struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	bad := func(key, hint, format string, args ...any) {
		all = append(all, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...), Hint: hint})
	}
	if c.RawFor < minRaw || c.RawFor > MaxRaw {
		bad("raw_for", "the privacy policy promises that addresses are deleted after 14 days", "is not between %v and %v", minRaw, MaxRaw)
	}
	if c.K < minK || c.K > maxK {
		bad("k", "smaller groups tell too much about single persons", "is not between %d and %d", minK, maxK)
	}
	if c.Rows < 1 {
		bad("rows", "", "is not above zero")
	}
	if c.Queue < minQueue || c.Queue > maxQueue {
		bad("queue", "", "is not between %d and %d", minQueue, maxQueue)
	}
	return errors.Join(all...)
}

// Network is an address or a network in a configuration: "192.0.2.1", "192.0.2.0/24".
type Network struct{ netip.Prefix }

// UnmarshalText reads an address or a network in CIDR notation.
func (n *Network) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", s)
		}
		a = a.Unmap()
		n.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", s)
	}
	n.Prefix = p.Masked()
	return nil
}

// MarshalText gives a network in CIDR notation.
func (n Network) MarshalText() ([]byte, error) { return n.Prefix.MarshalText() }
