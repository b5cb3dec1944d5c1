package main

import (
	"context"
	"errors"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// database is what the commands work on that change the database themselves. They may
// run beside "ccc serve".
type database struct {
	*store.DB
	accounts *account.Accounts
}

// openDatabase opens the database of the configuration; f gets it.
func openDatabase(ctx context.Context, app *cli.App, f func(database) error) (err error) {
	cfg := defaultConfig()
	if err := app.Load(&cfg); err != nil {
		return err
	}
	db, err := store.Open(ctx, cfg.Server.Store)
	if err != nil {
		return &cli.Hint{Err: configs.Under("store", err), ExitCode: cli.ExitConfig}
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	cfg.Server.Account.Store = db
	accounts, err := account.New(cfg.Server.Account)
	if err != nil {
		return err
	}
	return explain(f(database{db, accounts}))
}

// explain says what to do about the usual failures.
func explain(err error) error {
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok && conflict.What == "email" {
		return &cli.Hint{Err: errors.New("there is an account with this address already"), Hint: `"ccc user list" shows all`}
	}
	for _, known := range []struct {
		is   error
		hint string
	}{
		{store.ErrNotFound, `"ccc tenant list" and "ccc user list" show what there is`},
		{store.ErrSchema, "use the newest program on this database, or restore a backup of before"},
	} {
		if errors.Is(err, known.is) {
			return &cli.Hint{Err: err, Hint: known.hint}
		}
	}
	return err
}
