package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// exitOffline is the exit code of "status" where the agent runs without a tunnel.
const exitOffline = 4

// report is what the running agent answers.
type report struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	agent.Status
}

// statusTimeout bounds one question to the running agent.
const statusTimeout = 5 * time.Second

// listenStatus opens the socket, of which the program's user alone may ask. A
// socket that a killed agent has left is removed; one that answers is not.
func listenStatus(ctx context.Context, path string) (net.Listener, error) {
	if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return nil, &cli.Hint{Err: fmt.Errorf("an agent answers at %s already", path), Hint: "stop it first, or give this one another state_dir"}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// serveStatus answers until ctx ends.
func serveStatus(ctx context.Context, ln net.Listener, a *agent.Agent) error {
	started := time.Now()
	srv := &http.Server{
		ReadHeaderTimeout: statusTimeout, WriteTimeout: statusTimeout, IdleTimeout: statusTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(report{configs.Version(), started, a.Status()}) // the asker has gone
		}),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func statusCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Ask the running agent about its tunnels and services",
		Long: `Ask the running agent about its tunnels and services.

Exit code 0: a tunnel is up; 4: the agent runs, but no tunnel is up; 1: no agent runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg looseConfig
			cfg.Config = Default()
			if err := app.Load(&cfg); err != nil {
				return err
			}
			r, err := ask(cmd.Context(), cfg.socket())
			if err != nil {
				return &cli.Hint{Err: fmt.Errorf("no agent answers: %w", err), Hint: `is "auer-agent run" running, with the same state_dir?`}
			}
			if err := printStatus(cmd, app, r); err != nil {
				return err
			}
			if !r.Online() {
				return &cli.Hint{Err: errors.New("no tunnel is up"), Hint: hintOf(r), ExitCode: exitOffline}
			}
			return nil
		},
	}
}

func ask(ctx context.Context, socket string) (*report, error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport, Timeout: statusTimeout}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := new(report)
	if err := json.NewDecoder(resp.Body).Decode(r); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return r, nil
}

func hintOf(r *report) string {
	for _, s := range r.Slots {
		if s.LastHint != "" {
			return s.LastHint
		}
	}
	return ""
}

// printStatus shows the tunnels and the services, as two tables or as JSON.
func printStatus(cmd *cobra.Command, app *cli.App, r *report) error {
	if app.JSON {
		return cli.WriteJSON(cmd.OutOrStdout(), r)
	}
	head := &cli.Table{}
	head.Add("device", r.Device)
	head.Add("certificate until", r.Expires.Local().Format(time.DateTime))
	head.Add("agent", fmt.Sprintf("%s, up %s", r.Version, round(time.Since(r.Started))))
	tunnels := &cli.Table{Header: []string{"\nTUNNEL", "STATE", "FOR", "RELAY", "TRANSPORT", "WHY", "RTT", "LOSS UP", "DOWN", "TRIES", "LAST ERROR"}}
	for _, s := range r.Slots {
		relay := "-"
		if s.Relay != "" {
			relay = s.Relay + " (" + s.RelayID + ")"
		}
		up, down := "-", "-"
		if s.Path != nil {
			up, down = loss(s.Path.Up), loss(s.Path.Down)
		}
		tunnels.Add(s.Slot, s.State, round(time.Since(s.Since)), relay, dash(string(s.Transport)), dash(s.Choice), rtt(s.RTT), up, down, s.Attempts, dash(s.LastError))
	}
	services := &cli.Table{Header: []string{"\nSERVICE", "TARGET", "ACTIVE", "CALLS", "REFUSED"}}
	for _, s := range r.Services {
		services.Add(s.Name, dash(s.Target), s.Active, s.Total, s.Refused)
	}
	out := cmd.OutOrStdout()
	return errors.Join(head.Write(out), tunnels.Write(out), services.Write(out))
}

func round(d time.Duration) time.Duration { return d.Round(time.Second) }

func rtt(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(10 * time.Microsecond).String()
}

// loss is the share of packets that a direction lost; nothing where nobody counts them.
func loss(d agent.PathDirection) string {
	if d.Packets == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*d.Loss)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
