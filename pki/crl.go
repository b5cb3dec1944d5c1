package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func (p *program) crlCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crl",
		Short: "The revocation lists for third parties",
		Long: "Relays and services follow the feed of the block list, which is faster. Programs that\n" +
			"know certificates only have revocation lists (RFC 5280 §5), one for each\n" +
			"intermediate, and OCSP, at the public listener.",
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "list",
		Short:   "List the revocation lists that are served",
		Example: "  pki crl list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			lists, err := admin.RevocationLists(cmd.Context())
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{Header: []string{"NAME", "NUMBER", "ENTRIES", "MADE", "AGE"}}
			for _, l := range lists {
				t.Add(l.Name, l.Number, l.Entries, l.Made.Local().Format(time.DateTime), time.Since(l.Made).Round(time.Second))
			}
			return p.Print(cmd, lists, t)
		},
	}, p.crlSaveCommand())
	return cmd
}

func (p *program) crlSaveCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     "save NAME --out FILE",
		Short:   "Save a revocation list (DER)",
		Long:    "Saves the list of an intermediate, or with device, service or relay for a name that of\nthe newest one.",
		Example: "  pki crl save device --out device.crl\n  openssl crl -inform DER -in device.crl -text",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			der, err := admin.RevocationList(cmd.Context(), args[0])
			if err != nil {
				return explain(err, c)
			}
			if err := writeNew(out, func(w io.Writer) error {
				_, err := w.Write(der)
				return err
			}); err != nil {
				return err
			}
			t := &cli.Table{}
			t.Add(fmt.Sprintf("%s, %d bytes", out, len(der)))
			return p.Print(cmd, map[string]any{"name": args[0], "out": out, "bytes": len(der)}, t)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write, which must not be there")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}
