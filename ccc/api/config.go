package api

import (
	"cmp"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Config is everything that the API can be told. Fields with a yaml key may come from a
// file; the others come from the program. A zero value stands for the default.
type Config struct {
	Limits Limits `yaml:"limits"`

	// Logger; nil means silence. No token, password, address or name is logged.
	Logger hclog.Logger `yaml:"-"`
}

// Limits bound what one client can have the server do.
type Limits struct {
	// Body is how large a request's body may be. Default: 64KiB.
	Body configs.Bytes `yaml:"body"`
	// BodyTimeout is how long a body may take to arrive. Default: 10s.
	BodyTimeout time.Duration `yaml:"body_timeout"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{Limits: Limits{Body: 64 << 10, BodyTimeout: 10 * time.Second}}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Limits.Body = cmp.Or(c.Limits.Body, d.Limits.Body)
	c.Limits.BodyTimeout = cmp.Or(c.Limits.BodyTimeout, d.Limits.BodyTimeout)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}
