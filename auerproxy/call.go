package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/connect"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// caller holds the flags of the commands that call a device.
type caller struct {
	relays      []string
	credentials string
	transport   string
	verbose     bool
}

func callerFlags(cmd *cobra.Command) *caller {
	c := anyCallerFlags(cmd)
	if err := cmd.MarkFlagRequired("credentials"); err != nil {
		panic(err) // anyCallerFlags defines the flag
	}
	return c
}

// anyCallerFlags are the same, none of them needed.
func anyCallerFlags(cmd *cobra.Command) *caller {
	c := new(caller)
	f := cmd.Flags()
	f.StringSliceVar(&c.relays, "relay", []string{"127.0.0.1:7844"}, "`address` of a relay; give all that the device may be at")
	f.StringVar(&c.credentials, "credentials", "", "`directory` with the caller's service certificate, key and trust bundle (needed)")
	f.StringVar(&c.transport, "transport", dial.TransportAuto, "auto, race, quic or tcp")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "say what happens to the sessions with relays, on standard error")
	return c
}

func (c *caller) dialer() (*dial.Dialer, error) {
	creds, err := enrol.LoadCredentials(c.credentials)
	if err != nil {
		return nil, &cli.Hint{Err: err, Hint: "make them with: pki issue service/<name> --out DIR", ExitCode: cli.ExitConfig}
	}
	return dial.New(dial.Config{
		Relays: c.relays, Transport: c.transport, Credentials: creds, Program: "auerproxy connect", Logger: c.logger(),
	})
}

func (c *caller) logger() hclog.Logger {
	level := hclog.Warn
	if c.verbose {
		level = hclog.Debug
	}
	return hclog.New(&hclog.LoggerOptions{Name: "auerproxy", Level: level, Output: os.Stderr})
}

// callError gives an error of a call its hint and exit code.
func callError(err error) error {
	if err == nil {
		return nil
	}
	return &cli.Hint{Err: err, Hint: tunnel.CodeOf(err).Info().Hint, ExitCode: connect.ExitCode(err)}
}

func serialArg(arg string) (identity.Serial, error) {
	s, err := identity.ParseSerial(arg)
	if err != nil {
		return "", &cli.Hint{Err: err, Hint: "a serial is ten digits, e.g. 0123456789", ExitCode: cli.ExitUsage}
	}
	return s, nil
}

func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
}

func traceCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "trace SERIAL [SERVICE]",
		Short:   "Open one call to a device and time each hop",
		Example: "  auerproxy trace 0123456789 --credentials ./ccc\n  auerproxy trace 0123456789 ssh --relay fra-1.example.com:7844 --credentials ./ccc --json",
		Args:    cobra.RangeArgs(1, 2),
	}
	c := callerFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		serial, err := serialArg(args[0])
		if err != nil {
			return err
		}
		service := "web"
		if len(args) == 2 {
			service = args[1]
		}
		d, err := c.dialer()
		if err != nil {
			return err
		}
		report, traceErr := d.Trace(cmd.Context(), serial, service)
		if err := d.Close(); err != nil {
			return err
		}
		t := &cli.Table{Header: []string{"STEP", "AT", "TOOK", "OF WHICH", "RESULT"}}
		for _, s := range report.Steps {
			hops := make([]string, len(s.Hops))
			for i, h := range s.Hops {
				hops[i] = h.At + " " + h.Took.String()
			}
			result := "ok"
			if s.Code != tunnel.CodeOK {
				result = s.Error
			}
			t.Add(s.Name, s.At, s.Took.Round(time.Microsecond), strings.Join(hops, ", "), result)
		}
		t.Add("total", report.Target, report.Total.Round(time.Microsecond), "", "")
		if err := app.Print(cmd, report, t); err != nil {
			return err
		}
		return callError(traceErr)
	}
	return cmd
}

