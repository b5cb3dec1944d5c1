package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/ca"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/peer"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// caOptions are the flags of "ca".
type caOptions struct {
	ca.Options
	output
}

func caCommand(app *cli.App) *cobra.Command {
	o := caOptions{Options: ca.Options{Clients: 16, Certificates: 4000, Rounds: 3, Stored: 100_000, Revoked: 10_000}}
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Compare the PKI with a stock step-ca: rate, memory, and a large store",
		Long: "Measures how fast certificates are issued, with an empty store and with one that has\n" +
			"many, how long a start takes, and how a revocation comes into the list; beside\n" +
			"step-ca and the cryptography alone. The programs are pki and step-ca in PATH, or\n" +
			"where PKI and STEP_CA point; one that is missing is a row of the report.",
		Example: "  bench ca --keep integration/bench/results\n" +
			"  bench ca --stored 1000000 --stores /var/tmp/stores --out million\n" +
			"  STEP_CA=~/step-ca bench ca --stored 0 --postgres \"postgres://postgres@/bench?host=/run/postgresql\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.measured(cmd)
			switch {
			case err != nil:
				return err
			case app.JSON:
				return cli.WriteJSON(cmd.OutOrStdout(), r)
			default:
				return printCA(cmd.OutOrStdout(), r)
			}
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Clients, "clients", o.Clients, "how many ask at the same time")
	f.IntVar(&o.Certificates, "certificates", o.Certificates, "how many certificates each issues in a round")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often everything is measured")
	f.IntVar(&o.Stored, "stored", o.Stored, "certificates in the large store; 0: no large store")
	f.IntVar(&o.Revoked, "revoked", o.Revoked, "how many of them are revoked")
	f.StringVar(&o.Stores, "stores", "", "keep the large stores in this `directory`, and use those that are there")
	f.StringVar(&o.Postgres, "postgres", "", "`URL` of a database for ours, as in authority.store.postgres.url")
	o.register(f)
	return cmd
}

func (o *caOptions) measured(cmd *cobra.Command) (*score.Report, error) {
	if o.Clients < 1 || o.Certificates < 1 || o.Rounds < 1 || o.Stored < 0 || o.Revoked < 0 || o.Stored > 0 && o.Revoked > o.Stored {
		return nil, &cli.Hint{
			Err: errors.New("--clients, --certificates and --rounds are at least 1, --stored at least 0, --revoked at most --stored"), ExitCode: cli.ExitUsage,
			Hint: `see "bench ca --help"`,
		}
	}
	env, err := peer.NewEnv("")
	if err != nil {
		return nil, err
	}
	r := &runner{env: env, progress: load.NewProgress(cmd.ErrOrStderr()), report: newReport()}
	o.Progress = r.progress
	o.Watch = func(ctx context.Context, when string, others []int, f func(context.Context) error) error {
		r.others = others
		return r.watched(ctx, when, f)
	}
	if err := ca.Measure(cmd.Context(), o.Options, r.report); err != nil {
		return nil, err
	}
	return r.report, o.finish(r.report, printCA)
}

func printCA(w io.Writer, r *score.Report) error { return r.Write(w, ca.StepCA) }
