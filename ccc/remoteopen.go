package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// grantFlags are those of the commands that get a grant.
func (r *remoteAccess) grantFlags() {
	f := r.cmd.Flags()
	f.StringVar(&r.grantFile, "grant-file", "-", "`file` to write the grant to, which only you can read; - is standard output")
	f.StringVar(&r.gatewayCA, "gateway-ca-file", "", "PEM `file` with the roots that the gateway's certificate is checked against; default: as --ca-file")
	f.StringVar(&r.gatewayAddress, "gateway-address", "", "`address` to connect to instead of what the gateway's name resolves to")
}

func remoteOpenCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "open SERIAL",
		Short: "Ask for remote access, wait for the PBX's consent, and get a grant",
		Long: "Asks, waits until the PBX's administrator has allowed the access, and gets a grant for\n" +
			"\"auerproxy connect --grant\". The grant is a secret, good once and for a minute; progress\n" +
			"is on standard error. Interrupted while it waits, the command takes the request back.",
		Example: "  ccc remote open 0123456789 \\\n" +
			"    --service ssh --target shell --reason 'no dial tone' --grant-file grant &&\n" +
			"    ssh -o ProxyCommand='auerproxy connect --grant grant' root@shell\n\n" +
			"  ccc remote open 0123456789 \\\n" +
			"    --service tcp --target printer --reason 'paper jam' | auerproxy connect --grant - --listen 127.0.0.1:9100",
		Args: cobra.ExactArgs(1),
	}
	r := newRemote(app, cmd, func(r *remoteAccess, ctx context.Context, args []string) error {
		if !grant.Service(r.service).Targeted() {
			return &cli.Hint{Err: fmt.Errorf("--service %s: is for browsers", r.service), Hint: "ssh or tcp", ExitCode: cli.ExitUsage}
		}
		s, err := r.ask(ctx, args[0])
		if err != nil {
			return err
		}
		if s, err = r.await(ctx, s); err != nil {
			return err
		}
		return r.ticket(ctx, s)
	})
	r.askFlags()
	r.grantFlags()
	cmd.Flags().DurationVar(&r.timeout, "timeout", 0, "give up waiting after this `time`; 0: when the request ends")
	return cmd
}

func remoteGrantCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grant SESSION",
		Short: "Get a grant for a remote access that you have asked for",
		Long:  "A new grant extends nothing, and ends what an older one has opened at the gateway.",
		Example: "  ccc remote grant 01J9… |\n" +
			"    auerproxy connect --grant - --listen 127.0.0.1:2222",
		Args: cobra.ExactArgs(1),
	}
	r := newRemote(app, cmd, func(r *remoteAccess, ctx context.Context, args []string) error {
		s, err := r.show(ctx, args[0])
		if err != nil {
			return err
		}
		return r.ticket(ctx, s)
	})
	r.grantFlags()
	return cmd
}

// errNotAllowed: the wait has ended otherwise than hoped for.
var errNotAllowed = errors.New("the remote access was not allowed")

// await waits for the PBX's consent. Where it ends before, the request is taken back.
func (r *remoteAccess) await(ctx context.Context, s client.RemoteSession) (client.RemoteSession, error) {
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	var shown string
	var failed error
	look := func() (done bool) {
		if s.State != shown {
			shown = s.State
			failed = r.tell(s)
		}
		switch {
		case failed != nil:
		case grant.State(s.State).Final():
			failed = &cli.Hint{Err: fmt.Errorf("%w: it is %s", errNotAllowed, strings.TrimSpace(s.State+" "+s.Cause)), Hint: notAllowed[grant.State(s.State)], ExitCode: exitRefused}
		}
		return failed != nil || s.State == string(grant.Active)
	}
	if look() {
		return s, failed
	}
	for {
		// The state is looked at once the stream is open, so that nothing is missed.
		first, done := true, false
		var broke error
		for e, err := range r.ccc.Events(ctx) {
			if err != nil {
				broke = err
				break
			}
			if !first && e.Kind != "remote" && e.Kind != "reset" {
				continue
			}
			first = false
			now, err := r.show(ctx, s.ID)
			if err != nil {
				failed = err
				break
			}
			s = now
			if done = look(); done {
				break
			}
		}
		_, refused := errors.AsType[*client.Problem](broke)
		switch {
		case ctx.Err() != nil:
			if err := r.end(context.WithoutCancel(ctx), s); err != nil {
				return s, fmt.Errorf("%w, and the request could not be taken back: %w", errNotAllowed, err)
			}
			return s, &cli.Hint{Err: fmt.Errorf("%w: %w; the request was taken back", errNotAllowed, context.Cause(ctx)), ExitCode: exitRefused}
		case done || failed != nil:
			return s, failed
		case refused:
			return s, broke
		}
		select {
		case <-ctx.Done():
		case <-time.After(streamRetry):
		}
	}
}

// notAllowed are the hints about states.
var notAllowed = map[grant.State]string{
	grant.Refused: "the PBX's administrator has refused it; call him",
	grant.Expired: "nobody has allowed it in time; call the PBX's administrator, and ask again",
}

// progress is what people read about states.
var progress = map[grant.State]string{
	grant.Requested: "The request is on its way to the PBX.",
	grant.Pending:   "The PBX's administrator has to allow it, on its page \"Remote access\".",
	grant.Active:    "Allowed.",
}

// tell says on standard error how it stands.
func (r *remoteAccess) tell(s client.RemoteSession) error {
	if r.app.JSON {
		return json.NewEncoder(r.cmd.ErrOrStderr()).Encode(struct {
			Session string `json:"session"`
			State   string `json:"state"`
			Cause   string `json:"cause,omitempty"`
		}{s.ID, s.State, s.Cause})
	}
	text, ok := progress[grant.State(s.State)]
	if !ok {
		return nil
	}
	_, err := fmt.Fprintf(r.cmd.ErrOrStderr(), "%s  %s\n", s.ID, text)
	return err
}

// ticket begins at the gateway as a browser would, has a grant made for that, and writes
// both.
func (r *remoteAccess) ticket(ctx context.Context, s client.RemoteSession) error {
	start, err := url.Parse(s.StartURL)
	if err != nil || s.StartURL == "" {
		return &cli.Hint{Err: errors.New("there is nothing to open at the gateway"), Hint: "see how it stands with: ccc remote show " + s.ID, ExitCode: exitRefused}
	}
	gateway := flow.Client{Address: r.gatewayAddress}
	if file := cmp.Or(r.gatewayCA, r.ccc.ca, r.ccc.saved.CA); file != "" {
		if gateway.TLS, err = rootsOf(file); err != nil {
			return err
		}
	}
	b, err := gateway.Begin(ctx, "https://"+start.Host, grant.SessionID(s.ID))
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	t, err := r.ccc.GrantRemote(ctx, s.SystemID, s.ID, client.RemoteBrowser{Label: b.Label, Browser: b.Hash})
	if err != nil {
		return err
	}
	return r.write(flow.Ticket{
		Origin: b.Origin, Grant: t.Grant, Browser: b.Browser, Expires: t.ExpiresAt,
		Session: grant.SessionID(s.ID), Service: grant.Service(s.Service), Target: s.Target,
	})
}

// write writes the ticket where only the user can read it.
func (r *remoteAccess) write(t flow.Ticket) (err error) {
	if r.grantFile == "-" {
		return t.Write(r.cmd.OutOrStdout())
	}
	f, err := os.OpenFile(r.grantFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(0o600); err != nil { // it may have been there
		return err
	}
	return t.Write(f)
}
