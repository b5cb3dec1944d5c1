package world

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
)

// targets are the local servers of one device. They run from the start to the end
// of the world, whether or not the device does.
type targets struct {
	*task
	services []agent.Service // how the agent reaches them
}

func startTargets(cfg DeviceConfig, log hclog.Logger) (*targets, error) {
	web, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
	if err != nil {
		return nil, err
	}
	echo, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
	if err != nil {
		return nil, errors.Join(err, web.Close())
	}
	ssh := cfg.SSH
	if ssh == "" {
		ssh = echo.Addr().String()
	}
	t := &targets{services: append([]agent.Service{
		{Name: "web", Target: "tcp:" + web.Addr().String(), Identity: agent.IdentityHeader},
		{Name: "echo", Target: "tcp:" + echo.Addr().String()},
		{Name: "ssh", Target: "tcp:" + ssh, Raw: true},
	}, cfg.Services...)}
	t.task = startTask(func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		handler := cfg.Web
		if handler == nil {
			page := facts.New(facts.Config{Serial: cfg.Serial, Logger: log})
			g.Go(func() error { return page.Run(ctx) })
			handler = page
		}
		g.Go(func() error { return serveWeb(ctx, web, handler, log) })
		g.Go(func() error { return serveEcho(ctx, echo) })
		return g.Wait()
	})
	return t, nil
}

func serveWeb(ctx context.Context, ln net.Listener, h http.Handler, log hclog.Logger) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveEcho sends back what each connection sends, until ctx ends.
func serveEcho(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		conns.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer func() { _ = c.Close() }()
			_, _ = io.Copy(c, c) // the end of either side ends the connection
		})
	}
}
