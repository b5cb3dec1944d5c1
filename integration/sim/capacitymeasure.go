package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/load/capacity"
)

// measureOptions are the flags of "sim capacity measure".
type measureOptions struct {
	small, large int
	heartbeat    time.Duration
	idle         time.Duration
	duration     time.Duration
	settle       int
	machine      string
	out          string
}

func capacityMeasureCommand(_ *cli.App) *cobra.Command {
	var o measureOptions
	cmd := &cobra.Command{
		Use:   "measure",
		Short: "Measure the model's constants on this machine",
		Long: "Runs fleets of two sizes over each transport against a relay of its own, as \"sim run\"\n" +
			"does, and writes the constants of the model as YAML. It takes some three minutes, in\n" +
			"which nothing else should run on the machine. Linux only.",
		Example: "  sim capacity measure --out constants.yaml\n" +
			"  sim capacity measure --small 1000 --large 5000 --idle 1m --machine \"8 cores, EPYC 9354\" --out constants.yaml\n" +
			"  sim capacity --devices 1000000 --constants constants.yaml",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			c, err := o.measure(cmd.Context(), load.NewProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			if o.out == "" {
				return c.Write(cmd.OutOrStdout())
			}
			return writeConstants(o.out, c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *measureOptions) register(f *pflag.FlagSet) {
	f.IntVar(&o.small, "small", 500, "devices of the small fleet, which also makes calls")
	f.IntVar(&o.large, "large", 2000, "devices of the large fleet")
	f.DurationVar(&o.heartbeat, "heartbeat", 10*time.Second, "heartbeat of the fleets")
	f.DurationVar(&o.idle, "idle", 20*time.Second, "how long heartbeats are measured; some heartbeats long")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "how long calls are made, and bulk is sent")
	f.IntVar(&o.settle, "settle", defaultSettle, "heartbeats that a fleet gets to find its path MTU, before packets are counted")
	f.StringVar(&o.machine, "machine", "", "the machine in words; empty: processor, cores, system and Go version")
	f.StringVar(&o.out, "out", "", "write the constants to this `file`; empty: to standard output")
}

func (o *measureOptions) validate() error {
	var err error
	switch {
	case o.small < 1 || o.large <= o.small:
		err = fmt.Errorf("--small %d and --large %d, want at least 1 and more than --small", o.small, o.large)
	case o.heartbeat < time.Second || o.idle <= 0 || o.duration <= 0 || o.settle < 0:
		err = errors.New("--heartbeat has to be at least 1s, --idle and --duration above 0, --settle not negative")
	}
	if err != nil {
		return &cli.Hint{Err: err, Hint: `see "sim capacity measure --help"`, ExitCode: cli.ExitUsage}
	}
	return nil
}

// fleetOptions are those of a fleet against a relay of its own.
func (o *measureOptions) fleetOptions(devices int, transport string) options {
	return options{
		devices: devices, transport: transport, seed: 1, patience: 3 * time.Minute, self: true,
		domain: defaultDomain, heartbeat: o.heartbeat, idle: o.idle,
		load: "closed:users=8", duration: o.duration, services: []string{load.ServiceWeb, load.ServiceEcho},
	}
}

func (o *measureOptions) measure(ctx context.Context, progress *load.Progress) (capacity.Constants, error) {
	c := capacity.Constants{Machine: o.machine, Date: time.Now().UTC().Format(time.DateOnly)}
	if c.Machine == "" {
		c.Machine = describeMachine()
	}
	source := fmt.Sprintf("measured by \"sim capacity measure --small %d --large %d --heartbeat %s --idle %s --duration %s\" of %s on %s",
		o.small, o.large, o.heartbeat, o.idle, o.duration, configs.Version(), c.Date)
	var base float64
	for _, transport := range []string{agent.TransportQUIC, agent.TransportTCP} {
		t, b, err := o.measureTransport(ctx, progress, transport, source)
		if err != nil {
			return c, err
		}
		if transport == agent.TransportQUIC {
			c.QUIC = t
		} else {
			c.TCP = t
		}
		base = max(base, b)
	}
	buffer, err := load.UDPBufferPerPacket(handshakePacket)
	if err != nil {
		return c, err
	}
	c.Base = capacity.NewConstant(base, "bytes", source+": the larger intercept of the two transports")
	c.UDPBuffer = capacity.NewConstant(buffer, "bytes per packet", source+": 1200 bytes of payload, on the loopback")
	return c, c.Validate()
}

// measureTransport runs the fleets of one transport: a small and a large one, and
// one whose heartbeats are fast, so that it settles soon.
func (o *measureOptions) measureTransport(
	ctx context.Context, progress *load.Progress, transport, source string,
) (t capacity.Transport, base float64, err error) {
	var fleets [3]capacity.Measured
	for i, devices := range []int{o.small, o.large, min(o.small, settledDevices)} {
		fo := o.fleetOptions(devices, transport)
		if i == 2 {
			fo.heartbeat = min(o.heartbeat, time.Second)
			fo.idle = min(o.idle, 10*fo.heartbeat)
		}
		if err := fo.validate(); err != nil {
			return t, 0, err
		}
		p := newProbe(fo, progress)
		p.calls = i == 0
		if i == 2 {
			p.settle = time.Duration(o.settle) * fo.heartbeat
		}
		if err := p.measure(ctx); err != nil {
			return t, 0, err
		}
		fleets[i] = p.m
	}
	return capacity.Fit(transport, fleets[0], fleets[1], fleets[2], source)
}

// defaultSettle is how many heartbeats it takes.
const defaultSettle = 5

// settledDevices is the size of the fleet whose packets are counted.
const settledDevices = 50

// handshakePacket is the UDP payload of a QUIC client's first packets (RFC 9000
// §14.1).
const handshakePacket = 1200

// describeMachine says what this machine is.
func describeMachine() string {
	m := thisMachine()
	model := m.Arch
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 && cpus[0].ModelName != "" {
			model = cpus[0].ModelName
		}
	}
	return fmt.Sprintf("%d cores of %s, %s, %s", m.CPUs, strings.TrimSpace(model), m.OS, m.Go)
}

func writeConstants(path string, c capacity.Constants) (err error) {
	f, err := os.Create(path) //nolint:gosec // the path that the user named
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return c.Write(f)
}
