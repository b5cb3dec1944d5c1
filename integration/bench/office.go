package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/office"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
)

func officeCommand(app *cli.App) *cobra.Command {
	o := office.Options{PBXs: 10_000, Tenants: 200, Users: 50, Online: 2000, Duration: time.Minute, Pause: time.Second}
	cmd := &cobra.Command{
		Use:   "office",
		Short: "Measure the control centre: dozens of people at work with thousands of PBXs of hundreds of tenants",
		Long: "Starts a relay, a control centre with a full database, and PBXs, and has people work:\n" +
			"they filter, sort and search lists, look at systems and change them, each with a page\n" +
			"that gets live events. Times are what they wait for an answer. The programs are\n" +
			"auerproxy and ccc beside this one, in PATH, or where AUERPROXY and CCC point.",
		Example: "  bench office\n  bench office --postgres-url-file url --json\n  bench office --pbxs 500 --tenants 10 --users 5 --online 50 --duration 5s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := o.Validate(); err != nil {
				return &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
			}
			if o.Programs, err = cloud.FindPrograms(); err != nil {
				return err
			}
			o.Progress = load.NewProgress(cmd.ErrOrStderr())
			r, err := office.Measure(cmd.Context(), o)
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
	f.IntVar(&o.PBXs, "pbxs", o.PBXs, "how many PBXs there are")
	f.IntVar(&o.Tenants, "tenants", o.Tenants, "how many tenants they are of; the largest has a fifth of them")
	f.IntVar(&o.Users, "users", o.Users, "how many people are at work")
	f.IntVar(&o.Online, "online", o.Online, "how many PBXs are connected")
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long they work")
	f.DurationVar(&o.Pause, "pause", o.Pause, "mean time between two clicks of one person")
	f.StringVar(&o.DatabaseURLFile, "postgres-url-file", "", "`file` with the URL of an empty PostgreSQL database; default: SQLite")
	return cmd
}
