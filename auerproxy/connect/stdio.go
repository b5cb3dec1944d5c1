package connect

import (
	"context"
	"io"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Stdio opens a call and copies in to it and it to out. The end of in is the end
// of that direction only; Stdio returns nil when the device has ended its own, as
// a program that is started as ssh's ProxyCommand must. Any other end is an error:
// that of the open, a *tunnel.Error of the call, or that of in or out.
//
// A read of in that is blocked when the call ends stays so until in ends: standard
// input cannot be interrupted. A program exits then.
func Stdio(ctx context.Context, d opener, call dial.Call, in io.Reader, out io.Writer) error {
	c, err := d.Open(ctx, call)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { c.Reset(tunnel.CodeCancelled) })
	defer stop()

	sent := make(chan error, 1)
	go func() {
		err := copyAll(c, in)
		if err == nil {
			err = c.CloseWrite()
		}
		sent <- err
	}()
	received := make(chan error, 1)
	go func() { received <- copyAll(out, c) }()

	select {
	case err = <-received:
	case err = <-sent:
		if err == nil {
			err = <-received
			break
		}
		c.Reset(tunnel.CodeReset)
		<-received
	}
	if ctx.Err() != nil {
		return tunnel.Errorf(tunnel.CodeCancelled, "%w", ctx.Err())
	}
	if err != nil {
		c.Reset(tunnel.CodeReset)
	}
	return err
}

// copyAll copies with a plain buffer: the standard streams' own shortcuts would
// hold on to the connection.
func copyAll(dst io.Writer, src io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 32<<10))
	return err
}
