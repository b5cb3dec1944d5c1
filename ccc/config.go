package main

import (
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
)

// config is the program's file; configs/ccc.yaml shows it with comments.
type config struct {
	daemon.Config `yaml:",inline"`

	// Region is the country where the server stands. The privacy policy promises
	// Germany: nothing but DE is accepted, and it has to be said.
	Region string `yaml:"region"`

	// Credentials is the directory with the certificate of service/ccc, its key and the
	// trust bundle.
	Credentials string `yaml:"credentials"`

	// PKI is where the certificate is renewed and where the revocation list comes
	// from.
	PKI pkiConfig `yaml:"pki"`

	// Server is the control centre itself.
	Server server.Config `yaml:",inline"`
}

type pkiConfig struct {
	// URL of the PKI. Empty: the certificate is not renewed, and the pairing of a PBX
	// with a revoked certificate goes on.
	URL string `yaml:"url"`
	// CacheFile keeps the last revocation list for a start without the PKI. Empty: none
	// is kept.
	CacheFile string `yaml:"cache_file"`
}

func defaultConfig() config {
	c := config{Config: daemon.Default(), Server: server.DefaultConfig()}
	c.Admin.Listen = "127.0.0.1:9094" // 9090 is the relay's, 9093 the PKI's
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
			Hint: "make them with: pki issue service/ccc --out DIR",
		})
	}
	return errors.Join(all...)
}
