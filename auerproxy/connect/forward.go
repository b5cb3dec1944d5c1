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
	return ForwardTo(ctx, ln, func(ctx context.Context) (Stream, error) {
		c, err := d.Open(ctx, call)
		if err != nil {
			return nil, err // not a nil *Conn in a Stream
		}
		return c, nil
	}, call.Service+" of "+call.Target.Path(), o)
}

// ForwardTo is [Forward] with streams of another kind; to names where they lead.
func ForwardTo(ctx context.Context, ln net.Listener, open func(context.Context) (Stream, error), to string, o Options) error {
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
			forward(ctx, local, open, to, o)
		})
	}
}

func forward(ctx context.Context, local net.Conn, open func(context.Context) (Stream, error), to string, o Options) {
	c, err := open(ctx)
	if err != nil {
		_ = local.Close()
		o.Logger.Warn("call failed", "to", to, "error", err, "hint", tunnel.CodeOf(err).Info().Hint)
		return
	}
	if r := join(ctx, local, c, o.Splice); r.Err != nil && ctx.Err() == nil {
		o.Logger.Debug("call ended early", "to", to, "error", r.Err)
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
