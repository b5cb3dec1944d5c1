package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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
	clock := enrol.OpenClock(enrol.ClockConfig{File: cfg.clockFile(), Logger: log})
	client, err := cfg.PKI.client(clock, log)
	if err != nil {
		return err
	}
	client.KeyFile = cfg.enrollingFile()
	creds, err := credentials(ctx, cfg, client)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped
		}
		return err
	}
	creds.SetClock(clock)
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
	if clock.Behind() {
		log.Warn("the clock is behind", "clock", time.Now(), "at_least", clock.Now())
	}
	if !clock.Now().Before(creds.Leaf().NotAfter) {
		log.Error("the certificate has expired", "since", creds.Leaf().NotAfter)
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveStatus(ctx, status, a) })
	g.Go(func() error { return a.Run(ctx) })
	if cfg.PKI.URL == "" {
		log.Warn("the certificate will not be renewed: pki.url is not set", "expires", creds.Leaf().NotAfter)
	} else {
		client.TrustDomain = creds.ID().TrustDomain
		if cfg.PKI.RenewVia != viaDirect {
			client.Through = func(ctx context.Context) (net.Conn, error) { return a.DialRaw(ctx, enrol.ServiceName) }
			client.OnlyThrough = cfg.PKI.RenewVia == viaTunnel
		}
		g.Go(func() error {
			if err := client.RunRenewal(ctx, creds, cfg.credentialsDir(), cfg.PKI.Renewal); ctx.Err() == nil {
				return err
			}
			return nil // stopped
		})
	}
	return g.Wait()
}

// credentials reads the device's credentials; where there are none, the device
// enrols, if it can by itself.
func credentials(ctx context.Context, cfg *Config, client *enrol.Client) (*enrol.Credentials, error) {
	creds, err := enrol.LoadCredentials(cfg.credentialsDir())
	if !errors.Is(err, fs.ErrNotExist) {
		return creds, err
	}
	if !cfg.PKI.enrols() {
		return nil, &cli.Hint{Err: fmt.Errorf("no credentials in %s", cfg.credentialsDir()), Hint: `run "auer-agent enrol" first`}
	}
	if creds, err = cfg.PKI.enrolUntil(ctx, client); err != nil {
		return nil, err
	}
	client.Logger.Info("enrolled", "device", creds.ID(), "expires", creds.Leaf().NotAfter)
	return creds, keep(cfg, creds)
}
