package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
	"github.com/comtrexx-cloud/comtrexx/integration/sim/pbxs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// pbxOptions are the flags of "sim pbx".
type pbxOptions struct {
	pbxs.Options
	domain string
	kinds  []string
	faults []string
	keys   []string // files
	out    string
}

func pbxCommand(app *cli.App) *cobra.Command {
	var o pbxOptions
	cmd := &cobra.Command{
		Use:   "pbx",
		Short: "Run thousands of PBXs, good and hostile ones, against a cloud",
		Long: "Connects thousands of simulated PBXs, pairs some of them through the control centre's\n" +
			"API, has others attack it, dissolves pairings and takes the power from PBXs, and\n" +
			"prints a report. Each PBX has a certificate, a state, calls and a tunnel of its own.\n\n" +
			"Without --relay it starts a relay and a control centre of its own: the programs\n" +
			"auerproxy and ccc beside this one, in PATH, or where AUERPROXY and CCC point. With\n" +
			"--state all of it comes back after a restart: the same PBXs, paired as they were.\n\n" +
			"What the control centre does to the paired ones, they take: settings, restarts and\n" +
			"firmware. With --faulty some do not, and with --stay they are there long enough for a\n" +
			"rollout that somebody starts in the control centre.\n\n" +
			"The exit code is 1 where something was not as it should be: a PBX that does not\n" +
			"connect, a pairing that fails, an attack that is not refused.",
		Example: "  sim pbx --devices 5000 --pair 200 --hostile 0.01 --churn 5\n" +
			"  sim pbx --devices 2000 --connect-rate 50 --calls-per-day 400 --state lab\n" +
			"  sim pbx --devices 300 --pair 20 --hostile 0.1 --hostile-kinds clone,replay --json\n" +
			"  sim pbx --devices 1000 --pair 1000 --faulty 0.02 --faults install,return --stay 1h \\\n" +
			"      --firmware-keys release.pem.pub --state lab\n" +
			"  sim certs --devices 1000 --out certs\n" +
			"  sim pbx --relay relay.example.net:7844 --ca certs --devices 1000\n" +
			"  sim pbx --relay 127.0.0.1:7844 --ca certs --centre http://127.0.0.1:8080 \\\n" +
			"      --email admin@operator.test --password-file first-password --devices 100 --pair 10",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(cmd.Flags()); err != nil {
				return err
			}
			o.Progress = load.NewProgress(cmd.ErrOrStderr())
			report, err := pbxs.Run(cmd.Context(), o.Options)
			if report.Connect == nil {
				return err
			}
			if err != nil {
				// What was seen before is worth seeing.
				report.Failures = append(report.Failures, err.Error())
			}
			report.Settings = settings(cmd)
			return errors.Join(publish(cmd, app, o.out, report, report.Failures), err)
		},
	}
	o.register(cmd.Flags())
	for flag, values := range map[string][]string{"transport": transports, "hostile-kinds": append(kindNames(), allKinds), "faults": faultNames()} {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag is registered above
		}
	}
	return cmd
}

// transports are the values of --transport.
var transports = []string{"quic", "tcp", fleet.TransportMix}

// allKinds stands for all kinds of hostile PBXs.
const allKinds = "all"

func kindNames() (names []string) {
	for _, k := range pbxs.Kinds() {
		names = append(names, string(k))
	}
	return names
}

func faultNames() (names []string) {
	for _, f := range pbx.Faults {
		names = append(names, string(f))
	}
	return names
}

