package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

func (p *program) tokenCommand() *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:     "token SERIAL | KIND/NAME",
		Short:   "Make a one-time token with which an endpoint enrols",
		Example: "  pki token 0123456789\n  pki token service/ccc --ttl 1h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			id, err := parseID(c.Authority.TrustDomain, args[0])
			if err != nil {
				return err
			}
			token, err := admin.Token(cmd.Context(), id, ttl)
			if err != nil {
				return explain(err, c)
			}
			if p.JSON {
				return p.Print(cmd, token, nil)
			}
			// The token alone goes to standard output, for use in scripts.
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), token.Token); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "for %s, once, until %s\n", id.Path(), token.Expires.Local().Format(time.DateTime))
			return err
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how `long` the token can be used (default: authority.token_ttl)")
	return cmd
}

func (p *program) issueCommand() *cobra.Command {
	var out string
	var extra profile.Extra
	cmd := &cobra.Command{
		Use:   "issue KIND/NAME --out DIR",
		Short: "Issue a certificate for a service or a relay",
		Long: "Makes a key and a certificate and writes them with the trust bundle to a\n" +
			"directory: cert.pem, key.pem, roots.pem. Devices enrol with a token instead, so\n" +
			"that their key never leaves them; for tests a device can be issued for as well.",
		Example: "  pki issue relay/r1 --out /var/lib/auerproxy/credentials --dns relay1.cloud.example.com\n" +
			"  pki issue service/ccc --out ./ccc --dns localhost --ip 127.0.0.1",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			id, err := parseID(c.Authority.TrustDomain, args[0])
			if err != nil {
				return err
			}
			creds, err := admin.Issue(cmd.Context(), id, extra)
			if err != nil {
				return explain(err, c)
			}
			if err := creds.Save(out); err != nil {
				return err
			}
			return p.printIssued(cmd, creds, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`directory` for certificate, key and trust bundle")
	cmd.Flags().StringSliceVar(&extra.DNS, "dns", nil, "further DNS `name`; may be repeated")
	cmd.Flags().IPSliceVar(&extra.IPs, "ip", []net.IP(nil), "further IP `address`; may be repeated")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func (p *program) printIssued(cmd *cobra.Command, creds *enrol.Credentials, out string) error {
	t := &cli.Table{}
	t.Add("identity", creds.ID())
	t.Add("expires", creds.Leaf().NotAfter.Local().Format(time.DateTime))
	t.Add("written to", out)
	return p.Print(cmd, map[string]any{
		"identity": creds.ID().Path(), "serial": creds.Leaf().SerialNumber.Text(16), "not_after": creds.Leaf().NotAfter, "out": out,
	}, t)
}

func (p *program) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list [SERIAL | KIND/NAME]",
		Short:   "List the certificates of an endpoint, or all",
		Example: "  pki list 0123456789\n  pki list --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			var id identity.ID
			if len(args) == 1 {
				if id, err = parseID(c.Authority.TrustDomain, args[0]); err != nil {
					return err
				}
			}
			list, err := admin.Certificates(cmd.Context(), id)
			if err != nil {
				return explain(err, c)
			}
			if len(list) == 0 && len(args) == 1 && !p.JSON {
				return &cli.Hint{
					Err:  errors.New("nothing was issued for " + id.Path()),
					Hint: "serials keep their leading zeros; \"pki list\" lists everything",
				}
			}
			t := &cli.Table{Header: []string{"IDENTITY", "STATE", "GENERATION", "METHOD", "ISSUED", "EXPIRES", "CERTIFICATE"}}
			for _, e := range list {
				t.Add(e.Identity, e.State, e.Generation, e.Method,
					e.Issued.Local().Format(time.DateTime), e.NotAfter.Local().Format(time.DateTime), e.Serial)
			}
			return p.Print(cmd, list, t)
		},
	}
}
