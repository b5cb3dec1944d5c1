package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
)

// blockCommand is block and unblock.
func (p *program) blockCommand(name string, block bool) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   name + " SERIAL | KIND/NAME",
		Short: "End a block",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			id, err := parseID(c.Authority.TrustDomain, args[0])
			if err != nil {
				return err
			}
			change := admin.Unblock
			if block {
				change = admin.Block
			}
			epoch, err := change(cmd.Context(), id, reason)
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{}
			if block {
				t.Add(id.Path() + " is blocked: relays cut it now, and nothing is issued for it")
			} else {
				t.Add(id.Path() + " is not blocked; certificates that have not expired work")
			}
			return p.Print(cmd, map[string]any{"identity": id.Path(), "blocked": block, "epoch": epoch}, t)
		},
	}
	if block {
		cmd.Aliases = []string{"revoke"}
		cmd.Short = "Block an endpoint: all its certificates, now and later"
		cmd.Long = "Blocks an endpoint by its identity. Relays and services hear of it within\n" +
			"milliseconds and close its connections; it cannot enrol or renew until\n" +
			"\"pki unblock\"."
		cmd.Example = "  pki block 0123456789 --reason stolen"
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` for the journal")
	return cmd
}

func (p *program) blocksCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "blocks",
		Short: "List who is blocked, and why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			list, err := admin.Blocks(cmd.Context())
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{Header: []string{"IDENTITY", "SINCE", "BY", "REASON"}}
			for _, b := range list {
				t.Add(b.Identity, b.Time.Local().Format(time.DateTime), b.Actor, b.Reason)
			}
			return p.Print(cmd, list, t)
		},
	}
}

func (p *program) journalCommand() *cobra.Command {
	var after uint64
	var verify bool
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Show what was issued, refused and blocked",
		Long: "Shows the journal, oldest entry first. With --verify, checks that no entry was\n" +
			"changed or removed, and prints the number of entries and the hash of the last:\n" +
			"keep both elsewhere, and an end that was cut off shows as well.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			if verify {
				v, err := admin.VerifyAudit(cmd.Context())
				if err != nil {
					return &cli.Hint{Err: err, Hint: "compare with a backup of pki.db"}
				}
				t := &cli.Table{}
				t.Add("the journal is whole: " + fmt.Sprint(v.Entries) + " entries, the last " + v.Head)
				return p.Print(cmd, v, t)
			}
			t := &cli.Table{Header: []string{"SEQ", "TIME", "EVENT", "IDENTITY", "GENERATION", "BY", "REASON"}}
			list := []audit.Entry{}
			for e, err := range admin.Audit(cmd.Context(), after) {
				if err != nil {
					return explain(err, c)
				}
				list = append(list, e)
				t.Add(e.Seq, e.Time.Local().Format(time.DateTime), e.Event, e.Identity, e.Generation, e.Actor, e.Reason)
			}
			return p.Print(cmd, list, t)
		},
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "show entries after this `number` only")
	cmd.Flags().BoolVar(&verify, "verify", false, "check the chain of hashes")
	return cmd
}