func (o *pbxOptions) register(f *pflag.FlagSet) {
	f.IntVar(&o.PBXs, "devices", 5000, "how many PBXs, good and hostile ones")
	f.StringVar(&o.Transport, "transport", fleet.TransportMix, "quic, tcp, or mix of both")
	f.Uint64Var(&o.Seed, "seed", 1, "decides serials, calls, who is hostile, and what happens to whom")
	f.Float64Var(&o.Rate, "connect-rate", 0, "PBXs started per second; 0: all at once")
	f.IntVar(&o.Dialing, "dialing", 0, "PBXs that shake hands at once; 0: 16 for each processor, -1: no bound")
	f.DurationVar(&o.Patience, "patience", 3*time.Minute, "how long all PBXs may take to connect, and each pairing and each attack to end")
	f.IntVar(&o.CallsPerDay, "calls-per-day", 40, "calls in the call data of each new PBX, 0 to 10000; they follow from the seed")

	f.IntVar(&o.Pair, "pair", 0, "pair so many good PBXs through the API, as a person would")
	f.Float64Var(&o.Hostile, "hostile", 0, "`share` of the PBXs that attack, 0 to 0.5")
	f.StringSliceVar(&o.kinds, "hostile-kinds", []string{allKinds}, "how they attack: all, or some of "+strings.Join(kindNames(), ", "))
	f.Float64Var(&o.Churn, "churn", 0, "PBXs per second that are paired anew, or lose their power for a moment")
	f.DurationVar(&o.Duration, "duration", 30*time.Second, "how long the churn goes on")

	f.Float64Var(&o.Faulty, "faulty", 0, "`share` of the good PBXs with which restarts, settings or firmware go wrong, 0 to 1")
	f.StringSliceVar(&o.faults, "faults", faultNames(), "how: install, firmware cannot be installed; return, it does not come back from a restart; refuse, it takes nothing")
	f.StringSliceVar(&o.keys, "firmware-keys", nil, "`files` with public keys whose firmware is taken, see ccc firmware key new")
	f.DurationVar(&o.Restart, "restart-time", 0, "how long a restart takes; 0: 5s")
	f.DurationVar(&o.Install, "install-time", 0, "how long an installation takes; 0: 5s")
	f.DurationVar(&o.Stay, "stay", 0, "how long the PBXs stay after all else, for work in the control centre")

	f.StringVar(&o.State, "state", "", "`directory` that keeps PBXs, certificates and the own cloud; they come back from it")
	f.StringVar(&o.Relay, "relay", "", "`host:port` of a relay that runs; needs --ca")
	f.StringVar(&o.CA, "ca", "", "`directory` of certificates for --relay, see sim certs")
	f.StringVar(&o.domain, "trust-domain", string(identity.DefaultTrustDomain), "trust domain of the certificates")
	f.StringVar(&o.Centre.URL, "centre", "", "`URL` of a control centre behind --relay; needs --email and --password-file")
	f.StringVar(&o.Centre.Email, "email", "", "who signs in there")
	f.StringVar(&o.Centre.PasswordFile, "password-file", "", "`file` with the password")
	f.StringVar(&o.out, "out", "", "write the report as JSON to this `file` too")
}

// complete checks the combination of flags, and finds the programs.
func (o *pbxOptions) complete(f *pflag.FlagSet) (err error) {
	if o.TrustDomain, err = identity.ParseTrustDomain(o.domain); err != nil {
		return &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
	}
	o.Kinds = nil
	for _, name := range o.kinds {
		k := pbxs.Kind(name)
		switch {
		case name == allKinds:
			o.Kinds = pbxs.Kinds()
		case !strings.Contains(" "+strings.Join(kindNames(), " ")+" ", " "+name+" "):
			err = fmt.Errorf("--hostile-kinds %q, want all, or some of %s", name, strings.Join(kindNames(), ", "))
		default:
			o.Kinds = append(o.Kinds, k)
		}
	}
	o.Faults = nil
	for _, name := range o.faults {
		if !slices.Contains(faultNames(), name) {
			err = fmt.Errorf("--faults %q, want some of %s", name, strings.Join(faultNames(), ", "))
		}
		o.Faults = append(o.Faults, pbx.Fault(name))
	}
	if err == nil {
		err = o.Validate()
	}
	if err == nil && f.Changed("duration") && o.Churn == 0 {
		err = errors.New("--duration is that of --churn")
	}
	if err != nil {
		return &cli.Hint{Err: err, Hint: `see "sim pbx --help"`, ExitCode: cli.ExitUsage}
	}
	if o.Keys, err = firmware.ReadKeys(o.keys...); err != nil {
		return &cli.Hint{Err: err, Hint: `"ccc firmware key new" makes a key pair`}
	}
	if err := checkFiles(o.PBXs, o.Transport); err != nil || o.Relay != "" {
		return err
	}
	o.Programs, err = cloud.FindPrograms()
	return err
}
