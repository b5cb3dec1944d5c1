package muxtun

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// counted counts the writes to a connection.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestOneWritePerFrame: whatever the size of a frame, its header and all its TLS
// records leave in one system call, and no buffer is held afterwards.
func TestOneWritePerFrame(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(tcp, Config{TLS: ca.Credentials(identity.Relay(td, "r1")).ServerConfig(nil, tunnel.ALPN)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	raw := new(counted)
	d := Dialer{
		Config: Config{TLS: ca.Credentials(identity.Device(td, "0123456789")).ClientConfig("localhost", nil, tunnel.ALPN)},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			raw.Conn = c
			return raw, err
		},
	}
	client, err := d.Dial(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.CloseWithError(tunnel.CodeShutdown, "") }()
	server, err := ln.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.CloseWithError(tunnel.CodeShutdown, "") }()
	a, err := client.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := server.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 200, joinMax, joinMax + 1, 16 << 10, 40_000, maxFrame} {
		want := bytes.Repeat([]byte{byte(size), 7}, size)[:size]
		before := raw.writes.Load()
		if _, err := a.Write(want); err != nil {
			t.Fatal(err)
		}
		if n := raw.writes.Load() - before; n != 1 {
			t.Errorf("a frame of %d bytes leaves in %d writes", size, n)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrive changed: %v", size, err)
		}
	}
	w := client.(*session).conn.wire //nolint:forcetypeassert // the dialer's
	if w.Holds() {
		t.Error("an idle connection holds a buffer")
	}
}
