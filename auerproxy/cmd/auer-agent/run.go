package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

func runCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Hold the tunnel until the program is stopped",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := Default()
			if err := app.Load(&cfg); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return run(ctx, cmd, &cfg)
		},
	}
}

// run holds the tunnel, renews the certificate and answers "status" until ctx
// ends.
func run(ctx context.Context, cmd *cobra.Command, cfg *Config) error {
	log := cfg.logger(cmd.ErrOrStderr())
	creds, err := enrol.LoadCredentials(cfg.credentialsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return &cli.Hint{Err: fmt.Errorf("no credentials in %s", cfg.credentialsDir()), Hint: `run "auer-agent enrol" first`}
	}
	if err != nil {
		return err
	}
	ac := cfg.Config
	ac.Credentials, ac.Logger, ac.Program = creds, log, program()
	if ac.InstanceID, err = instanceID(cfg.instanceFile()); err != nil {
		return err
	}
	if cfg.ProxyAuthFile != "" {
		auth, err := cfg.ProxyAuthFile.Read()
		if err != nil {
			return err
		}
		ac.ProxyAuth = string(auth)
	}
	a, err := agent.New(ac)
	if err != nil {
		return err
	}
	status, err := listenStatus(ctx, cfg.socket())
	if err != nil {
		return err
	}
	log.Info("started", "device", a.ID(), "expires", creds.Leaf().NotAfter, "version", program())
	if left := time.Until(creds.Leaf().NotAfter); left <= 0 {
		log.Error("the certificate has expired", "since", creds.Leaf().NotAfter)
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveStatus(ctx, status, a) })
	g.Go(func() error { return a.Run(ctx) })
	if cfg.PKI.URL == "" {
		log.Warn("the certificate will not be renewed: pki.url is not set", "expires", creds.Leaf().NotAfter)
	} else {
		client := &enrol.Client{URL: cfg.PKI.URL, TrustDomain: creds.ID().TrustDomain, Logger: log}
		g.Go(func() error {
			if err := client.RunRenewal(ctx, creds, cfg.credentialsDir(), cfg.PKI.Renewal); ctx.Err() == nil {
				return err
			}
			return nil // stopped
		})
	}
	return g.Wait()
}
