package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Forward makes each connection that ln accepts a call of its own, with a fresh
// request id unless the call has one. A call that cannot be opened closes its
// connection and is logged. Forward closes ln and every connection when ctx ends,
// and returns nil after they have ended; its error is that of ln.
func Forward(ctx context.Context, ln net.Listener, d opener, call dial.Call, o Options) error {
	o = o.filled()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()

	places := make(chan struct{}, o.Connections)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		local, err := accept(ctx, ln)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("forward: %w", err)
		}
		wg.Go(func() {
			defer func() { <-places }()
			forward(ctx, local, d, call, o)
		})
	}
}

func forward(ctx context.Context, local net.Conn, d opener, call dial.Call, o Options) {
	c, err := d.Open(ctx, call)
	if err != nil {
		_ = local.Close()
		o.Logger.Warn("call failed", "target", call.Target.Path(), "service", call.Service, "error", err, "hint", tunnel.CodeOf(err).Info().Hint)
		return
	}
	if r := join(ctx, local, c, o.Splice); r.Err != nil && ctx.Err() == nil {
		o.Logger.Debug("call ended early", "target", call.Target.Path(), "service", call.Service, "error", r.Err)
	}
}

// accept accepts a connection; it waits out a shortage of file descriptors.
func accept(ctx context.Context, ln net.Listener) (net.Conn, error) {
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		c, err := ln.Accept()
		if err == nil {
			return c, nil
		}
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Temporary() { //nolint:staticcheck // Temporary is what net/http uses for EMFILE, too
			return nil, err
		}
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}
