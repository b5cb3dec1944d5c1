package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// adminClient asks a running relay's admin listener.
type adminClient struct{ addr string }

// adminFlag adds --admin, the address of the admin listener.
func adminFlag(cmd *cobra.Command) *adminClient {
	c := new(adminClient)
	cmd.Flags().StringVar(&c.addr, "admin", "127.0.0.1:9090", "`address` of the relay's admin listener, or unix:PATH")
	return c
}

func (c *adminClient) do(ctx context.Context, method, path string, query url.Values, answer any) error {
	u := url.URL{Scheme: "http", Host: c.addr, Path: path, RawQuery: query.Encode()}
	transport := &http.Transport{}
	if socket, ok := strings.CutPrefix(c.addr, "unix:"); ok {
		u.Host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return &cli.Hint{Err: fmt.Errorf("no answer from the relay: %w", err), Hint: `is "auerproxy serve" running, and is --admin its admin.listen?`}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Title, Detail, Code, Hint string }
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
			return fmt.Errorf("the relay answers %s", resp.Status)
		}
		return &cli.Hint{Err: errors.New(problem.Detail), Hint: problem.Hint}
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

func statusCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show a running relay in a few numbers", Args: cobra.NoArgs}
	admin := adminFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var st relay.Status
		if err := admin.do(cmd.Context(), http.MethodGet, "/v1/status", nil, &st); err != nil {
			return err
		}
		t := &cli.Table{Header: []string{"RELAY", "ADDRESS", "DEVICES", "SERVICES", "CONNECTS", "DRAINING"}}
		t.Add(st.Relay, st.Address, st.Devices, st.Services, st.Connects, st.Draining)
		return app.Print(cmd, st, t)
	}
	return cmd
}

func sessionsCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "sessions [SERIAL | service/NAME]",
		Short:   "List the sessions that a relay holds",
		Example: "  auerproxy sessions\n  auerproxy sessions 0123456789 --json",
		Args:    cobra.MaximumNArgs(1),
	}
	admin := adminFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := url.Values{}
		if len(args) == 1 {
			peer, err := peerPath(args[0])
			if err != nil {
				return err
			}
			q.Set("peer", peer)
		}
		var list []relay.SessionInfo
		if err := admin.do(cmd.Context(), http.MethodGet, "/v1/sessions", q, &list); err != nil {
			return err
		}
		t := &cli.Table{Header: []string{"PEER", "SLOT", "TRANSPORT", "ADDRESS", "UP", "RTT", "STREAMS", "SENT", "RECEIVED", "SERVICES"}}
		for _, s := range list {
			t.Add(s.Peer, shorten(s.Slot), s.Transport, s.Address, time.Since(s.Since).Round(time.Second), s.RTT.Round(time.Microsecond),
				s.StreamsTo+s.StreamsFrom, s.Sent, s.Received, strings.Join(s.Services, ","))
		}
		return app.Print(cmd, list, t)
	}
	return cmd
}

func shorten(s string) string {
	const most = 8
	if len(s) > most {
		return s[:most]
	}
	return s
}

func kickCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kick SERIAL | service/NAME",
		Short: "Close an endpoint's sessions; it comes back by itself",
		Args:  cobra.ExactArgs(1),
	}
	admin := adminFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		peer, err := peerPath(args[0])
		if err != nil {
			return err
		}
		var answer struct {
			Kicked int `json:"kicked"`
		}
		if err := admin.do(cmd.Context(), http.MethodPost, "/v1/kick", url.Values{"peer": {peer}}, &answer); err != nil {
			return err
		}
		t := &cli.Table{}
		t.Add(fmt.Sprintf("%d sessions of %s closed", answer.Kicked, peer))
		return app.Print(cmd, answer, t)
	}
	return cmd
}

func drainCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Empty a relay: devices move to another one first, then leave",
		Long: "Tells every session to leave at the configured pace, waits until they have left\n" +
			"or until drain.deadline, and closes the rest. The relay stays up and refuses\n" +
			"new sessions until it is stopped.",
		Args: cobra.NoArgs,
	}
	admin := adminFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var d relay.Drained
		if err := admin.do(cmd.Context(), http.MethodPost, "/v1/drain", nil, &d); err != nil {
			return err
		}
		t := &cli.Table{Header: []string{"TOLD", "LEFT", "CUT", "TOOK"}}
		t.Add(d.Told, d.Left, d.Cut, d.Took.Round(time.Millisecond))
		return app.Print(cmd, d, t)
	}
	return cmd
}

// peerPath takes a serial or a path.
func peerPath(arg string) (string, error) {
	if s, err := identity.ParseSerial(arg); err == nil {
		return identity.Device(identity.DefaultTrustDomain, s).Path(), nil
	}
	id, err := identity.ParsePath(identity.DefaultTrustDomain, arg)
	if err != nil {
		return "", &cli.Hint{Err: err, Hint: "give a serial of ten digits, or service/<name>", ExitCode: cli.ExitUsage}
	}
	return id.Path(), nil
}

func errorsCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:     "errors [NUMBER]",
		Short:   "Explain the error numbers",
		Example: "  auerproxy errors\n  auerproxy errors 1301",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []tunnel.CodeInfo
			t := &cli.Table{Header: []string{"NUMBER", "NAME", "MEANING", "WHAT TO DO", "RETRY ELSEWHERE"}}
			for _, ci := range tunnel.Codes() {
				if ci.Code == tunnel.CodeOK || len(args) == 1 && ci.Code.String() != "AUER-"+strings.TrimPrefix(args[0], "AUER-") {
					continue
				}
				list = append(list, ci)
				t.Add(ci.Code, ci.Name, ci.Text, ci.Hint, ci.Retryable)
			}
			if len(list) == 0 {
				return &cli.Hint{Err: fmt.Errorf("no error has the number %q", args[0]), Hint: `"auerproxy errors" lists them all`, ExitCode: cli.ExitUsage}
			}
			return app.Print(cmd, list, t)
		},
	}
}
