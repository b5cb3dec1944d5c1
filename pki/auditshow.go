package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// followEvery is how often --follow looks for new entries.
const followEvery = time.Second

func (p *program) auditShowCommand() *cobra.Command {
	var after uint64
	var follow bool
	cmd := &cobra.Command{
		Use:   "show [SERIAL | KIND/NAME]",
		Short: "Show the entries, oldest first",
		Long: "Shows the entries, oldest first: all of them, or those about one endpoint. With\n" +
			"--follow, waits for more; --json then prints one object per line.",
		Example: "  pki audit show 0123456789\n  pki audit show --after 1000 --follow --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			source := auditSource{admin: admin}
			if len(args) == 1 {
				id, err := parseID(c.Authority.TrustDomain, args[0])
				if err != nil {
					return err
				}
				source.identity = id.Path()
				if source.key, err = p.logKey("", c); err != nil {
					return err
				}
			}
			if follow {
				return explainLog(p.follow(cmd, source.each, after), c)
			}
			list, t := []audit.Entry{}, auditTable()
			err = source.each(cmd.Context(), after, func(e audit.Entry) error {
				list = append(list, e)
				addEntry(t, e)
				return nil
			})
			if err != nil {
				return explainLog(err, c)
			}
			return p.Print(cmd, list, t)
		},
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "show entries after this `number` only")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	return cmd
}

func auditTable() *cli.Table {
	return &cli.Table{Header: []string{"SEQ", "TIME", "EVENT", "IDENTITY", "GENERATION", "BY", "REASON"}}
}

func addEntry(t *cli.Table, e audit.Entry) {
	t.Add(e.Seq, e.Time.Local().Format(time.DateTime), e.Event, e.Identity, e.Generation, e.Actor, e.Reason)
}

// auditSource gives entries: all, or those of one identity with their proofs verified.
type auditSource struct {
	admin    server.Admin
	identity string
	key      audit.Key
}

func (s auditSource) each(ctx context.Context, after uint64, f func(audit.Entry) error) error {
	if s.identity == "" {
		for e, err := range s.admin.Audit(ctx, after) {
			if err == nil {
				err = f(e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	log := s.admin.Log(s.key)
	for more := true; more; {
		page, entries, err := log.Find(ctx, audit.Query{Identity: s.identity, After: after})
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.Seq
			if err := f(e); err != nil {
				return err
			}
		}
		more = page.More && len(entries) > 0
	}
	return nil
}

// follow prints the entries that each gives, until it is interrupted.
func (p *program) follow(cmd *cobra.Command, each func(context.Context, uint64, func(audit.Entry) error) error, after uint64) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	t := auditTable()
	for {
		n := 0
		encode := json.NewEncoder(cmd.OutOrStdout())
		err := each(cmd.Context(), after, func(e audit.Entry) error {
			after = e.Seq
			n++
			if p.JSON {
				return encode.Encode(e)
			}
			addEntry(t, e)
			return nil
		})
		if err == nil && n > 0 && !p.JSON {
			err = t.Write(cmd.OutOrStdout())
			t = &cli.Table{} // the header once
		}
		if err != nil {
			if cmd.Context().Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}
