package peer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/connect"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The hidden commands that are our parts, each in a process of its own so that
// its CPU and memory are its alone. Each ends with its standard input, and so with
// the process that started it.
const (
	roleRelay  = "role-relay"
	roleDevice = "role-device"
	roleCaller = "role-caller"
)

type relayReady struct {
	Relay string `json:"relay"`
	Entry string `json:"entry"`
}

type callerReady struct {
	Entry string `json:"entry"`
}

// conns is what our limits on streams are raised to: all that a work opens, and
// some that are being closed.
const conns = 4096

// role holds the flags of all roles.
type role struct {
	dir       string
	host      string
	serial    string
	transport string
	relay     string
	target    string
	bulk      bool
	log       hclog.Logger
}

// Roles are the hidden commands; the program that calls [Contestant.Start] has to
// have them.
func Roles() []*cobra.Command {
	return []*cobra.Command{
		command(roleRelay, role.serveRelay), command(roleDevice, role.serveDevice), command(roleCaller, role.serveCaller),
	}
}

func command(name string, run func(r role, ctx context.Context, out *json.Encoder) error) *cobra.Command {
	var r role
	cmd := &cobra.Command{
		Use: name, Short: "A part of ours that bench starts", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			r.log = hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Warn, Output: cmd.ErrOrStderr()})
			err := run(r, ctx, json.NewEncoder(cmd.OutOrStdout()))
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.dir, "dir", "", "certificates")
	f.StringVar(&r.host, "host", "127.0.0.1", "where to listen")
	f.StringVar(&r.serial, "serial", "", "the device")
	f.StringVar(&r.transport, "transport", "", "")
	f.StringVar(&r.relay, "relay", "", "")
	f.StringVar(&r.target, "target", "", "")
	f.BoolVar(&r.bulk, "bulk", false, "")
	return cmd
}

func (r role) credentials(id identity.ID) (*enrol.Credentials, error) { return credentials(r.dir, id) }

func credentials(dir string, id identity.ID) (*enrol.Credentials, error) {
	return enrol.LoadCredentials(filepath.Join(dir, filepath.FromSlash(id.Path())))
}

func (r role) serveRelay(ctx context.Context, out *json.Encoder) error {
	creds, err := r.credentials(identity.Relay(identity.DefaultTrustDomain, relayName))
	if err != nil {
		return err
	}
	c := relay.DefaultConfig()
	free := net.JoinHostPort(r.host, "0")
	c.Listen, c.StateDir, c.Credentials, c.Logger = free, filepath.Join(r.dir, "state"), creds, r.log
	c.Entries = []relay.Entry{{Listen: free, Target: "device/" + r.serial, Service: service}}
	c.Policy = []relay.Rule{{Caller: "service/" + callerName, Target: "device", Services: []string{service}}}
	c.Limits.StreamsPerDevice = conns
	// As program auerproxy does it, metrics and heap floor included.
	dc := daemon.Default()
	dc.Admin.Listen, dc.Log.Level = free, "warn"
	d, err := daemon.New(dc, roleRelay)
	if err != nil {
		return err
	}
	c.Metrics = d.Registry()
	rl, err := relay.New(c)
	if err != nil {
		return err
	}
	announce := func(ctx context.Context) error {
		select {
		case <-d.Started():
			if err := out.Encode(relayReady{Relay: rl.Addr(), Entry: rl.Status().Entries[0].Address}); err != nil {
				return err
			}
		case <-ctx.Done():
		}
		<-ctx.Done()
		return nil
	}
	return d.Run(ctx,
		daemon.Component{Name: "relay", Run: rl.Run, Ready: rl.Ready()},
		daemon.Component{Name: "announce", Run: announce},
	)
}

func (r role) serveDevice(ctx context.Context, out *json.Encoder) error {
	creds, err := r.credentials(identity.Device(identity.DefaultTrustDomain, identity.Serial(r.serial)))
	if err != nil {
		return err
	}
	online := make(chan struct{}, 1)
	a, err := agent.New(agent.Config{
		Relays: []string{r.relay}, Transport: r.transport, Credentials: creds, Logger: r.log, Program: "bench",
		Services: []agent.Service{{Name: service, Target: r.target, Raw: true, Bulk: r.bulk, Streams: conns}},
		Limits:   agent.Limits{Streams: conns, Calls: conns},
		OnStatus: func(st agent.SlotStatus) {
			if st.State.Online() {
				select {
				case online <- struct{}{}:
				default: // was told already
				}
			}
		},
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Run(ctx) })
	g.Go(func() error {
		select {
		case <-online:
			return out.Encode(struct{}{})
		case <-ctx.Done():
			return nil
		}
	})
	return g.Wait()
}

func (r role) serveCaller(ctx context.Context, out *json.Encoder) (err error) {
	creds, err := r.credentials(identity.Service(identity.DefaultTrustDomain, callerName))
	if err != nil {
		return err
	}
	d, err := dial.New(dial.Config{Relays: []string{r.relay}, Transport: r.transport, Credentials: creds, Program: "bench", Logger: r.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(r.host, "0"))
	if err != nil {
		return err
	}
	if err := out.Encode(callerReady{Entry: ln.Addr().String()}); err != nil {
		return errors.Join(err, ln.Close())
	}
	call := dial.Call{Target: d.Device(identity.Serial(r.serial)), Service: service, Purpose: "bench"}
	if r.bulk {
		call.Inner = dial.Bulk
	}
	return connect.Forward(ctx, ln, d, call, connect.Options{Connections: conns, Logger: r.log})
}
