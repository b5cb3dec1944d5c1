package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// viewer is what the role monitoring was called.
const viewer = "viewer"

const rolesUsage = "`role`, or several with commas: owner, administrator, monitoring, backup, calldata, remote, licences, auditor"

// parseRoles reads the names of roles.
func parseRoles(names []string) ([]store.Role, error) {
	roles := []store.Role{}
	for _, name := range names {
		role := store.Role(name)
		if name == viewer {
			role = store.RoleMonitoring
		}
		if !slices.Contains(store.Roles(), role) {
			return nil, &cli.Hint{
				Err: fmt.Errorf("there is no role %q", name), ExitCode: cli.ExitUsage,
				Hint: "the roles are " + joinRoles(store.Roles()),
			}
		}
		roles = append(roles, role)
	}
	return roles, nil
}

func joinRoles(roles []store.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

func userRolesCommand(app *cli.App) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "roles EMAIL",
		Short: "Give an account other roles in its whole organisation",
		Long: "Takes away all roles that an account has, also those for single sites and systems,\n" +
			"and gives it others. Without --role it has none then.",
		Example: "  ccc user roles anna@example.com --role monitoring,remote",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			roles, err := parseRoles(names)
			if err != nil {
				return err
			}
			return openDatabase(cmd.Context(), app, func(db database) error {
				user, err := db.byEmail(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				grants := make([]store.UserGrant, len(roles))
				for i, role := range roles {
					grants[i] = store.UserGrant{User: user.ID, Role: role}
				}
				err = db.Update(cmd.Context(), func(tx *store.Tx) (err error) {
					if err = tx.SetUserGrants(user.Tenant, user.ID, grants); err != nil {
						return err
					}
					user, err = tx.User(user.Tenant, user.ID)
					return err
				})
				if err != nil {
					return err
				}
				return printUsers(app, cmd, []userLine{lineOfUser(user)})
			})
		},
	}
	cmd.Flags().StringSliceVar(&names, "role", nil, rolesUsage)
	return cmd
}
