package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
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
	cmd.Flags().StringVar(&reason, "reason", "", "`text` for the audit log")
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
