package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/load/capacity"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// defaultDomain is the trust domain of throw-away CAs.
const defaultDomain = string(identity.DefaultTrustDomain)

// checkOptions are the flags of "sim capacity check".
type checkOptions struct {
	measureOptions
	devices   int
	targets   int
	transport string
	factor    float64
	constants string
	kill      bool
}

func capacityCheckCommand(app *cli.App) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Compare a prediction with what a fleet does on this machine",
		Long: "Connects a fleet to a relay of its own, measures what the model predicts, and prints\n" +
			"both with the ratio. The exit code is 1 where a ratio is beyond the factor. The relay\n" +
			"is taken to have half of the processors, the fleet the other half. Linux only.",
		Example: "  sim capacity check\n" +
			"  sim capacity check --devices 10000 --transport tcp --heartbeat 20s --idle 40s --factor 1.5\n" +
			"  sim capacity check --constants constants.yaml --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.check(cmd.Context(), load.NewProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			if app.JSON {
				err = cli.WriteJSON(cmd.OutOrStdout(), c)
			} else {
				err = c.Write(cmd.OutOrStdout())
			}
			if off := len(c.Off()); err == nil && off > 0 {
				err = fmt.Errorf("%d of %d predictions are off by more than a factor of %g", off, len(c.Lines), c.Factor)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.devices, "devices", 2000, "how many devices")
	f.IntVar(&o.targets, "targets", 500, "how many of them are called, at most")
	f.StringVar(&o.transport, "transport", load.TransportMix, "quic, tcp, or mix of both")
	f.DurationVar(&o.heartbeat, "heartbeat", 10*time.Second, "heartbeat of the fleet")
	f.DurationVar(&o.idle, "idle", 20*time.Second, "how long heartbeats are measured")
	f.IntVar(&o.settle, "settle", defaultSettle, "heartbeats that the fleet gets before that to find its path MTU")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "how long calls are made, and bulk is sent")
	f.Float64Var(&o.factor, "factor", 2, "by how much a prediction may be off, up or down")
	f.StringVar(&o.constants, "constants", "", "`file` of constants; empty: those of the program")
	f.BoolVar(&o.kill, "kill", true, "kill the relay too, and wait for the fleet")
	return cmd
}

func (o *checkOptions) check(ctx context.Context, progress *load.Progress) (*capacity.Check, error) {
	o.small, o.large = 1, 2 // not used
	fo := o.fleetOptions(o.devices, o.transport)
	fo.targets = min(o.targets, o.devices)
	usage := func(err error) error {
		return &cli.Hint{Err: err, Hint: `see "sim capacity check --help"`, ExitCode: cli.ExitUsage}
	}
	if err := o.measureOptions.validate(); err != nil {
		return nil, err
	}
	if err := fo.validate(); err != nil {
		return nil, usage(err)
	}
	c, err := constants(o.constants)
	if err != nil {
		return nil, err
	}
	check, err := capacity.NewCheck(c, o.factor)
	if err != nil {
		return nil, usage(err)
	}
	p := newProbe(fo, progress)
	p.calls, p.settle, p.kill = true, time.Duration(o.settle)*o.heartbeat, o.kill
	if err := p.measure(ctx); err != nil {
		return nil, err
	}
	m := capacity.DefaultMachine()
	m.Cores = float64(runtime.NumCPU()) / 2
	demand := capacity.Demand{Devices: o.devices, QUIC: quicShare(o.transport), Heartbeat: o.heartbeat}
	check.Compare(c, demand, p.m)
	check.Add("open files that tunnels add", "", c.Cost(demand, 0).TCPSockets, p.files)
	if k := p.report.Kill; k != nil {
		storm, err := capacity.Predict(c, demand, m)
		if err != nil {
			return nil, err
		}
		check.Add("all back after a kill -9", "s", storm.Storm.Restarted.Seconds(), k.Elapsed.Seconds())
	}
	return check, nil
}
