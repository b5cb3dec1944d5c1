package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ara/server"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

func serveCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: "Runs the gateway until SIGINT or SIGTERM. It keeps nothing: sessions end with it, and\n" +
			"are opened anew in the control centre.",
		Example: "  ara serve --config /etc/ara.yaml\n  ara serve --config ara.yaml --set listen=:8443 --set public_port=8443",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := defaultConfig()
			if err := app.Load(&cfg); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg)
		},
	}
}

func serve(ctx context.Context, cfg config) (err error) {
	d, err := daemon.New(cfg.Config, "ara")
	if err != nil {
		return err
	}
	restore, err := d.CatchOutput()
	if err != nil {
		return err
	}
	defer restore()
	creds, err := credentials(cfg)
	if err != nil {
		return err
	}
	c := cfg.Server
	c.Credentials, c.Logger, c.Metrics, c.AccessLog = creds, d.Logger(), d.Registry(), d.AccessLog()
	s, err := server.New(ctx, c)
	if err != nil {
		return &cli.Hint{Err: err, ExitCode: cli.ExitConfig}
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	d.Logger().Info("listening", "address", cfg.Server.Listen, "domain", cfg.Server.Gateway.Domain)
	parts := s.Components()
	if cfg.PKI.URL != "" {
		renewal := &enrol.Client{URL: cfg.PKI.URL, TrustDomain: creds.ID().TrustDomain, Logger: d.Logger().Named("renewal")}
		parts = append([]daemon.Component{{Name: "renewal", Run: func(ctx context.Context) error {
			return renewal.RunRenewal(ctx, creds, cfg.Credentials, enrol.Renewal{})
		}}}, parts...)
	}
	return d.Run(ctx, parts...)
}

func credentials(cfg config) (*enrol.Credentials, error) {
	creds, err := enrol.LoadCredentials(cfg.Credentials)
	if err != nil {
		return nil, &cli.Hint{Err: err, Hint: "make them with: pki issue service/ara --out " + cfg.Credentials, ExitCode: cli.ExitConfig}
	}
	return creds, nil
}

// check is what "config check" looks at beyond the file: that what it names can be read.
func check(app *cli.App, cmd *cobra.Command) error {
	cfg := defaultConfig()
	if err := app.Load(&cfg); err != nil {
		return err
	}
	if _, err := credentials(cfg); err != nil {
		return err
	}
	if app.JSON {
		return cli.WriteJSON(cmd.OutOrStdout(), map[string]bool{"good": true})
	}
	return nil
}
