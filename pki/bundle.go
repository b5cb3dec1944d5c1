package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

func (p *program) bundleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Show and change the roots that everybody trusts",
		Long: "Changes the root of a PKI in steps, each of which cuts nobody off:\n\n" +
			"  pki bundle add NEW --cross CROSS   endpoints fetch it, within a day\n" +
			"  pki bundle status NEW              how many have\n" +
			"  pki ceremony request|sign|install  intermediates below it\n" +
			"  pki bundle activate NEW            certificates come from these\n" +
			"  pki bundle retire OLD              when nothing below it is in use\n\n" +
			"Roots are named by the first eight digits of their fingerprint, or more.",
	}
	cmd.AddCommand(
		p.bundleShowCommand(), p.bundleAddCommand(), p.bundleStatusCommand(),
		p.bundleChangeCommand("activate", "Issue below a root from now on", "although not enough endpoints know it", server.Admin.ActivateRoot),
		p.bundleChangeCommand("retire", "End the trust in a root", "although certificates below it are in use", server.Admin.RetireRoot),
	)
	return cmd
}

func (p *program) bundleShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the roots and the intermediates",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			trust, err := admin.Trust(cmd.Context())
			if err != nil {
				return explain(err, c)
			}
			return p.printTrust(cmd, trust)
		},
	}
}

func (p *program) printTrust(cmd *cobra.Command, trust server.Trust) error {
	t := &cli.Table{Header: []string{"VERSION " + strconv.FormatUint(trust.Bundle.Version, 10), "STATE", "EXPIRES", "NAME"}}
	for _, r := range trust.Bundle.Roots {
		print := enrol.Fingerprint(r.Certificate)
		t.Add(print[:16], r.State, r.Certificate.NotAfter.Local().Format(time.DateTime), r.Certificate.Subject.CommonName)
		for _, i := range trust.Issuers {
			if i.Root == print {
				state := "older"
				if i.Active {
					state = "active"
				}
				t.Add("  "+i.Fingerprint[:14], state, i.NotAfter.Local().Format(time.DateTime), fmt.Sprintf("%s, generation %d", i.Role, i.Generation))
			}
		}
	}
	return p.Print(cmd, trust, t)
}

func (p *program) bundleAddCommand() *cobra.Command {
	var crossPaths []string
	cmd := &cobra.Command{
		Use:   "add ROOT --cross CROSS",
		Short: "Let everybody trust another root",
		Long: "Adds a root, from a PEM file, with its cross certificate by a root that is trusted\n" +
			"already (\"pki ceremony cross-sign\"). Endpoints believe no root without one, whatever\n" +
			"the PKI says. For a root that is there, a further cross certificate is added.",
		Example: "  pki bundle add /media/usb/root-2/roots.pem --cross /media/usb/cross/cross.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			root, err := readCertificates(args[0])
			if err != nil {
				return err
			}
			var cross []byte
			for _, path := range crossPaths {
				certs, err := readCertificates(path)
				if err != nil {
					return err
				}
				cross = append(cross, enrol.EncodeCertificates(certs...)...)
			}
			trust, err := admin.AddRoot(cmd.Context(), enrol.EncodeCertificates(root...), cross)
			if err != nil {
				return explain(err, c)
			}
			return p.printTrust(cmd, trust)
		},
	}
	cmd.Flags().StringArrayVar(&crossPaths, "cross", nil, "PEM `file` with a cross certificate; may be repeated")
	return cmd
}

func (p *program) bundleChangeCommand(name, short, although string, change func(server.Admin, context.Context, string, bool) (server.Trust, error)) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   name + " FINGERPRINT",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			trust, err := change(admin, cmd.Context(), args[0], force)
			if err != nil {
				return explain(err, c)
			}
			return p.printTrust(cmd, trust)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "do it "+although)
	return cmd
}

func (p *program) bundleStatusCommand() *cobra.Command {
	stragglers := 20
	cmd := &cobra.Command{
		Use:   "status [FINGERPRINT]",
		Short: "Show how many endpoints know a root, or the newest bundle",
		Long: "Counts the endpoints with a certificate in use that have reported a bundle with the\n" +
			"root, or the newest bundle, and lists those that have not.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			fingerprint := ""
			if len(args) == 1 {
				fingerprint = args[0]
			}
			status, err := admin.Rollout(cmd.Context(), fingerprint, stragglers)
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{Header: []string{"KIND", "ENDPOINTS", "CURRENT", "PERCENT"}}
			for _, k := range status.Kinds {
				t.Add(k.Kind, k.Endpoints, k.Current, fmt.Sprintf("%.1f", k.Percent))
			}
			t.Add("")
			for _, s := range status.Stragglers {
				seen := "never reported"
				if !s.Seen.IsZero() {
					seen = fmt.Sprintf("version %d, %s", s.Version, s.Seen.Local().Format(time.DateTime))
				}
				t.Add(s.Identity, seen, "expires "+s.Expires.Local().Format(time.DateTime))
			}
			if status.More > 0 {
				t.Add(fmt.Sprintf("and %d more", status.More))
			}
			return p.Print(cmd, status, t)
		},
	}
	cmd.Flags().IntVar(&stragglers, "stragglers", stragglers, "list at most this `number` of endpoints")
	return cmd
}
