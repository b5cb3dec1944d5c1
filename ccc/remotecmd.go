package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// remoteAccess is one run of a command below "ccc remote".
type remoteAccess struct {
	app *cli.App
	cmd *cobra.Command
	ccc *connection

	service, target, reason string
	minutes                 int

	grantFile, gatewayCA, gatewayAddress string
	timeout                              time.Duration
}

func remoteCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "remote", GroupID: groupClient,
		Short: "Ask for remote access to a PBX, and use it from the command line",
		Long: "Remote access is asked for here and allowed at the PBX, by its administrator. What is\n" +
			"opened lasts until he, the PBX's timer or \"ccc remote end\" ends it. Exit code 5 is also for what was not\n" +
			"allowed in time, or is over.\n\n" + connectHelp,
	}
	cmd.AddCommand(
		remoteAskCommand(app), remoteOpenCommand(app), remoteGrantCommand(app),
		remoteListCommand(app), remoteShowCommand(app), remoteEndCommand(app),
	)
	return cmd
}

// newRemote has a command run signed in.
func newRemote(app *cli.App, cmd *cobra.Command, run func(r *remoteAccess, ctx context.Context, args []string) error) *remoteAccess {
	r := &remoteAccess{app: app, cmd: cmd}
	connected(cmd, func(ctx context.Context, k *connection, args []string) error {
		r.ccc = k
		return remoteHint(run(r, ctx, args))
	})
	return r
}

// askFlags are those of a wish.
func (r *remoteAccess) askFlags() {
	f := r.cmd.Flags()
	f.StringVar(&r.service, "service", "ssh", "`service`: ssh or tcp, with ask also web or tls")
	f.StringVar(&r.target, "target", "", "`name` of a target on the PBX's list, with ssh and tcp")
	f.StringVar(&r.reason, "reason", "", "`text` that the PBX's administrator is shown (needed)")
	f.IntVar(&r.minutes, "minutes", 0, "how long, in `minutes`; default: as the control centre is set")
	if err := r.cmd.MarkFlagRequired("reason"); err != nil {
		panic(err) // the flag is defined above
	}
}

func remoteAskCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ask SERIAL",
		Short: "Ask for remote access, and do not wait",
		Example: "  ccc remote ask 0123456789 \\\n" +
			"    --service ssh --target shell --reason 'no dial tone'",
		Args: cobra.ExactArgs(1),
	}
	r := newRemote(app, cmd, func(r *remoteAccess, ctx context.Context, args []string) error {
		s, err := r.ask(ctx, args[0])
		if err != nil {
			return err
		}
		return r.print(s)
	})
	r.askFlags()
	return cmd
}

// ask asks for remote access to the PBX of that serial.
func (r *remoteAccess) ask(ctx context.Context, arg string) (s client.RemoteSession, err error) {
	serial, err := serialOf(arg)
	if err != nil {
		return s, err
	}
	service := grant.Service(r.service)
	if service.Targeted() && r.target == "" {
		return s, &cli.Hint{
			Err: fmt.Errorf("--target: is needed with --service %s", service), Hint: "the names are on the PBX's page \"Remote access\"", ExitCode: cli.ExitUsage,
		}
	}
	id, err := r.system(ctx, serial)
	if err != nil {
		return s, err
	}
	return r.ccc.AskRemote(ctx, id, client.NewRemote{Reason: r.reason, Minutes: int64(r.minutes), Service: r.service, Target: r.target})
}

// errNoSystem: the serial is not one of the account's.
var errNoSystem = errors.New("there is no system with this serial")

// system gives the id of a serial.
func (r *remoteAccess) system(ctx context.Context, serial identity.Serial) (string, error) {
	for s, err := range r.ccc.ListSystemsAll(ctx, &client.ListSystemsParams{Q: string(serial)}) {
		if err != nil {
			return "", err
		}
		if s.Serial == string(serial) {
			return s.ID, nil
		}
	}
	return "", errNoSystem
}

func remoteListCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [SERIAL]",
		Short:   "List who had, has or wants remote access, the newest first",
		Example: "  ccc remote list --json",
		Args:    cobra.MaximumNArgs(1),
	}
	limit := cmd.Flags().Int("limit", 50, "how `many` at most, up to 200")
	newRemote(app, cmd, func(r *remoteAccess, ctx context.Context, args []string) error {
		q := &client.ListRemoteRecordsParams{Limit: int64(*limit)}
		if len(args) == 1 {
			q.Serial = args[0]
		}
		list, err := r.ccc.ListRemoteRecords(ctx, q)
		if err != nil {
			return err
		}
		return r.app.Print(r.cmd, list, remoteTable(list.Items...))
	})
	return cmd
}

func remoteShowCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show SESSION",
		Short:   "Show one remote access",
		Example: "  ccc remote show 01J9…",
		Args:    cobra.ExactArgs(1),
	}
	newRemote(app, cmd, func(r *remoteAccess, ctx context.Context, args []string) error {
		s, err := r.show(ctx, args[0])
		if err != nil {
			return err
		}
		return r.print(s)
	})
	return cmd
}

func (r *remoteAccess) show(ctx context.Context, id string) (client.RemoteSession, error) {
	return r.ccc.GetRemoteRecord(ctx, id)
}

func remoteEndCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "end SESSION",
		Short:   "End a remote access, or take the request back",
		Example: "  ccc remote end 01J9…",
		Args:    cobra.ExactArgs(1),
	}
	newRemote(app, cmd, func(r *remoteAccess, ctx context.Context, args []string) error {
		s, err := r.show(ctx, args[0])
		if err == nil {
			err = r.end(ctx, s)
		}
		if err == nil {
			s, err = r.show(ctx, s.ID)
		}
		if err != nil {
			return err
		}
		return r.print(s)
	})
	return cmd
}

func (r *remoteAccess) end(ctx context.Context, s client.RemoteSession) error {
	return r.ccc.EndRemote(ctx, s.SystemID, s.ID)
}

func (r *remoteAccess) print(s client.RemoteSession) error {
	return r.app.Print(r.cmd, s, remoteTable(s))
}

func remoteTable(all ...client.RemoteSession) *cli.Table {
	t := &cli.Table{Header: []string{"SESSION", "SERIAL", "STATE", "SERVICE", "USER", "REASON", "ASKED", "UNTIL"}}
	for _, s := range all {
		state, service, until := s.State, s.Service, ""
		if s.Cause != "" {
			state += " (" + s.Cause + ")"
		}
		if s.Target != "" {
			service += " " + s.Target
		}
		if !s.Until.IsZero() {
			until = s.Until.Local().Format(time.DateTime)
		}
		t.Add(s.ID, s.Serial, state, service, s.User.Name, s.Reason, s.RequestedAt.Local().Format(time.DateTime), until)
	}
	return t
}

// remoteHint says what to do about the usual failures.
func remoteHint(err error) error {
	if errors.Is(err, errNoSystem) {
		return &cli.Hint{Err: err, Hint: "pair it with: ccc pair", ExitCode: exitMissing}
	}
	return adviseWith(err, map[client.Code]string{
		client.CodeForbidden: "the account has no role for remote access; ask an administrator",
		client.CodeState:     "the system is not paired; pair it with: ccc pair",
		client.CodeNotFound:  "list them with: ccc remote list",
	})
}
