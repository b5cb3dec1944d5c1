package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// remoteAccess is one run of a command below "ccc remote".
type remoteAccess struct {
	app *cli.App
	cmd *cobra.Command
	ccc *client

	url, ca, user          string
	passwordFile, codeFile string

	service, target, reason string
	minutes                 int

	grantFile, gatewayCA, gatewayAddress string
	timeout                              time.Duration
}

func remoteCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "Ask for remote access to a PBX, and use it from the command line",
		Long: "Remote access is asked for here and allowed at the PBX, by its administrator. What is\n" +
			"opened lasts until he, the PBX's timer or \"ccc remote end\" ends it.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong use, 5 refused, not allowed in time, or over.",
	}
	cmd.AddCommand(
		remoteAskCommand(app), remoteOpenCommand(app), remoteGrantCommand(app),
		remoteListCommand(app), remoteShowCommand(app), remoteEndCommand(app),
	)
	return cmd
}

// exitRefused is the exit code where somebody says no, as that of "auerproxy connect".
const exitRefused = 5

// newRemote gives a command its flags, and has it run signed in.
func newRemote(app *cli.App, cmd *cobra.Command, run func(r *remoteAccess, ctx context.Context, args []string) error) *remoteAccess {
	r := &remoteAccess{app: app, cmd: cmd}
	f := cmd.Flags()
	f.StringVar(&r.url, "url", "", "`address` of the control centre (needed)")
	f.StringVar(&r.ca, "ca-file", "", "PEM `file` with the roots that certificates are checked against; default: those of the system")
	f.StringVar(&r.user, "user", "", "`e-mail` address of the account (needed)")
	f.StringVar(&r.passwordFile, "password-file", "", "`file` with its password, - for standard input; default: ask")
	f.StringVar(&r.codeFile, "code-file", "", "`file` with a code of the second factor, where there is one; default: ask")
	for _, needed := range []string{"url", "user"} {
		if err := cmd.MarkFlagRequired(needed); err != nil {
			panic(err) // the flag is defined above
		}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		if r.ccc, err = newClient(r.url, r.ca); err != nil {
			return &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
		}
		password, err := readPassword(cmd, r.passwordFile, "Password of "+r.user)
		if err != nil {
			return err
		}
		code := func() (string, error) { return readPassword(cmd, r.codeFile, "Code of the second factor") }
		if err := r.ccc.signIn(ctx, r.user, password, code); err != nil {
			return remoteHint(err)
		}
		defer r.ccc.signOut(ctx)
		return remoteHint(run(r, ctx, args))
	}
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
		Example: "  ccc remote ask 0123456789 --url https://ccc.example.com --user anna@example.com \\\n" +
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
func (r *remoteAccess) ask(ctx context.Context, arg string) (s api.RemoteSession, err error) {
	serial, err := identity.ParseSerial(arg)
	if err != nil {
		return s, &cli.Hint{Err: err, Hint: "a serial is ten digits, with its leading zeros", ExitCode: cli.ExitUsage}
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
	once := func(r *http.Request) { r.Header.Set("Idempotency-Key", rand.Text()) }
	wish := api.NewRemote{Reason: r.reason, Minutes: r.minutes, Service: service, Target: r.target}
	err = r.ccc.do(ctx, http.MethodPost, api.Prefix+"/systems/"+url.PathEscape(id)+"/remote", wish, &s, once)
	return s, err
}

// errNoSystem: the serial is not one of the account's.
var errNoSystem = errors.New("there is no system with this serial")

// system gives the id of a serial.
func (r *remoteAccess) system(ctx context.Context, serial identity.Serial) (string, error) {
	var list api.SystemList
	if err := r.ccc.do(ctx, http.MethodGet, api.Prefix+"/systems?q="+url.QueryEscape(string(serial)), nil, &list); err != nil {
		return "", err
	}
	for _, s := range list.Items {
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
		Example: "  ccc remote list --url https://ccc.example.com --user anna@example.com --json",
		Args:    cobra.MaximumNArgs(1),
	}
	limit := cmd.Flags().Int("limit", 50, "how `many` at most, up to 200")
	newRemote(app, cmd, func(r *remoteAccess, ctx context.Context, args []string) error {
		q := url.Values{"limit": {fmt.Sprint(*limit)}}
		if len(args) == 1 {
			q.Set("serial", args[0])
		}
		var list api.RemoteList
		if err := r.ccc.do(ctx, http.MethodGet, api.Prefix+"/remote?"+q.Encode(), nil, &list); err != nil {
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
		Example: "  ccc remote show 01J9… --url https://ccc.example.com --user anna@example.com",
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

func (r *remoteAccess) show(ctx context.Context, id string) (s api.RemoteSession, err error) {
	err = r.ccc.do(ctx, http.MethodGet, api.Prefix+"/remote/"+url.PathEscape(id), nil, &s)
	return s, err
}

func remoteEndCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "end SESSION",
		Short:   "End a remote access, or take the request back",
		Example: "  ccc remote end 01J9… --url https://ccc.example.com --user anna@example.com",
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

func (r *remoteAccess) end(ctx context.Context, s api.RemoteSession) error {
	return r.ccc.do(ctx, http.MethodDelete, api.Prefix+"/systems/"+url.PathEscape(s.SystemID)+"/remote/"+url.PathEscape(s.ID), nil, nil)
}

func (r *remoteAccess) print(s api.RemoteSession) error { return r.app.Print(r.cmd, s, remoteTable(s)) }

func remoteTable(all ...api.RemoteSession) *cli.Table {
	t := &cli.Table{Header: []string{"SESSION", "SERIAL", "STATE", "SERVICE", "USER", "REASON", "ASKED", "UNTIL"}}
	for _, s := range all {
		state, service, until := string(s.State), string(s.Service), ""
		if s.Cause != "" {
			state += " (" + string(s.Cause) + ")"
		}
		if s.Target != "" {
			service += " " + s.Target
		}
		if s.Until != nil {
			until = s.Until.Local().Format(time.DateTime)
		}
		t.Add(s.ID, s.Serial, state, service, s.User.Name, s.Reason, s.RequestedAt.Local().Format(time.DateTime), until)
	}
	return t
}

// remoteHint says what to do about the usual failures.
func remoteHint(err error) error {
	for code, hint := range map[api.Code]string{
		api.CodeBadCredentials: "check --user and the password",
		api.CodeLoginLimited:   "wait some minutes, and check the password",
		api.CodeForbidden:      "the account has no role for remote access; ask an administrator",
		api.CodeState:          "the system is not paired; pair it with: ccc pair",
		api.CodeOffline:        "the PBX is not connected now; try again later",
		api.CodeRemoteOff:      "the PBX's administrator has to switch remote access on, on its page Switches",
		api.CodeNoTarget:       "the names of targets are on the PBX's page \"Remote access\"",
		api.CodeNotRequester:   "who has asked gets the grant; ask yourself with: ccc remote open",
		api.CodeRemoteOver:     "ask anew with: ccc remote open",
		api.CodeNotFound:       "list them with: ccc remote list",
	} {
		if hasCode(err, string(code)) {
			return &cli.Hint{Err: err, Hint: hint}
		}
	}
	if errors.Is(err, errNoSystem) {
		return &cli.Hint{Err: err, Hint: "pair it with: ccc pair"}
	}
	return err
}
