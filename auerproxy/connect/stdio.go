package connect

import (
	"context"
	"errors"
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
	return Bridge(ctx, c, in, out)
}

// Bridge is [Stdio] on a stream that is open. It closes the stream.
func Bridge(ctx context.Context, c Stream, in io.Reader, out io.Writer) error {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { c.Reset(tunnel.CodeCancelled) })
	defer stop()

	sent := make(chan error, 1) // an error of in, or nil
	go func() { sent <- send(c, in) }()
	received := make(chan error, 1)
	go func() { received <- copyAll(out, c) }()

	var err error
	select {
	case err = <-received:
	case err = <-sent:
		if err == nil {
			err = <-received
			break
		}
		c.Reset(tunnel.CodeReset)
		<-received //nolint:errcheck // an echo of the reset
	}
	if err == nil {
		return nil
	}
	c.Reset(tunnel.CodeReset)
	if ctx.Err() != nil {
		return tunnel.Errorf(tunnel.CodeCancelled, "%w", ctx.Err())
	}
	return err
}

// send copies in to the call and ends that direction. A call that takes no more is
// no error here: what the device still has to say, and how the call ended, is for
// the other direction to find.
func send(c Stream, in io.Reader) error {
	src := &source{Reader: in}
	if copyAll(c, src) == nil {
		_ = c.CloseWrite()
	}
	return src.err
}

// source keeps the error of a reader, other than io.EOF.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// copyAll copies with a plain buffer: the standard streams' own shortcuts would
// hold on to the connection.
func copyAll(dst io.Writer, src io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 32<<10))
	return err
}
