package load

import (
	"context"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// processor bounds how many devices shake hands at once. Each real device has a
// processor of its own; ten thousand that share one would let the handshakes of
// all time out together, and measure nothing but that.
type processor struct {
	tunnel.Dialer
	places chan struct{} // shared by the fleet; nil: no bound
}

// Dial waits for a place. The agent's ConnectTimeout has to allow for that.
func (p processor) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	if p.places != nil {
		select {
		case p.places <- struct{}{}:
			defer func() { <-p.places }()
		case <-ctx.Done():
			return nil, tunnel.Errorf(tunnel.CodeUnreachable, "no processor time for the device: %w", ctx.Err())
		}
	}
	return p.Dialer.Dial(ctx, addr)
}
