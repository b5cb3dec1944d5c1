package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func loginCommand(app *cli.App) *cobra.Command {
	var tokenFile string
	cmd := &cobra.Command{
		Use: "login", GroupID: groupClient,
		Short: "Sign in to a control centre, for the commands that follow",
		Long: "Signs in with password and second factor, or takes an API token from a file, and keeps what lets\n" +
			"one in under a name (--profile), in a file that only you can read: $XDG_CONFIG_HOME/comtrexx/ccc.\n" +
			"A session ends by itself after a while, and by \"ccc logout\"; for programs take an API token,\n" +
			"which \"ccc tokens add\" makes.",
		Example: "  ccc login --url https://ccc.example.com --user anna@example.com\n" +
			"  ccc login --url https://ccc.example.com --token-file token --profile nightly\n" +
			"  ccc systems list --profile nightly",
		Args: cobra.NoArgs,
	}
	k := newConnection(cmd)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "`file` with an API token, - for standard input")
	cmd.MarkFlagsMutuallyExclusive("token-file", "user")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		return advise(login(ctx, app, k, tokenFile))
	}
	return cmd
}

func login(ctx context.Context, app *cli.App, k *connection, tokenFile string) error {
	name := chosenProfile(k.profile)
	p, err := loadProfile(name)
	if err != nil && !errors.Is(err, errNoProfile) {
		return err
	}
	p = profile{URL: cmp.Or(k.url, os.Getenv("CCC_URL"), p.URL), CA: cmp.Or(k.ca, p.CA), Tenant: k.tenant, User: cmp.Or(k.user, p.User)}
	if p.URL == "" {
		return &cli.Hint{Err: errors.New("--url: is needed"), Hint: "the address of the control centre, as in https://ccc.example.com", ExitCode: cli.ExitUsage}
	}
	if tokenFile != "" {
		p.User = ""
		if p.Token, err = readPassword(k.cmd, tokenFile, "API token"); err != nil {
			return err
		}
	} else if k.user = p.User; k.user == "" {
		return &cli.Hint{Err: errors.New("--user: is needed"), Hint: "or an API token, with --token-file", ExitCode: cli.ExitUsage}
	}
	if err := k.make(p.URL, p.CA, p.Token, p.Tenant); err != nil {
		return err
	}
	if p.Token == "" {
		if err := k.signIn(ctx); err != nil {
			return err
		}
	}
	me, err := k.GetSession(ctx)
	if err != nil {
		k.close(ctx)
		return err
	}
	if p.Token == "" {
		p.keep(k.http.Jar.Cookies(k.base))
	}
	if err := p.save(name); err != nil {
		k.close(ctx)
		return err
	}
	t := &cli.Table{}
	t.Add("signed in", me.User.Name)
	t.Add("organisation", me.Tenant.Name)
	t.Add("control centre", p.URL)
	t.Add("profile", name)
	return app.Print(k.cmd, me, t)
}

func logoutCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "logout", GroupID: groupClient,
		Short:   "End the session of \"ccc login\", and forget it",
		Long:    "Ends the session, and removes the profile. An API token stays good: \"ccc tokens revoke\" ends it.",
		Example: "  ccc logout\n  ccc logout --profile nightly",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k := &connection{cmd: cmd}
			chosen := chosenProfile(name)
			file, err := profileFile(chosen)
			if err != nil {
				return err
			}
			p, err := loadProfile(chosen)
			if err != nil {
				return &cli.Hint{Err: err, Hint: "see what there is in " + file}
			}
			if err := k.make(p.URL, p.CA, "", ""); err == nil && len(p.Cookies) > 0 {
				k.restore(p.Cookies)
				if err := k.SignOut(cmd.Context()); err != nil {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "the session could not be ended, and ends by itself: %v\n", err)
				}
			}
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "profile", "", "`name` of the profile; default: "+defaultProfile)
	return cmd
}
