package main

import (
	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func (p *program) acmeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acme",
		Short: "The ACME server for the names of servers",
		Long: "Our servers get the certificates for their own names over ACME, at\n" +
			"server.acme_listen. Which names, server.acme.roles says.",
	}
	device := ""
	eab := &cobra.Command{
		Use:   "eab ROLE",
		Short: "Make a key with which a server opens its account, once",
		Long: "Makes an external account binding key (RFC 8555 §7.3.4) for a role of\n" +
			"server.acme.roles. With --json it is what a server's eab_file holds. Certbot\n" +
			"takes it as --eab-kid and --eab-hmac-key, lego as --kid and --hmac. The account of\n" +
			"a role of PBXs is one PBX's; one that is enrolled gets its key by itself.",
		Example: "  umask 077 && pki acme eab srv-auerproxy --json >/etc/auerproxy/eab.json\n" +
			"  pki acme eab srv-pbx --device 0100000001 --json",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			eab, err := admin.EAB(cmd.Context(), args[0], identity.Serial(device))
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{}
			t.Add("directory", eab.Directory)
			t.Add("key id", eab.KeyID)
			t.Add("HMAC key", eab.HMACKey)
			return p.Print(cmd, eab, t)
		},
	}
	eab.Flags().StringVar(&device, "device", "", "the serial of the PBX, for a role of PBXs")
	cmd.AddCommand(eab)
	return cmd
}
