package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/tlsend"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// Config is the program's configuration file. The keys of the tunnel are those of
// [agent.Config], on the same level; without relays there is no tunnel.
type Config struct {
	// StateDir keeps what the PBX remembers (state.json, first-password), the device's
	// key and certificate (credentials/), the instance id, the last known time and the
	// status socket. Default /var/lib/pbx.
	StateDir string `yaml:"state_dir"`
	// Socket is the unix socket that "pbx status" asks. Default: status.sock in the
	// state directory.
	Socket string `yaml:"socket"`
	// Listen is where pages and API are served over plain HTTP, host:port. Port 0
	// takes a free one. Default 127.0.0.1:8080.
	Listen string `yaml:"listen"`
	// AllowRemote permits an address that is not loopback. Passwords cross the network
	// readably then.
	AllowRemote bool `yaml:"allow_remote"`
	// Model and Firmware are shown; Firmware is the version that the PBX came with, until
	// another is installed. Default "COMtrexx Business" and "1.0.0-sim".
	Model    string `yaml:"model"`
	Firmware string `yaml:"firmware"`
	// FirmwareKeys are files with public keys in PEM, whose firmware images are taken.
	// Default: none is.
	FirmwareKeys []string `yaml:"firmware_keys"`
	// Maintenance bounds restarts and firmware.
	Maintenance Maintenance `yaml:"maintenance"`
	// Seed decides the calls. Default: from the serial.
	Seed uint64 `yaml:"seed"`

	// OwnServices are services of this machine, each address:port, that its administrator
	// may make targets of remote access. Listen cannot be one: its requests would count as
	// local. Default: none.
	OwnServices []netip.AddrPort `yaml:"own_services"`

	PKI PKI `yaml:"pki"`

	// TLS is TLS that ends in the PBX, for remote access which the gateway cannot read.
	// Account, key and certificate are in the directory tls of the state directory.
	TLS tlsend.Config `yaml:"tls"`

	// ProxyAuthFile holds "user:password" for the proxy. Default: none.
	ProxyAuthFile configs.SecretFile `yaml:"proxy_auth_file"`

	Pairing Pairing `yaml:"pairing"`
	Log     Log     `yaml:"log"`

	agent.Config `yaml:",inline"`
}

// Pairing bounds what the PBX waits for; zero values stand for the defaults of
// integration/pbx.Limits.
type Pairing struct {
	// CompleteFor is how long a completion is repeated. Default 10m.
	CompleteFor time.Duration `yaml:"complete_for"`
	// RetryMin and RetryMax bound the wait after a message that did not get through.
	// Default 1s and 5m.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// SyncEvery is the time between two syncs where the control centre names none.
	// Default 1h.
	SyncEvery time.Duration `yaml:"sync_every"`
	// Refusals is how often in a row relays refuse the certificate until the pairing is
	// dissolved. Default 2.
	Refusals int `yaml:"refusals"`
}

// Maintenance bounds restarts and firmware; zero values stand for the defaults of
// integration/pbx.Limits.
type Maintenance struct {
	// Restart is how long the PBX is away, Install how long an installation takes. Default
	// 5s each.
	Restart time.Duration `yaml:"restart"`
	Install time.Duration `yaml:"install"`
	// MaxFirmware bounds a firmware image. Default 256MiB.
	MaxFirmware configs.Bytes `yaml:"max_firmware"`
	// Fault has it go wrong, for tests: install, return or refuse. Default: it does not.
	Fault pbx.Fault `yaml:"fault"`
}

