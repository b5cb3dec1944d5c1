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
func newPeerLink(t testing.TB, line link.Config, targetAddr string) *link.Link {
	t.Helper()
	l := link.Pair(t, line)
	if err := l.SetCongestion(congestion()); err != nil {
		t.Fatal(err)
	}
	ln, err := l.B.Listen(t.Context(), "tcp", targetAddr)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				stop := context.AfterFunc(t.Context(), func() { _ = c.Close() })
				defer stop()
				defer func() { _ = c.Close() }()
				target(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		conns.Wait()
	})
	return l
}

// direct is plain TCP over the link.
func direct(t testing.TB, line link.Config) way {
	t.Helper()
	l := newPeerLink(t, line, fmt.Sprintf("0.0.0.0:%d", targetPort))
	addr := fmt.Sprintf("%s:%d", l.B.Addr(), targetPort)
	connect := func(ctx context.Context) (net.Conn, error) { return l.A.DialContext(ctx, "tcp", addr) }
	return way{l, connect, connect}
}

// entry waits until a peer's server takes connections that reach the target.
func entry(t testing.TB, l *link.Link) way {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", entryPort)
	connect := func(ctx context.Context) (net.Conn, error) { return l.A.DialContext(ctx, "tcp", addr) }
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
			t.Fatalf("the peer does not get ready: %v", err)
		}
	}
	return way{l, connect, connect}
}

// probe makes one request. A peer may take a connection before it has anywhere to
// pass it on to.
func probe(ctx context.Context, connect connectFunc) error {
	c, err := open(ctx, connect, forRequests)
	if err != nil {
		return err
	}
	return errors.Join(exchange(c, requestSize), c.Close())
}

// missing says why the contestant cannot run here; empty if it can.
func (c contestant) missing() string {
	for _, variable := range c.programs {
		if os.Getenv(variable) == "" {
			return "not installed: " + variable + " names no program"
		}
	}
	return ""
}

// start starts a peer's program in a namespace until the benchmark ends.
func start(t testing.TB, n *link.Namespace, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...) //nolint:gosec // it is killed by Cleanup, after its peers
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("%s has ended by itself: %v", path, err)
		}
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("%s says\n%s", path, out.String())
		}
	})
}

// frp is github.com/fatedier/frp with TLS, with its multiplexer (yamux) or a pool of
// plain connections, or over QUIC.
func frp(protocol string, mux bool) func(testing.TB, link.Config) way {
	return func(t testing.TB, line link.Config) way {
		t.Helper()
		server, client := os.Getenv("FRPS"), os.Getenv("FRPC")
		l := newPeerLink(t, line, fmt.Sprintf("127.0.0.1:%d", targetPort))
		pool := 0
		if !mux {
			pool = requestConns
		}
		start(t, l.A, server, "-c", file(t, "frps.toml", fmt.Sprintf(`bindAddr = %q
bindPort = %d
quicBindPort = %d
proxyBindAddr = "127.0.0.1"
transport.tcpMux = %t
transport.maxPoolCount = 64
log.level = "warn"
`, l.A.Addr(), serverPort, serverPort, mux)))
		start(t, l.B, client, "-c", file(t, "frpc.toml", fmt.Sprintf(`serverAddr = %q
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
		return entry(t, l)
	}
}

// chisel is github.com/jpillora/chisel with a reverse tunnel.
func chisel(t testing.TB, line link.Config) way {
	t.Helper()
	path := os.Getenv("CHISEL")
	l := newPeerLink(t, line, fmt.Sprintf("127.0.0.1:%d", targetPort))
	start(t, l.A, path, "server", "--host", l.A.Addr().String(), "--port", fmt.Sprint(serverPort), "--reverse")
	start(t, l.B, path, "client", "--max-retry-interval", "200ms", fmt.Sprintf("http://%s:%d", l.A.Addr(), serverPort),
		fmt.Sprintf("R:127.0.0.1:%d:127.0.0.1:%d", entryPort, targetPort))
	return entry(t, l)
}

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
