// Auer-agent is the device's side of the Auerproxy as a program: it holds the
// tunnel of one device and forwards calls to local targets.
//
//	auer-agent enrol --pki URL --fingerprint HEX --token-file FILE
//	auer-agent run
//	auer-agent status
//
// The configuration is documented on [Config] and, with examples, by "auer-agent
// config example". What the program keeps is in its state directory: the
// device's key and certificate, the instance id, and the socket that "status"
// asks.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func main() { os.Exit(cli.Main(context.Background(), newApp().Command)) }

// newApp makes the command line.
func newApp() *cli.App {
	app := cli.New(cli.Program{
		Name:       programName,
		Short:      "Holds a device's tunnel to the Auerproxy and forwards calls to local targets",
		ConfigPath: "/etc/auer-agent.yaml",
		NewConfig:  func() any { c := Default(); return &c },
	})
	app.AddCommand(enrolCommand(app), runCommand(app), statusCommand(app), versionCommand(app))
	return app
}

const programName = "auer-agent"

// program names the program and its version to relays and people.
func program() string { return programName + "/" + configs.Version() }

func versionCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if app.JSON {
				return cli.WriteJSON(cmd.OutOrStdout(), map[string]string{"version": configs.Version()})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), configs.Version())
			return err
		},
	}
}
