package clients

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial/dialtest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// bridge is a local port whose connections become HTTP/2 CONNECT streams, made by
// the client of golang.org/x/net, in one connection to the relay.
type bridge struct {
	c      *cloud
	client *http.Transport
	target string // host:port for CONNECT
	calls  sync.WaitGroup
}

// h2Client is Go's HTTP client with the caller's certificate, and HTTP/2 only.
func (c *cloud) h2Client() *http.Transport {
	c.t.Helper()
	tr := &http.Transport{TLSClientConfig: c.clientTLS(), Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP2(true)
	c.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// connectRequest asks the relay for a flow to target.
func (c *cloud) connectRequest(ctx context.Context, target string, body io.ReadCloser) *http.Request {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: c.relay()}, Host: target, Header: http.Header{}, Body: body}
	return req.WithContext(ctx)
}

// startBridge gives the address of a bridge to a service of a device.
func (c *cloud) startBridge(target string) (addr string) {
	c.t.Helper()
	b := &bridge{c: c, target: target, client: c.h2Client()}
	ln := c.listen()
	b.calls.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			b.calls.Go(func() { b.serve(conn) })
		}
	})
	c.t.Cleanup(func() {
		_ = ln.Close()
		b.calls.Wait()
	})
	return ln.Addr().String()
}

func (b *bridge) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(b.c.ctx)
	defer cancel()
	body, send := io.Pipe()
	resp, err := b.client.RoundTrip(b.c.connectRequest(ctx, b.target, body))
	if err != nil {
		b.c.t.Errorf("CONNECT %s over HTTP/2: %v", b.target, err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		b.c.t.Errorf("CONNECT %s: %s %s", b.target, resp.Proto, resp.Status)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(send, conn)
		_ = send.CloseWithError(err)
	}()
	_, _ = io.Copy(conn, resp.Body) // the client sees what is missing
	_ = conn.Close()
	<-done
}

// TestHTTP2Connect carries curl over HTTP/2 CONNECT.
func TestHTTP2Connect(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	c := newCloud(t)
	n := c.startNginx()
	c.device(serial, agent.TransportTCP, agent.Service{Name: "web", Target: n.web})
	target := identity.Device(td, serial).DNSName() + ":443"
	addr := c.startBridge(target)
	b := theBlob(t)
	c.transfer(n, "/blob", b.sum, blobSize(), func(args ...string) *exec.Cmd {
		return c.command(tool(t, "curl"), append([]string{
			"--silent", "--show-error", "--connect-to", target + ":" + addr,
			"--cacert", c.roots(), "--cert", c.cert(), "--key", c.key(),
		}, args...)...)
	})
	// Many streams side by side in one connection to the relay.
	args := []string{
		"--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "20", "--no-keepalive", "--header", "Connection: close",
		"--connect-to", target + ":" + addr, "--cacert", c.roots(), "--cert", c.cert(), "--key", c.key(),
	}
	for range 20 {
		args = append(args, deviceURL(serial, "/digits"))
	}
	if got := c.good(c.command(tool(t, "curl"), args...)); len(got) != 20*len("0123456789") {
		t.Errorf("20 pages at once give %d bytes", len(got))
	}
}

func TestHTTP2ConnectErrors(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	resp, err := c.h2Client().RoundTrip(c.connectRequest(c.ctx, identity.Device(td, offline).DNSName()+":443", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusNotFound || resp.Header.Get("X-Auer-Error") != "AUER-1301" || resp.ProtoMajor != 2 {
		t.Errorf("offline device: %s %s, %q", resp.Proto, resp.Status, resp.Header.Get("X-Auer-Error"))
	}
}

// TestHTTP2ConnectGivenUp has callers give their streams up in the middle, on both
// sides at the same moment. The relay must survive it, and the connection, too.
func TestHTTP2ConnectGivenUp(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.Device(serial, map[string]dialtest.Handler{"ssh": func(conn net.Conn) {
		_, _ = io.Copy(conn, io.LimitReader(conn, 1)) // then hangs up, as the caller does
	}}, nil)
	client, target := c.h2Client(), identity.Device(td, serial).DNSName()+":22"
	rounds := 300
	if testing.Short() || raceDetector {
		rounds = 30
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(c.ctx)
				body, send := io.Pipe()
				resp, err := client.RoundTrip(c.connectRequest(ctx, target, body))
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("CONNECT: %v, %v", resp, err)
					cancel()
					return
				}
				_, _ = send.Write([]byte("x"))
				_, _ = resp.Body.Read(make([]byte, 1))
				cancel()
				_, _ = io.Copy(io.Discard, resp.Body) // ends, with an error or without
				_ = resp.Body.Close()
			}
		})
	}
	callers.Wait()
}
