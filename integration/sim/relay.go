package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// ready is the line that the relay's process prints when it serves.
type ready struct {
	Relay string `json:"relay"`
	Admin string `json:"admin"`
}

// relayOptions are the flags of the hidden command.
type relayOptions struct {
	dir        string
	listen     string
	heartbeat  time.Duration
	handshakes float64
}

// relayCommand is the relay of "sim run", in a process of its own so that memory
// and CPU are its alone. It ends with its standard input, and so with the process
// that started it.
func relayCommand() *cobra.Command {
	var o relayOptions
	cmd := &cobra.Command{
		Use: "relay", Short: "The relay that sim run starts", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			return serveRelay(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "", "certificate and state")
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "")
	f.DurationVar(&o.heartbeat, "heartbeat", 0, "")
	f.Float64Var(&o.handshakes, "handshake-rate", 0, "")
	return cmd
}

func serveRelay(ctx context.Context, o relayOptions, out io.Writer) error {
	cfg := daemon.Default()
	cfg.Admin.Listen, cfg.Log.Level = "127.0.0.1:0", "warn"
	d, err := daemon.New(cfg, "sim-relay")
	if err != nil {
		return err
	}
	creds, err := enrol.LoadCredentials(o.dir)
	if err != nil {
		return err
	}
	rc := relay.DefaultConfig()
	rc.Listen, rc.StateDir, rc.Heartbeat = o.listen, filepath.Join(o.dir, "state"), o.heartbeat
	rc.Credentials, rc.Logger, rc.Metrics = creds, d.Logger().Named("relay"), d.Registry()
	rc.Policy = []relay.Rule{{
		Caller: "service/" + load.CallerName, Target: "device", Services: []string{load.ServiceWeb, load.ServiceEcho},
	}}
	if o.handshakes > 0 {
		rc.Limits.HandshakesPerSecond, rc.Limits.HandshakeBurst = o.handshakes, max(1, int(o.handshakes))
	}
	r, err := relay.New(rc)
	if err != nil {
		return err
	}
	d.Admin().Handle("/v1/", r.AdminHandler())
	// What is measured after this is memory in use, without what the collector has
	// not come to yet. Each collection halves the stacks that are too large.
	d.Admin().HandleFunc("POST /collect", func(http.ResponseWriter, *http.Request) {
		runtime.GC()
		runtime.GC()
		debug.FreeOSMemory()
	})
	announce := func(ctx context.Context) error {
		select {
		case <-d.Started():
			if err := json.NewEncoder(out).Encode(ready{Relay: r.Addr(), Admin: d.AdminAddr().String()}); err != nil {
				return err
			}
		case <-ctx.Done():
		}
		<-ctx.Done()
		return nil
	}
	return d.Run(ctx,
		daemon.Component{Name: "relay", Run: r.Run, Ready: r.Ready()},
		daemon.Component{Name: "announce", Run: announce},
	)
}
