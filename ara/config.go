package main

import (
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ara/server"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
)

// config is the program's file; configs/ara.yaml shows it with comments.
type config struct {
	daemon.Config `yaml:",inline"`

	// Region is the country where the server stands. The privacy policy promises
	// Germany: nothing but DE is accepted, and it has to be said.
	Region string `yaml:"region"`

	// Credentials is the directory with the certificate of service/ara, its key and the
	// trust bundle.
	Credentials string `yaml:"credentials"`

	// PKI is where the certificate is renewed.
	PKI pkiConfig `yaml:"pki"`

	// Server is the gateway itself.
	Server server.Config `yaml:",inline"`
}

type pkiConfig struct {
	// URL of the PKI. Empty: the certificate is not renewed.
	URL string `yaml:"url"`
}

func defaultConfig() config {
	c := config{Config: daemon.Default(), Server: server.DefaultConfig()}
	c.Admin.Listen = "127.0.0.1:9095" // 9090 is the relay's, 9093 the PKI's, 9094 the control centre's
	c.ShutdownTimeout = 30 * time.Second
	return c
}

// Validate reports every problem at once.
func (c config) Validate() error {
	all := []error{c.Config.Validate(), c.Server.Validate()}
	if c.Region != "DE" {
		all = append(all, &configs.KeyError{
			Key: "region", Problem: "is not DE",
			Hint: "the privacy policy promises servers in Germany; write region: DE where that is true",
		})
	}
	if c.Credentials == "" {
		all = append(all, &configs.KeyError{
			Key: "credentials", Problem: "is missing",
			Hint: "make them with: pki issue service/ara --out DIR",
		})
	}
	return errors.Join(all...)
}
