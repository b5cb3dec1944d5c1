package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// userLine is an account as it is printed.
type userLine struct {
	ID       store.UserID   `json:"id"`
	Tenant   store.TenantID `json:"tenant"`
	Email    string         `json:"email"`
	Name     string         `json:"name"`
	Roles    []store.Role   `json:"roles"`
	Language store.Language `json:"language"`
	Disabled bool           `json:"disabled"`
	Created  time.Time      `json:"created"`
}

func lineOfUser(u store.User) userLine {
	return userLine{u.ID, u.Tenant, u.Email, u.Name, u.Roles, u.Language, u.Disabled, u.Created}
}

func printUsers(app *cli.App, cmd *cobra.Command, all []userLine) error {
	t := &cli.Table{Header: []string{"E-MAIL", "NAME", "ROLES", "LANGUAGE", "STATE", "TENANT"}}
	for _, l := range all {
		state := "active"
		if l.Disabled {
			state = "disabled"
		}
		t.Add(l.Email, l.Name, cmp.Or(joinRoles(l.Roles), "none"), l.Language, state, l.Tenant)
	}
	return app.Print(cmd, all, t)
}

func userCommand(app *cli.App) *cobra.Command {
	group := &cobra.Command{Use: "user", Short: "Accounts, in the database"}
	group.AddCommand(userAddCommand(app), userListCommand(app), userPasswordCommand(app), userDisableCommand(app), secondFactorCommand(app), userRolesCommand(app))
	return group
}

func userAddCommand(app *cli.App) *cobra.Command {
	var tenant, name, language, file string
	var roles []string
	cmd := &cobra.Command{
		Use:   "add EMAIL",
		Short: "Add an account",
		Long: "Adds an account with roles in the whole organisation. The password comes from a file, or is asked\n" +
			"for twice; it has at least 12 characters.",
		Example: "  ccc user add anna@example.com --name 'Anna Example' --role administrator\n" +
			"  ccc user add bob@example.com --tenant 0199… --password-file bob.txt",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := parseRoles(roles)
			if err != nil {
				return err
			}
			password, err := newPassword(cmd, file, "Password of "+args[0])
			if err != nil {
				return err
			}
			return openDatabase(cmd.Context(), app, func(db database) error {
				id, err := db.tenant(cmd.Context(), store.TenantID(tenant))
				if err != nil {
					return err
				}
				user, err := db.accounts.Create(cmd.Context(), account.NewUser{
					Tenant: id, Email: args[0], Name: name, Roles: given,
					Language: store.Language(language), Password: password,
				})
				if err != nil {
					return err
				}
				return printUsers(app, cmd, []userLine{lineOfUser(user)})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "`id` of the organisation; may be left out where there is only one")
	f.StringVar(&name, "name", "", "`name` of the person")
	f.StringSliceVar(&roles, "role", []string{string(store.RoleAdministrator)}, rolesUsage)
	f.StringVar(&language, "language", string(store.German), "de, en or fr")
	f.StringVar(&file, "password-file", "", "`file` with the password, - for standard input; default: ask")
	return cmd
}

// tenant gives the only one where none is named.
func (db database) tenant(ctx context.Context, id store.TenantID) (store.TenantID, error) {
	err := db.View(ctx, func(tx *store.Tx) error {
		if id != "" {
			_, err := tx.Tenant(id)
			return err
		}
		all, err := tx.Tenants()
		if err != nil {
			return err
		}
		if len(all) != 1 {
			return &cli.Hint{
				Err: fmt.Errorf("there are %d organisations", len(all)), ExitCode: cli.ExitUsage,
				Hint: `name one with --tenant; "ccc tenant list" shows them, "ccc tenant add" makes one`,
			}
		}
		id = all[0].ID
		return nil
	})
	return id, err
}

func userListCommand(app *cli.App) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List accounts",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return openDatabase(cmd.Context(), app, func(db database) error {
				lines := []userLine{}
				err := db.View(cmd.Context(), func(tx *store.Tx) error {
					lines = lines[:0]
					tenants, err := tx.Tenants()
					if err != nil {
						return err
					}
					for _, t := range tenants {
						if tenant != "" && tenant != string(t.ID) {
							continue
						}
						users, err := tx.Users(t.ID)
						if err != nil {
							return err
						}
						for _, u := range users {
							lines = append(lines, lineOfUser(u))
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
				return printUsers(app, cmd, lines)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those of the organisation with this `id`")
	return cmd
}

// byEmail finds an account.
func (db database) byEmail(ctx context.Context, email string) (user store.User, err error) {
	email, err = account.NormalizeEmail(email)
	if err != nil {
		return user, &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
	}
	err = db.View(ctx, func(tx *store.Tx) (err error) {
		user, err = tx.UserByEmail(email)
		if errors.Is(err, store.ErrNotFound) {
			return &cli.Hint{Err: errors.New("there is no account with this address"), Hint: `"ccc user list" shows all`}
		}
		return err
	})
	store.Concern(ctx, user)
	return user, err
}

func userPasswordCommand(app *cli.App) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "passwd EMAIL",
		Short: "Give an account a new password, which ends its sessions, API tokens and passkeys",
		Long: "Gives an account a new password, and ends whatever else lets somebody in: its sessions, its\n" +
			"API tokens and its passkeys, since those may be somebody else's. An app for codes and recovery\n" +
			"codes that go with it stay; \"ccc user second-factor reset\" takes them. Who changes his own\n" +
			"password on the web page keeps tokens and passkeys.",
		Example: "  ccc user passwd anna@example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return openDatabase(cmd.Context(), app, func(db database) error {
				user, err := db.byEmail(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				password, err := newPassword(cmd, file, "New password of "+user.Email)
				if err != nil {
					return err
				}
				if err := db.accounts.ResetPassword(cmd.Context(), user.Tenant, user.ID, password); err != nil {
					return err
				}
				if _, err := fmt.Fprintln(cmd.ErrOrStderr(), "Sessions, API tokens and passkeys of the account have ended."); err != nil {
					return err
				}
				return printUsers(app, cmd, []userLine{lineOfUser(user)})
			})
		},
	}
	cmd.Flags().StringVar(&file, "password-file", "", "`file` with the password, - for standard input; default: ask")
	return cmd
}

func userDisableCommand(app *cli.App) *cobra.Command {
	var enable bool
	cmd := &cobra.Command{
		Use:     "disable EMAIL",
		Short:   "Lock an account out, which ends its sessions and API tokens",
		Example: "  ccc user disable anna@example.com\n  ccc user disable anna@example.com --undo",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return openDatabase(cmd.Context(), app, func(db database) error {
				user, err := db.byEmail(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				user.Disabled = !enable
				if err := db.accounts.SetDisabled(cmd.Context(), user.Tenant, user.ID, user.Disabled); err != nil {
					return err
				}
				return printUsers(app, cmd, []userLine{lineOfUser(user)})
			})
		},
	}
	cmd.Flags().BoolVar(&enable, "undo", false, "let it in again; its API tokens do not come back")
	return cmd
}
