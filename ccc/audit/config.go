package audit

import (
	"cmp"
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Config is how the audit log is kept. A zero value stands for the default.
type Config struct {
	// Keep is how long entries are kept: 720h (30 days) to 87600h (10 years). What is
	// older is removed from the beginning of each chain, of which a signed head is left.
	// Default: 17520h, two years.
	Keep time.Duration `yaml:"keep"`
	// HeadEvery is how often heads of the chains that went on are signed, kept and
	// logged: 1m to 24h. Default: 1h.
	HeadEvery time.Duration `yaml:"head_every"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config { return Config{Keep: 2 * 365 * 24 * time.Hour, HeadEvery: time.Hour} }

// WithDefaults has them in place of zero values.
func (c Config) WithDefaults() Config {
	d := DefaultConfig()
	return Config{Keep: cmp.Or(c.Keep, d.Keep), HeadEvery: cmp.Or(c.HeadEvery, d.HeadEvery)}
}

// Validate checks the values, each error a [configs.KeyError] with the key below this
// struct.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var all []error
	if c.Keep < 720*time.Hour || c.Keep > 87600*time.Hour {
		all = append(all, &configs.KeyError{Key: "keep", Problem: "is not between 720h and 87600h"})
	}
	if c.HeadEvery < time.Minute || c.HeadEvery > 24*time.Hour {
		all = append(all, &configs.KeyError{Key: "head_every", Problem: "is not between 1m and 24h"})
	}
	return errors.Join(all...)
}
