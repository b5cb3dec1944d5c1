package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

func (p *program) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make the root and the intermediates",
		Long: "Makes an offline root, one intermediate each for devices, services and relays,\n" +
			"and the key of the audit log, in the state directory. The keys are encrypted\n" +
			"with a passphrase, which is drawn and kept in a file where there is none.\n" +
			"Nothing is ever replaced.",
		Example: "  pki init --state /var/lib/pki --set authority.trust_domain=cloud.example.com",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			made, err := authority.Init(c.Authority)
			if err != nil {
				return explain(err, c)
			}
			return p.printMade(cmd, made)
		},
	}
}

func (p *program) printMade(cmd *cobra.Command, made *authority.Made) error {
	if p.JSON {
		return p.Print(cmd, made, nil)
	}
	passphrase := "not encrypted (authority.plain_keys)"
	if made.Passphrase != "" {
		passphrase = "encrypted with the passphrase in " + made.Passphrase
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
			"block list, and the socket that the other commands use.",
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

func serve(ctx context.Context, c config) error {
	d, err := daemon.New(c.Config, "pki")
	if err != nil {
		return err
	}
	c.Authority.Logger = d.Logger().Named("authority")
	a, err := authority.New(c.Authority)
	if err != nil {
		return err
	}
	c.Server.Authority, c.Server.Logger, c.Server.Metrics = a, d.Logger().Named("server"), d.Registry()
	s, err := server.New(c.Server)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	return errors.Join(d.Run(ctx, daemon.Component{Name: "server", Run: s.Run, Ready: s.Ready()}), a.Close())
}
