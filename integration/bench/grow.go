package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/figure"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/fleet"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// grown are the metrics that growth is shown of.
func grown() []score.Metric {
	return []score.Metric{score.TunnelMemory, score.Accepts, score.IdleCPU, score.Storm}
}

// growth is what fleets of some sizes cost over one transport.
type growth struct {
	Transport string      `json:"transport"`
	Points    []growPoint `json:"points"`
}

type growPoint struct {
	Devices int                      `json:"devices"`
	Figures map[score.Metric]float64 `json:"figures,omitempty"`
	// Failures say what was not as it should be, or why there are no figures.
	Failures []string `json:"failures,omitempty"`
}

func growCommand(app *cli.App) *cobra.Command {
	var (
		sizes, transports = []int{1000, 10_000, 50_000}, []string{"tcp", "quic"}
		o                 fleet.Options
		out               string
	)
	cmd := &cobra.Command{
		Use:   "grow",
		Short: "Measure what a tunnel costs in fleets of several sizes, and draw it",
		Long: "Each size is a run of program sim with a relay of its own: memory of an idle tunnel,\n" +
			"handshakes per second of a core, CPU of the heartbeats, and the time until all are\n" +
			"back after a kill -9. Over TCP each device needs an open file in both processes; a\n" +
			"size that the machine cannot hold is a row that says why.",
		Example: "  bench grow --out growth\n  bench grow --devices 1000,5000 --transport quic --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(sizes) == 0 || slices.Min(sizes) < 1 || len(transports) == 0 || o.Heartbeat < time.Second || o.Idle <= 0 {
				return &cli.Hint{
					Err:  errors.New("--devices and --transport cannot be empty, --heartbeat is at least 1s, and --idle more than none"),
					Hint: `see "bench grow --help"`, ExitCode: cli.ExitUsage,
				}
			}
			path, err := fleet.FindSim()
			if err != nil {
				return err
			}
			list, err := grow(cmd.Context(), load.NewProgress(cmd.ErrOrStderr()), path, sizes, transports, o)
			if err != nil {
				return err
			}
			if out != "" {
				if err := drawGrowth(out, list); err != nil {
					return err
				}
			}
			return app.Print(cmd, list, growthTable(list))
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&sizes, "devices", sizes, "sizes of the fleets")
	f.StringSliceVar(&transports, "transport", transports, "tcp, quic")
	f.DurationVar(&o.Heartbeat, "heartbeat", 20*time.Second, "heartbeat of the fleets")
	f.DurationVar(&o.Idle, "idle", 20*time.Second, "how long an idle fleet is measured; a whole number of heartbeats")
	f.DurationVar(&o.Patience, "patience", 10*time.Minute, "how long a fleet may take to connect, and to come back")
	f.StringVar(&out, "out", "", "write a figure for each metric to this `directory`, which exists")
	return cmd
}

func grow(ctx context.Context, progress *load.Progress, sim string, sizes []int, transports []string, o fleet.Options) ([]growth, error) {
	var list []growth
	for _, t := range transports {
		g := growth{Transport: t}
		for _, n := range sizes {
			progress.Say("%d devices over %s", n, t)
			o.Devices, o.Transport = n, t
			figures, failures, err := fleet.Measure(ctx, sim, o)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil { // e.g. too few open files for so many
				failures = append(failures, err.Error())
			}
			g.Points = append(g.Points, growPoint{n, figures, failures})
		}
		list = append(list, g)
	}
	return list, nil
}

func growthTable(list []growth) *cli.Table {
	t := &cli.Table{Header: []string{"TRANSPORT", "TUNNELS"}}
	for _, m := range grown() {
		t.Header = append(t.Header, string(m))
	}
	t.Header = append(t.Header, "FAILURES")
	for _, g := range list {
		for _, p := range g.Points {
			row := []any{g.Transport, p.Devices}
			for _, m := range grown() {
				text := "-"
				if v, ok := p.Figures[m]; ok {
					text = fmt.Sprintf("%.4g", v)
				}
				row = append(row, text)
			}
			first := ""
			if len(p.Failures) > 0 {
				first = p.Failures[0]
			}
			t.Add(append(row, first)...)
		}
	}
	return t
}

// drawGrowth draws every metric over the size of the fleet.
func drawGrowth(dir string, list []growth) error {
	for _, m := range grown() {
		var lines []figure.Line
		for _, g := range list {
			line := figure.Line{Name: g.Transport}
			for _, p := range g.Points {
				if v, ok := p.Figures[m]; ok {
					line.Points = append(line.Points, figure.Point{X: float64(p.Devices), Y: v})
				}
			}
			lines = append(lines, line)
		}
		if err := figure.WriteGrowth(filepath.Join(dir, "growth-"+figure.FileName(m)+".svg"), m, "tunnels", lines); err != nil {
			return err
		}
	}
	return nil
}
