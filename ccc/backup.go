package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func backupCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy SQLite's database, also while the control centre runs",
		Long: "Writes a copy of the database, as of one moment, to a file that only its owner can\n" +
			"read. It is as secret as the database. The keys are not in it, and belong\n" +
			"elsewhere: without them a restored database has no secrets.\n\n" +
			"PostgreSQL has pg_dump for it.",
		Example: "  ccc backup /backup/ccc-$(date +%F).db --config /etc/ccc.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return openDatabase(cmd.Context(), app, func(db database) error {
				if err := store.Backup(cmd.Context(), db.DB, args[0]); err != nil {
					return err
				}
				return printFile(app, cmd, args[0])
			})
		},
	}
}

// restored says what the database does not have that the backup had.
const restored = "Ended: all sessions, API tokens, recovery codes, open offers of pairings and hand-overs, emergency access.\n" +
	"As at the backup, so look through them: accounts, roles, grants, passwords, passkeys and apps for codes.\n"

func restoreCommand(app *cli.App) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make SQLite's database from a backup",
		Long: "Makes the database of the configuration from what \"ccc backup\" wrote, while the\n" +
			"control centre does not run. Everybody has to sign in again; API tokens and recovery\n" +
			"codes are gone; open offers of pairings and hand-overs have expired; staff who had entered\n" +
			"an organisation in an emergency are out. PBXs that were paired since the backup learn that\n" +
			"they are not, and those whose pairing has ended since say so.\n\n" +
			"Accounts, roles, grants to other organisations, passwords, passkeys and apps for codes are\n" +
			"as they were at the backup: take away again what was taken away since.\n\n" +
			"PostgreSQL has pg_restore for it.",
		Example: "  ccc restore /backup/ccc-2026-11-26.db --config /etc/ccc.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg := defaultConfig()
			if err := app.Load(&cfg); err != nil {
				return err
			}
			err := store.Restore(cmd.Context(), cfg.Server.Store, args[0], force)
			switch {
			case errors.Is(err, os.ErrExist):
				return &cli.Hint{Err: err, Hint: "--force overwrites it; make a backup first"}
			case errors.Is(err, store.ErrInUse):
				return &cli.Hint{Err: err, Hint: `stop "ccc serve" first`}
			case err != nil:
				return explain(err)
			}
			if _, err := fmt.Fprint(cmd.ErrOrStderr(), restored); err != nil {
				return err
			}
			return printFile(app, cmd, cfg.Server.Store.Path)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite a database that is there")
	return cmd
}

// printFile tells which file was made.
func printFile(app *cli.App, cmd *cobra.Command, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	t := &cli.Table{}
	t.Add("file", path)
	t.Add("bytes", info.Size())
	return app.Print(cmd, map[string]any{"file": path, "bytes": info.Size()}, t)
}
