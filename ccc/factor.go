package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func secondFactorCommand(app *cli.App) *cobra.Command {
	group := &cobra.Command{Use: "second-factor", Short: "Second factors of accounts"}
	group.AddCommand(&cobra.Command{
		Use:   "reset EMAIL",
		Short: "Take all second factors from an account, which ends its sessions and API tokens",
		Long: "Takes app, passkeys and recovery codes from an account, for somebody who has lost all\n" +
			"of them. Be sure that it is he who asks: whoever knows the password is in then, and\n" +
			"sets up a second factor of his own. A line on standard error says that it was done.",
		Example: "  ccc user second-factor reset anna@example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return openDatabase(cmd.Context(), app, func(db database) error {
				user, err := db.byEmail(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := db.accounts.ResetFactors(cmd.Context(), user.Tenant, user.ID); err != nil {
					return err
				}
				// For whoever keeps the commands' output: who lost what, and when.
				if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s the second factors of an account were taken away: user=%s\n",
					time.Now().UTC().Format(time.RFC3339), user.ID); err != nil {
					return err
				}
				return printUsers(app, cmd, []userLine{lineOfUser(user)})
			})
		},
	})
	return group
}
