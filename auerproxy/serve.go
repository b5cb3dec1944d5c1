package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

func serveCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run a relay",
		Long: "Runs a relay until SIGINT or SIGTERM; it then drains: devices move to another\n" +
			"relay first, running streams go on until relay.drain.deadline. A second signal\n" +
			"ends it at once.",
		Example: "  auerproxy serve --config /etc/auerproxy.yaml\n  auerproxy serve --config auerproxy.yaml --set relay.listen=:443",
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

func serve(ctx context.Context, cfg config) error {
	d, err := daemon.New(cfg.Config, "auerproxy")
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
		return &cli.Hint{Err: err, Hint: "make them with: pki issue relay/<id> --out " + cfg.Credentials, ExitCode: cli.ExitConfig}
	}
	cfg.Relay.Credentials = creds
	cfg.Relay.Logger = d.Logger().Named("relay")
	cfg.Relay.Metrics = d.Registry()
	cfg.Relay.AccessLog = d.AccessLog()
	var names *servercert.Server
	if cfg.Names.Enabled() {
		cfg.Names.Listen, cfg.Names.Roots = cfg.Relay.Listen, creds.Pool
		cfg.Names.Logger, cfg.Names.Gauge = d.Logger().Named("names"), daemon.Gauge(d.Registry())
		if names, err = servercert.New(cfg.Names); err != nil {
			return configs.Under("names", err)
		}
		cfg.Relay.Names = names
	}
	r, err := relay.New(cfg.Relay)
	if err != nil {
		return err
	}
	admin := r.AdminHandler()
	d.Admin().Handle("/v1/", admin)

	parts := []daemon.Component{{
		Name:  "relay",
		Run:   r.Run,
		Ready: r.Ready(),
		Drain: func(ctx context.Context) error { r.Drain(ctx); return nil },
	}}
	if names != nil {
		// The CA proves names at the relay's port, which the relay must have by then.
		parts = append(parts, daemon.Component{Name: "names", Run: names.Run})
	}
	if cfg.PKI.URL != "" {
		feed, err := blocks.New(blocks.Config{
			URL: cfg.PKI.URL, Credentials: creds, CacheFile: blocksFile(cfg.Relay.StateDir), Logger: d.Logger().Named("blocks"),
		})
		if err != nil {
			return err
		}
		renewal := &enrol.Client{URL: cfg.PKI.URL, TrustDomain: creds.ID().TrustDomain, Logger: d.Logger().Named("renewal")}
		// The revocation list on disk is loaded before the relay accepts anybody.
		parts = append([]daemon.Component{
			{Name: "blocks", Ready: feed.Loaded(), Run: func(ctx context.Context) error {
				return feed.Run(ctx, func(l blocks.List) { r.SetBlocks(l) })
			}},
			{Name: "renewal", Run: func(ctx context.Context) error {
				return renewal.RunRenewal(ctx, creds, cfg.Credentials, enrol.Renewal{})
			}},
		}, parts...)
	}
	return d.Run(ctx, parts...)
}

func blocksFile(stateDir string) string {
	if stateDir == "" {
		return ""
	}
	return filepath.Join(stateDir, "blocks.json")
}
