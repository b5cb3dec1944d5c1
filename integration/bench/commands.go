package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/peer"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/work"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// options are the flags of "run" and "quick".
type options struct {
	only     []string
	work     []string
	rounds   int
	duration time.Duration
	peer     string
	out      string
	force    bool

	// What the names stand for; set by validate.
	contestants []peer.Contestant
	works       []work.Work
}

func (o *options) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.only, "only", nil, "contestants to measure, see \"bench contestants\"; empty: all")
	f.StringSliceVar(&o.work, "work", o.work, "works to measure: down, up, req, open or idle, and a number of connections")
	f.IntVar(&o.rounds, "rounds", o.rounds, "how often everything is measured")
	f.DurationVar(&o.duration, "duration", o.duration, "how long each work of each contestant takes in a round")
	f.StringVar(&o.peer, "peer", "frp-mux", "`contestant` that the ratios of the table are to")
	f.StringVar(&o.out, "out", "", "write `NAME`.json, and NAME.txt for benchstat")
	f.BoolVar(&o.force, "force", false, "report although the machine was too noisy, and say so in the report")
}

// validate looks the names up.
func (o *options) validate() error {
	var errs []error
	if len(o.only) == 0 {
		o.contestants = peer.All()
	}
	for _, name := range o.only {
		c, ok := peer.Find(name)
		if !ok {
			errs = append(errs, fmt.Errorf("--only %q, see \"bench contestants\"", name))
		}
		o.contestants = append(o.contestants, c)
	}
	for _, name := range o.work {
		w, err := work.Parse(name)
		errs = append(errs, err)
		o.works = append(o.works, w)
	}
	if _, ok := peer.Find(o.peer); !ok {
		errs = append(errs, fmt.Errorf("--peer %q, see \"bench contestants\"", o.peer))
	}
	if o.rounds < 1 || o.duration <= 0 || len(o.work) == 0 {
		errs = append(errs, errors.New("--rounds, --duration and --work cannot be empty"))
	}
	if err := errors.Join(errs...); err != nil {
		return &cli.Hint{Err: err, Hint: `see "bench run --help"`, ExitCode: cli.ExitUsage}
	}
	return nil
}

// measured validates, measures, and applies the noise gate.
func (o *options) measured(cmd *cobra.Command) (*score.Report, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	report, err := measure(cmd.Context(), *o, load.NewProgress(cmd.ErrOrStderr()))
	if err != nil {
		return nil, err
	}
	if err := score.Gate(report.Quiet); err != nil {
		if !o.force {
			return nil, &cli.Hint{Err: err, Hint: "try again when the machine is quiet, or see the figures anyway with --force"}
		}
		report.Noisy = err.Error()
	}
	return report, o.save(report)
}

// save writes the files of --out.
func (o *options) save(r *score.Report) error {
	if o.out == "" {
		return nil
	}
	return errors.Join(
		save(o.out+".json", func(w io.Writer) error { return cli.WriteJSON(w, r) }),
		save(o.out+".txt", r.WriteBench),
	)
}

func save(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path) //nolint:gosec // the path that the user named
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

func runCommand(app *cli.App) *cobra.Command {
	o := options{rounds: 5, duration: 2 * time.Second, work: []string{
		"down1", "down8", "down64", "up1", "up8", "up64", "req1", "req32", "req256", "open32", "idle300",
	}}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Measure every contestant with every work, and print tables",
		Example: "  bench run --out results/today\n" +
			"  bench run --only direct,frp-mux,e2e-tcp --work down8,req32 --rounds 3\n" +
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
				return r.Write(cmd.OutOrStdout(), o.peer)
			}
		},
	}
	o.register(cmd)
	return cmd
}

func quickCommand(app *cli.App) *cobra.Command {
	o := options{rounds: 3, duration: 700 * time.Millisecond, work: []string{
		"down1", "down8", "req1", "req32", "req256", "open32", "idle300",
	}}
	cmd := &cobra.Command{
		Use:   "quick",
		Short: "Hold ours against the targets, in under five minutes",
		Long: "Prints one line per target: the figure, what is required, what is aimed at, and ok,\n" +
			"short or not measured. The exit code is 1 where a required figure is missed. With few\n" +
			"short rounds, differences under 15 % are noise.",
		Example: "  bench quick\n  bench quick --json\n  bench quick --only frp-mux,same-tcp --work down1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.measured(cmd)
			if err != nil {
				return err
			}
			var list []score.Judgement
			for _, t := range score.Targets() {
				list = append(list, t.Judge(r.Cells))
			}
			if app.JSON {
				err = cli.WriteJSON(cmd.OutOrStdout(), list)
			} else if err = r.Write(cmd.OutOrStdout(), o.peer); err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "\nTARGETS")
				err = errors.Join(err, score.WriteTargets(cmd.OutOrStdout(), list))
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
