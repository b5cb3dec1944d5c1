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
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// exitOffline is the exit code of "status" where the PBX runs without a tunnel.
const exitOffline = 4

// report is what the running program answers.
type report struct {
	Version string      `json:"version"`
	Serial  string      `json:"serial"`
	URL     string      `json:"url"`
	State   state.Phase `json:"state"`
	// Tenant and Since tell about the pairing.
	Tenant string    `json:"tenant,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Offers int       `json:"offers"`
	// Untold is how many dissolved pairings the control centre has yet to hear of.
	Untold int `json:"untold"`
	// Tunnel is nil where no relay is configured.
	Tunnel *agent.Status `json:"tunnel,omitempty"`
}

func reportOf(p *pbx.PBX, url string) report {
	s := p.State()
	r := report{
		Version: configs.Version(), Serial: string(p.Serial()), URL: url,
		State: s.Phase(), Offers: len(s.Offers), Untold: len(s.Tombstones),
	}
	if s.Pairing != nil {
		r.Tenant, r.Since = s.Pairing.Tenant, s.Pairing.Since
	}
	if a := p.Agent(); a != nil {
		r.Tunnel = new(a.Status())
	}
	return r
}

// statusTimeout bounds one question to the running program.
const statusTimeout = 5 * time.Second

// listenStatus opens the socket, of which the program's user alone may ask. A socket
// that a killed program has left is removed; one that answers is not.
func listenStatus(ctx context.Context, path string) (net.Listener, error) {
	if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return nil, &cli.Hint{Err: fmt.Errorf("a PBX answers at %s already", path), Hint: "stop it first, or give this one another state_dir"}
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
func serveStatus(ctx context.Context, ln net.Listener, p *pbx.PBX, url string) error {
	srv := &http.Server{
		ReadHeaderTimeout: statusTimeout, WriteTimeout: statusTimeout, IdleTimeout: statusTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(reportOf(p, url)) // the asker has gone
		}),
	}
	return serve(ctx, srv, ln)
}

func statusCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Ask the running PBX about its tunnel and its pairing",
		Long: `Ask the running PBX about its tunnel and its pairing.

Exit code 0: a tunnel is up, or none is configured; 4: the PBX runs, but no tunnel is up;
1: no PBX runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := Default()
			if err := app.Load(&cfg); err != nil {
				return err
			}
			r, err := ask(cmd.Context(), cfg.socket())
			if err != nil {
				return &cli.Hint{Err: fmt.Errorf("no PBX answers: %w", err), Hint: `is "pbx run" running, with the same state_dir?`}
			}
			if err := printStatus(cmd, app, r); err != nil {
				return err
			}
			if r.Tunnel != nil && !r.Tunnel.Online() {
				return &cli.Hint{Err: errors.New("no tunnel is up"), ExitCode: exitOffline}
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pbx/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport, Timeout: statusTimeout}).Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	r := new(report)
	if err := json.NewDecoder(resp.Body).Decode(r); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return r, nil
}

func printStatus(cmd *cobra.Command, app *cli.App, r *report) error {
	t := &cli.Table{}
	t.Add("serial", r.Serial)
	t.Add("administration", r.URL)
	pairing := string(r.State)
	if r.Tenant != "" {
		pairing += " with " + r.Tenant + " since " + r.Since.Local().Format(time.DateTime)
	}
	t.Add("pairing", pairing)
	t.Add("offers", r.Offers)
	if r.Untold > 0 {
		t.Add("to be told", fmt.Sprintf("%d dissolved pairings", r.Untold))
	}
	if r.Tunnel == nil {
		t.Add("tunnel", "none configured")
	} else {
		for _, s := range r.Tunnel.Slots {
			text := string(s.State)
			if s.State.Online() {
				text += " at " + s.Relay + " over " + string(s.Transport)
			} else if s.LastError != "" {
				text += ": " + s.LastError
			}
			t.Add("tunnel", text)
		}
		t.Add("certificate until", r.Tunnel.Expires.Local().Format(time.DateTime))
	}
	return app.Print(cmd, r, t)
}