// PKI says where certificates come from.
type PKI struct {
	// URL of the PKI, e.g. https://pki.example.net:8443. Empty: the certificate is
	// not renewed.
	URL string `yaml:"url"`
	// TrustDomain is the name under which the PKI issues. Default comtrexx.test.
	TrustDomain identity.TrustDomain `yaml:"trust_domain"`
	// Roots is a PEM file with the roots by which the PKI is known at the first start;
	// Fingerprint is the SHA-256 of one, in hex, instead. Default: none.
	Roots       string `yaml:"roots"`
	Fingerprint string `yaml:"fingerprint"`
	// TokenFile holds a one-time token to enrol with. Default: none.
	TokenFile configs.SecretFile `yaml:"token_file"`
	// FactoryURL is where the PKI takes factory certificates (EST), and FactoryDir has
	// the device's: cert.pem and key.pem. Default: none.
	FactoryURL string `yaml:"factory_url"`
	FactoryDir string `yaml:"factory_dir"`
	// SecretFile holds "serial:secret" to enrol with. Default: none.
	SecretFile configs.SecretFile `yaml:"secret_file"`
	// RecoveryURL is where the PKI renews a certificate that has expired. Default:
	// none.
	RecoveryURL string `yaml:"recovery_url"`
	// Renewal tunes the renewal; see [enrol.Renewal].
	Renewal enrol.Renewal `yaml:"renewal"`
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
		StateDir: "/var/lib/pbx",
		Listen:   "127.0.0.1:8080",
		PKI:      PKI{TrustDomain: identity.DefaultTrustDomain},
		TLS:      tlsend.Config{Mode: servercert.ModeInternal},
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
		bad("state_dir", "is required", "as in /var/lib/pbx")
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", fmt.Sprintf("%q is no address", c.Listen), "host:port, as in 127.0.0.1:8080")
	} else if !configs.IsLoopback(host) && !c.AllowRemote {
		bad("listen", fmt.Sprintf("%q can be reached from other machines", c.Listen), "set allow_remote: true to permit it")
	}
	for i, own := range c.OwnServices {
		if reachesListener(own, c.Listen) {
			bad(fmt.Sprintf("own_services[%d]", i), fmt.Sprintf("%s is where the PBX's own pages are", own), "the target web, which is always there, leads to them")
		}
	}
	c.PKI.validate(bad)
	if err, ok := errors.AsType[configs.Errors](configs.Under("tls", c.TLS.Validate())); ok {
		errs = append(errs, err...)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"pairing.complete_for", c.Pairing.CompleteFor},
		{"pairing.retry_min", c.Pairing.RetryMin},
		{"pairing.retry_max", c.Pairing.RetryMax},
		{"pairing.sync_every", c.Pairing.SyncEvery},
		{"maintenance.restart", c.Maintenance.Restart},
		{"maintenance.install", c.Maintenance.Install},
	} {
		if d.value < 0 {
			bad(d.key, "is below zero", "")
		}
	}
	if c.Pairing.Refusals < 0 {
		bad("pairing.refusals", "is below zero", "")
	}
	if c.Maintenance.MaxFirmware < 0 || c.Maintenance.MaxFirmware > firmware.MaxPayload {
		bad("maintenance.max_firmware", "is not a size up to 4GiB", "as in 256MiB")
	}
	if c.Maintenance.Fault != pbx.FaultNone && !slices.Contains(pbx.Faults, c.Maintenance.Fault) {
		bad("maintenance.fault", fmt.Sprintf("%q is no fault", c.Maintenance.Fault), "install, return, refuse, or empty")
	}
	if c.Firmware != "" && !firmware.ValidVersion(c.Firmware) {
		bad("firmware", fmt.Sprintf("%q is no version", c.Firmware), "as in 1.0.0 or 1.0.0-sim")
	}
	if hclog.LevelFromString(c.Log.Level) == hclog.NoLevel {
		bad("log.level", fmt.Sprintf("%q is no level", c.Log.Level), "trace, debug, info, warn, error or off")
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", fmt.Sprintf("%q is no format", c.Log.Format), "text or json")
	}
	if len(c.Services) > 0 {
		bad("services", "are those of the PBX", "leave the key out")
	}
	if len(c.Relays) > 0 {
		errs = append(errs, keyErrors(c.Config.Validate())...)
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// reachesListener tells whether a connection to an address of this machine may arrive where
// the pages are served. A name to listen on may stand for any address, and a port of 0 for
// none that could be known.
func reachesListener(own netip.AddrPort, listen string) bool {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	n, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	if err != nil || n != int(own.Port()) || n == 0 {
		return false
	}
	to := own.Addr().Unmap().WithZone("")
	at, err := netip.ParseAddr(host)
	switch at = at.Unmap().WithZone(""); {
	case host == "localhost":
		return to.IsLoopback() || to.IsUnspecified()
	case err != nil || at.IsUnspecified() || to.IsUnspecified():
		return true
	default:
		return at == to
	}
}

func (p *PKI) validate(bad func(key, problem, hint string)) {
	for _, a := range []struct{ key, address string }{
		{"pki.url", p.URL}, {"pki.factory_url", p.FactoryURL}, {"pki.recovery_url", p.RecoveryURL},
	} {
		if u, err := url.Parse(a.address); a.address != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			bad(a.key, fmt.Sprintf("%q is no https address", a.address), "as in https://pki.example.net:8443")
		}
	}
	if _, err := identity.ParseTrustDomain(string(p.TrustDomain)); err != nil {
		bad("pki.trust_domain", err.Error(), "")
	}
	if (p.FactoryURL == "") != (p.FactoryDir == "") {
		bad("pki.factory_dir", "goes with pki.factory_url only", "set both, or none")
	}
	if (p.TokenFile != "" || p.FactoryDir != "" || p.SecretFile != "") && p.Roots == "" && p.Fingerprint == "" {
		bad("pki.roots", "is required to enrol", "or pki.fingerprint")
	}
	if (p.TokenFile != "" || p.SecretFile != "") && p.URL == "" {
		bad("pki.url", "is required to enrol", "as in https://pki.example.net:8443")
	}
}

// keyErrors turns the errors of [agent.Config.Validate] into those that the loader
// shows at the key's place.
func keyErrors(err error) (all configs.Errors) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, keyErrors(e)...)
		}
		return all
	}
	if k, ok := errors.AsType[*agent.KeyError](err); ok {
		return configs.Errors{{Key: k.Key, Problem: k.Problem}}
	}
	if err != nil {
		all = configs.Errors{{Problem: err.Error(), Cause: err}}
	}
	return all
}

func (c *Config) path(name string) string { return filepath.Join(c.StateDir, name) }

func (c *Config) socket() string { return cmp.Or(c.Socket, c.path("status.sock")) }

func (c *Config) logger(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: programName, Output: w, Level: hclog.LevelFromString(c.Log.Level), JSONFormat: c.Log.Format == "json",
	})
}
