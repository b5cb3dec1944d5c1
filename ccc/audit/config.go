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
	// Heads is how long each of these heads is kept: 24h to 87600h. Of those that are older
	// the last one of each day is left, for as long as its entries are. Default: 720h.
	Heads time.Duration `yaml:"heads"`
	// RepeatsWithin is for how long the same refusals of a person are counted after the
	// first, which has an entry at once; then one entry has their number: 1m to 24h.
	// Default: 1h.
	RepeatsWithin time.Duration `yaml:"repeats_within"`
	// Refusals is how many different refusals of a person have an entry of their own in that
	// time, 1 to 10000; of more than that only what was tried is told apart, not with what
	// thing. Default: 50.
	Refusals int `yaml:"refusals"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{Keep: 2 * 365 * 24 * time.Hour, HeadEvery: time.Hour, Heads: 30 * 24 * time.Hour, RepeatsWithin: time.Hour, Refusals: 50}
}

// WithDefaults has them in place of zero values.
func (c Config) WithDefaults() Config {
	d := DefaultConfig()
	return Config{
		Keep: cmp.Or(c.Keep, d.Keep), HeadEvery: cmp.Or(c.HeadEvery, d.HeadEvery), Heads: cmp.Or(c.Heads, d.Heads),
		RepeatsWithin: cmp.Or(c.RepeatsWithin, d.RepeatsWithin), Refusals: cmp.Or(c.Refusals, d.Refusals),
	}
}

// Validate checks the values, each error a [configs.KeyError] with the key below this
// struct.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var all []error
	for _, b := range []struct {
		key              string
		got, least, most time.Duration
		problem          string
	}{
		{"keep", c.Keep, 720 * time.Hour, 87600 * time.Hour, "is not between 720h and 87600h"},
		{"head_every", c.HeadEvery, time.Minute, 24 * time.Hour, "is not between 1m and 24h"},
		{"heads", c.Heads, 24 * time.Hour, 87600 * time.Hour, "is not between 24h and 87600h"},
		{"repeats_within", c.RepeatsWithin, time.Minute, 24 * time.Hour, "is not between 1m and 24h"},
	} {
		if b.got < b.least || b.got > b.most {
			all = append(all, &configs.KeyError{Key: b.key, Problem: b.problem})
		}
	}
	if c.Refusals < 1 || c.Refusals > 10000 {
		all = append(all, &configs.KeyError{Key: "refusals", Problem: "is not between 1 and 10000"})
	}
	return errors.Join(all...)
}
