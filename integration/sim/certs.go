package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// relayID is the name of the simulator's relay.
const relayID = cloud.RelayName

func certsCommand() *cobra.Command {
	var devices int
	var seed uint64
	var out, domain string
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Make a throw-away CA's certificates for a simulation with a relay elsewhere",
		Long: "Makes a CA, which is forgotten, and its certificates for devices, for the caller\n" +
			"(service/load), for the relay (relay/sim) and for a control centre (service/ccc). Copy\n" +
			"OUT/relay/sim to the relay, name it as its credentials, and let service/load open web\n" +
			"and echo on devices in its policy.",
		Example: "  sim certs --devices 1000 --out certs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			td, err := identity.ParseTrustDomain(domain)
			if err != nil {
				return err
			}
			ca, err := pkitest.NewCA(td)
			if err != nil {
				return err
			}
			err = load.WriteDir(out, load.FromCA(ca, seed), devices,
				append(cloud.Identities(td), identity.Service(td, load.CallerName))...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d devices, relay/%s and service/%s are in %s\n", devices, relayID, load.CallerName, out)
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&devices, "devices", 10_000, "how many devices")
	f.Uint64Var(&seed, "seed", 1, "decides the serials")
	f.StringVar(&out, "out", "certs", "`directory` to write to")
	f.StringVar(&domain, "trust-domain", string(identity.DefaultTrustDomain), "trust domain")
	return cmd
}
