package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

func serveCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the control centre",
		Long: "Runs the control centre until SIGINT or SIGTERM. The database is made, and brought\n" +
			"up to date, at the start. With first_admin.file an empty one gets a first\n" +
			"administrator, whose password is written there and shown once.",
		Example: "  ccc serve --config /etc/ccc.yaml\n  ccc serve --config ccc.yaml --set http_listen=127.0.0.1:8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := defaultConfig()
			if err := app.Load(&cfg); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, cmd.ErrOrStderr())
		},
	}
}

func serve(ctx context.Context, cfg config, stderr io.Writer) (err error) {
	d, err := daemon.New(cfg.Config, "ccc")
	if err != nil {
		return err
	}
	restore, err := d.CatchOutput()
	if err != nil {
		return err
	}
	defer restore()
	creds, err := enrol.LoadCredentials(cfg.Credentials)
	if err != nil {
		return &cli.Hint{Err: err, Hint: "make them with: pki issue service/ccc --out " + cfg.Credentials, ExitCode: cli.ExitConfig}
	}
	cfg.Server.Credentials, cfg.Server.Logger, cfg.Server.AccessLog, cfg.Server.Metrics = creds, d.Logger(), d.AccessLog(), d.Registry()
	s, first, err := server.New(ctx, cfg.Server)
	if err != nil {
		return &cli.Hint{Err: err, ExitCode: cli.ExitConfig}
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if first != nil {
		if _, err := fmt.Fprintf(stderr, "first administrator  %s\npassword             %s   (also in %s; shown only now)\n",
			first.Email, first.Password, first.File); err != nil {
			return err
		}
	}
	for name, addr := range map[string]fmt.Stringer{"http": s.HTTPAddr(), "https": s.HTTPSAddr()} {
		if addr != nil {
			d.Logger().Info("listening", "for", name, "address", addr.String())
		}
	}
	return d.Run(ctx, append(pkiParts(cfg, creds, d, s), s.Components()...)...)
}

// pkiParts follow the PKI: the revocation list first, so that no PBX whose certificate
// is revoked is talked to.
func pkiParts(cfg config, creds *enrol.Credentials, d *daemon.Daemon, s *server.Server) []daemon.Component {
	if cfg.PKI.URL == "" {
		return nil
	}
	feed, err := blocks.New(blocks.Config{
		URL: cfg.PKI.URL, Credentials: creds, CacheFile: cfg.PKI.CacheFile, Logger: d.Logger().Named("blocks"),
	})
	if err != nil {
		return []daemon.Component{{Name: "blocks", Run: func(context.Context) error { return err }}}
	}
	renewal := &enrol.Client{URL: cfg.PKI.URL, TrustDomain: creds.ID().TrustDomain, Logger: d.Logger().Named("renewal")}
	return []daemon.Component{
		{Name: "blocks", Ready: feed.Loaded(), Run: func(ctx context.Context) error { return feed.Run(ctx, s.SetBlocks) }},
		{Name: "renewal", Run: func(ctx context.Context) error {
			return renewal.RunRenewal(ctx, creds, cfg.Credentials, enrol.Renewal{})
		}},
	}
}

// check is what "config check" looks at beyond the file: that what it names can be read.
func check(app *cli.App, cmd *cobra.Command) error {
	cfg := defaultConfig()
	if err := app.Load(&cfg); err != nil {
		return err
	}
	_, err := enrol.LoadCredentials(cfg.Credentials)
	_, noKeys := seal.Load(cfg.Server.Keys)
	if err = errors.Join(err, noKeys); err != nil {
		return &cli.Hint{Err: err, Hint: "pki issue service/ccc makes credentials, ccc key new a key", ExitCode: cli.ExitConfig}
	}
	if app.JSON {
		return cli.WriteJSON(cmd.OutOrStdout(), map[string]bool{"good": true})
	}
	return nil
}

func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
}
