package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/willing"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const (
	td        = identity.DefaultTrustDomain
	roleName  = "role-pages"
	relayName = "bench"
	host      = "127.0.0.1"
	// sessionsPerPBX is how many sessions one PBX gets.
	sessionsPerPBX = 100
)

func serial(i int) identity.Serial { return identity.Serial(fmt.Sprintf("%010d", 300_000_001+i)) }

// ready is what the PBX says when it serves.
type ready struct {
	// Pages is where its web server is for those who come without a tunnel, host:port.
	Pages string `json:"pages"`
	// Relay is where it looks for its relay.
	Relay string `json:"-"`
}

// Role is the hidden command that is the PBX, in a process of its own. It ends with its
// standard input. The program that calls [Measure] has to have it.
func Role() *cobra.Command {
	var dir, relay string
	var devices int
	cmd := &cobra.Command{
		Use: roleName, Short: "A part of ours that bench starts", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			err := servePBX(ctx, dir, relay, devices, json.NewEncoder(cmd.OutOrStdout()))
			if ctx.Err() != nil {
				return nil
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "certificates")
	cmd.Flags().StringVar(&relay, "relay", "", "")
	cmd.Flags().IntVar(&devices, "devices", 1, "")
	return cmd
}

// servePBX serves the pages to everybody on loopback, and through the tunnels of all
// devices.
func servePBX(ctx context.Context, dir, relay string, devices int, out *json.Encoder) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return err
	}
	pages := &http.Server{Handler: site(), ReadHeaderTimeout: time.Minute}
	gateway := willing.Server()
	g, ctx := errgroup.WithContext(ctx)
	serve := func(srv *http.Server, ln net.Listener) {
		g.Go(func() error {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	serve(pages, ln)
	for i := range devices {
		creds, err := enrol.LoadCredentials(filepath.Join(dir, filepath.FromSlash(identity.Device(td, serial(i)).Path())))
		if err != nil {
			return err
		}
		a, err := agent.New(agent.Config{
			Relays: []string{relay}, Credentials: creds, Transport: agent.TransportTCP, Program: roleName,
			Services: []agent.Service{{Name: string(grant.Web), Streams: maxStreams}, {Name: remote.ServiceName, Streams: maxStreams}},
			Timing:   agent.Timing{BackoffCap: time.Second}, // the relay comes and goes with its contestant
			Limits:   agent.Limits{Streams: maxStreams, Calls: maxStreams},
		})
		if err != nil {
			return err
		}
		for service, srv := range map[string]*http.Server{string(grant.Web): pages, remote.ServiceName: gateway} {
			ln, err := a.Listen(service)
			if err != nil {
				return err
			}
			serve(srv, ln)
		}
		g.Go(func() error { return a.Run(ctx) })
	}
	g.Go(func() error {
		<-ctx.Done()
		return errors.Join(pages.Close(), gateway.Close())
	})
	if err := out.Encode(ready{Pages: ln.Addr().String()}); err != nil {
		return err
	}
	return g.Wait()
}

// maxStreams is more than all works have at once with one device.
const maxStreams = 8192

const (
	pathPage, pathDown, pathUp, pathEcho = "/page", "/down", "/up", "/echo"
	pageSize                             = 4 << 10
	// chunk is what is written at once to an answer without end.
	chunk = 64 << 10
)

// site has what the works ask for.
func site() http.Handler {
	page := []byte(strings.Repeat("<p>COMtrexx</p>\n", pageSize/16))
	zeros := make([]byte, chunk)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathPage, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("GET "+pathDown, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		for {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("POST "+pathUp, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, chunk))
	})
	mux.HandleFunc("GET "+pathEcho, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any origin may
		if err != nil {
			return // it has answered
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, text, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, text) != nil {
				return
			}
		}
	})
	return mux
}
