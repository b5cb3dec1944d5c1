package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/comtrexx-cloud/comtrexx/ccc/apply"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// exitPending is the exit code of a plan that changes something.
const exitPending = 2

// errPending: a plan is not empty.
var errPending = errors.New("the organisation is not as the file says")

func applyCommand(app *cli.App) *cobra.Command {
	group := &cobra.Command{
		Use: "apply", GroupID: groupClient,
		Short: "Make an organisation be as a file says: sites, groups, roles, grants, filters, webhooks, templates",
		Long: "The file is YAML; \"ccc apply export\" writes it as things are now. What the file does not have is left\n" +
			"alone, unless its kind has prune: true. Applying it twice changes nothing.\n\n" + connectHelp,
	}
	plan := &cobra.Command{
		Use: "plan FILE", Short: "Show what would change, and change nothing",
		Long:    "Exit code: 0 nothing is to be changed, 2 something is, 1 it cannot be said.",
		Example: "  ccc apply plan customer.yaml",
		Args:    cobra.ExactArgs(1),
	}
	connected(plan, func(ctx context.Context, k *connection, args []string) error {
		p, err := makePlan(ctx, k, args[0])
		if err != nil {
			return err
		}
		if err := showPlan(app, k.cmd, p); err != nil {
			return err
		}
		if !p.Empty() {
			return &cli.Hint{Err: errPending, Hint: "ccc apply apply " + args[0], ExitCode: exitPending}
		}
		return nil
	})
	group.AddCommand(plan, doCommand(app), exportCommand())
	return group
}

func doCommand(app *cli.App) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Make it so",
		Long: "Shows the plan, asks at a terminal, and does just that. It stops where something has changed meanwhile,\n" +
			"and at the first error. The secrets of new webhooks are shown this once.",
		Example: "  ccc apply apply customer.yaml\n  ccc apply apply customer.yaml --yes --json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	connected(cmd, func(ctx context.Context, k *connection, args []string) error {
		p, err := makePlan(ctx, k, args[0])
		if err != nil {
			return err
		}
		if !app.JSON || p.Empty() {
			if err := showPlan(app, k.cmd, p); err != nil || p.Empty() {
				return err
			}
		}
		if err := agreed(k.cmd, yes, ""); err != nil {
			return err
		}
		return p.Apply(ctx, func(r apply.Result) error {
			if app.JSON {
				return json.NewEncoder(k.cmd.OutOrStdout()).Encode(r)
			}
			_, err := fmt.Fprintf(k.cmd.OutOrStdout(), "%s %s %q: done\n", r.Action, r.Kind, r.Name)
			if err == nil && r.Secret != "" {
				_, err = fmt.Fprintf(k.cmd.OutOrStdout(), "    secret: %s\n", r.Secret)
			}
			return err
		})
	})
	return cmd
}

func exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Write the file of what the organisation is like now",
		Long:    "What the account may not see is left out, which standard error says.",
		Example: "  ccc apply export > customer.yaml",
		Args:    cobra.NoArgs,
	}
	connected(cmd, func(ctx context.Context, k *connection, _ []string) error {
		f, left, err := apply.Export(ctx, k.Client)
		if err != nil {
			return err
		}
		for _, kind := range left {
			if _, err := fmt.Fprintf(k.cmd.ErrOrStderr(), "%s are left out: the account may not see them\n", kind); err != nil {
				return err
			}
		}
		text, err := f.Marshal()
		if err != nil {
			return err
		}
		_, err = k.cmd.OutOrStdout().Write(text)
		return err
	})
	return cmd
}

func makePlan(ctx context.Context, k *connection, name string) (*apply.Plan, error) {
	text, err := readFile(k.cmd, name)
	if err != nil {
		return nil, &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
	}
	f, err := apply.Parse(text)
	if err != nil {
		return nil, &cli.Hint{Err: fmt.Errorf("%s: %w", name, err), Hint: "see: ccc apply export"}
	}
	p, err := apply.Make(ctx, k.Client, f)
	if errors.Is(err, apply.ErrOwnRights) {
		return nil, &cli.Hint{Err: err, Hint: "have somebody else do it"}
	}
	return p, err
}

func showPlan(app *cli.App, cmd *cobra.Command, p *apply.Plan) error {
	if app.JSON {
		return cli.WriteJSON(cmd.OutOrStdout(), p)
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), p)
	return err
}

// agreed asks at a terminal.
func agreed(cmd *cobra.Command, yes bool, what string) error {
	in, ok := cmd.InOrStdin().(*os.File)
	if yes || !ok || !term.IsTerminal(int(in.Fd())) { //nolint:gosec // a descriptor fits
		return nil
	}
	if _, err := fmt.Fprint(cmd.ErrOrStderr(), what, "Type yes to go on: "); err != nil {
		return err
	}
	var answer string
	if _, err := fmt.Fscanln(in, &answer); err != nil || answer != "yes" {
		return &cli.Hint{Err: errUnsaid, Hint: "--yes does not ask"}
	}
	return nil
}
