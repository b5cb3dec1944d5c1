package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func (p *program) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export FILE | -",
		Short: "Write everything in the store to a file, as a backup or for another store",
		Long: "Writes certificates, devices, blocks, tokens, audit log and ACME accounts as they\n" +
			"are at one moment, as lines of JSON with a checksum. While \"pki serve\" runs it asks\n" +
			"the server, which goes on serving. The keys are not in it: save the state directory\n" +
			"too. What it writes is as secret as the store.",
		Example: "  pki export /backup/pki-$(date +%F).jsonl\n  pki export - | age -r age1… >pki.jsonl.age",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			from := func(w io.Writer) error {
				err := admin.Export(cmd.Context(), w)
				if !errors.Is(err, server.ErrNotServed) {
					return err
				}
				db, err := authority.OpenStore(cmd.Context(), c.Authority)
				if err != nil {
					return err
				}
				return errors.Join(store.Export(cmd.Context(), db, w), db.Close())
			}
			if args[0] == "-" {
				return explain(from(cmd.OutOrStdout()), c)
			}
			return explain(writeNew(args[0], from), c)
		},
	}
}

// writeNew makes a file that only its owner can read, which is there as a whole or
// not at all. It replaces none.
func writeNew(path string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &cli.Hint{Err: fmt.Errorf("%s is there already", path), Hint: "name another file"}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (p *program) importCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE | -",
		Short: "Fill an empty store with what \"pki export\" wrote",
		Long: "For a restore, and to go from a file to PostgreSQL or back: set authority.store to\n" +
			"the new store first. Stop \"pki serve\" before, and start it afterwards. The store\n" +
			"must be empty; it is filled as a whole or not at all.\n\n" +
			"After a restore from a backup: relays and services keep a block list that is newer\n" +
			"than the restored one and raise an alarm until the next block or unblock, and those\n" +
			"who watch the audit log find that entries are gone.",
		Example: "  pki import /backup/pki-2026-11-26.jsonl --set authority.store.kind=postgres \\\n" +
			"    --set authority.store.postgres.url=postgres://pki@/pki?host=/run/postgresql",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			in, err := input(cmd, args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			if err := importInto(cmd.Context(), c, in); err != nil {
				return explain(err, c)
			}
			t := &cli.Table{}
			t.Add("imported; start it now: pki serve")
			return p.Print(cmd, map[string]any{"imported": true}, t)
		},
	}
}

// input opens a file, or standard input for a dash.
func input(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(name)
}

func importInto(ctx context.Context, c config, in io.Reader) error {
	db, err := authority.OpenStore(ctx, c.Authority)
	if err != nil {
		return err
	}
	return errors.Join(store.Import(ctx, db, in), db.Close())
}
