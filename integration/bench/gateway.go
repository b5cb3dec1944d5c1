package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/gateway"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/peer"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// gatewayOptions are the flags of "gateway".
type gatewayOptions struct {
	gateway.Options
	output
}

func gatewayCommand(app *cli.App) *cobra.Command {
	o := gatewayOptions{Options: gateway.Options{Rounds: 3, Duration: 2 * time.Second, Sockets: 500, Sessions: 2000}}
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Compare the gateway for remote access with nginx and Caddy",
		Long: "Measures requests, downloads, uploads and open WebSockets through the gateway, with a\n" +
			"relay and a PBX behind it, beside plain reverse proxies of the same pages; then opens\n" +
			"many sessions at the gateway. The programs are ara, auerproxy, nginx and caddy beside\n" +
			"this one, in PATH, or where ARA, AUERPROXY, NGINX and CADDY point; one that is missing\n" +
			"is a row of the report.",
		Example: "  bench gateway --keep integration/bench/results\n" +
			"  CADDY=~/caddy bench gateway --rounds 1 --duration 500ms --sessions 200 --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.measured(cmd)
			switch {
			case err != nil:
				return err
			case app.JSON:
				return cli.WriteJSON(cmd.OutOrStdout(), r)
			default:
				return printGateway(cmd.OutOrStdout(), r)
			}
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often everything is measured")
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long one measurement takes")
	f.IntVar(&o.Sockets, "sockets", o.Sockets, "how many WebSockets are open at once; 0: none")
	f.IntVar(&o.Sessions, "sessions", o.Sessions, "how many sessions are open at once at the gateway; 0: none")
	o.register(f)
	return cmd
}

func (o *gatewayOptions) measured(cmd *cobra.Command) (*score.Report, error) {
	const most = 4000 // sockets and sessions: each has a connection on both sides
	if o.Rounds < 1 || o.Duration <= 0 || o.Sockets < 0 || o.Sockets > most || o.Sessions < 0 || o.Sessions > most {
		return nil, &cli.Hint{
			Err: errors.New("--rounds is at least 1, --duration above 0, --sockets and --sessions are from 0 to 4000"), ExitCode: cli.ExitUsage,
			Hint: `see "bench gateway --help"`,
		}
	}
	env, err := peer.NewEnv("")
	if err != nil {
		return nil, err
	}
	r := &runner{env: env, progress: load.NewProgress(cmd.ErrOrStderr()), report: newReport()}
	o.Progress = r.progress
	o.Watch = func(ctx context.Context, when string, f func(context.Context) error) error {
		return r.watched(ctx, when, f)
	}
	if err := gateway.Measure(cmd.Context(), o.Options, r.report); err != nil {
		return nil, err
	}
	return r.report, o.finish(r.report, printGateway)
}

func printGateway(w io.Writer, r *score.Report) error { return r.Write(w, gateway.Nginx) }
