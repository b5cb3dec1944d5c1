// Pbx behaves as a COMtrexx PBX: it holds a tunnel to the cloud, has administration
// pages and the REST API, and can be paired with the control centre.
//
//	pbx run --config pbx.yaml
//	pbx status
//	pbx config check|print|example
//
// It enrols by itself at the first start: with a one-time token (pki.token_file), a
// factory certificate (pki.factory_dir) or a factory secret (pki.secret_file). The
// administrator's first password is printed then, and is in the file first-password of
// the state directory until it is changed.
//
// The configuration is documented on [Config].
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func main() { os.Exit(cli.Main(context.Background(), newApp().Command)) }

const programName = "pbx"

// example is the commented example file.
//
//go:embed example.yaml
var example []byte

// newApp makes the command line.
func newApp() *cli.App {
	app := cli.New(cli.Program{
		Name:       programName,
		Short:      "Behaves as a COMtrexx PBX",
		ConfigPath: "/etc/pbx.yaml",
		NewConfig:  func() any { c := Default(); return &c },
	})
	app.AddCommand(runCommand(app), statusCommand(app), versionCommand(app))
	if show, _, err := app.Find([]string{"config", "example"}); err == nil {
		// The text is here and not in package configs: it is of no program that ships.
		show.RunE = func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(example)
			return err
		}
	}
	return app
}

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
