package load

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Bulk sends n bytes to the echo service of a device and reads them back: the relay
// carries 2n bytes of payload, inside the end-to-end encryption.
func (c *Caller) Bulk(ctx context.Context, serial identity.Serial, n int64) error {
	conn, err := c.dialer.Open(ctx, dial.Call{Target: c.dialer.Device(serial), Service: ServiceEcho})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Reset(tunnel.CodeCancelled) })
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		_, err := io.CopyN(conn, zeros{}, n)
		return errors.Join(err, conn.CloseWrite())
	})
	got, err := io.Copy(io.Discard, conn)
	if err = errors.Join(err, g.Wait(), conn.Close()); err != nil {
		return err
	}
	if got != n {
		return fmt.Errorf("%d bytes came back, want %d", got, n)
	}
	return nil
}

// zeros reads as endless zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
