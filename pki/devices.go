package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func (p *program) devicesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "The list of devices that may have certificates",
		Long: "A device gets a certificate only if its serial is on the list, whatever else it\n" +
			"shows. Serials come onto it by an import from manufacturing, or one by one with\n" +
			"\"pki token\".",
	}
	cmd.AddCommand(p.devicesListCommand(), p.devicesShowCommand(), p.devicesImportCommand(), p.devicesSecretCommand())
	return cmd
}

func (p *program) devicesListCommand() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:     "list [PREFIX]",
		Short:   "List devices by serial",
		Example: "  pki devices list\n  pki devices list 01234 --only blocked --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			const page = 1000
			list, after := []authority.Device{}, identity.Serial("")
			for {
				more, err := admin.Devices(cmd.Context(), strings.Join(args, ""), after, state, page)
				if err != nil {
					return explain(err, c)
				}
				list = append(list, more...)
				if len(more) < page {
					return p.printDevices(cmd, list)
				}
				after = more[page-1].Serial
			}
		},
	}
	cmd.Flags().StringVar(&state, "only", "", "only devices in this `state`: active, blocked or retired")
	return cmd
}

func (p *program) printDevices(cmd *cobra.Command, list []authority.Device) error {
	t := &cli.Table{Header: []string{"SERIAL", "STATE", "MODEL", "BATCH", "FACTORY KEY", "SECRET", "ENROLLED"}}
	for _, d := range list {
		enrolled := "never"
		if !d.Enrolled.IsZero() {
			enrolled = d.Enrolled.Local().Format(time.DateTime)
		}
		const shown = 16 // digits of the key are enough to compare
		t.Add(string(d.Serial), d.State, d.Model, d.Batch, d.Factory[:min(len(d.Factory), shown)], d.Secret, enrolled)
	}
	return p.Print(cmd, list, t)
}

func (p *program) devicesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show SERIAL",
		Short:   "Show one device",
		Example: "  pki devices show 0123456789 --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, serial, err := p.adminFor(args[0])
			if err != nil {
				return err
			}
			d, err := admin.Device(cmd.Context(), serial)
			if err != nil {
				return explain(err, c)
			}
			return p.printDevices(cmd, []authority.Device{d})
		},
	}
}

func (p *program) devicesImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE.csv | -",
		Short: "Put devices on the list, from manufacturing",
		Long: "Reads a list with a header line. Columns, of which only serial is required:\n" +
			"  serial               ten digits, leading zeros included\n" +
			"  model, batch         free words\n" +
			"  factory_spki_sha256  SHA-256 of the factory certificate's public key, in hex\n" +
			"  secret               factory secret; or secret_hash, its argon2id hash (PHC)\n" +
			"A list with a mistake changes nothing. Importing twice does no harm.",
		Example: "  pki devices import batch-2026-11.csv\n  generate | pki devices import -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			in, err := input(cmd, args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			done, err := admin.ImportDevices(cmd.Context(), in, func(rows int) { progress(cmd.ErrOrStderr(), rows) })
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{}
			t.Add(fmt.Sprintf("%d devices read: %d new, %d changed", done.Rows, done.Added, done.Changed))
			return p.Print(cmd, done, t)
		},
	}
}

func progress(w io.Writer, rows int) { _, _ = fmt.Fprintf(w, "%d devices …\n", rows) }

func (p *program) devicesSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "secret SERIAL",
		Short: "Give a device a new factory secret, good for one enrolment",
		Long: "The secret is printed once; only its hash is kept. It replaces the one before, and\n" +
			"lifts the pause after too many wrong tries.",
		Example: "  pki devices secret 0123456789",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, serial, err := p.adminFor(args[0])
			if err != nil {
				return err
			}
			plain, err := admin.ResetSecret(cmd.Context(), serial)
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{}
			t.Add(plain)
			return p.Print(cmd, map[string]any{"serial": serial, "secret": plain}, t)
		},
	}
}

func (p *program) retireCommand() *cobra.Command {
	var reason string
	var undo bool
	cmd := &cobra.Command{
		Use:   "retire SERIAL",
		Short: "End a device for good",
		Long: "Like \"pki block\", for a device that does not come back. \"pki unblock\" does not\n" +
			"undo it; --undo does, where it was a mistake.",
		Example: "  pki retire 0123456789 --reason scrapped",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, serial, err := p.adminFor(args[0])
			if err != nil {
				return err
			}
			change, said := admin.Retire, "is retired: relays cut it now, and nothing is issued for it any more"
			if undo {
				change, said = admin.Reinstate, "is back; certificates that have not expired work"
			}
			epoch, err := change(cmd.Context(), serial, reason)
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{}
			t.Add(string(serial) + " " + said)
			return p.Print(cmd, map[string]any{"serial": serial, "retired": !undo, "epoch": epoch}, t)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` for the audit log")
	cmd.Flags().BoolVar(&undo, "undo", false, "take the retirement back")
	return cmd
}
