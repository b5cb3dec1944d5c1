package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
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
	only      []string
	work      []string
	rounds    int
	duration  time.Duration
	devices   int
	heartbeat time.Duration
	idle      time.Duration
	peer      string
	judged    bool // only what some target needs
	output

	// What the names stand for; set by validate.
	contestants []peer.Contestant
	works       []work.Work
}

func (o *options) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.only, "only", o.only, "contestants to measure, see \"bench contestants\"; empty: all but variants")
	f.StringSliceVar(&o.work, "work", o.work, "works to measure: down, up, req, open or idle, and a number of connections; none: the fleet alone")
	f.IntVar(&o.rounds, "rounds", o.rounds, "how often everything is measured")
	f.DurationVar(&o.duration, "duration", o.duration, "how long each work of each contestant takes in a round")
	f.IntVar(&o.devices, "devices", o.devices, "size of the fleet for tunnels, heartbeats and the storm; 0: no fleet")
	f.DurationVar(&o.heartbeat, "heartbeat", 20*time.Second, "heartbeat of the fleet")
	f.DurationVar(&o.idle, "idle", 20*time.Second, "how long the idle fleet is measured; a whole number of heartbeats")
	f.StringVar(&o.peer, "peer", "frp-mux", "`contestant` that the ratios of the table are to")
	o.output.register(f)
}

// validate looks the names up.
func (o *options) validate() error {
	var errs []error
	for _, c := range peer.All() { // in this order, whatever that of the names
		if len(o.only) == 0 && !c.Variant || slices.Contains(o.only, c.Name) {
			o.contestants = append(o.contestants, c)
		}
	}
	for _, name := range o.only {
		if _, ok := peer.Find(name); !ok {
			errs = append(errs, fmt.Errorf("--only %q, see \"bench contestants\"", name))
		}
	}
	for _, name := range o.work {
		if name == "none" {
			continue
		}
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
	if o.devices < 0 || o.heartbeat < time.Second || o.idle <= 0 {
		errs = append(errs, errors.New("--devices cannot be negative, --heartbeat is at least 1s, and --idle more than none"))
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
	return report, o.finish(report, o.print)
}

// print prints the tables and the targets.
func (o *options) print(w io.Writer, r *score.Report) error {
	if err := r.Write(w, o.peer); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\nTARGETS"); err != nil {
		return err
	}
	return score.WriteTargets(w, r.Judge())
}
