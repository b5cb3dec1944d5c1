package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

func runCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Be a PBX until the program is stopped",
		Long: `Be a PBX until the program is stopped.

The address of the administration pages is printed, and the administrator's first
password as long as it has not been changed. With --json that is one object.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := Default()
			if err := app.Load(&cfg); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return run(ctx, cmd, app, &cfg)
		},
	}
}

// started is what the command prints.
type started struct {
	Serial        string `json:"serial"`
	URL           string `json:"url"`
	FirstPassword string `json:"first_password,omitempty"`
}

// goodbye is how long requests may take after the end.
const goodbye = 5 * time.Second

func run(ctx context.Context, cmd *cobra.Command, app *cli.App, cfg *Config) error {
	log := cfg.logger(cmd.ErrOrStderr())
	clock := enrol.OpenClock(enrol.ClockConfig{File: cfg.path("clock"), Logger: log})
	client, err := cfg.client(clock, log)
	if err != nil {
		return err
	}
	creds, err := cfg.credentials(ctx, client)
	if err != nil {
		return err
	}
	creds.SetClock(clock)
	ac := cfg.Config
	ac.Program = programName + "/" + configs.Version()
	if ac.InstanceID, err = cfg.instanceID(); err != nil {
		return err
	}
	if cfg.ProxyAuthFile != "" {
		auth, err := cfg.ProxyAuthFile.Read()
		if err != nil {
			return err
		}
		ac.ProxyAuth = string(auth)
	}
	// Where it is in the state directory, as by default, the socket also keeps a second
	// program from the same state.
	status, err := listenStatus(ctx, cfg.socket())
	if err != nil {
		return err
	}
	keys, err := firmware.ReadKeys(cfg.FirmwareKeys...)
	if err != nil {
		return errors.Join(&cli.Hint{Err: err, Hint: "firmware_keys: names files with public keys in PEM"}, status.Close())
	}
	p, err := pbx.New(pbx.Config{
		Dir: cfg.StateDir, Credentials: creds, Clock: clock, Agent: ac, Model: cfg.Model, Firmware: cfg.Firmware, Seed: cfg.Seed,
		OwnServices: cfg.OwnServices, FirmwareKeys: keys, Fault: cfg.Maintenance.Fault,
		Limits: pbx.Limits{
			CompleteFor: cfg.Pairing.CompleteFor, RetryMin: cfg.Pairing.RetryMin, RetryMax: cfg.Pairing.RetryMax,
			SyncEvery: cfg.Pairing.SyncEvery, Refusals: cfg.Pairing.Refusals,
			Restart: cfg.Maintenance.Restart, Install: cfg.Maintenance.Install, MaxFirmware: int64(cfg.Maintenance.MaxFirmware),
		},
		TLSEnd: cfg.tlsEnd(client, creds), Logger: log,
	})
	if err != nil {
		return errors.Join(err, status.Close())
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return errors.Join(&cli.Hint{Err: err, Hint: "listen: names another address, or port 0 for a free one"}, status.Close())
	}
	out := started{Serial: string(p.Serial()), URL: "http://" + ln.Addr().String() + "/"}
	out.FirstPassword, _ = p.FirstPassword()
	if err := announce(cmd, app, out); err != nil {
		return errors.Join(err, ln.Close(), status.Close())
	}
	log.Info("started", "serial", out.Serial, "pages", out.URL, "version", configs.Version())

	client.TrustDomain = creds.ID().TrustDomain
	if p.Agent() != nil {
		client.Through = func(ctx context.Context) (net.Conn, error) { return p.Agent().DialRaw(ctx, enrol.ServiceName) }
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Run(ctx) })
	g.Go(func() error { return serve(ctx, p.Server(), ln) })
	g.Go(func() error { return serveStatus(ctx, status, p, out.URL) })
	if cfg.PKI.URL == "" {
		log.Warn("the certificate will not be renewed: pki.url is not set", "expires", creds.Leaf().NotAfter)
	} else {
		g.Go(func() error {
			if err := client.RunRenewal(ctx, creds, cfg.path("credentials"), cfg.PKI.Renewal); ctx.Err() == nil {
				return err
			}
			return nil // stopped
		})
	}
	return g.Wait()
}

// announce prints where the pages are.
func announce(cmd *cobra.Command, app *cli.App, out started) error {
	t := &cli.Table{}
	t.Add("serial", out.Serial)
	t.Add("administration", out.URL)
	if out.FirstPassword != "" {
		t.Add("user", "admin")
		t.Add("first password", out.FirstPassword)
	}
	return app.Print(cmd, out, t)
}

// serve serves until ctx ends, and lets running requests end then.
func serve(ctx context.Context, srv *http.Server, ln net.Listener) error {
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		done <- srv.Shutdown(ctx)
	})
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("pages: %w", err)
	}
	if err := <-done; err != nil {
		return srv.Close() // they took too long
	}
	return nil
}
