package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load/capacity"
)

// capacityOptions are the flags of "sim capacity".
type capacityOptions struct {
	demand    capacity.Demand
	machine   capacity.Machine
	transport string
	bulk      configs.Bytes
	memory    configs.Bytes
	udpBuffer configs.Bytes
	link      float64
	constants string
}

func capacityCommand(app *cli.App) *cobra.Command {
	o := capacityOptions{machine: capacity.DefaultMachine()}
	cmd := &cobra.Command{
		Use:   "capacity",
		Short: "Predict relays, memory, CPU, packets, storm and cost of a fleet on paper",
		Long: "Predicts what a fleet needs, from constants that were measured on one machine; it\n" +
			"starts nothing. Rates are those of the whole fleet. The constants that are part of the\n" +
			"program can be replaced by those of another machine, see \"sim capacity measure\"; how\n" +
			"far a prediction can be trusted says \"sim capacity check\".",
		Example: "  sim capacity --devices 1000000 --transport mix --heartbeat 20s --calls 116 --bulk 10MB\n" +
			"  sim capacity --devices 10000000 --transport quic=0.8 --slots 2 --price-relay 250 --price-tb 90 --json\n" +
			"  sim capacity --devices 100000 --cores 4 --memory 16GiB --constants constants.yaml",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := o.predict()
			if err != nil {
				return err
			}
			if app.JSON {
				return cli.WriteJSON(cmd.OutOrStdout(), p)
			}
			return p.Write(cmd.OutOrStdout())
		},
	}
	o.register(cmd.Flags())
	cmd.AddCommand(capacityMeasureCommand(app), capacityCheckCommand(app))
	return cmd
}

func (o *capacityOptions) register(f *pflag.FlagSet) {
	d, m := &o.demand, &o.machine
	o.memory, o.udpBuffer = configs.Bytes(m.Memory), configs.Bytes(m.UDPBuffer)
	f.IntVar(&d.Devices, "devices", 1_000_000, "how many devices")
	f.IntVar(&d.Slots, "slots", 1, "tunnels of each device, at different relays")
	f.StringVar(&o.transport, "transport", "mix", "quic, tcp, mix (half of each), or quic=SHARE, e.g. quic=0.8")
	f.DurationVar(&d.Heartbeat, "heartbeat", 20*time.Second, "time between two heartbeats of a device")
	f.Float64Var(&d.Calls, "calls", 0, "calls per second")
	f.Float64Var(&d.FirstCalls, "first-calls", 1, "share of the calls, 0 to 1, that have to make an end-to-end session")
	f.IntVar(&d.Streams, "streams", 0, "idle end-to-end sessions that callers keep")
	f.IntVar(&d.Callers, "callers", 0, "sessions of callers, each with a connection to every relay")
	f.TextVar(&o.bulk, "bulk", configs.Bytes(0), "payload per second through the tunnels, `bytes` in both directions together, e.g. 100MB")

	f.Float64Var(&m.Cores, "cores", m.Cores, "cores of a relay")
	f.Float64Var(&m.Speed, "speed", m.Speed, "speed of these cores, as a multiple of the measured machine's")
	f.TextVar(&o.memory, "memory", o.memory, "memory of a relay in `bytes`")
	f.Float64Var(&o.link, "link", m.Link/1e9, "network of a relay, Gbit/s each way")
	f.Float64Var(&m.UseCPU, "use-cpu", m.UseCPU, "share of the cores that may be busy when all is quiet")
	f.Float64Var(&m.UseMemory, "use-memory", m.UseMemory, "share of the memory that may be in use")
	f.Float64Var(&m.UseLink, "use-link", m.UseLink, "share of the network that may be in use")
	f.Float64Var(&m.Tunnels, "max-tunnels", m.Tunnels, "tunnels that a relay takes (relay.limits.tunnels)")
	f.Float64Var(&m.Handshakes, "handshake-rate", m.Handshakes, "handshakes per second that a relay admits (relay.limits.handshakes_per_second)")
	f.DurationVar(&m.Back, "back-within", m.Back, "how long the tunnels of one relay may take to come back to it")
	f.TextVar(&o.udpBuffer, "udp-buffer", o.udpBuffer, "receive buffer of a relay's UDP socket in `bytes`")
	f.IntVar(&m.Spare, "spare", m.Spare, "relays beside those that are needed")
	f.Float64Var(&m.PriceRelay, "price-relay", m.PriceRelay, "price of a relay for a month, in any currency")
	f.Float64Var(&m.PriceTB, "price-tb", m.PriceTB, "price of a TB that relays send")
	f.StringVar(&o.constants, "constants", "", "`file` of constants; empty: those of the program")
}

// predict takes the flags together. Wrong ones are wrong use.
func (o *capacityOptions) predict() (capacity.Prediction, error) {
	c, err := constants(o.constants)
	if err != nil {
		return capacity.Prediction{}, err
	}
	o.demand.QUIC, err = capacity.ParseMix(o.transport)
	o.demand.BulkBytes = float64(o.bulk)
	o.machine.Memory, o.machine.UDPBuffer, o.machine.Link = float64(o.memory), float64(o.udpBuffer), 1e9*o.link
	p, predictErr := capacity.Predict(c, o.demand, o.machine)
	if err = errors.Join(err, predictErr); err != nil {
		return p, &cli.Hint{Err: err, Hint: `see "sim capacity --help"`, ExitCode: cli.ExitUsage}
	}
	return p, nil
}

// constants reads a file of constants, or gives those of the program.
func constants(path string) (capacity.Constants, error) {
	if path == "" {
		return capacity.Default()
	}
	c, err := capacity.Load(path)
	if err != nil {
		return c, &cli.Hint{Err: err, Hint: `"sim capacity measure" writes such a file`, ExitCode: cli.ExitConfig}
	}
	return c, nil
}
