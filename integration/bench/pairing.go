package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/pairing"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
)

func pairingCommand(app *cli.App) *cobra.Command {
	o := pairing.Options{PBXs: 5000, Pairings: 500, Systems: 10_000}
	cmd := &cobra.Command{
		Use:   "pairing",
		Short: "Measure the control centre: thousands of PBXs online, hundreds paired at once",
		Long: "Starts a relay, a control centre and thousands of PBXs, and pairs hundreds of them at\n" +
			"once while people use the pages. The programs are auerproxy and ccc beside this one,\n" +
			"in PATH, or where AUERPROXY and CCC point.",
		Example: "  bench pairing\n  bench pairing --pbxs 500 --pairings 50 --systems 100 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.PBXs < 1 || o.Pairings < 1 || o.Pairings > o.PBXs || o.Systems < 0 {
				return &cli.Hint{Err: errors.New("--pbxs and --pairings are at least 1, --pairings at most --pbxs, --systems at least 0"), ExitCode: cli.ExitUsage}
			}
			if o.Programs, err = cloud.FindPrograms(); err != nil {
				return err
			}
			o.Progress = load.NewProgress(cmd.ErrOrStderr())
			r, err := pairing.Measure(cmd.Context(), o)
			if err != nil {
				return err
			}
			if app.JSON {
				return cli.WriteJSON(cmd.OutOrStdout(), r)
			}
			return r.Write(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.PBXs, "pbxs", o.PBXs, "how many PBXs are online")
	f.IntVar(&o.Pairings, "pairings", o.Pairings, "how many of them are paired at once")
	f.IntVar(&o.Systems, "systems", o.Systems, "how many systems are in the database besides")
	return cmd
}
