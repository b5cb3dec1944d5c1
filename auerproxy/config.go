package main

import (
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// config is the program's file; configs/auerproxy.yaml shows it with comments.
type config struct {
	daemon.Config `yaml:",inline"`

	// Region is the country where the server stands. The privacy policy promises
	// Germany: nothing but DE is accepted, and it has to be said.
	Region string `yaml:"region"`

	// Credentials is the directory with the relay's certificate, key and trust
	// bundle.
	Credentials string `yaml:"credentials"`

	// PKI is where the certificate is renewed and where the revocation list comes
	// from.
	PKI pkiConfig `yaml:"pki"`

	// Names are further names of the relay, with certificates for browsers and stock
	// HTTP clients, on the relay's TCP port.
	Names servercert.Config `yaml:"names"`

	// Relay is the relay itself.
	Relay relay.Config `yaml:"relay"`
}

type pkiConfig struct {
	// URL of the PKI. Empty: the certificate is not renewed, and nobody is ever
	// blocked.
	URL string `yaml:"url"`
}

func defaultConfig() config {
	c := config{Config: daemon.Default(), Names: servercert.DefaultConfig(), Relay: relay.DefaultConfig()}
	// The drain of a stop has to fit in.
	c.ShutdownTimeout = c.Relay.Drain.Deadline + 30*time.Second
	return c
}

// Validate reports every problem at once.
func (c config) Validate() error {
	all := []error{c.Config.Validate(), configs.Under("names", c.Names.Validate()), configs.Under("relay", c.Relay.Validate())}
	if c.Names.Enabled() && c.Relay.DisableTCP {
		all = append(all, &configs.KeyError{Key: "names.mode", Problem: "needs the TCP port", Hint: "remove relay.disable_tcp"})
	}
	if c.Region != "DE" {
		all = append(all, &configs.KeyError{
			Key: "region", Problem: "is not DE",
			Hint: "the privacy policy promises servers in Germany; write region: DE where that is true",
		})
	}
	if c.Credentials == "" {
		all = append(all, &configs.KeyError{
			Key: "credentials", Problem: "is missing",
			Hint: "make them with: pki issue relay/<id> --out DIR",
		})
	}
	return errors.Join(all...)
}
