package main

import (
	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/rollout"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
)

func rolloutCommand(app *cli.App) *cobra.Command {
	o := rollout.Options{PBXs: rollout.MostPBXs, Faulty: 3, Parallel: 50}
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Measure the control centre: the settings of a thousand PBXs changed in rings, two of which fail",
		Long: "Starts a relay, a control centre and PBXs, pairs all of them, and changes a setting of\n" +
			"each by a template: dry run, then one PBX, a tenth, and the others. In the second ring\n" +
			"and in the last one more refuse than the plan permits, so that the rollout halts, and is\n" +
			"let go on. Then all is set back. The programs are auerproxy and ccc beside this one, in\n" +
			"PATH, or where AUERPROXY and CCC point.",
		Example: "  bench rollout\n  bench rollout --postgres-url-file url --json\n  bench rollout --pbxs 50 --faulty 2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := o.Validate(); err != nil {
				return &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
			}
			if o.Programs, err = cloud.FindPrograms(); err != nil {
				return err
			}
			o.Progress = load.NewProgress(cmd.ErrOrStderr())
			r, err := rollout.Measure(cmd.Context(), o)
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
	f.IntVar(&o.Faulty, "faulty", o.Faulty, "how many refuse the change in the second ring, and in the last one")
	f.IntVar(&o.Parallel, "parallel", o.Parallel, "how many are changed at once")
	f.StringVar(&o.DatabaseURLFile, "postgres-url-file", "", "`file` with the URL of an empty PostgreSQL database; default: SQLite")
	return cmd
}
