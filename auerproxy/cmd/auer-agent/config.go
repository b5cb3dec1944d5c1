package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config is the program's configuration file. The keys of the tunnel and of the
// services are those of [agent.Config], on the same level.
type Config struct {
	// StateDir keeps the device's key and certificate (credentials/), the
	// instance id (instance-id), the last known time (clock) and the status socket.
	// Default /var/lib/auer-agent.
	StateDir string `yaml:"state_dir"`

	// Socket is the unix socket that "auer-agent status" asks. Default: status.sock
	// in the state directory.
	Socket string `yaml:"socket"`

	PKI PKI `yaml:"pki"`

	// ProxyAuthFile holds "user:password" for the proxy. Default: none.
	ProxyAuthFile configs.SecretFile `yaml:"proxy_auth_file"`

	Log Log `yaml:"log"`

	agent.Config `yaml:",inline"`
}

// Log says what is logged, to standard error.
type Log struct {
	// Level is trace, debug, info (default), warn, error or off.
	Level string `yaml:"level"`
	// Format is text (default) or json.
	Format string `yaml:"format"`
}

// Default is what an empty file means.
func Default() Config {
	return Config{
		StateDir: "/var/lib/auer-agent",
		PKI:      PKI{TrustDomain: identity.DefaultTrustDomain, RenewVia: viaAuto},
		Log:      Log{Level: "info", Format: "text"},
		Config:   agent.Default(),
	}
}

// Validate checks every value and gives all problems at once.
func (c *Config) Validate() error {
	var errs configs.Errors
	bad := func(key, problem, hint string) {
		errs = append(errs, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	if c.StateDir == "" {
		bad("state_dir", "is required", "as in /var/lib/auer-agent")
	}
	c.PKI.validate(bad)
	if hclog.LevelFromString(c.Log.Level) == hclog.NoLevel {
		bad("log.level", fmt.Sprintf("%q is no level", c.Log.Level), "trace, debug, info, warn, error or off")
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", fmt.Sprintf("%q is no format", c.Log.Format), "text or json")
	}
	for i, s := range c.Services {
		if s.Target == "" {
			// Without a target the program itself would take the calls.
			bad(fmt.Sprintf("services[%d].target", i), "is required", "as in tcp:127.0.0.1:80")
		}
	}
	errs = append(errs, keyErrors(c.Config.Validate())...)
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// keyErrors turns the errors of agent.Config.Validate into those that the loader
// shows at the key's place.
func keyErrors(err error) configs.Errors {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all configs.Errors
		for _, e := range joined.Unwrap() {
			all = append(all, keyErrors(e)...)
		}
		return all
	}
	if k, ok := errors.AsType[*agent.KeyError](err); ok {
		return configs.Errors{{Key: k.Key, Problem: k.Problem}}
	}
	return configs.Errors{{Problem: err.Error(), Cause: err}}
}

func (c *Config) credentialsDir() string { return filepath.Join(c.StateDir, "credentials") }
func (c *Config) clockFile() string      { return filepath.Join(c.StateDir, "clock") }
func (c *Config) instanceFile() string   { return filepath.Join(c.StateDir, "instance-id") }

// enrollingFile is where the key is while the device enrols with a secret.
func (c *Config) enrollingFile() string { return filepath.Join(c.StateDir, "enrolling.key") }

func (c *Config) socket() string {
	return cmp.Or(c.Socket, filepath.Join(c.StateDir, "status.sock"))
}

func (c *Config) logger(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: programName, Output: w,
		Level: hclog.LevelFromString(c.Log.Level), JSONFormat: c.Log.Format == "json",
	})
}
