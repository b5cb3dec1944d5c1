package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/peer"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

func runCommand(app *cli.App) *cobra.Command {
	o := options{rounds: 5, duration: 2 * time.Second, devices: 10_000, work: []string{
		"down1", "down8", "down64", "up1", "up8", "up64", "req1", "req32", "req256", "open32", "idle300",
	}}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Measure every contestant with every work, and print tables",
		Example: "  bench run --keep integration/bench/results\n" +
			"  bench run --only direct,frp-mux,e2e-tcp --work down8,req32 --rounds 3 --devices 0\n" +
			"  bench run --work none --devices 50000 --out growth\n" +
			"  FRPS=~/frp/frps FRPC=~/frp/frpc bench run --peer frp-stcp --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.measured(cmd)
			switch {
			case err != nil:
				return err
			case app.JSON:
				return cli.WriteJSON(cmd.OutOrStdout(), r)
			default:
				return o.print(cmd.OutOrStdout(), r)
			}
		},
	}
	o.register(cmd)
	return cmd
}

func quickCommand(app *cli.App) *cobra.Command {
	o := options{rounds: 3, duration: 500 * time.Millisecond, devices: 1000, judged: true, only: score.Judged(), work: []string{
		"down1", "down8", "req1", "req32", "req256", "open32", "idle300",
	}}
	cmd := &cobra.Command{
		Use:   "quick",
		Short: "Hold ours against the targets, in under five minutes",
		Long: "Measures what the targets are about, and nothing else of a contestant.\n" +
			"Prints one line per target: the figure, what is required, what is aimed at, and ok,\n" +
			"short or not measured. The exit code is 1 where a required figure is missed. With few\n" +
			"short rounds, differences under 15 % are noise; a fleet of 1,000 says less than the\n" +
			"10,000 that the targets are for (--devices).",
		Example: "  bench quick\n  bench quick --json\n  bench quick --only frp-mux,same-tcp --work down1 --devices 0",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.measured(cmd)
			if err != nil {
				return err
			}
			list := r.Judge()
			if app.JSON {
				err = cli.WriteJSON(cmd.OutOrStdout(), list)
			} else {
				err = o.print(cmd.OutOrStdout(), r)
			}
			return errors.Join(err, score.Enough(list))
		},
	}
	o.register(cmd)
	return cmd
}

func contestantsCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:     "contestants",
		Short:   "List the contestants, and which of them can run here",
		Example: "  bench contestants",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := peer.NewEnv("")
			if err != nil {
				return err
			}
			var rows []score.Contestant
			t := &cli.Table{Header: []string{"NAME", "CLASS", "VERSION", "ABOUT"}}
			for _, c := range peer.All() {
				row := score.Contestant{Name: c.Name, Class: string(c.Class), About: c.About, Missing: c.Missing(env)}
				state := row.Missing
				if state == "" {
					row.Version = c.Version(cmd.Context(), env)
					state = row.Version
				}
				rows = append(rows, row)
				t.Add(row.Name, row.Class, state, row.About)
			}
			return app.Print(cmd, rows, t)
		},
	}
}
