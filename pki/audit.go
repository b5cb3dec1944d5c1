package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

func (p *program) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read the log of what was done and refused, and prove that it is whole",
		Long: "The audit log has an entry for everything that was issued, refused and blocked.\n" +
			"Its head is signed, and anybody may fetch it: who keeps one sees later whether\n" +
			"the log was rewritten, and a certificate without an entry cannot be hidden.",
		Example: "  pki audit show 0123456789\n" +
			"  pki audit verify --since kept.checkpoint\n" +
			"  pki audit prove cert.pem",
	}
	cmd.AddCommand(p.auditShowCommand(), p.auditVerifyCommand(), p.auditHeadCommand(), p.auditProveCommand())
	return cmd
}

func (p *program) auditVerifyCommand() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read the whole log and check that nothing was changed, removed or added",
		Long: "Checks every entry: the chain of hashes, the hash tree and the signed head. With\n" +
			"--since, also checks that the log still contains all that it had when the\n" +
			"checkpoint in FILE was signed: without one that was kept elsewhere, a log that\n" +
			"was cut off or rewritten as a whole looks like any other.",
		Example: "  pki audit head --out kept.checkpoint\n  pki audit verify --since kept.checkpoint",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			key, err := p.logKey("", c)
			if err != nil {
				return err
			}
			var kept audit.Checkpoint
			if since != "" {
				if kept, err = readCheckpoint(since, key); err != nil {
					return err
				}
			}
			v, err := admin.VerifyAudit(cmd.Context())
			if errors.Is(err, enrol.ErrForbidden) {
				return &cli.Hint{Err: err, Hint: "stop issuing; compare with a backup of the store, and with the checkpoints that others kept"}
			}
			if err != nil {
				return explain(err, c)
			}
			t := &cli.Table{}
			t.Add(fmt.Sprintf("the log is whole: %d entries, the last %s", v.Entries, v.Head))
			if since != "" {
				if _, err := admin.Log(key).Since(cmd.Context(), kept); err != nil {
					return explainLog(err, c)
				}
				t.Add(fmt.Sprintf("it contains all %d entries of %s", kept.Size, since))
			}
			return p.Print(cmd, v, t)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "checkpoint that was kept, a `file` of \"pki audit head --out\"")
	return cmd
}

func (p *program) auditHeadCommand() *cobra.Command {
	var since, out string
	remote := &remoteLog{}
	cmd := &cobra.Command{
		Use:   "head",
		Short: "Show the signed head of the log, and compare it with one that was kept",
		Long: "Fetches the newest checkpoint: the signed number of entries and hash of their\n" +
			"tree. With --since, checks that its tree contains that of an older one; with\n" +
			"--out, keeps it. With --url this works from anywhere and needs the log's key\n" +
			"only, so that others can watch over the operator.",
		Example: "  pki audit head --out kept.checkpoint\n" +
			"  pki audit head --url https://pki.example.com:8443 --key log.pub --roots roots.pem \\\n" +
			"      --since kept.checkpoint --out kept.checkpoint",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, c, err := p.openLog(remote)
			if err != nil {
				return err
			}
			var kept audit.Checkpoint
			if since != "" {
				if kept, err = readCheckpoint(since, log.Key); err != nil {
					return err
				}
			}
			head, err := log.Since(cmd.Context(), kept) // the empty tree is in every tree
			if err != nil {
				return explainLog(err, c)
			}
			if out != "" {
				if err := atomicfile.Write(out, []byte(head.Note), 0o644); err != nil {
					return err
				}
			}
			t := &cli.Table{}
			t.Add("entries", head.Size)
			t.Add("root", head.Root)
			t.Add("key", log.Key)
			if since != "" {
				t.Add("since", fmt.Sprintf("contains all %d entries of %s", kept.Size, since))
			}
			return p.Print(cmd, struct {
				audit.Checkpoint
				Key audit.Key `json:"key"`
			}{head, log.Key}, t)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "checkpoint that was kept (`file`)")
	cmd.Flags().StringVar(&out, "out", "", "keep the checkpoint in this `file`")
	remote.flags(cmd)
	return cmd
}

func readCheckpoint(path string, key audit.Key) (audit.Checkpoint, error) {
	text, err := readBounded(path, audit.MaxCheckpoint)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	c, err := key.Checkpoint(text)
	if err != nil {
		return c, &cli.Hint{Err: fmt.Errorf("%s: %w", path, err), Hint: "give a file that \"pki audit head --out\" wrote, and the key of the same log"}
	}
	return c, nil
}

// readBounded reads a file of at most limit bytes and one more, which its parser then
// refuses.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// explainLog adds what to do about what a log, a checkpoint or a proof says.
func explainLog(err error, c config) error {
	for _, known := range []struct {
		is   error
		hint string
	}{
		{audit.ErrForked, "keep both checkpoints: they are signed, and prove that the log was rewritten or restored from an old copy"},
		{audit.ErrNotLogged, "it was issued without an entry, or by another PKI: find out which before anybody trusts it"},
		{audit.ErrProof, "the proof is damaged or forged; fetch a new one without --proof"},
		{audit.ErrCheckpoint, "it is signed by another log, or forged"},
		{enrol.ErrForbidden, "a device reads the entries about itself, and services those that server.log.readers names"},
	} {
		if errors.Is(err, known.is) {
			return &cli.Hint{Err: err, Hint: known.hint}
		}
	}
	return explain(err, c)
}
