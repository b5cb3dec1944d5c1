// Ccc is the control centre: it pairs PBXs, shows which are online, and serves the pages
// for it.
//
//	ccc serve --config ccc.yaml          run it
//	ccc tenant add NAME                  add an organisation
//	ccc user add EMAIL --tenant ID       add a person
//	ccc login --url … --user …           sign in to a running one, for the commands that follow
//	ccc pair SERIAL                      pair a PBX without a browser
//	ccc remote ask|open|list|show|…      remote access to a PBX without a browser
//	ccc systems|users|sites|… list|…     whatever else the pages do
//	ccc apply plan|apply|export          an organisation as a file says
//	ccc backup FILE, ccc restore FILE    copy the database
//	ccc key new --out FILE               make a key for the secrets in the database
//	ccc firmware key new|pack|verify|show
//	                                     sign and check firmware images
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
func run() int { return cli.Main(context.Background(), newApp().Command) }

// newApp makes all commands.
func newApp() *cli.App {
	var app *cli.App
	app = cli.New(cli.Program{
		Name:      "ccc",
		Short:     "Control centre for PBXs",
		NewConfig: func() any { c := defaultConfig(); return &c },
		Check:     func(cmd *cobra.Command) error { return check(app, cmd) },
	})
	app.AddGroup(
		&cobra.Group{ID: groupServer, Title: "On the machine of the control centre:"},
		&cobra.Group{ID: groupClient, Title: "From anywhere, in a control centre that runs:"},
	)
	app.AddCommand(
		serveCommand(app),
		audited(tenantCommand(app)), audited(userCommand(app)), auditCommand(app),
		backupCommand(app), restoreCommand(app),
		keyCommand(app), firmwareCommand(app),
		daemon.LogsCommand(app, func() (daemon.Config, error) {
			cfg := defaultConfig()
			err := app.Load(&cfg)
			return cfg.Config, err
		}),
	)
	for _, c := range app.Commands() {
		c.GroupID = groupServer
	}
	app.AddCommand(
		loginCommand(app), logoutCommand(),
		pairCommand(app), remoteCommand(app), eventsCommand(app), applyCommand(app),
		openapiCommand(app),
	)
	addOperations(app, app.Command)
	return app
}
