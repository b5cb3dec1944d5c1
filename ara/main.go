// Ara is the gateway for remote access: browsers reach a PBX's pages through it, as long
// as the PBX lets them.
//
//	ara serve --config ara.yaml          run it
//	ara logs raw|stats                   read the access log
//	ara config check|print|example
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
)

func main() {
	var app *cli.App
	app = cli.New(cli.Program{
		Name:      "ara",
		Short:     "Gateway for remote access to PBXs",
		NewConfig: func() any { c := defaultConfig(); return &c },
		Check:     func(cmd *cobra.Command) error { return check(app, cmd) },
	})
	app.AddCommand(
		serveCommand(app),
		daemon.LogsCommand(app, func() (daemon.Config, error) {
			cfg := defaultConfig()
			err := app.Load(&cfg)
			return cfg.Config, err
		}),
	)
	os.Exit(cli.Main(context.Background(), app.Command))
}
