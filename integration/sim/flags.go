package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// options are the flags of "sim run".
type options struct {
	// What is simulated.
	devices     int
	transport   string
	seed        uint64
	connectRate float64
	connecting  int
	dialing     int
	patience    time.Duration

	// The relay: one of our own, or one that runs already.
	self       bool
	relay      string
	relayPID   int
	ca         string
	domain     string
	heartbeat  time.Duration
	handshakes float64

	// The phases.
	idle     time.Duration
	load     string
	duration time.Duration
	targets  int
	services []string
	churn    float64
	attacks  []string
	rounds   int
	kill     bool

	bystanders int

	out      string
	profiles string

	model load.Model // of load; set by validate
}

func (o *options) register(f *pflag.FlagSet) {
	f.IntVar(&o.devices, "devices", 10_000, "how many devices")
	f.StringVar(&o.transport, "transport", agent.TransportQUIC, "quic, tcp, or mix of both")
	f.Uint64Var(&o.seed, "seed", 1, "decides serials, arrivals and which device is called")
	f.Float64Var(&o.connectRate, "connect-rate", 0, "devices started per second; 0: as fast as --connecting allows")
	f.IntVar(&o.connecting, "connecting", 0, "devices in the process of connecting at once, at first; 0: 16 for each processor")
	f.IntVar(&o.dialing, "dialing", 0, "devices that shake hands at once when all come back; 0: 16 for each processor, -1: no bound")
	f.DurationVar(&o.patience, "patience", 3*time.Minute, "how long the whole fleet may take to connect, and to come back")

	f.BoolVar(&o.self, "self", true, "start a relay as a process of its own; --relay switches it off")
	f.StringVar(&o.relay, "relay", "", "`host:port` of a relay that runs; needs --ca")
	f.IntVar(&o.relayPID, "relay-pid", 0, "process id of that relay, if it is on this machine, to measure memory and CPU")
	f.StringVar(&o.ca, "ca", "", "`directory` of certificates for --relay, see sim certs")
	f.StringVar(&o.domain, "trust-domain", string(identity.DefaultTrustDomain), "trust domain of these certificates")
	f.DurationVar(&o.heartbeat, "heartbeat", 20*time.Second, "heartbeat that the own relay asks for")
	f.Float64Var(&o.handshakes, "handshake-rate", 0, "handshakes per second that the own relay admits; 0: its default")

	f.DurationVar(&o.idle, "idle", 30*time.Second, "how long the idle fleet is measured; 0: not at all")
	f.StringVar(&o.load, "load", "", "calls: open:rate=200[,arrivals=poisson|constant] or closed:users=32[,think=100ms]")
	f.DurationVar(&o.duration, "duration", 30*time.Second, "how long calls are made")
	f.IntVar(&o.targets, "targets", 0, "how many devices are called; 0: all")
	f.StringSliceVar(&o.services, "services", []string{load.ServiceWeb, load.ServiceEcho}, "services that are called")
	f.Float64Var(&o.churn, "churn", 0, "devices restarted per second while calls are made; calls that they miss do not count as failed")
	f.StringSliceVar(&o.attacks, "attack", nil, "measure the calls again while the own relay is attacked: all, or some of "+strings.Join(load.AttackNames(), ", "))
	f.IntVar(&o.rounds, "rounds", 3, "how often the calls are measured without and with each attack, and each storm")
	f.IntVar(&o.bystanders, "bystanders", 0, "restart the whole fleet at once, and measure the calls of so many other devices of the own relay before and meanwhile")
	f.BoolVar(&o.kill, "kill", false, "at the end kill -9 the own relay, start it again, and wait for the fleet")

	f.StringVar(&o.out, "out", "", "write the report as JSON to this `file` too")
	f.StringVar(&o.profiles, "profiles", "", "write CPU and heap profiles, and the own relay's metrics, to this `directory`")
}

// validate checks the combination of flags and parses the load model.
func (o *options) validate() error {
	var err error
	if o.load != "" {
		o.model, err = load.ParseModel(o.load)
	}
	if slices.Equal(o.attacks, []string{"all"}) {
		o.attacks = load.AttackNames()
	}
	for _, name := range o.attacks {
		_, unknown := load.FindAttack(name)
		err = errors.Join(err, unknown)
	}
	switch {
	case err != nil:
	case o.devices < 1:
		err = fmt.Errorf("--devices %d, want at least 1", o.devices)
	case o.relay == "" && !o.self:
		err = errors.New("neither --self nor --relay")
	case o.relay != "" && o.ca == "":
		err = errors.New("--relay needs --ca, the certificates of devices and caller")
	case o.relay == "" && (o.ca != "" || o.relayPID != 0):
		err = errors.New("--ca and --relay-pid go with --relay")
	case o.relay != "" && (o.kill || len(o.attacks) > 0 || o.bystanders > 0 || o.profiles != ""):
		err = errors.New("--kill, --attack, --bystanders and --profiles need a relay of our own")
	case len(o.attacks) > 0 && (o.load == "" || o.rounds < 1):
		err = errors.New("--attack needs --load, and --rounds of at least 1")
	case o.bystanders < 0 || o.bystanders > 0 && o.rounds < 1:
		err = errors.New("--bystanders cannot be negative, and need --rounds of at least 1")
	case o.idle < 0 || o.duration <= 0 || o.patience <= 0:
		err = errors.New("--idle, --duration and --patience cannot be negative")
	case o.targets < 0 || o.targets > o.devices:
		err = fmt.Errorf("--targets %d, want at most --devices", o.targets)
	case o.churn < 0 || o.connectRate < 0 || o.connecting < 0 || o.dialing < -1 || o.handshakes < 0:
		err = errors.New("--churn, --connect-rate, --connecting, --dialing and --handshake-rate cannot be negative")
	case o.churn > 0 && o.load == "":
		err = errors.New("--churn needs --load")
	}
	if err != nil {
		return &cli.Hint{Err: err, Hint: `see "sim run --help"`, ExitCode: cli.ExitUsage}
	}
	return nil
}

// settings are the flags for the report: what was given, and the main ones.
func settings(cmd *cobra.Command) []load.Setting {
	always := map[string]bool{"devices": true, "transport": true, "seed": true, "heartbeat": true}
	var list []load.Setting
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if (f.Changed || always[f.Name]) && f.Name != "out" && f.Name != "json" && f.Name != "profiles" {
			list = append(list, load.Setting{Name: f.Name, Value: f.Value.String()})
		}
	})
	return list
}

// writeJSON writes the report to a file.
func writeJSON(path string, r any) (err error) {
	f, err := os.Create(path) //nolint:gosec // the path that the user named
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return cli.WriteJSON(f, r)
}
