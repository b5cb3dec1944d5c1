package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

// The services of a simulated device.
const (
	// ServiceWeb answers every HTTP request with a page of 1 KiB.
	ServiceWeb = "web"
	// ServiceEcho sends back what it gets.
	ServiceEcho = "echo"
)

// pageSize is the size of the page.
const pageSize = 1 << 10

// services are the local servers that stand behind the services of all devices.
// They listen on Unix sockets, since at some hundred calls per second the ports of
// TCP connections would run out.
type services struct {
	dir     string
	web     net.Listener
	echo    net.Listener
	targets []agent.Service
}

// openServices opens the servers' sockets in a directory of their own.
func openServices() (s *services, err error) {
	s = new(services)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("services of the fleet: %w", err), s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "fleet"); err != nil {
		return s, err
	}
	for name, ln := range map[string]*net.Listener{ServiceWeb: &s.web, ServiceEcho: &s.echo} {
		path := filepath.Join(s.dir, name)
		if *ln, err = net.Listen("unix", path); err != nil { //nolint:noctx // local and at once
			return s, err
		}
		s.targets = append(s.targets, agent.Service{Name: name, Target: "unix:" + path})
	}
	return s, nil
}

// run serves until ctx ends.
func (s *services) run(ctx context.Context) error {
	page := make([]byte, pageSize)
	web := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }),
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = web.Serve(s.web) }) // ends with ErrServerClosed
	wg.Go(func() { serveEcho(ctx, s.echo) })
	<-ctx.Done()
	err := errors.Join(web.Close(), s.close())
	wg.Wait()
	return err
}

func (s *services) close() error {
	var errs []error
	for _, ln := range []net.Listener{s.web, s.echo} {
		if ln != nil {
			if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// serveEcho echoes until the listener is closed, and ends the connections with
// ctx.
func serveEcho(ctx context.Context, ln net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			_, _ = io.Copy(c, c) // the caller sees what is missing
			_ = c.Close()
		})
	}
}
