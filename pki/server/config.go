// Package server puts an authority on the network.
//
// One TLS listener serves the public API. Clients may show a certificate; one
// that does not chain to our own root fails the handshake, so what a handler sees
// is either nobody or a verified endpoint:
//
//	POST /v1/enrol          anybody with a one-time token; rate-limited per address
//	GET  /v1/roots.pem      anybody
//	GET  /v1/bundle         anybody: the trust bundle with its version
//	GET  /healthz           anybody
//	POST /v1/renew          the endpoint itself, by its certificate
//	POST /v1/confirm        the endpoint itself
//	GET  /v1/blocks/stream  relays and services
//
// A unix socket in the state directory, open to its owner only, serves the admin
// API of the pki program while the store is locked; see [Admin].
//
// The server's own certificate, service/pki, comes from its own authority and is
// renewed in place.
package server

import (
	"errors"
	"net"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Config of a [Server]. Zero values mean the documented defaults; Authority has
// none.
type Config struct {
	// Listen is the address of the public API. Default: :8443.
	Listen string `yaml:"listen"`
	// Names are further DNS names and IP addresses for the server's own
	// certificate, for clients that are not ours, e.g. localhost or 127.0.0.1.
	// Our own clients verify pki.svc.<trust domain>. The names must be below
	// authority.extra_dns. Default: none.
	Names []string `yaml:"names"`
	// EnrolPerMinute is how many enrolments one address (IPv4) or /64 (IPv6)
	// may try. Negative: no limit. Default: 30.
	EnrolPerMinute int `yaml:"enrol_per_minute"`
	// AdminSocket is the path of the admin API. Default: admin.sock in
	// authority.state_dir.
	AdminSocket string `yaml:"admin_socket"`

	// MaxImport bounds a list of devices, in bytes. Default: 268435456 (256 MiB).
	MaxImport int64 `yaml:"max_import"`

	// Authority that is served. It stays open when Run ends.
	Authority *authority.Authority `yaml:"-"`
	// StateDir is where AdminSocket is by default.
	StateDir string `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// Metrics; nil means that none are registered.
	Metrics prometheus.Registerer `yaml:"-"`
}

// AdminSocketFile is the name of the admin socket in the state directory.
const AdminSocketFile = "admin.sock"

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{Listen: ":8443", EnrolPerMinute: 30, MaxImport: 256 << 20}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Listen == "" {
		c.Listen = d.Listen
	}
	if c.EnrolPerMinute == 0 {
		c.EnrolPerMinute = d.EnrolPerMinute
	}
	if c.MaxImport == 0 {
		c.MaxImport = d.MaxImport
	}
	if c.AdminSocket == "" && c.StateDir != "" {
		c.AdminSocket = filepath.Join(c.StateDir, AdminSocketFile)
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Socket is the path of the admin socket, for [Admin].
func (c Config) Socket() string { return c.withDefaults().AdminSocket }

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		all = append(all, &configs.KeyError{Key: "listen", Problem: err.Error(), Hint: "as in :8443", Cause: err})
	}
	if c.MaxImport < 0 {
		all = append(all, &configs.KeyError{Key: "max_import", Problem: "is below zero"})
	}
	for _, n := range c.Names {
		if n == "" {
			all = append(all, &configs.KeyError{Key: "names", Problem: "has an empty name"})
		}
	}
	return errors.Join(all...)
}

// extra sorts the names into DNS names and addresses.
func (c Config) extra() (x profile.Extra) {
	for _, n := range c.Names {
		if ip := net.ParseIP(n); ip != nil {
			x.IPs = append(x.IPs, ip)
		} else {
			x.DNS = append(x.DNS, n)
		}
	}
	return x
}
