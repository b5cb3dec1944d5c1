// Ccc is the control centre: it pairs PBXs, shows which are online, and serves the pages
// for it.
//
//	ccc serve --config ccc.yaml          run it
//	ccc tenant add NAME                  add an organisation
//	ccc user add EMAIL --tenant ID       add a person
//	ccc pair SERIAL --url … --user …     pair a PBX without a browser
//	ccc remote ask|open|list|show|…      remote access to a PBX without a browser
//	ccc backup FILE, ccc restore FILE    copy the database
//	ccc key new --out FILE               make a key for the secrets in the database
//	ccc logs raw|stats                   read the access log
//	ccc openapi                          print the API's description
//	ccc config check|print|example
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
)

func main() { os.Exit(run()) }

// run runs the command line of the process and gives the exit code.
func run() int {
	var app *cli.App
	app = cli.New(cli.Program{
		Name:      "ccc",
		Short:     "Control centre for PBXs",
		NewConfig: func() any { c := defaultConfig(); return &c },
		Check:     func(cmd *cobra.Command) error { return check(app, cmd) },
	})
	app.AddCommand(
		serveCommand(app),
		tenantCommand(app), userCommand(app),
		pairCommand(app), remoteCommand(app),
		backupCommand(app), restoreCommand(app),
		keyCommand(app), openapiCommand(app),
		daemon.LogsCommand(app, func() (daemon.Config, error) {
			cfg := defaultConfig()
			err := app.Load(&cfg)
			return cfg.Config, err
		}),
	)
	return cli.Main(context.Background(), app.Command)
}
