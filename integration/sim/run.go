package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

func runCommand(app *cli.App) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Connect a fleet, measure it, and report",
		Long: "Connects a fleet of simulated devices, measures the relay while the fleet is idle,\n" +
			"makes calls (--load), kills and restarts the relay (--kill), and prints a report.\n\n" +
			"Without --relay it starts a relay as a process of its own, with a throw-away CA. Over\n" +
			"TCP each device needs a file descriptor in both processes (ulimit -n). Progress goes\n" +
			"to standard error.",
		Example: "  sim run\n" +
			"  sim run --devices 1000 --transport mix --load open:rate=200 --duration 30s --kill\n" +
			"  sim run --transport tcp --load closed:users=32 --targets 100 --json\n" +
			"  sim run --relay relay.example.net:7844 --ca certs --devices 1000 --idle 0",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			report, err := simulate(cmd.Context(), o, load.NewProgress(cmd.ErrOrStderr()))
			if report.Connect == nil {
				return err
			}
			if err != nil {
				// What was measured before is worth seeing.
				report.Failures = append(report.Failures, err.Error())
			}
			report.Settings = settings(cmd)
			return errors.Join(publish(cmd, app, o.out, report, report.Failures), err)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// written is a report that people can read.
type written interface{ Write(w io.Writer) error }

// publish prints the report, and gives an error if it tells of failures.
func publish(cmd *cobra.Command, app *cli.App, out string, report written, failures []string) error {
	if out != "" {
		if err := writeJSON(out, report); err != nil {
			return err
		}
	}
	var err error
	if app.JSON {
		err = cli.WriteJSON(cmd.OutOrStdout(), report)
	} else {
		err = report.Write(cmd.OutOrStdout())
	}
	if err == nil && len(failures) > 0 {
		err = errors.New("not everything went well, see the report")
	}
	return err
}
