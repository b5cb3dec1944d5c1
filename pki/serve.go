package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

func (p *program) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make the root and the intermediates",
		Long: "Makes an offline root, one intermediate each for devices, services, relays and\n" +
			"the names of servers, and the key of the audit log, in the state directory. The\n" +
			"keys are encrypted with a passphrase, which is drawn and kept in a file where\n" +
			"there is none. Nothing is ever replaced; a state directory from before there was\n" +
			"an intermediate for the names of servers gets one, if the root's key is there.",
		Example: "  pki init --state /var/lib/pki --set authority.trust_domain=cloud.example.com",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			made, err := authority.Init(c.Authority)
			if errors.Is(err, authority.ErrInitialised) {
				return p.initServer(cmd, c)
			}
			if err != nil {
				return explain(err, c)
			}
			return p.printMade(cmd, made)
		},
	}
}

// initServer adds what older state directories lack.
func (p *program) initServer(cmd *cobra.Command, c config) error {
	fingerprint, err := authority.InitServer(c.Authority)
	if err != nil {
		return explain(err, c)
	}
	t := &cli.Table{}
	t.Add("added an intermediate for the names of servers: " + fingerprint)
	return p.Print(cmd, map[string]any{"intermediates": map[string]string{profile.ServerAuthority: fingerprint}}, t)
}

func (p *program) printMade(cmd *cobra.Command, made *authority.Made) error {
	if p.JSON {
		return p.Print(cmd, made, nil)
	}
	passphrase := "not encrypted (authority.plain_keys)"
	if made.Passphrase != "" {
		passphrase = "encrypted with the passphrase in " + made.Passphrase
		if made.KMS {
			passphrase = "in the key management system; that of the audit log " + passphrase
		}
		if made.NewPassphrase {
			passphrase += " (new: keep a copy elsewhere)"
		}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), `trust domain      %s
root fingerprint  %s
log key           %s
keys              %s
root key          %s

Endpoints pin the root by its fingerprint; whoever watches over the audit log needs
its key. The root key is not needed to serve:
move it to a safe, offline place now. Then: pki serve
`, made.TrustDomain, made.RootFingerprint, made.LogKey, passphrase, made.RootKey)
	return err
}

func (p *program) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the authority",
		Long: "Runs the authority until SIGINT or SIGTERM: enrolment, renewal, the feed of the\n" +
			"block list, with server.acme_listen the ACME server for the names of servers, and\n" +
			"the socket that the other commands use.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			return explain(serve(cmd.Context(), c), c)
		},
	}
}

func (p *program) logsCommand() *cobra.Command {
	return daemon.LogsCommand(p.App, func() (daemon.Config, error) {
		c, err := p.load()
		return c.Config, err
	})
}

func serve(ctx context.Context, c config) error {
	d, err := daemon.New(c.Config, "pki")
	if err != nil {
		return err
	}
	restore, err := d.CatchOutput()
	if err != nil {
		return err
	}
	defer restore()
	c.Authority.Logger, c.Authority.PublicURL = d.Logger().Named("authority"), c.Server.PublicURL
	a, err := authority.New(c.Authority)
	if err != nil {
		return err
	}
	if c.Server.Revocation, err = a.Revocation(c.CRL); err != nil {
		return errors.Join(err, a.Close())
	}
	c.Server.Authority, c.Server.Logger, c.Server.Metrics = a, d.Logger().Named("server"), d.Registry()
	c.Server.AccessLog = d.AccessLog()
	s, err := server.New(c.Server)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	return errors.Join(d.Run(ctx, daemon.Component{Name: "server", Run: s.Run, Ready: s.Ready()}), a.Close())
}
