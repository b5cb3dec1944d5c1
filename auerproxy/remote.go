package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/connect"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// remoteFlags are for "connect --grant".
type remoteFlags struct{ grant, ca, address string }

func (f *remoteFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.grant, "grant", "", "`file` that \"ccc remote open\" has written, - for standard input: go through the gateway for remote access")
	fs.StringVar(&f.ca, "ca-file", "", "with --grant: PEM `file` with the roots that the gateway's certificate is checked against; default: those of the system")
	fs.StringVar(&f.address, "gateway-address", "", "with --grant: `address` to connect to instead of what the gateway's name resolves to")
}

// ticket reads the first line of the file. What follows on standard input is for the
// target.
func (f *remoteFlags) ticket(stdin *bufio.Reader) (flow.Ticket, error) {
	from := stdin
	if f.grant != "-" {
		file, err := os.Open(f.grant)
		if err != nil {
			return flow.Ticket{}, err
		}
		defer func() { _ = file.Close() }()
		from = bufio.NewReaderSize(file, maxLine)
	}
	line, err := from.ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return flow.Ticket{}, err
	}
	t, err := flow.ReadTicket(bytes.NewReader(line))
	clear(line)
	if err != nil {
		return t, &cli.Hint{Err: fmt.Errorf("--grant %s: %w", f.grant, err), Hint: "make one with: ccc remote open", ExitCode: cli.ExitUsage}
	}
	return t, nil
}

// maxLine is more than a ticket has.
const maxLine = 32 << 10

func (f *remoteFlags) client() (flow.Client, error) {
	c := flow.Client{Address: f.address}
	if f.ca == "" {
		return c, nil
	}
	text, err := os.ReadFile(f.ca)
	if err != nil {
		return c, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return c, &cli.Hint{Err: fmt.Errorf("--ca-file: %s has no certificate in PEM", f.ca), ExitCode: cli.ExitUsage}
	}
	c.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return c, nil
}

// run bridges standard input and output, or a local port, to the target of the grant.
func (f *remoteFlags) run(ctx context.Context, cmd *cobra.Command, listen string, log hclog.Logger) error {
	stdin := bufio.NewReaderSize(cmd.InOrStdin(), maxLine)
	t, err := f.ticket(stdin)
	if err != nil {
		return err
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	var ln net.Listener
	if listen != "" { // before the grant is used up
		if ln, err = listenLoopback(ctx, listen); err != nil {
			return err
		}
		defer func() { _ = ln.Close() }()
	}
	s, err := client.Redeem(ctx, t)
	if err != nil {
		return remoteError(err)
	}
	defer s.Close()
	if ln == nil {
		c, err := s.Open(ctx)
		if err != nil {
			return remoteError(err)
		}
		return remoteError(connect.Bridge(ctx, c, stdin, cmd.OutOrStdout()))
	}
	if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "forwarding %s to %s %s\n", ln.Addr(), t.Service, t.Target); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = connect.ForwardTo(ctx, ln, func(ctx context.Context) (connect.Stream, error) {
		c, err := s.Open(ctx)
		if err != nil {
			if over(err) {
				cancel(err) // there is nothing to wait for
			}
			return nil, err
		}
		return &watched{c, cancel}, nil
	}, t.Target, connect.Options{Logger: log})
	if cause := context.Cause(ctx); over(cause) {
		err = cause
	}
	return remoteError(err)
}

// watched tells of the end of the remote access.
type watched struct {
	*flow.Conn
	tell context.CancelCauseFunc
}

// Read reads from the target.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if over(err) {
		w.tell(err)
	}
	return n, err
}

// over reports whether the remote access has ended.
func over(err error) bool {
	if _, ok := errors.AsType[*flow.EndedError](err); ok {
		return true
	}
	refused, ok := errors.AsType[*flow.RefusedError](err)
	return ok && (refused.Reason == "ended" || refused.Reason == "label")
}

// listenLoopback listens where nobody else's machine gets at: whoever reaches the port
// uses the remote access.
func listenLoopback(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !configs.IsLoopback(host) {
		return nil, &cli.Hint{
			Err:  fmt.Errorf("--listen %s: is not an address of this machine alone", address),
			Hint: "as in 127.0.0.1:2222; port 0 takes a free one", ExitCode: cli.ExitUsage,
		}
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// remoteError gives an error its hint and exit code.
func remoteError(err error) error {
	h := &cli.Hint{Err: err, ExitCode: connect.ExitCode(err)}
	if refused, ok := errors.AsType[*flow.RefusedError](err); ok {
		h.Hint, h.ExitCode = refused.Hint(), connect.ExitRefused
		switch {
		case refused.Reason == "unreachable":
			h.ExitCode = connect.ExitOffline
		case refused.Status == http.StatusServiceUnavailable || refused.Status == http.StatusTooManyRequests:
			h.ExitCode = connect.ExitRetry
		}
		return h
	}
	if _, ok := errors.AsType[*flow.EndedError](err); ok {
		h.Hint, h.ExitCode = "ask anew with: ccc remote open", connect.ExitRefused
		return h
	}
	if _, ok := errors.AsType[*tunnel.Error](err); ok {
		h.Hint = tunnel.CodeOf(err).Info().Hint
		return h
	}
	if err == nil {
		return nil
	}
	return h
}
