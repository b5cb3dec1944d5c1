package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/chaos/link"
)

// The ports in the two namespaces, which are the benchmark's alone.
const (
	serverPort = 7000 // of a peer's server in A
	entryPort  = 9000 // where callers in A connect
	targetPort = 8000 // on the loopback of B
)

// newPeerLink makes a link with the target in B.
func newPeerLink(b *testing.B, targetAddr string) *link.Link {
	b.Helper()
	l := link.Pair(b, link.Config{})
	if err := l.SetCongestion(congestion()); err != nil {
		b.Fatal(err)
	}
	ln, err := l.B.Listen(b.Context(), "tcp", targetAddr)
	if err != nil {
		b.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				stop := context.AfterFunc(b.Context(), func() { _ = c.Close() })
				defer stop()
				defer func() { _ = c.Close() }()
				target(c)
			})
		}
	})
	b.Cleanup(func() {
		_ = ln.Close()
		conns.Wait()
	})
	return l
}

// direct is plain TCP over the link.
func direct(b *testing.B, cfg link.Config) (*link.Link, func(context.Context) (net.Conn, error)) {
	b.Helper()
	l := newPeerLink(b, fmt.Sprintf("0.0.0.0:%d", targetPort))
	shape(b, l, cfg)
	addr := fmt.Sprintf("%s:%d", l.B.Addr(), targetPort)
	return l, func(ctx context.Context) (net.Conn, error) { return l.A.DialContext(ctx, "tcp", addr) }
}

// entry waits until a peer's server takes connections that reach the target.
func entry(b *testing.B, l *link.Link, cfg link.Config) (*link.Link, func(context.Context) (net.Conn, error)) {
	b.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", entryPort)
	connect := func(ctx context.Context) (net.Conn, error) { return l.A.DialContext(ctx, "tcp", addr) }
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx, connect)
		if err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("the peer does not get ready: %v", err)
		}
	}
	shape(b, l, cfg)
	return l, connect
}

// probe makes one request. A peer may take a connection before it has anywhere to
// pass it on to.
func probe(ctx context.Context, connect func(context.Context) (net.Conn, error)) error {
	c, err := open(ctx, connect, forRequests)
	if err != nil {
		return err
	}
	return errors.Join(exchange(c, requestSize), c.Close())
}

// program is that of a variable; the benchmark is skipped without.
func program(b *testing.B, variable string) string {
	b.Helper()
	path := os.Getenv(variable)
	if path == "" {
		b.Skipf("%s names no program", variable)
	}
	return path
}

// start starts a peer's program in a namespace until the benchmark ends.
func start(b *testing.B, n *link.Namespace, path string, args ...string) {
	b.Helper()
	cmd := exec.Command(path, args...) //nolint:gosec // it is killed by Cleanup, after its peers
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.Start(cmd); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			b.Errorf("%s has ended by itself: %v", path, err)
		}
		_ = cmd.Wait() // killed
		if b.Failed() {
			b.Logf("%s says\n%s", path, out.String())
		}
	})
}

// frp is github.com/fatedier/frp with TLS, with its multiplexer (yamux) or a pool of
// plain connections, or over QUIC.
func frp(protocol string, mux bool) func(*testing.B, link.Config) (*link.Link, func(context.Context) (net.Conn, error)) {
	return func(b *testing.B, cfg link.Config) (*link.Link, func(context.Context) (net.Conn, error)) {
		b.Helper()
		server, client := program(b, "FRPS"), program(b, "FRPC")
		l := newPeerLink(b, fmt.Sprintf("127.0.0.1:%d", targetPort))
		pool := 0
		if !mux {
			pool = requestConns
		}
		start(b, l.A, server, "-c", file(b, "frps.toml", fmt.Sprintf(`bindAddr = %q
bindPort = %d
quicBindPort = %d
proxyBindAddr = "127.0.0.1"
transport.tcpMux = %t
transport.maxPoolCount = 64
log.level = "warn"
`, l.A.Addr(), serverPort, serverPort, mux)))
		start(b, l.B, client, "-c", file(b, "frpc.toml", fmt.Sprintf(`serverAddr = %q
serverPort = %d
loginFailExit = false
transport.protocol = %q
transport.tcpMux = %t
transport.poolCount = %d
log.level = "warn"

[[proxies]]
name = "target"
type = "tcp"
localIP = "127.0.0.1"
localPort = %d
remotePort = %d
`, l.A.Addr(), serverPort, protocol, mux, pool, targetPort, entryPort)))
		return entry(b, l, cfg)
	}
}

// chisel is github.com/jpillora/chisel with a reverse tunnel.
func chisel(b *testing.B, cfg link.Config) (*link.Link, func(context.Context) (net.Conn, error)) {
	b.Helper()
	path := program(b, "CHISEL")
	l := newPeerLink(b, fmt.Sprintf("127.0.0.1:%d", targetPort))
	start(b, l.A, path, "server", "--host", l.A.Addr().String(), "--port", fmt.Sprint(serverPort), "--reverse")
	start(b, l.B, path, "client", "--max-retry-interval", "200ms", fmt.Sprintf("http://%s:%d", l.A.Addr(), serverPort),
		fmt.Sprintf("R:127.0.0.1:%d:127.0.0.1:%d", entryPort, targetPort))
	return entry(b, l, cfg)
}

func file(b *testing.B, name, text string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}
