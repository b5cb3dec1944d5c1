// Package server puts an authority on the network.
//
// Three TLS listeners serve clients, each with its own idea of a client certificate.
// A certificate that a listener does not know fails the handshake, so what a handler
// sees is either nobody or somebody verified. No listener has roots of two sorts: a
// certificate that is good for one thing is never taken for another.
//
// The public listener (server.listen) takes certificates of our own, or none:
//
//	POST /v1/enrol          anybody with a one-time token; rate-limited per address
//	GET  /v1/roots.pem      anybody
//	GET  /v1/bundle         anybody: the trust bundle with its version
//	GET  /healthz           anybody
//	POST /v1/renew          the endpoint itself, by its certificate
//	POST /v1/confirm        the endpoint itself
//	POST /v1/acme           a device, for its own name at the ACME server
//	GET  /v1/blocks/stream  relays and services
//	GET  /crl/<name>.crl    anybody; see package crl
//	     /ocsp              anybody, by GET or POST; rate-limited per address
//	GET  /v1/log/entries    a device, about itself; services that are configured
//	GET  /v1/log/...        anybody: checkpoint, consistency, tile; see package audit
//	POST simpleenroll       a device with serial and factory secret (HTTP Basic);
//	                        rate-limited per address
//	POST simplereenroll     a device, by its certificate
//
// The factory listener (server.factory_listen) demands a certificate of a
// manufacturer (IEEE 802.1AR IDevID):
//
//	POST simpleenroll       the box itself; rate-limited per address
//
// The recovery listener (server.recovery_listen) demands a certificate of a device of
// ours, which may have expired up to authority.recover_for ago:
//
//	POST simplereenroll     the device itself
//
// simpleenroll and the like are below /.well-known/est (RFC 7030; see package est).
// Every listener has cacerts and csrattrs, too.
//
// A second TLS listener, on a private address and without client certificates, is
// the ACME server of our own servers (package acmesrv), where it is configured.
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
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Config of a [Server]. Zero values mean the documented defaults; Authority has
// none.
type Config struct {
	// Listen is the address of the public API. Default: :8443.
	Listen string `yaml:"listen"`
	// FactoryListen is the address for enrolment with a factory certificate, e.g.
	// :8444; it needs authority.factory_roots. Default: none.
	FactoryListen string `yaml:"factory_listen"`
	// RecoveryListen is the address where devices renew whose certificate has
	// expired, e.g. :8445. Default: none.
	RecoveryListen string `yaml:"recovery_listen"`
	// Names are further DNS names and IP addresses for the server's own
	// certificate, for clients that are not ours, e.g. localhost or 127.0.0.1.
	// Our own clients verify pki.svc.<trust domain>. The names must be below
	// authority.extra_dns. Default: none.
	Names []string `yaml:"names"`
	// EnrolPerMinute is how many enrolments one address (IPv4) or /64 (IPv6)
	// may try. Negative: no limit. Default: 30.
	EnrolPerMinute int `yaml:"enrol_per_minute"`
	// PublicURL is where third parties reach the revocation lists and the OCSP
	// responder, e.g. http://pki.example.com. Certificates issued from now on say
	// so. Default: empty, they do not.
	PublicURL string `yaml:"public_url"`
	// RevocationListen is the address of a listener without TLS for the revocation
	// lists and OCSP, which are signed, and nothing else. Default: empty, none; the
	// public API has them in any case.
	RevocationListen string `yaml:"revocation_listen"`
	// OCSPPerMinute is how many OCSP requests one address (IPv4) or /64 (IPv6) may
	// make. Negative: no limit. Default: 600.
	OCSPPerMinute int `yaml:"ocsp_per_minute"`
	// AdminSocket is the path of the admin API. Default: admin.sock in
	// authority.state_dir.
	AdminSocket string `yaml:"admin_socket"`
	// Log is how the audit log is read over the network.
	Log LogConfig `yaml:"log"`

	// ACMEListen is the address of the ACME server, from which our servers get the
	// certificates for their own names: a private address, or loopback. Its host is
	// among the names of the server's own certificate. Default: empty, no ACME.
	ACMEListen string `yaml:"acme_listen"`
	// ACME says which servers get which names there.
	ACME acmesrv.Config `yaml:"acme"`

	// MaxImport bounds a list of devices, in bytes. Default: 268435456 (256 MiB).
	MaxImport int64 `yaml:"max_import"`

	// Authority that is served. It stays open when Run ends.
	Authority *authority.Authority `yaml:"-"`
	// Revocation serves third parties; nil means that nothing does.
	Revocation *crl.Service `yaml:"-"`
	// StateDir is where AdminSocket is by default.
	StateDir string `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// Metrics; nil means that none are registered.
	Metrics prometheus.Registerer `yaml:"-"`
	// AccessLog, an accesslog.Log, notes the address of every request to the listeners,
	// but the admin socket, and of connections without one; nil means that nothing is
	// noted.
	AccessLog interface{ Watch(*http.Server) } `yaml:"-"`
}

// AdminSocketFile is the name of the admin socket in the state directory.
const AdminSocketFile = "admin.sock"

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Listen: ":8443", EnrolPerMinute: 30, MaxImport: 256 << 20, OCSPPerMinute: 600,
		Log: LogConfig{PerMinute: 600, MaxEntries: 100, CheckpointEvery: time.Second}, ACME: acmesrv.DefaultConfig(),
	}
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
	if c.OCSPPerMinute == 0 {
		c.OCSPPerMinute = d.OCSPPerMinute
	}
	if c.AdminSocket == "" && c.StateDir != "" {
		c.AdminSocket = filepath.Join(c.StateDir, AdminSocketFile)
	}
	c.Log = c.Log.withDefaults()
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
	for _, l := range []struct{ key, address string }{
		{"listen", c.Listen},
		{"factory_listen", c.FactoryListen},
		{"recovery_listen", c.RecoveryListen},
	} {
		if _, _, err := net.SplitHostPort(l.address); err != nil && l.address != "" {
			all = append(all, &configs.KeyError{Key: l.key, Problem: err.Error(), Hint: "as in :8443", Cause: err})
		}
	}
	if c.MaxImport < 0 {
		all = append(all, &configs.KeyError{Key: "max_import", Problem: "is below zero"})
	}
	if c.RevocationListen != "" {
		if _, _, err := net.SplitHostPort(c.RevocationListen); err != nil {
			all = append(all, &configs.KeyError{Key: "revocation_listen", Problem: err.Error(), Hint: "as in :8080", Cause: err})
		}
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" &&
		(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "") {
		all = append(all, &configs.KeyError{Key: "public_url", Problem: "is not an http or https URL", Hint: "as in http://pki.example.com", Cause: err})
	}
	if c.ACMEListen != "" {
		if _, _, err := net.SplitHostPort(c.ACMEListen); err != nil {
			all = append(all, &configs.KeyError{Key: "acme_listen", Problem: err.Error(), Hint: "as in 127.0.0.1:8444", Cause: err})
		}
		if len(c.ACME.Roles) == 0 {
			all = append(all, &configs.KeyError{Key: "acme.roles", Problem: "is empty", Hint: "without acme_listen there is no ACME"})
		}
	}
	all = append(all, configs.Under("acme", c.ACME.Validate()))
	for _, n := range c.Names {
		if n == "" {
			all = append(all, &configs.KeyError{Key: "names", Problem: "has an empty name"})
		}
	}
	return errors.Join(append(all, configs.Under("log", c.Log.Validate()))...)
}

// extra sorts the names into DNS names and addresses.
func (c Config) extra() (x profile.Extra) {
	names := c.Names
	if host, _, err := net.SplitHostPort(c.ACMEListen); err == nil && host != "" && !net.ParseIP(host).IsUnspecified() && !slices.Contains(names, host) {
		names = append(slices.Clone(names), host)
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			x.IPs = append(x.IPs, ip)
		} else {
			x.DNS = append(x.DNS, n)
		}
	}
	return x
}