func connectCommand(*cli.App) *cobra.Command {
	var listen, purpose string
	var raw, bulk bool
	var remote remoteFlags
	cmd := &cobra.Command{
		Use:   "connect SERIAL SERVICE | connect --grant FILE",
		Short: "Bridge standard input and output, or a local port, to a service of a device",
		Long: "Without --listen one call is bridged to standard input and output, as ssh's\n" +
			"ProxyCommand wants it. With --listen each connection to the local port becomes a\n" +
			"call. Whoever reaches that port acts as the caller: keep it on loopback.\n\n" +
			"With --grant there are no credentials of a service: the way is that of remote\n" +
			"access, through the gateway, to the target that \"ccc remote open\" has asked for and\n" +
			"the PBX's administrator has allowed. The grant is good once and for a minute; what\n" +
			"it opens lasts until the remote access ends. SSH through it is encrypted from this\n" +
			"machine to the target. Exit codes: 4 not reachable, 5 refused or over, 6 try again.",
		Example: "  ssh -o ProxyCommand='auerproxy connect 0123456789 ssh --credentials ./helpdesk' admin@pbx\n" +
			"  auerproxy connect 0123456789 web --listen 127.0.0.1:8080 --credentials ./ccc\n" +
			"  ccc remote open 0123456789 --url https://ccc.example.com --user anna@example.com \\\n" +
			"    --service ssh --target shell --reason 'no dial tone' --grant-file grant &&\n" +
			"    ssh -o ProxyCommand='auerproxy connect --grant grant' root@shell\n" +
			"  auerproxy connect --grant grant --listen 127.0.0.1:2222",
		Args: func(cmd *cobra.Command, args []string) error {
			if remote.grant != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(2)(cmd, args)
		},
	}
	c := anyCallerFlags(cmd)
	remote.add(cmd)
	cmd.MarkFlagsOneRequired("credentials", "grant")
	cmd.Flags().StringVar(&listen, "listen", "", "local `address` whose connections are forwarded")
	cmd.Flags().StringVar(&purpose, "purpose", "connect", "what the calls are for, for policy and records")
	cmd.Flags().BoolVar(&raw, "raw", false, "without end-to-end TLS, where policy and device allow it")
	cmd.Flags().BoolVar(&bulk, "bulk", false, "on data connections beside the tunnel where possible, for much data")
	cmd.MarkFlagsMutuallyExclusive("raw", "bulk")
	for _, other := range []string{"credentials", "purpose", "raw", "bulk", "relay", "transport"} {
		cmd.MarkFlagsMutuallyExclusive("grant", other)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if remote.grant != "" {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return remote.run(ctx, cmd, listen, c.logger())
		}
		serial, err := serialArg(args[0])
		if err != nil {
			return err
		}
		d, err := c.dialer()
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		call := dial.Call{Target: d.Device(serial), Service: args[1], Purpose: purpose}
		switch {
		case raw:
			call.Inner = dial.Raw
		case bulk:
			call.Inner = dial.Bulk
		}
		if listen == "" {
			err = connect.Stdio(ctx, d, call, os.Stdin, os.Stdout)
		} else {
			err = forward(ctx, cmd, listen, d, call, c.logger())
		}
		if cerr := d.Close(); err == nil {
			err = cerr
		}
		return callError(err)
	}
	return cmd
}

func forward(ctx context.Context, cmd *cobra.Command, listen string, d *dial.Dialer, call dial.Call, log hclog.Logger) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "forwarding %s to %s of %s\n", ln.Addr(), call.Service, call.Target.Path()); err != nil {
		return err
	}
	return connect.Forward(ctx, ln, d, call, connect.Options{Logger: log})
}

func proxyCommand(*cli.App) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Offer a local HTTP proxy to devices, for browsers without a client certificate",
		Long: "The proxy takes http://s<serial>.pbx.<trust-domain>/ and CONNECT to such names,\n" +
			"and nothing else. It listens on loopback only: whoever reaches it acts as the\n" +
			"caller.",
		Example: "  auerproxy proxy --listen 127.0.0.1:3128 --credentials ./ccc\n  curl -x http://127.0.0.1:3128 http://s0123456789.pbx.comtrexx.test/",
		Args:    cobra.NoArgs,
	}
	c := callerFlags(cmd)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:3128", "local `address` of the proxy")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d, err := c.dialer()
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "HTTP proxy on %s\n", ln.Addr()); err != nil {
			return err
		}
		err = connect.Proxy(ctx, ln, d, connect.Options{Logger: c.logger()})
		if cerr := d.Close(); err == nil {
			err = cerr
		}
		return callError(err)
	}
	return cmd
}
