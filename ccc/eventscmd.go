package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// eventsCommand follows the live events.
func eventsCommand(app *cli.App) *cobra.Command {
	var kinds []string
	cmd := &cobra.Command{
		Use: "events", GroupID: groupClient,
		Short: "Follow what happens, as it happens",
		Long: "Prints each live event in a line, until it is interrupted. With --json a line is an object with\n" +
			"event and data. The event reset says that others were left out.\n\n" + connectHelp,
		Example: "  ccc events\n  ccc events --kind presence --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only this `kind` of event, or several with commas")
	connected(cmd, func(ctx context.Context, k *connection, _ []string) error {
		for e, err := range k.Events(ctx) {
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			case len(kinds) > 0 && !slices.Contains(kinds, e.Kind):
				continue
			}
			if err := sayEvent(app, k.cmd, e); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}

func sayEvent(app *cli.App, cmd *cobra.Command, e client.LiveEvent) error {
	if app.JSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			Event string          `json:"event"`
			Data  json.RawMessage `json:"data"`
		}{e.Kind, e.Data})
	}
	t := &cli.Table{}
	t.Add(fmt.Sprintf("%-9s", e.Kind), string(e.Data))
	return t.Write(cmd.OutOrStdout())
}
