package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// configCommand makes "config check|print|example".
func (a *App) configCommand() *cobra.Command {
	group := &cobra.Command{Use: "config", Short: "Check and show the configuration"}
	group.AddCommand(
		&cobra.Command{
			Use:   "check",
			Short: "Load the configuration and report everything that is wrong with it",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if err := a.Load(a.program.NewConfig()); err != nil {
					return err
				}
				if a.program.Check != nil {
					if err := a.program.Check(cmd); err != nil || a.JSON {
						return err
					}
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "configuration is good")
				return err
			},
		},
		&cobra.Command{
			Use:   "print",
			Short: "Print the configuration as it is after defaults, file, environment and flags",
			Args:  cobra.NoArgs,
			RunE:  a.printConfig,
		},
		&cobra.Command{
			Use:   "example",
			Short: "Print a commented example file",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				text, err := configs.Example(a.program.Example)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			},
		},
	)
	return group
}

// printConfig prints YAML, or with --json the same keys as JSON. It shows no
// secrets, since a configuration holds only the paths of their files.
func (a *App) printConfig(cmd *cobra.Command, _ []string) error {
	cfg := a.program.NewConfig()
	if err := a.Load(cfg); err != nil {
		return err
	}
	text, err := yaml.Marshal(cfg)
	if err == nil && a.JSON {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !isNotExist(err)
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
