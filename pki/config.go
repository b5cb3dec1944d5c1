package main

import (
	"errors"
	"fmt"
	"os/user"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// config is the program's file; configs/pki.yaml shows it with comments.
type config struct {
	daemon.Config `yaml:",inline"`

	// Authority issues and blocks.
	Authority authority.Config `yaml:"authority"`
	// Server puts it on the network.
	Server server.Config `yaml:"server"`
	// CRL tells third parties what is revoked.
	CRL crl.Config `yaml:"crl"`
}

func defaultConfig() config {
	c := config{
		Config: daemon.Default(), Authority: authority.DefaultConfig(), Server: server.DefaultConfig(), CRL: crl.DefaultConfig(),
	}
	c.Admin.Listen = "127.0.0.1:9093" // 9090 is the relay's, often on the same machine
	c.Authority.StateDir = "state/pki"
	return c
}

// Validate reports every problem at once.
func (c config) Validate() error {
	return errors.Join(
		c.Config.Validate(),
		configs.Under("authority", c.Authority.Validate()),
		configs.Under("server", c.Server.Validate()),
		configs.Under("crl", c.CRL.Validate()),
	)
}

// load reads the configuration.
func (p *program) load() (config, error) {
	c := defaultConfig()
	if err := p.Load(&c); err != nil {
		return c, err
	}
	if p.state != "" {
		c.Authority.StateDir = p.state
	}
	c.Server.StateDir = c.Authority.StateDir
	return c, nil
}

// admin gives the client of the running server.
func (p *program) admin() (server.Admin, config, error) {
	c, err := p.load()
	if err != nil {
		return server.Admin{}, c, err
	}
	a := server.Admin{Socket: c.Server.Socket(), Actor: "unknown"}
	if u, err := user.Current(); err == nil {
		a.Actor = u.Username
	}
	return a, c, nil
}

// adminFor gives the client for a command about one device.
func (p *program) adminFor(text string) (server.Admin, config, identity.Serial, error) {
	a, c, err := p.admin()
	if err != nil {
		return a, c, "", err
	}
	serial, err := identity.ParseSerial(text)
	if err != nil {
		return a, c, "", &cli.Hint{Err: err, ExitCode: cli.ExitUsage, Hint: "write a serial of ten digits, with its leading zeros"}
	}
	return a, c, serial, nil
}

// parseID reads a serial, or <kind>/<name>.
func parseID(td identity.TrustDomain, text string) (identity.ID, error) {
	if s, err := identity.ParseSerial(text); err == nil {
		return identity.Device(td, s), nil
	}
	id, err := identity.ParsePath(td, text)
	if err != nil {
		return id, &cli.Hint{
			Err: fmt.Errorf("%q names nobody: %w", text, err), ExitCode: cli.ExitUsage,
			Hint: "write a serial of ten digits, or service/<name>, relay/<id>, device/<serial>",
		}
	}
	return id, nil
}

// explain adds what to do about an error.
func explain(err error, c config) error {
	for _, known := range []struct {
		is   error
		hint string
	}{
		{server.ErrNotServed, fmt.Sprintf("run \"pki serve\" with the state directory %s, as the same user", c.Authority.StateDir)},
		{authority.ErrNotInitialised, fmt.Sprintf("make one with: pki init --state %s", c.Authority.StateDir)},
		{authority.ErrNoServerAuthority, fmt.Sprintf("with the root's key in place, \"pki init --state %s\" adds it", c.Authority.StateDir)},
		{authority.ErrInitialised, "keys are never replaced; move the directory away to start anew"},
		{store.ErrInUse, "is \"pki serve\" running already?"},
		{enrol.ErrUnsafe, "\"pki bundle status FINGERPRINT\" lists who does not know a root yet"},
		{enrol.ErrFingerprint, "compare with the signed protocol of the root; do not go on if it differs"},
		{store.ErrNotEmpty, "only an empty store is filled: name another one in authority.store, or move the file away"},
		{store.ErrExport, "the file was cut off or changed; nothing of it was taken"},
		{configs.ErrExposed, "chmod 0600 the file"},
		{enrol.ErrUnknown, "put it on the list: pki devices import, or pki token"},
		{audit.ErrBroken, "the store was changed behind the PKI's back; compare it with a backup, and with the checkpoints that others kept"},
		{enrol.ErrBlocked, "\"pki blocks\" tells why, \"pki unblock\" ends it"},
		{enrol.ErrForbidden, "names must be below the trust domain or authority.extra_dns as it was at \"pki init\""},
	} {
		if errors.Is(err, known.is) {
			return &cli.Hint{Err: err, Hint: known.hint}
		}
	}
	return err
}
