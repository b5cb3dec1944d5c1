package server

import (
	"errors"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ara/gateway"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// Config is everything that the gateway can be told. Fields with a yaml key may come from
// a file; the others come from the program.
type Config struct {
	// Listen is the address of the listener for browsers, host:port, TCP and UDP. Port 0
	// takes a free one, with names from files only. Needed.
	Listen string `yaml:"listen"`
	// DisableHTTP3 leaves UDP alone.
	DisableHTTP3 bool `yaml:"disable_http3"`
	// Gateway is the gateway itself.
	Gateway gateway.Config `yaml:",inline"`
	// Names are where the certificates come from, for domain and for every label below
	// it: mode internal gets those on demand, the others need a wildcard.
	Names servercert.Config `yaml:"names"`
	// Dial is how PBXs are reached: through which relays.
	Dial dial.Config `yaml:"dial"`

	// Credentials are those of service/ara. Needed.
	Credentials *enrol.Credentials `yaml:"-"`
	// AccessLog notes every request; nil means that none is.
	AccessLog *accesslog.Log `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// Metrics; nil means that none are registered.
	Metrics prometheus.Registerer `yaml:"-"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{Gateway: gateway.DefaultConfig(), Names: servercert.DefaultConfig(), Dial: dial.Default()}
}

// Validate checks what a file can set, each error a [configs.KeyError].
func (c Config) Validate() error {
	all := []error{c.Gateway.Validate(), configs.Under("names", c.Names.Validate()), configs.Under("dial", c.Dial.Validate())}
	wrong := func(key, problem, hint string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		wrong("listen", "is missing or no address", "as in :443")
	}
	switch {
	case !c.Names.Enabled():
		wrong("names.mode", "is missing", "browsers reach the gateway with https only")
	case c.Names.Mode == servercert.ModePublic && !c.Names.DNS01.Enabled():
		wrong("names.mode", "is public, whose CAs give no certificate for each session",
			"use internal, files with a wildcard, or dns01 with \"*."+c.Gateway.Domain+"\" among the domains")
	case c.Names.Mode == servercert.ModePublic:
		for _, name := range []string{c.Gateway.Domain, "*." + c.Gateway.Domain} {
			if !slices.Contains(c.Names.Domains, name) {
				wrong("names.domains", "has no "+strconv.Quote(name), "the gateway is at domain, and each session one label below it")
			}
		}
	}
	return errors.Join(all...)
}
